"""Matroska, WebM (RFC 9559) and AVI: what their headers, which stand near the beginning, tell."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from gateway.canonical.content import Header
from gateway.canonical.media.octets import Octets

_NEAR = 256 * 1024
"""Octets at the beginning within which the tracks are declared."""
_ELEMENTS = 512
_INFO, _TRACKS, _CLUSTER, _SEGMENT = 0x1549A966, 0x1654AE6B, 0x1F43B675, 0x18538067
_ANY_CODEC = re.compile(rb"\x86[\x80-\xff]([AVS])_[A-Z]")


def read_matroska(octets: Octets, header: Header) -> None:
    near = octets.read(0, _NEAR)
    kinds = {m[1] for m in _ANY_CODEC.finditer(near)}
    if kinds:
        header.sound, header.pictures = b"A" in kinds, b"V" in kinds
    for name, body in _elements(near):
        if name != _SEGMENT:
            continue
        for inner, part in _elements(body):
            if inner == _INFO:
                header.seconds = _length(part)
            elif inner == _TRACKS:
                _tracks(part, header)
            elif inner == _CLUSTER:
                break
        break


def _length(info: bytes) -> float | None:
    scale, length = 1_000_000, 0.0
    for name, body in _elements(info):
        if name == 0x2AD7B1:
            scale = int.from_bytes(body, "big")
        elif name == 0x4489 and len(body) in (4, 8):
            length = struct.unpack(">f" if len(body) == 4 else ">d", body)[0]
    seconds = length * scale / 1e9
    return seconds if 0 < seconds < float("inf") else None


def _tracks(body: bytes, header: Header) -> None:
    for name, entry in _elements(body):
        if name != 0xAE:
            continue
        for inner, video in _elements(entry):
            if inner != 0xE0:
                continue
            sides = {n: int.from_bytes(b, "big") for n, b in _elements(video) if n in (0xB0, 0xBA)}
            if sides.get(0xB0, 0) * sides.get(0xBA, 0) > header.width * header.height:
                header.width, header.height = sides[0xB0], sides[0xBA]


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(id, body) of the elements in `data`; one of unknown length goes to the end."""
    at = 0
    for _ in range(_ELEMENTS):
        if at >= len(data) or not data[at]:
            return
        width = 9 - data[at].bit_length()
        name = int.from_bytes(data[at : at + width], "big")
        at += width
        if width > 4 or at >= len(data) or not data[at]:
            return
        width = 9 - data[at].bit_length()
        mask = (1 << (7 * width)) - 1
        length = int.from_bytes(data[at : at + width], "big") & mask
        at += width
        end = len(data) if length == mask else at + length
        yield name, data[at:end]
        at = end


_AUDIO_STREAM = re.compile(rb"strh....auds", re.DOTALL)
_VIDEO_STREAM = re.compile(rb"strh....vids", re.DOTALL)


def read_avi(octets: Octets, header: Header) -> None:
    """The main header, and the kinds of the streams."""
    near = octets.read(0, _NEAR)
    if b"strh" in near:
        header.sound = _AUDIO_STREAM.search(near) is not None
        header.pictures = _VIDEO_STREAM.search(near) is not None
    at = near.find(b"avih")
    if at >= 0 and len(near) >= at + 48:
        pause, _, _, _, frames = struct.unpack("<5I", near[at + 8 : at + 28])
        header.width, header.height = struct.unpack("<2I", near[at + 40 : at + 48])
        header.frames = frames or None
        header.seconds = frames * pause / 1e6 or None
