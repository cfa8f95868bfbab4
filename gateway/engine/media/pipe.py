"""How the gateway and a worker that decodes media talk: messages of a JSON head and octets, over the worker's standard
input and output. One job at a time: a message in, some messages out, the last of kind `end` or `refused`.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final, Literal, TypedDict

LENGTHS: Final = struct.Struct(">IQ")
"""Octets of the head, octets of the body."""
HEAD_LIMIT: Final = 64 * 1024
PIECE: Final = 64 * 1024
"""Octets of a body that are read or written at once: a multiple of four, as its base64 is cut in such pieces."""


class Job(TypedDict, total=False):
    """`do`: sound (16 kHz mono WAV, cut at `longest` seconds where it is longer), picture, frames (and the sound with
    them, if `sound`). `mime` is the medium's; the body is the medium in base64. `start` and `end` in seconds. `rate` =
    samples a second, of raw ones. `silence`: a silent sound track is given, too, since nothing else of the video is
    meant."""

    do: Literal["sound", "picture", "frames"]
    mime: str
    start: float | None
    end: float | None
    longest: float
    pixels: int
    to: list[str]
    frames: int
    fps: float | None
    sound: bool
    rate: int
    silence: bool


class Head(TypedDict, total=False):
    """Of what comes back. `kind`: sound | picture | frame (with a body, base64) | end | refused. `seconds`: a sound's
    length, a frame's time. `of` = how many pictures there are in all, where only one was taken. `why`: for the
    client."""

    kind: Literal["sound", "picture", "frame", "end", "refused"]
    mime: str
    seconds: float
    of: int
    why: str


def pack(head: Job | Head, body: int = 0) -> bytes:
    """What goes before a body of so many octets."""
    text = json.dumps(head).encode()
    return LENGTHS.pack(len(text), body) + text


def unpack(text: bytes) -> Any:
    return json.loads(text)
