"""Official SDKs over real sockets, in an environment of their own: `make test-sdks`."""
