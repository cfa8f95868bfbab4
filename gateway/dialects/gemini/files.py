"""References to media that are elsewhere: uploaded files, and what a URI tells of its medium."""

from __future__ import annotations

import re
from typing import Final

from gateway.canonical.content import Media

_FILE = re.compile(
    r"(?:https?://[^/?#\s]+(?:/[^?#\s]*)?/v1(?:beta|alpha|beta1)?/)?(files/[A-Za-z0-9_-]{1,64})(?::download)?"
)
_YOUTUBE = re.compile(r"https?://(?:(?:www|m)\.)?(?:youtube\.com/|youtu\.be/)", re.IGNORECASE)
_ENDING = re.compile(r"\.([A-Za-z0-9]{2,5})(?:[?#]|$)")
_BY_ENDING: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "opus": "audio/opus",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "mov": "video/quicktime",
    "avi": "video/x-msvideo",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "3gp": "video/3gpp",
    "pdf": "application/pdf",
    "txt": "text/plain",
}


def file_id(uri: str) -> str | None:
    """`files/abc` of the URI of an uploaded file, whatever server it names; None for any other URI."""
    found = _FILE.fullmatch(uri)
    return found[1] if found else None


def mime_of_name(uri: str) -> str:
    """The media type that a URI's ending tells, "" if it tells none. A page of YouTube stands for its video."""
    if _YOUTUBE.match(uri):
        return "video/mp4"
    found = _ENDING.search(uri.rpartition("/")[2])
    return _BY_ENDING.get(found[1].lower(), "") if found else ""


def uri_of(media: Media) -> str:
    """The `fileUri` of a medium that is elsewhere."""
    return media.url if media.url is not None else media.file_id or ""
