"""`data:` URLs and base64: checked without being decoded, and kept as they came.

Base64 that leaves this module is in the standard alphabet and padded, whatever the client wrote (URL-safe, unpadded):
some servers' decoders take nothing else. The exception is `video/jpeg`, a list of JPEG frames joined by commas.
Sources: https://www.rfc-editor.org/rfc/rfc2397, https://www.rfc-editor.org/rfc/rfc4648.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.canonical.content import Base64, Media, Segments
from gateway.errors import BadRequest

MAX_URL: Final = 8192
"""Characters of a URL that is not a `data:` URL."""

_HEAD_SIZE: Final = 512
_BODY = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_MIME = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
_WEB = re.compile(r"https?://[^\s/?#\\]+[^\s\\]*", re.IGNORECASE)
_COMMAS = re.compile(r"data:[^;,]*(?:;[^;,=]+=[^;]*)+;\s*base64\s*,", re.IGNORECASE)
"""Browsers write a recording's codecs as they are: `data:video/webm;codecs=vp8,opus;base64,...`."""
_STANDARD = str.maketrans("-_", "+/")
_STANDARD_BYTES = bytes.maketrans(b"-_", b"+/")
FRAMES: Final = "video/jpeg"


def parse_media(value: Base64, path: str, name: str | None = None, detail: str | None = None) -> Media:
    """A medium from a URL: `data:` (base64 only), `https:` or `http:`. Raises BadRequest with `path`.

    Other schemes and bare paths are refused here: some servers would open them on their own disk.
    """
    if value[:5].lower() == "data:" if isinstance(value, str) else value.head(5).lower() == "data:":
        mime, base64 = parse_data_url(value, path)
        return Media(mime=mime, base64=base64, name=name, detail=detail)
    if isinstance(value, Segments) or len(value) > MAX_URL:
        raise BadRequest(f"a URL is at most {MAX_URL} characters long; media go into a data: URL", param=path)
    if not _WEB.fullmatch(value):
        raise BadRequest("a medium is given as a data:, https: or http: URL", param=path)
    return Media(url=value, name=name, detail=detail)


def parse_data_url(value: Base64, path: str) -> tuple[str, Base64]:
    """`data:image/png;base64,AAAA` -> ("image/png", "AAAA"). Parameters of the type are dropped."""
    head = value[:_HEAD_SIZE] if isinstance(value, str) else value.head(_HEAD_SIZE)
    found = _COMMAS.match(head)
    comma = found.end() - 1 if found else head.find(",")
    if comma < 0:
        raise BadRequest("the data: URL has no comma between its type and its data", param=path)
    kind, *parameters = head[5:comma].split(";")
    if not parameters or parameters[-1].strip().lower() != "base64":
        raise BadRequest("the data: URL is not base64: write data:<type>;base64,<data>", param=path)
    mime = kind.strip().lower()
    if mime and not _MIME.fullmatch(mime):
        raise BadRequest("the data: URL has no media type like image/png", param=path)
    body = value[comma + 1 :] if isinstance(value, str) else value.skip(comma + 1)
    return mime, parse_base64(body, path, frames=mime == FRAMES)


def parse_base64(value: Base64, path: str, frames: bool = False) -> Base64:
    """`value` in the standard alphabet, padded. Raises BadRequest if it is empty or not base64.

    The alphabet of Segments was checked when they were cut out of the body.
    """
    if not len(value):
        raise BadRequest("the base64 data is empty", param=path)
    if isinstance(value, Segments):
        return _segments(value, path)
    if frames and "," in value:
        return ",".join(_text(frame, path) for frame in value.split(","))
    return _text(value, path)


def render_data_url(mime: str, base64: Base64) -> Base64:
    """The data: URL of a medium; of Segments nothing is copied."""
    head = f"data:{mime};base64,"
    return head + base64 if isinstance(base64, str) else Segments([head.encode("ascii"), *base64.chunks])


def _text(value: str, path: str) -> str:
    if not _BODY.fullmatch(value):
        raise BadRequest("the data is not base64", param=path)
    if "-" in value or "_" in value:
        value = value.translate(_STANDARD)
    return value + _padding(len(value), value.endswith("="), path)


def _segments(value: Segments, path: str) -> Segments:
    chunks = value.chunks
    if any(b"-" in c or b"_" in c for c in chunks):
        chunks = [c.translate(_STANDARD_BYTES) for c in chunks]
    tail = b"".join(chunks[-3:])[-3:]  # the last chunks may be of one character
    signs = tail.count(b"=")
    if signs > 2 or not tail.endswith(b"=" * signs) or any(b"=" in c for c in chunks[:-3]):
        raise BadRequest("the data is not base64", param=path)
    if sum(c.count(b"=") for c in chunks[-3:]) != signs:
        raise BadRequest("the data is not base64", param=path)
    padding = _padding(value.size, signs > 0, path)
    if padding:
        return Segments([*chunks, padding.encode("ascii")])
    return value if chunks is value.chunks else Segments(chunks)


def _padding(size: int, padded: bool, path: str) -> str:
    """What is missing at the end of `size` characters."""
    rest = size % 4
    if rest == 0:
        return ""
    if rest == 1 or padded:
        raise BadRequest("the base64 data is cut or wrongly padded", param=path)
    return "=" * (4 - rest)
