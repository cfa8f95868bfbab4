"""Decodes media that strangers sent, in a process that may be killed at any moment: `python -m
gateway.worker.media.serve`. It has limits on memory, time and files, no environment, and opens nothing by name."""
