"""What the fixtures show is what they say they show, and answers are read as a person would."""

from __future__ import annotations

import base64
import io
import itertools
import shutil
import struct
import subprocess
import wave
import zlib

import pytest

from gateway.report.fixtures import BLANK, COLOURS, FRAMES, TONES, Question, frame, png, questions, wav
from gateway.report.videos import VIDEOS

ASK = {q.modality: q for q in questions()}


def octets(question: Question, index: int) -> bytes:
    part = question.fixtures[index].part
    inner = part[part["type"]]
    return base64.b64decode(inner["data"] if "data" in inner else inner["url"].partition(",")[2])


def test_a_picture_is_of_its_colour() -> None:
    for i, fixture in enumerate(ASK["image"].fixtures):
        data = octets(ASK["image"], i)
        size = struct.unpack(">I", data[16:20])[0]
        at = data.index(b"IDAT")
        length = struct.unpack(">I", data[at - 4 : at])[0]
        pixels = zlib.decompress(data[at + 4 : at + 4 + length])
        assert len(pixels) == size * (1 + 3 * size)
        assert set(pixels[1:4]) == set(pixels[-3:]) == set(COLOURS[fixture.answer])
    assert png((1, 2, 3)).startswith(b"\x89PNG")


def test_a_tone_is_as_low_or_high_as_it_says() -> None:
    for i, fixture in enumerate(ASK["audio"].fixtures):
        with wave.open(io.BytesIO(octets(ASK["audio"], i))) as w:
            samples = struct.unpack(f"<{w.getnframes()}h", w.readframes(w.getnframes()))
            crossings = sum(a < 0 <= b for a, b in itertools.pairwise(samples))
            hertz = crossings * w.getframerate() / w.getnframes()
        assert min(abs(hertz - t) for t in TONES[fixture.answer]) < 5
    assert len(wav(100.0, seconds=0.5)) == 44 + 16_000


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg")
@pytest.mark.parametrize("digit", VIDEOS)
def test_a_video_shows_its_digit_but_not_at_once(digit: str) -> None:
    into = ["-f", "rawvideo", "-pix_fmt", "gray", "-"]
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", "-", *into],
        input=base64.b64decode(VIDEOS[digit]),
        check=True,
        capture_output=True,
    ).stdout
    size = len(frame(""))
    frames = [raw[i : i + size] for i in range(0, len(raw), size)]
    assert len(frames) == FRAMES

    def differs(a: bytes, b: bytes) -> float:
        return sum(abs(x - y) for x, y in zip(a, b, strict=True)) / size

    for i, shown in enumerate(frames):
        want, other = (frame(""), frame(digit)) if i < BLANK else (frame(digit), frame(""))
        assert differs(shown, want) < 8 < differs(shown, other)


def test_no_answer_is_right_for_all() -> None:
    for q in ASK.values():
        assert len({f.answer for f in q.fixtures}) > 1
        assert {f.answer for f in q.fixtures} <= set(q.choices)
        assert all(q.said(f.answer) == f.answer for f in q.fixtures)


@pytest.mark.parametrize(
    ("modality", "text", "said"),
    [
        ("image", "Blue.", "blue"),
        ("image", "The picture is RED, not blue", "red"),
        ("image", "It is reddish", None),
        ("image", "", None),
        ("audio", "high", "high"),
        ("audio", "A low-pitched tone", "low"),
        ("audio", "I can't hear anything", None),
        ("video", "7", "7"),
        ("video", "It shows the digit four.", "4"),
        ("video", "47", None),
    ],
)
def test_answers_are_read(modality: str, text: str, said: str | None) -> None:
    assert ASK[modality].said(text) == said
