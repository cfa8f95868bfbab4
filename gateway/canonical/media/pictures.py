"""How large a picture is: PNG, JPEG, GIF, WebP, BMP, TIFF. No pixel is decoded."""

from __future__ import annotations

import struct

from gateway.canonical.content import Header
from gateway.canonical.media.octets import Octets

_SEGMENTS = 256
_NEAR = 64 * 1024


def read_png(octets: Octets, header: Header) -> None:
    near = octets.read(0, 4096)
    if near[12:16] == b"IHDR" and len(near) >= 24:
        header.width, header.height = struct.unpack(">2I", near[16:24])
    at = near.find(b"acTL", 0, max(0, near.find(b"IDAT")) or len(near))
    header.frames = int.from_bytes(near[at + 4 : at + 8], "big") if at > 0 else 1


def read_jpeg(octets: Octets, header: Header) -> None:
    """The frame header (SOF0 to SOF15), behind whatever metadata there is: ITU-T T.81, B.2.2."""
    at = 2
    header.frames = 1
    for _ in range(_SEGMENTS):
        head = octets.read(at, 9)
        if len(head) < 9 or head[0] != 0xFF:
            return
        kind = head[1]
        if kind == 0xFF:
            at += 1
            continue
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            header.height, header.width = struct.unpack(">2H", head[5:9])
            return
        if kind in (0xD9, 0xDA):
            return
        at += 2 if 0xD0 <= kind <= 0xD8 or kind == 1 else 2 + int.from_bytes(head[2:4], "big")


def read_gif(octets: Octets, header: Header) -> None:
    head = octets.read(0, 10)
    if len(head) == 10:
        header.width, header.height = struct.unpack("<2H", head[6:10])


def read_webp(octets: Octets, header: Header) -> None:
    """https://developers.google.com/speed/webp/docs/riff_container"""
    head = octets.read(0, 30)
    if len(head) < 30:
        return
    form = head[12:16]
    if form == b"VP8X":
        header.width = int.from_bytes(head[24:27], "little") + 1
        header.height = int.from_bytes(head[27:30], "little") + 1
        header.frames = None if head[20] & 2 else 1
    elif form == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        header.width, header.height, header.frames = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 1
    elif form == b"VP8 ":
        width, height = struct.unpack("<2H", head[26:30])
        header.width, header.height, header.frames = width & 0x3FFF, height & 0x3FFF, 1


def read_bmp(octets: Octets, header: Header) -> None:
    head = octets.read(0, 26)
    header.frames = 1
    if len(head) < 26:
        return
    if int.from_bytes(head[14:18], "little") == 12:
        header.width, header.height = struct.unpack("<2H", head[18:22])
    else:
        width, height = struct.unpack("<2i", head[18:26])
        header.width, header.height = abs(width), abs(height)


def read_tiff(octets: Octets, header: Header) -> None:
    """Width and height of the first directory (tags 256 and 257)."""
    head = octets.read(0, 8)
    if len(head) < 8:
        return
    order = "<" if head[:2] == b"II" else ">"
    (where,) = struct.unpack(f"{order}I", head[4:8])
    count = octets.read(where, 2)
    if len(count) < 2:
        return
    (entries,) = struct.unpack(f"{order}H", count)
    body = octets.read(where + 2, 12 * min(entries, 256))
    for at in range(0, len(body) - 11, 12):
        tag, kind = struct.unpack(f"{order}2H", body[at : at + 4])
        if tag in (256, 257):
            value = struct.unpack(f"{order}{'H' if kind == 3 else 'I'}", body[at + 8 : at + (10 if kind == 3 else 12)])
            if tag == 256:
                header.width = value[0]
            else:
                header.height = value[0]
