"""Media types, their other names, and the magic numbers by which each is known."""

from __future__ import annotations

import re

SAME: dict[str, str] = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
    "image/x-ms-bmp": "image/bmp",
    "image/heif": "image/heic",
    "image/tif": "image/tiff",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-mpeg": "audio/mpeg",
    "audio/mpga": "audio/mpeg",
    "audio/x-flac": "audio/flac",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "audio/aacp": "audio/aac",
    "audio/x-aac": "audio/aac",
    "audio/x-aiff": "audio/aiff",
    "audio/aif": "audio/aiff",
    "video/x-m4v": "video/mp4",
    "video/mov": "video/quicktime",
    "video/mkv": "video/x-matroska",
    "video/avi": "video/x-msvideo",
    "video/mpg": "video/mpeg",
    "application/ogg": "audio/ogg",
    "application/x-pdf": "application/pdf",
}
"""Media types that mean the same -> the usual one."""

CLAIMS_NOTHING = ("", "application/octet-stream", "binary/octet-stream")

FRAMES = "video/jpeg"
"""A list of JPEG pictures, base64 joined by commas: what some servers take for a video."""

HEAD = 64
"""Octets at the beginning by which a medium is known."""
_MAGIC: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"BM....\x00\x00\x00\x00", re.DOTALL), "image/bmp"),
    (re.compile(rb"II\*\x00|MM\x00\*"), "image/tiff"),
    (re.compile(rb"....ftyp(?:avif|avis)", re.DOTALL), "image/avif"),
    (re.compile(rb"....ftyp(?:mif1|msf1).{0,44}(?:avif|avis)", re.DOTALL), "image/avif"),
    (re.compile(rb"....ftyp(?:heic|heix|heim|heis|hevc|hevx|mif1|msf1)", re.DOTALL), "image/heic"),
    (re.compile(rb"(?:RIFF|RF64)....WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"RIFF....AVI ", re.DOTALL), "video/x-msvideo"),
    (re.compile(rb"FORM....AIF[FC]", re.DOTALL), "audio/aiff"),
    (re.compile(rb"#!AMR(?:-WB)?\n"), "audio/amr"),
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb"\xff[\xf1\xf9]"), "audio/aac"),
    (re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"), "audio/mpeg"),
    (re.compile(rb"OggS"), "*/ogg"),
    (re.compile(rb"....ftypM4[AB] ", re.DOTALL), "*/mp4"),
    (re.compile(rb"....ftypqt  ", re.DOTALL), "video/quicktime"),
    (re.compile(rb"....ftyp3g", re.DOTALL), "*/3gpp"),
    (re.compile(rb"....ftyp", re.DOTALL), "*/mp4"),
    (re.compile(rb"....(?:moov|mdat|wide)", re.DOTALL), "video/quicktime"),
    (re.compile(rb"\x1a\x45\xdf\xa3.*webm", re.DOTALL), "*/webm"),
    (re.compile(rb"\x1a\x45\xdf\xa3"), "*/x-matroska"),
    (re.compile(rb"\x00\x00\x01[\xb3\xba]"), "video/mpeg"),
    (re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), "*/x-ms-asf"),
    (re.compile(rb"%PDF-"), "application/pdf"),
)
MAGICAL = frozenset(
    f"{modality}/{mime.partition('/')[2]}" if mime[0] == "*" else mime
    for _, mime in _MAGIC
    for modality in ("audio", "video")
)
"""Types whose bytes always show what they are: what claims to be one and does not show it, is none."""

_FAMILIES = (
    frozenset({"mp4", "quicktime", "3gpp", "3gpp2", "m4a", "aac"}),
    frozenset({"webm", "x-matroska"}),
    frozenset({"ogg", "opus", "vorbis"}),
    frozenset({"amr", "amr-wb", "3gpp"}),
    frozenset({"avif", "heic", "heif", "heic-sequence", "heif-sequence"}),
)
"""Subtypes that are one family of containers: who takes one of them for another is not wrong enough to be told."""


def usual(mime: str) -> str:
    """The usual name of a media type, without parameters, in lower case."""
    plain = mime.partition(";")[0].strip().lower()
    return SAME.get(plain, plain)


def sniff(head: bytes, modality: str) -> str:
    """The media type that the first bytes show, "" if they show none. A container that holds both sound and video is
    taken for what the part says it is."""
    for pattern, mime in _MAGIC:
        if pattern.match(head):
            return mime.replace("*", modality if modality in ("audio", "video") else "video")
    return ""


def contradicts(claim: str, mime: str) -> bool:
    """Whether `claim` names something else than `mime`, which the bytes show."""
    claimed = usual(claim)
    if claimed in CLAIMS_NOTHING or claimed == mime:
        return False
    said, shown = claimed.partition("/")[2], mime.partition("/")[2]
    return said != shown and not any(said in family and shown in family for family in _FAMILIES)
