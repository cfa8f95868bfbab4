"""The header of any medium, whatever its container."""

from __future__ import annotations

from collections.abc import Callable

from gateway.canonical.content import Header, Media
from gateway.canonical.media import pictures, sounds
from gateway.canonical.media.boxes import is_boxes, read_movie, read_still
from gateway.canonical.media.kinds import FRAMES, HEAD, sniff, usual
from gateway.canonical.media.listed import count_of
from gateway.canonical.media.matroska import read_avi, read_matroska
from gateway.canonical.media.octets import Octets

MOST_PIXELS = 178_956_970
"""Of a picture: what Pillow, and servers that use it, take for an attack from here on."""
MOST_SECONDS = 12 * 3600.0
"""Of a sound or video. Nothing that fits into a request is longer, but for what was made to break decoders."""
MOST_FRAMES = 2_000_000
MOST_SIDE = 32_768

_READERS: dict[str, Callable[[Octets, Header], None]] = {
    "image/png": pictures.read_png,
    "image/jpeg": pictures.read_jpeg,
    "image/gif": pictures.read_gif,
    "image/webp": pictures.read_webp,
    "image/bmp": pictures.read_bmp,
    "image/tiff": pictures.read_tiff,
    "image/avif": read_still,
    "image/heic": read_still,
    "audio/wav": sounds.read_wav,
    "audio/aiff": sounds.read_aiff,
    "audio/flac": sounds.read_flac,
    "audio/mpeg": sounds.read_mp3,
    "audio/aac": sounds.read_aac,
    "audio/amr": sounds.read_amr,
    "audio/ogg": sounds.read_ogg,
    "video/ogg": sounds.read_ogg,
    "video/x-msvideo": read_avi,
}


def header_of(media: Media, modality: str) -> Header:
    """What the medium's own bytes tell. `modality` decides for containers that may hold both where their tracks do not
    tell. Read once per medium."""
    if media.header is None:
        media.header = read_header(media, modality)
    return media.header


def read_header(media: Media, modality: str) -> Header:
    if usual(media.mime) == FRAMES:
        return Header(mime=FRAMES, frames=count_of(media), sound=False, pictures=True)
    octets = Octets(media)
    head = octets.read(0, HEAD)
    header = Header(mime=sniff(head, modality), size=octets.size)
    if head.startswith(b"ID3"):  # before MP3 as a rule, and before whatever else players have met
        behind = sniff(octets.read(sounds.tag_of(octets), HEAD), "audio")
        header.mime = behind if behind.startswith("audio/") else header.mime
    if not header.mime:
        return header
    reader = _READERS.get(header.mime)
    if reader is not None:
        reader(octets, header)
    elif is_boxes(head):
        read_movie(octets, header)
    elif head.startswith(b"\x1a\x45\xdf\xa3"):
        read_matroska(octets, header)
    if not header.mime.startswith(("image/", "application/")):
        _by_tracks(header)
    header.problem = header.problem or _problem(header)
    return header


def _by_tracks(header: Header) -> None:
    """A container is of the kind of its tracks."""
    if header.pictures is None or (not header.pictures and not header.sound):
        return
    kind = header.mime.partition("/")[2]
    if header.pictures:
        header.mime = f"video/{kind}"
    else:
        header.mime = "audio/mp4" if kind == "quicktime" else f"audio/{kind}"


def _problem(h: Header) -> str:
    """Why nobody should decode this, "" if nothing speaks against it."""
    if h.width * h.height > MOST_PIXELS or max(h.width, h.height) > 2 * MOST_SIDE:
        return f"its header says {h.width} x {h.height} pixels: at most {MOST_PIXELS:,} are taken"
    if h.mime.startswith("video/") and max(h.width, h.height) > MOST_SIDE:
        return f"its header says {h.width} x {h.height} pixels, which no video has"
    if h.seconds is not None and h.seconds > MOST_SECONDS:
        return f"its header says {h.seconds:.0f} seconds: at most {MOST_SECONDS:.0f} are taken"
    if h.frames is not None and h.frames > MOST_FRAMES:
        return f"its header says {h.frames} frames: at most {MOST_FRAMES} are taken"
    return ""
