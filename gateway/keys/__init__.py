"""`gateway keys`: the keys of clients, made, shown and revoked."""
