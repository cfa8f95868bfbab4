"""Sixty parts, each with a mark in it by which it is found again, wherever it went and whatever was made of it.

The files hold the headers that the gateway goes by, and nothing that could be decoded."""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode, urlsafe_b64encode
from dataclasses import dataclass, replace

from gateway.backends.wire.samples import PNG
from tests.pairs.media import Given

MARK = 24
"""Octets of a mark, at the end of a file and at a multiple of three: so it shows in the base64 of the whole."""


def mark(name: str) -> bytes:
    return f"<{name[: MARK - 2]}>".ljust(MARK, "-").encode()


def marked(data: bytes, name: str) -> bytes:
    return data + bytes(-len(data) % 3) + mark(name)


def shown(name: str) -> bytes:
    """How a mark looks in base64."""
    return b64encode(mark(name))


def name_in(data: bytes) -> str:
    """The name in the mark at the end of a file."""
    return data[data.rindex(b"<") + 1 : data.rindex(b">")].decode()


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + kind + body


def movie(brand: bytes, *handlers: bytes, seconds: int = 5) -> bytes:
    mvhd = box(b"mvhd", bytes(12) + struct.pack(">2I", 1000, seconds * 1000) + bytes(80))
    tracks = b"".join(box(b"trak", box(b"mdia", box(b"hdlr", bytes(8) + h + bytes(12)))) for h in handlers)
    return box(b"ftyp", brand + bytes(4) + brand) + box(b"moov", mvhd + tracks) + struct.pack(">I", 0) + b"mdat"


def wav(rate: int = 16_000, channels: int = 1, bits: int = 16, seconds: float = 1.0) -> bytes:
    step = channels * bits // 8
    size = int(rate * seconds) * step
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * step, step, bits)
    return b"RIFF" + struct.pack("<I", 36 + size) + b"WAVE" + form + b"data" + struct.pack("<I", size) + bytes(size)


def flac(seconds: int = 1) -> bytes:
    told = (16_000 << 44 | 15 << 36 | 16_000 * seconds).to_bytes(8, "big")
    return b"fLaC\x80\0\0\x22" + bytes(10) + told + bytes(16)


def ebml(form: bytes, *codecs: bytes) -> bytes:
    declared = b"".join(b"\x86" + bytes([0x80 | len(c)]) + c for c in codecs)
    return b"\x1a\x45\xdf\xa3\x8b\x42\x82" + bytes([0x80 | len(form)]) + form + declared + bytes(40)


def ogg(head: bytes) -> bytes:
    return b"OggS\0\2" + bytes(21) + b"\x01" + head + bytes(40)


OPUS = ogg(b"\x13OpusHead\x01\x01\0\0\x80\xbb\0\0")
FILES: dict[str, tuple[str, bytes]] = {
    "png": ("image/png", b64decode(PNG)),
    "jpeg": ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(9)),
    "webp": ("image/webp", b"RIFF\x40\0\0\0WEBPVP8L\x10\0\0\0\x2f" + bytes(30)),
    "gif": ("image/gif", b"GIF89a\x08\0\x08\0" + bytes(20)),
    "bmp": ("image/bmp", b"BM\x40\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x08\0\0\0\x08\0\0\0" + bytes(28)),
    "tiff": ("image/tiff", b"II*\0\x08\0\0\0\0\0" + bytes(20)),
    "avif": ("image/avif", box(b"ftyp", b"avif\0\0\0\0avif")),
    "heic": ("image/heic", box(b"ftyp", b"heic\0\0\0\0mif1heic")),
    "svg": ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "wav": ("audio/wav", wav()),
    "wav 8 bit": ("audio/wav", wav(8000, 1, 8)),
    "wav stereo": ("audio/wav", wav(48_000, 2)),
    "mp3": ("audio/mpeg", b"\xff\xfb\x90\x00" + bytes(414)),
    "flac": ("audio/flac", flac()),
    "opus": ("audio/ogg", OPUS),
    "vorbis": ("audio/ogg", ogg(b"\x01vorbis\0\0\0\0\x01\x80\xbb\0\0")),
    "m4a": ("audio/mp4", movie(b"M4A ", b"soun")),
    "aac": ("audio/aac", b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(40)),
    "webm sound": ("audio/webm", ebml(b"webm", b"A_OPUS")),
    "mka": ("audio/x-matroska", ebml(b"matroska", b"A_OPUS")),
    "aiff": ("audio/aiff", b"FORM\0\0\0\x40AIFFCOMM" + bytes(40)),
    "amr": ("audio/amr", b"#!AMR\n<" + bytes(40)),
    "3gp sound": ("audio/3gpp", movie(b"3gp4", b"soun")),
    "raw samples": ("audio/pcm", b"\1\2" * 90),
    "midi": ("audio/midi", b"MThd\0\0\0\6" + bytes(40)),
    "long wav": ("audio/wav", wav(8000, 1, 8, 70.0)),
    "long flac": ("audio/flac", flac(70)),
    "mp4": ("video/mp4", movie(b"isom", b"vide", b"soun")),
    "silent mp4": ("video/mp4", movie(b"isom", b"vide")),
    "mp4, no tracks": ("video/mp4", box(b"ftyp", b"isom\0\0\0\0isom") + bytes(20)),
    "mov": ("video/quicktime", movie(b"qt  ", b"vide", b"soun")),
    "webm": ("video/webm", ebml(b"webm", b"V_VP8", b"A_OPUS")),
    "silent webm": ("video/webm", ebml(b"webm", b"V_VP8")),
    "mkv": ("video/x-matroska", ebml(b"matroska", b"V_MPEG4/ISO/AVC", b"A_AAC")),
    "avi": ("video/x-msvideo", b"RIFF\x40\0\0\0AVI LISTstrh\x38\0\0\0vidsstrh\x38\0\0\0auds" + bytes(30)),
    "mpeg": ("video/mpeg", b"\0\0\1\xba\x44" + bytes(40)),
    "wmv": ("video/x-ms-asf", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(40)),
    "pdf": ("application/pdf", b"%PDF-1.7\n" + bytes(40)),
    "word": ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", b"PK\3\4" + bytes(40)),
    "nobody knows": ("application/octet-stream", b"\1\2\3\4" * 30),
}


