"""Whether a video has a sound track, by looking at its container; nothing is decoded.

MP4 and QuickTime: the track handlers inside `moov` (ISO/IEC 14496-12, 8.4.3), wherever that stands in the file.
Matroska and WebM: the codec ids of the tracks (RFC 9559, 27.3), which stand near the beginning. AVI: the stream
headers. Other containers do not tell that cheaply.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error

from gateway.canonical.content import Media, Segments

_NEAR = 256 * 1024
"""Octets at the beginning of a Matroska or AVI file within which its tracks are declared."""
_MOST = 8 << 20
"""Octets of a `moov` that are looked at."""
_BOXES = 1024
_AUDIO_CODEC = re.compile(rb"\x86[\x80-\xff]A_[A-Z]")
_AUDIO_STREAM = re.compile(rb"strh....auds", re.DOTALL)
_ANY_CODEC = re.compile(rb"\x86[\x80-\xff][AVS]_[A-Z]")


def has_sound(media: Media) -> bool | None:
    """True, False, or None where it can't be told: media that are not here, other containers, broken files."""
    head = _read(media, 0, 64)
    if media.mime == "video/jpeg":
        return False  # a list of pictures
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _mp4(media)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        near = _read(media, 0, _NEAR)
        return True if _AUDIO_CODEC.search(near) else False if _ANY_CODEC.search(near) else None
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        near = _read(media, 0, _NEAR)
        return _AUDIO_STREAM.search(near) is not None if b"strh" in near else None
    return None


def _mp4(media: Media) -> bool | None:
    size = media.size
    at = 0
    for _ in range(_BOXES):
        header = _read(media, at, 16)
        if len(header) < 8:
            return None
        length = int.from_bytes(header[:4], "big")
        start = 8
        if length == 1:
            length, start = int.from_bytes(header[8:16], "big"), 16
        elif length == 0:
            length = size - at
        if length < start:
            return None
        if header[4:8] == b"moov":
            return b"soun" in _handlers(_read(media, at, min(length, _MOST)))
        at += length
    return None


def _handlers(moov: bytes) -> list[bytes]:
    """The handler types of all tracks: 4 octets each, 12 behind the name of a `hdlr` box."""
    return [moov[m.end() + 8 : m.end() + 12] for m in re.finditer(rb"hdlr", moov)]


def _read(media: Media, start: int, count: int) -> bytes:
    """Octets of a medium that is here; fewer where it ends, none where it is no base64."""
    if media.octets is not None:
        return media.octets[start : start + count]
    if media.base64 is None:
        return b""
    first = start // 3 * 4
    last = (start + count + 2) // 3 * 4
    text = _slice(media.base64, first, last)
    try:
        return b64decode(text[: len(text) & ~3])[start % 3 : start % 3 + count]
    except (Error, ValueError):
        return b""


def _slice(text: str | Segments, first: int, last: int) -> bytes:
    """Characters of a base64 text; no more of it is copied than that."""
    if isinstance(text, str):
        return text[first:last].encode("ascii", "replace")
    out = []
    at = 0
    for chunk in text:
        if at < last and at + len(chunk) > first:
            out.append(chunk[max(0, first - at) : last - at])
        at += len(chunk)
        if at >= last:
            break
    return b"".join(out)
