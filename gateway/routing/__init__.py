"""Which target takes a request, and why not the others. Pure: time and chance are arguments."""
