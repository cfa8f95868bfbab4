"""Coding agents as they come from npm, unmodified, through the gateway: `make test-agents`."""
