"""Media on their way to a target: fetched where they are elsewhere, converted where the target needs it."""
