"""What a worker says of a medium that it does not convert."""

from __future__ import annotations


class Refused(Exception):
    """The message is for the client: what is wrong, and what to send instead."""
