"""`gateway compose`: a compose file for the hardware that is found, the key that it needs, and its start."""
