"""Media files made by ffmpeg when a test wants one. Kept while the tests run; the same arguments give the same file."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg")

_SOUND: dict[str, list[str]] = {
    "wav": [],
    "wav8": ["-c:a", "pcm_u8", "-f", "wav"],
    "wav48": ["-ar", "48000", "-ac", "2", "-f", "wav"],
    "mp3": ["-b:a", "64k"],
    "flac": [],
    "ogg": ["-c:a", "libvorbis"],
    "opus": ["-c:a", "libopus", "-f", "ogg"],
    "m4a": ["-c:a", "aac"],
    "mov": ["-c:a", "aac"],
    "webm": ["-c:a", "libopus"],
    "mka": ["-c:a", "libopus", "-f", "matroska"],
    "aac": ["-c:a", "aac", "-f", "adts"],
    "aiff": [],
    "3gp": ["-c:a", "aac"],
}
_VIDEO: dict[str, list[str]] = {
    "mp4": ["-c:v", "mpeg4", "-c:a", "aac"],
    "fragmented": ["-c:v", "mpeg4", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4"],
    "webm": ["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"],
    "mov": ["-c:v", "mpeg4", "-c:a", "aac"],
    "mkv": ["-c:v", "mpeg4", "-c:a", "aac"],
    "avi": ["-c:v", "mpeg4", "-c:a", "mp3"],
    "mpg": ["-c:v", "mpeg1video", "-r", "25", "-c:a", "mp2"],
    "ogv": ["-c:v", "libtheora", "-c:a", "libvorbis"],
}


def sound(form: str = "wav", seconds: float = 0.5, source: str = "sine=frequency=440") -> bytes:
    """A tone. `form` = a key of `_SOUND`."""
    ending = {"wav8": "wav", "wav48": "wav", "opus": "ogg"}.get(form, form)
    return made(("-f", "lavfi", "-i", f"{source}:duration={seconds}", *_SOUND[form]), ending)


def picture(form: str = "png", width: int = 64, height: int = 48, *more: str) -> bytes:
    """A test picture: png, jpg, gif, webp, bmp, tiff."""
    return made(("-f", "lavfi", "-i", f"testsrc=size={width}x{height}:rate=1", "-frames:v", "1", *more), form)


def video(form: str = "mp4", seconds: float = 2, rate: int = 8, hears: bool = True, size: str = "96x64") -> bytes:
    """A moving picture, with a tone if it `hears`."""
    source = ["-f", "lavfi", "-i", f"testsrc=duration={seconds}:size={size}:rate={rate}"]
    if hears:
        source += ["-f", "lavfi", "-i", f"sine=frequency=330:duration={seconds}"]
    return made((*source, *_VIDEO[form]), {"fragmented": "mp4"}.get(form, form))


@cache
def made(arguments: tuple[str, ...], ending: str) -> bytes:
    """What `ffmpeg ARGUMENTS file.ENDING` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"made.{ending}")
        subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments, str(path)], stdin=subprocess.DEVNULL,
                       check=True, timeout=60)  # fmt: skip
        return path.read_bytes()
