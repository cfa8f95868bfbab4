from __future__ import annotations

import io
import struct
import wave
import zlib

import pytest

from gateway.demo import media


def test_the_picture_is_a_png_of_that_size() -> None:
    data = media.png(5, 3)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(name + body)
        chunks[name] = body
        at += 12 + size
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (5, 3)
    assert len(zlib.decompress(chunks[b"IDAT"])) == 3 * (1 + 5 * 3)


def test_the_sound_is_a_wav_of_that_length() -> None:
    with wave.open(io.BytesIO(media.wav(0.25))) as w:
        assert (w.getnchannels(), w.getframerate(), w.getsampwidth(), w.getnframes()) == (1, 16_000, 2, 4_000)


@pytest.mark.real
def test_the_video_is_an_mp4(needs_ffmpeg: None) -> None:
    assert media.mp4()[4:8] == b"ftyp"
