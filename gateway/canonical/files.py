"""A file that a client uploaded, to be named in later requests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class File:
    """`owner`: the id of the key that sent it. `name` and `mime` are the client's claims, "" if none. Times in Unix
    seconds. `purpose`: what the client says it is for, where its dialect has that."""

    id: str
    owner: str
    name: str
    mime: str
    size: int
    created: float
    expires: float
    sha256: bytes = b""
    purpose: str = ""