@dataclass(frozen=True)
class Variant:
    """`parts` = what stands between two texts; `files` = by the path of their URL. `names` = the marks of the media, in
    order."""

    name: str
    parts: tuple[Given, ...]
    names: tuple[str, ...]
    files: tuple[tuple[str, bytes], ...] = ()


def medium(form: str, name: str = "", mime: str = "") -> tuple[Given, str]:
    told, data = FILES[form]
    name = name or form
    return Given(mime or told, b64encode(marked(data, name)).decode()), name[: MARK - 2]


def variant(name: str, *forms: str, mime: str = "") -> Variant:
    found = [medium(f, f"{f} {i}" if len(forms) > 1 else f, mime) for i, f in enumerate(forms)]
    return Variant(name, tuple(p for p, _ in found), tuple(n for _, n in found))


def elsewhere(form: str, mime: str = "") -> Variant:
    given, name = medium(form, f"far {form}")
    path = "/" + form.replace(" ", "-")
    far = Given(mime or given.mime, url=f"http://files.example:80{path}")
    return Variant(f"{form} by URL", (far,), (name,), ((path, b64decode(given.data)),))


def written(form: str, name: str, change: str) -> Variant:
    """The same base64 as others write it."""
    given, mark_name = medium(form, f"{name} {form}")
    data = given.data
    if change == "urlsafe":
        data = urlsafe_b64encode(b64decode(data)).decode()
    elif change == "unpadded":
        data = b64encode(b64decode(data) + b"-").decode().rstrip("=")
    elif change == "lines":
        data = "\n".join(data[i : i + 76] for i in range(0, len(data), 76))
    return Variant(f"{form}, {name}", (replace(given, data=data),), (mark_name,))


def piece(form: str) -> Variant:
    given, name = medium(form, f"cut {form}")
    return Variant(f"a piece of {form}", (replace(given, piece=(1.0, 2.0)),), (name,))


def frames(count: int) -> Variant:
    jpegs = [b64encode(marked(FILES["jpeg"][1], f"jpeg {i}")).decode() for i in range(count)]
    return Variant(f"{count} pictures as a video", (Given("video/jpeg", ",".join(jpegs)),), ("jpegs",))


VARIANTS: list[Variant] = [
    *(variant(form, form) for form in FILES),
    variant("png, no claim", "png", mime="application/octet-stream"),
    variant("webp called png", "webp", mime="image/png"),
    variant("wav called png", "wav", mime="image/png"),
    variant("opus called mp3", "opus", mime="audio/mpeg"),
    variant("mp4 called pdf", "mp4", mime="application/pdf"),
    variant("m4a called video", "m4a", mime="video/mp4"),
    variant("text called wav", "svg", mime="audio/wav"),
    variant("two pictures", "png", "webp"),
    variant("two sounds", "wav", "opus"),
    variant("two videos", "mp4", "silent mp4"),
    variant("one of each", "jpeg", "m4a", "mp4"),
    elsewhere("png"),
    elsewhere("webp"),
    elsewhere("opus"),
    elsewhere("mp4"),
    elsewhere("wav", "image/png"),
    written("png", "safe", "urlsafe"),
    written("opus", "short", "unpadded"),
    written("png", "in lines", "lines"),
    piece("wav"),
    piece("mp4"),
    frames(3),
    Variant("words", (Given(words="and then"),), ()),
]
