"""MP4, QuickTime, 3GPP, HEIC and AVIF: files of boxes (ISO/IEC 14496-12, 23008-12).

The movie header may stand at the end of the file, behind all samples: boxes are stepped over, never read through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.canonical.content import Header
from gateway.canonical.media.octets import Octets

_MOST = 8 << 20
"""Octets of a `moov` or `meta` box that are looked at."""
_BOXES = 1024
_BEGIN = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def is_boxes(head: bytes) -> bool:
    return head[4:8] in _BEGIN


def read_movie(octets: Octets, header: Header) -> None:
    """Length, size of the picture, frames, and what tracks there are; whether it is all there."""
    missing = _missing(octets)
    if missing:
        header.problem = f"it is cut: the last {missing} octets that its header promises are not here"
    moov = top_box(octets, b"moov")
    if moov is None:
        return
    kinds = []
    for track in inner_boxes(moov, b"trak"):
        kind = _handler(track)
        kinds.append(kind)
        if kind == b"vide":
            _picture(track, header)
    if kinds:
        header.pictures, header.sound = b"vide" in kinds, b"soun" in kinds
    seconds = _length(next(inner_boxes(moov, b"mvhd"), b""))
    if not seconds:
        for mvex in inner_boxes(moov, b"mvex"):
            seconds = _fragmented(next(inner_boxes(mvex, b"mehd"), b""), next(inner_boxes(moov, b"mvhd"), b""))
    header.seconds = seconds or None


def read_still(octets: Octets, header: Header) -> None:
    """The size of a HEIC or AVIF picture: the largest of its items, of which a grid's tiles are some."""
    meta = top_box(octets, b"meta")
    if meta is None:
        return
    sizes = [(int.from_bytes(meta[m.end() + 4 : m.end() + 8], "big"), int.from_bytes(meta[m.end() + 8 : m.end() + 12],
              "big")) for m in re.finditer(b"ispe", meta)]  # fmt: skip
    if sizes:
        header.width, header.height = max(sizes, key=lambda s: s[0] * s[1])


def _missing(octets: Octets) -> int:
    """Octets that the samples should have and that are not here."""
    at = 0
    for _ in range(_BOXES):
        head = octets.read(at, 16)
        if len(head) < 8:
            return 0
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:
            return 0
        at += length
        if head[4:8] == b"mdat" and at > octets.size:
            return at - octets.size
    return 0


def top_box(octets: Octets, wanted: bytes) -> bytes | None:
    """The body of the first box of that kind at the top of the file; None if there is none."""
    at = 0
    for _ in range(_BOXES):
        head = octets.read(at, 16)
        if len(head) < 8:
            return None
        length, start = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, start = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:
            length = octets.size - at
        if length < start:
            return None
        if head[4:8] == wanted:
            return octets.read(at + start, min(length - start, _MOST))
        at += length
    return None


def inner_boxes(body: bytes, wanted: bytes) -> Iterator[bytes]:
    """The bodies of the boxes of that kind directly inside of `body`."""
    at = 0
    for _ in range(_BOXES):
        length, start = int.from_bytes(body[at : at + 4], "big"), 8
        if length == 1:
            length, start = int.from_bytes(body[at + 8 : at + 16], "big"), 16
        if length < start:
            return
        if body[at + 4 : at + 8] == wanted:
            yield body[at + start : at + length]
        at += length


def _handler(track: bytes) -> bytes:
    """Four octets 8 behind the name of the `hdlr` box: `vide`, `soun`, `text`, ..."""
    at = track.find(b"hdlr")
    return track[at + 12 : at + 16] if at >= 0 else b""


def _picture(track: bytes, header: Header) -> None:
    head = next(inner_boxes(track, b"tkhd"), b"")
    width, height = (int.from_bytes(side, "big") >> 16 for side in (head[-8:-4], head[-4:]))
    if len(head) >= 84 and width * height > header.width * header.height:
        header.width, header.height = width, height
    at = track.find(b"stsz")
    if at >= 0 and len(track) >= at + 16:
        header.frames = int.from_bytes(track[at + 12 : at + 16], "big") or None


def _length(mvhd: bytes) -> float:
    if len(mvhd) < 20:
        return 0.0
    if mvhd[0] == 1:
        scale, count = int.from_bytes(mvhd[20:24], "big"), int.from_bytes(mvhd[24:32], "big")
    else:
        scale, count = int.from_bytes(mvhd[12:16], "big"), int.from_bytes(mvhd[16:20], "big")
    return count / scale if scale and count not in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF) else 0.0


def _fragmented(mehd: bytes, mvhd: bytes) -> float:
    at = 20 if mvhd[:1] == b"\x01" else 12
    scale = int.from_bytes(mvhd[at : at + 4], "big")
    count = int.from_bytes(mehd[4:12] if mehd[:1] == b"\x01" else mehd[4:8], "big")
    return count / scale if scale else 0.0
