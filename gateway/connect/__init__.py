"""`gateway connect`: what a client needs to use this fleet, printed, written to its own file, or given to it at its
start. A client's name stands in `clients.py` and nowhere else."""
