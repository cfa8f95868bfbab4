"""The only code that waits: it keeps the fleet's state, sends what a backend built, and passes on what comes back."""
