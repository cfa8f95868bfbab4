"""What a medium really is, and whether a server takes it as it stands."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from dataclasses import replace

from gateway.canonical.content import MODALITY, Media, MediaPart
from gateway.canonical.facts import Facts
from gateway.errors import PartRefused

SAME: dict[str, str] = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-flac": "audio/flac",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "video/x-m4v": "video/mp4",
    "video/mov": "video/quicktime",
    "video/mkv": "video/x-matroska",
}
"""Media types that mean the same -> the registered one."""

_HEAD = 64
_MAGIC: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"BM....\x00\x00\x00\x00", re.DOTALL), "image/bmp"),
    (re.compile(rb"II\*\x00|MM\x00\*"), "image/tiff"),
    (re.compile(rb"....ftyp(?:avif|avis)", re.DOTALL), "image/avif"),
    (re.compile(rb"....ftyp(?:heic|heix|mif1|msf1)", re.DOTALL), "image/heic"),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"RIFF....AVI ", re.DOTALL), "video/x-msvideo"),
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb"\xff[\xf1\xf9]"), "audio/aac"),
    (re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"), "audio/mpeg"),
    (re.compile(rb"OggS"), "*/ogg"),
    (re.compile(rb"....ftypqt  ", re.DOTALL), "video/quicktime"),
    (re.compile(rb"....ftyp", re.DOTALL), "*/mp4"),
    (re.compile(rb"\x1a\x45\xdf\xa3.*webm", re.DOTALL), "*/webm"),
    (re.compile(rb"\x1a\x45\xdf\xa3"), "*/x-matroska"),
    (re.compile(rb"\x00\x00\x01[\xb3\xba]"), "video/mpeg"),
    (re.compile(rb"%PDF-"), "application/pdf"),
)


def sniff(head: bytes, modality: str) -> str:
    """The media type that the first bytes show, "" if they show none. A container that holds both sound and video is
    taken for what the part says it is."""
    for pattern, mime in _MAGIC:
        if pattern.match(head):
            return mime.replace("*", modality)
    return ""


def head_of(media: Media) -> bytes:
    """The first bytes of a medium that is here; b"" where it is not, or is no base64."""
    if media.octets is not None:
        return media.octets[:_HEAD]
    if media.base64 is None:
        return b""
    text = media.base64[:_HEAD] if isinstance(media.base64, str) else media.base64.head(_HEAD)
    try:
        return b64decode(text[: len(text) & ~3], validate=True)
    except (Error, ValueError):
        return b""


def fit_media(part: MediaPart, facts: Facts) -> Media:
    """The medium as this server takes it, untouched where it is right already. Raises PartRefused with the part's path
    for everything that would have to be fetched or converted first."""
    media = part.media
    modality = MODALITY[type(part)]
    if getattr(facts, modality) is False:
        raise PartRefused(f"this server takes no {modality}", param=part.path)
    if media.url is not None:
        raise PartRefused("remote media is not fetched yet; send it as base64", param=part.path)
    if media.file_id is not None:
        raise PartRefused("no server here keeps files; send the medium as base64", param=part.path)
    if media.clip is not None and (media.clip.start is not None or media.clip.end is not None):
        raise PartRefused(f"cutting a piece out of {_an(modality)} is not done yet; send the piece", param=part.path)
    mime = _mime(media, modality)
    if not mime and modality != "document":
        raise PartRefused(f"what kind of {modality} this is can't be told; name its media type", param=part.path)
    formats: frozenset[str] | None = getattr(facts, f"{modality}_formats", None)
    if formats is not None and mime not in formats:
        takes = ", ".join(sorted({SAME.get(f, f) for f in formats}))
        raise PartRefused(f"{mime} is not converted yet; this server takes {takes}", param=part.path)
    return media if mime == media.mime else replace(media, mime=mime)


def _mime(media: Media, modality: str) -> str:
    """What the bytes show, where that is of the right modality; else the client's claim (a list of JPEG frames is
    video); "" if neither tells."""
    shown = sniff(head_of(media), modality)
    if shown.startswith(f"{modality}/") or (modality == "document" and shown):
        return shown
    claim = SAME.get(media.mime, media.mime)
    return claim if modality == "document" or claim.startswith(f"{modality}/") else ""


def _an(modality: str) -> str:
    return f"an {modality}" if modality[0] in "ai" else f"a {modality}"
