"""Opening sounds and videos with FFmpeg: as what their bytes are known to be, and as nothing else. FFmpeg would take a
text for a playlist otherwise, and open what stands in it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av

from gateway.worker.media.refused import Refused

_FORMATS: dict[str, str] = {
    "wav": "wav",
    "mpeg": "mp3",
    "flac": "flac",
    "ogg": "ogg",
    "mp4": "mov",
    "quicktime": "mov",
    "3gpp": "mov",
    "webm": "matroska",
    "x-matroska": "matroska",
    "aac": "aac",
    "aiff": "aiff",
    "amr": "amr",
    "x-msvideo": "avi",
    "x-ms-asf": "asf",
    "l16": "s16be",
    "pcm": "s16le",
    "heic": "mov",
}


@contextmanager
def opened(data: bytes, mime: str, rate: int = 0) -> Iterator[Any]:
    """The container. Raises Refused for what FFmpeg can't read."""
    modality, _, kind = mime.partition("/")
    form = "mpeg" if mime == "video/mpeg" else _FORMATS.get(kind)
    if form is None:
        raise Refused(f"{mime} is not converted here")
    options = {"sample_rate": str(rate or 24000), "ch_layout": "mono"} if form in ("s16le", "s16be") else {}
    try:
        with av.open(io.BytesIO(data), format=form, options=options, metadata_errors="ignore") as container:
            yield container
    except (av.FFmpegError, ValueError, OverflowError, OSError) as e:
        raise Refused(f"this {modality} can't be read: it is broken, or not what it seems") from e
