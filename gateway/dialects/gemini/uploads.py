"""Uploaded files as this dialect tells them, and what a client says before it sends one.

Source: https://ai.google.dev/api/files.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.canonical.files import File
from gateway.dialects.fields import INT64, Json, text_or_none
from gateway.dialects.gemini.fields import Shape, whole
from gateway.dialects.gemini.parts import media_type
from gateway.errors import BadRequest

_START: Final = Shape("file")
_FILE: Final = Shape("name displayName mimeType sizeBytes")
_LONGEST_NAME: Final = 512


@dataclass(slots=True)
class Start:
    """`size` None = the client does not say."""

    name: str = ""
    mime: str = ""
    size: int | None = None


def parse_start(body: object, headers: Mapping[str, str]) -> Start:
    """The beginning of an upload: what the headers (names in lower case) say goes before the body's word. A name that
    the client chose for its file is no id here: ids are given. Raises BadRequest."""
    known, _ = _START.read(body if body is not None else {}, "")
    about, _ = _FILE.read(known.get("file", {}), "file")
    display = text_or_none(about.get("displayName"), "file.displayName") or headers.get("x-goog-upload-file-name", "")
    claimed = headers.get("x-goog-upload-header-content-type") or text_or_none(about.get("mimeType"), "file.mimeType")
    told = headers.get("x-goog-upload-header-content-length") or about.get("sizeBytes")
    size = None if told is None else whole(told, "file.sizeBytes", 0, INT64)
    return Start(display[:_LONGEST_NAME], media_type(claimed, "file"), size)


def parse_offset(headers: Mapping[str, str], received: int) -> None:
    """Raises BadRequest if the piece does not begin where the last one ended."""
    told = headers.get("x-goog-upload-offset")
    if told is not None and whole(told, "X-Goog-Upload-Offset", 0, INT64) != received:
        raise BadRequest(f"the upload has {received} octets: go on from there", param="X-Goog-Upload-Offset")


def render_file(file: File, base: str) -> Json:
    """`base`: the URL under which this API is reached, without a slash at its end."""
    name = f"files/{file.id}"
    out: Json = {
        "name": name,
        "mimeType": file.mime,
        "sizeBytes": str(file.size),
        "createTime": stamp(file.created),
        "updateTime": stamp(file.created),
        "expirationTime": stamp(file.expires),
        "sha256Hash": b64encode(file.sha256).decode(),
        "uri": f"{base}/{name}",
        "downloadUri": f"{base}/{name}:download?alt=media",
        "state": "ACTIVE",
        "source": "UPLOADED",
    }
    if file.name:
        out["displayName"] = file.name
    return out


def stamp(seconds: float) -> str:
    """Unix seconds -> `2026-01-02T03:04:05.678901Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
