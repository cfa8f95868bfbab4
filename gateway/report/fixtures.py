"""Pictures, sounds and videos whose content can be asked about, made here. `ask` is the question, `said` finds the
answer in what a model wrote.

A plain colour, a tone that is low or high, a digit on the later frames of a video (the first ones are blank: a model
that is shown the first frame only can't know it).
"""

from __future__ import annotations

import base64
import io
import math
import re
import struct
import wave
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from gateway.report.videos import VIDEOS

COLOURS = {"red": (220, 20, 20), "green": (20, 160, 40), "blue": (20, 40, 220), "yellow": (240, 220, 20)}
TONES = {"low": (160.0, 220.0), "high": (1800.0, 2400.0)}
"""Hertz."""
FONT = {
    "4": ("00010", "00110", "01010", "10010", "11111", "00010", "00010"),
    "7": ("11111", "00001", "00010", "00100", "01000", "01000", "01000"),
}
BLANK, FRAMES = 2, 8
"""Frames of a video without the digit, and in all; two a second."""
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, slots=True)
class Fixture:
    """`part`: the content part as clients of Chat Completions send it. `answer`: what it shows."""

    answer: str
    part: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """`choices`: the words that an answer may be. `octets`: how much the largest fixture is on the wire."""

    modality: str
    ask: str
    choices: Sequence[str]
    fixtures: Sequence[Fixture]

    def said(self, text: str) -> str | None:
        """The first of the choices that stands in a text; None if none does."""
        words = "|".join(re.escape(c) for c in self.choices)
        found = re.search(rf"\b(?:{words})\b", _as_digits(text.lower()) if self.modality == "video" else text.lower())
        return found[0] if found else None


@cache
def questions() -> tuple[Question, ...]:
    """One a modality. Several fixtures each, so that an answer which is always the same can't be right for all."""
    colours = [Fixture(c, _image(png(COLOURS[c]))) for c in ("blue", "red", "yellow")]
    tones = [Fixture(w, _audio(wav(TONES[w][i]))) for w, i in (("high", 0), ("low", 0), ("low", 1), ("high", 1))]
    digits = [Fixture(d, _video(v)) for d, v in VIDEOS.items()]
    return (
        Question(
            "image", f"What colour is this picture? Answer with one word: {_or(COLOURS)}.", list(COLOURS), colours
        ),
        Question(
            "audio", "Is the tone in this sound low or high? Answer with one word: low or high.", ["low", "high"], tones
        ),
        Question("video", "Which digit does this video show? Answer with the digit alone.", list("0123456789"), digits),
    )


def png(colour: tuple[int, int, int], size: int = 256) -> bytes:
    """A square of one colour, 8-bit RGB."""
    row = b"\0" + bytes(colour) * size

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * size)) + chunk(b"IEND", b"")
    )


def wav(hertz: float, seconds: float = 1.5, rate: int = 16_000) -> bytes:
    """A tone, mono, 16 bits."""
    count = int(seconds * rate)
    samples = (int(14_000 * math.sin(2 * math.pi * hertz * i / rate)) for i in range(count))
    out = io.BytesIO()
    with wave.open(out, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(rate)
        w.writeframes(struct.pack(f"<{count}h", *samples))
    return out.getvalue()


def frame(digit: str, size: int = 128, cell: int = 14) -> bytes:
    """A grey frame, 8 bits a pixel, with a digit in white ("" = none)."""
    pixels = bytearray(b"\x60" * size * size)
    for r, row in enumerate(FONT.get(digit, ())):
        for c, on in enumerate(row):
            for y in range(cell if on == "1" else 0):
                at = ((size - 7 * cell) // 2 + r * cell + y) * size + (size - 5 * cell) // 2 + c * cell
                pixels[at : at + cell] = b"\xff" * cell
    return bytes(pixels)


def _image(octets: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_text(octets)}"}}


def _audio(octets: bytes) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": _text(octets), "format": "wav"}}


def _video(base64_text: str) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{base64_text}"}}


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def _or(words: Sequence[str] | dict[str, Any]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"


def _as_digits(text: str) -> str:
    for digit, word in enumerate(_DIGITS):
        text = re.sub(rf"\b{word}\b", str(digit), text)
    return text
