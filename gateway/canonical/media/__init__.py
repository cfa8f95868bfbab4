"""What a medium really is, told by its own bytes: magic numbers and container headers. Nothing is decoded, nothing is
joined: of a 50 MB video a few kilobytes are looked at.

`kinds` knows media types and magic numbers, `octets` reads from any place of a medium, the rest read headers.
"""
