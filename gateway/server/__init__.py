"""What clients and operators see: paths, bodies, authentication, headers, statuses."""
