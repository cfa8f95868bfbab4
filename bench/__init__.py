"""What the gateway costs: `python -m bench`. Not part of the package; docs/performance.md tells how to read it."""
