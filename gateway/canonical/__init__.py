"""The one schema that every dialect is translated to and from: standard library only, no I/O, no clock."""
