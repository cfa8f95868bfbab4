from __future__ import annotations

import struct
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.wire.samples import MP4, PNG, WAV
from gateway.canonical.content import Header, Media, Segments
from gateway.canonical.media.headers import MOST_PIXELS, read_header
from gateway.canonical.media.kinds import contradicts, sniff
from tests import made
from tests.made import needs_ffmpeg

HEADS = [
    (b64decode(PNG)[:48], "image", "image/png"),
    (b64decode(WAV)[:48], "audio", "audio/wav"),
    (b64decode(MP4)[:48], "video", "video/mp4"),
    (b"\xff\xd8\xff\xe0", "image", "image/jpeg"),
    (b"GIF89a", "image", "image/gif"),
    (b"RIFF\x00\x01\x00\x00WEBPVP8 ", "image", "image/webp"),
    (b"RIFF\x00\x01\x00\x00AVI LIST", "video", "video/x-msvideo"),
    (b"ID3\x04", "audio", "audio/mpeg"),
    (b"\xff\xfb\x90", "audio", "audio/mpeg"),
    (b"\xff\xf1\x50", "audio", "audio/aac"),
    (b"fLaC", "audio", "audio/flac"),
    (b"FORM\x00\x00\x00\x00AIFFCOMM", "audio", "audio/aiff"),
    (b"#!AMR\n<", "audio", "audio/amr"),
    (b"#!AMR-WB\n<", "audio", "audio/amr"),
    (b"OggS", "audio", "audio/ogg"),
    (b"\x00\x00\x00\x20ftypM4A ", "audio", "audio/mp4"),
    (b"\x00\x00\x00\x20ftypqt  ", "video", "video/quicktime"),
    (b"\x00\x00\x00\x20ftypavif", "image", "image/avif"),
    (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avif", "image", "image/avif"),
    (b"\x00\x00\x00\x24ftypheic\x00\x00\x00\x00mif1MiHE", "image", "image/heic"),
    (b"\x1a\x45\xdf\xa3\x01\x42\x82\x84webm", "video", "video/webm"),
    (b"\x1a\x45\xdf\xa3\x01\x42\x82\x88matroska", "video", "video/x-matroska"),
    (b"\x00\x00\x01\xba\x44", "video", "video/mpeg"),
    (b"%PDF-1.7", "document", "application/pdf"),
    (b"", "image", ""),
    (b"hello", "audio", ""),
    (b"<svg xmlns=", "image", ""),
]


@pytest.mark.parametrize(("head", "modality", "mime"), HEADS)
def test_first_bytes(head: bytes, modality: str, mime: str) -> None:
    assert sniff(head, modality) == mime


def test_samples_are_what_they_say() -> None:
    assert len(b64decode(MP4)) < 2048
    assert len(b64decode(WAV)) == 44 + 3202
    assert read_header(Media(base64=WAV), "audio").seconds == pytest.approx(0.1, abs=0.001)
    assert read_header(Media(base64=PNG), "image").width > 0
    assert read_header(Media(base64=MP4), "video").frames is not None


SOUNDS = {
    **dict.fromkeys(("wav", "wav8", "wav48"), "audio/wav"),
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    **dict.fromkeys(("ogg", "opus"), "audio/ogg"),
    **dict.fromkeys(("m4a", "mov"), "audio/mp4"),
    "webm": "audio/webm",
    "mka": "audio/x-matroska",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "3gp": "audio/3gpp",
}


@needs_ffmpeg
@pytest.mark.parametrize("form", SOUNDS)
@pytest.mark.parametrize("modality", ["audio", "video", "document"])
def test_sounds(form: str, modality: str) -> None:
    """Whatever the part says it is: the tracks tell."""
    header = read_header(Media(octets=made.sound(form, 2.0)), modality)
    assert header.mime == SOUNDS[form]
    assert header.seconds == pytest.approx(2.0, abs=0.15)
    assert header.problem == ""


@needs_ffmpeg
def test_the_form_of_plain_samples() -> None:
    h = read_header(Media(octets=made.sound("wav48", 0.5)), "audio")
    assert (h.rate, h.channels, h.bits, h.plain) == (48000, 2, 16, True)


VIDEOS = {
    "mp4": "video/mp4",
    "fragmented": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "avi": "video/x-msvideo",
    "mpg": "video/mpeg",
    "ogv": "video/ogg",
}


@needs_ffmpeg
@pytest.mark.parametrize("form", VIDEOS)
@pytest.mark.parametrize("hears", [True, False])
def test_videos(form: str, hears: bool) -> None:
    data = made.video(form, 2.0, hears=hears)
    header = read_header(Media(octets=data), "audio")
    assert header.mime == VIDEOS[form]
    assert header.sound is (None if form == "mpg" else hears)
    if form not in ("fragmented", "mpg") and (form, hears) != ("ogv", False):
        assert header.seconds == pytest.approx(2.0, abs=0.15)
    if form in ("mp4", "webm", "mov", "mkv", "avi"):
        assert (header.width, header.height) == (96, 64)
    if form in ("mp4", "mov"):
        assert header.frames == 16
    text = b64encode(data)
    pieces = Segments([text[i : i + 7777] for i in range(0, len(text), 7777)])
    assert read_header(Media(base64=pieces), "audio") == header


@needs_ffmpeg
@pytest.mark.parametrize("form", ["png", "jpg", "gif", "webp", "bmp", "tiff"])
def test_pictures(form: str) -> None:
    header = read_header(Media(octets=made.picture(form, 64, 48)), "image")
    assert (header.width, header.height) == (64, 48)
    assert header.mime == f"image/{ {'jpg': 'jpeg'}.get(form, form) }"


def test_mp3_without_a_count_goes_by_its_bit_rate() -> None:
    frame = b"\xff\xfb\x90\x00" + bytes(413)  # 128 kbit/s, 44.1 kHz
    assert read_header(Media(octets=frame * 40), "audio").seconds == pytest.approx(40 * 417 / 16000)


def test_what_stands_behind_a_tag_with_a_large_picture() -> None:
    tag = b"ID3\x04\0\0" + bytes([0, 6, 26, 0]) + bytes(6 << 14 | 26 << 7)
    adts = b"\xff\xf1\x60\x40\x20\x00\xfc" + bytes(249)  # 256 octets, 16 kHz
    flac = b"fLaC\x00\x00\x00\x22" + bytes(10) + struct.pack(">Q", 16000 << 44 | 32000) + bytes(16)
    mp3 = b"\xff\xfb\x90\x00" + bytes(413)
    found = [read_header(Media(octets=tag + x), "audio") for x in (adts * 50, flac, mp3 * 40, bytes(500))]
    assert [h.mime for h in found] == ["audio/aac", "audio/flac", "audio/mpeg", "audio/mpeg"]
    assert [h.seconds for h in found[:3]] == pytest.approx([3.2, 2.0, 40 * 417 / 16000], rel=0.01)


def test_amr() -> None:
    assert read_header(Media(octets=b"#!AMR\n" + (b"\x3c" + bytes(31)) * 50), "audio").seconds == pytest.approx(1.0)


# ---- made to break decoders ------------------------------------------------------------------------------------------


def wav(length: int, here: int, rate: int = 32000) -> bytes:
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", (36 + length) & 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, 1,
                       16000, rate, 2, 16, b"data", length)  # fmt: skip
    return head + bytes(here)


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s2I5B", 13, b"IHDR", width, height, 8, 2, 0, 0, 0) + bytes(8)


HOSTILE = [
    (wav(4_000_000_000, 1000), "promises 4000000000 octets, 1000 are here"),
    (wav(1000, 1000, rate=0), "no sample rate"),
    (wav(0, 0), "no sound in it"),
    (wav(0xFFFFFFFF, 0), "no sound in it"),
    (png(65_000, 65_000), "65000 x 65000 pixels"),
    (png(1, 2**31), "pixels"),
    (b"GIF89a" + struct.pack("<2H", 65_535, 65_535), "pixels"),
    (b"fLaC\x00\x00\x00\x22" + bytes(10) + struct.pack(">Q", 8000 << 44 | 2**36 - 1), "seconds"),
]


@pytest.mark.parametrize(("data", "words"), HOSTILE)
def test_refused_from_the_header(data: bytes, words: str) -> None:
    assert words in read_header(Media(octets=data), "audio").problem


def test_what_was_written_to_a_pipe_is_no_lie() -> None:
    for length in (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFF00 + 0x21):
        header = read_header(Media(octets=wav(length, 32000)), "audio")
        assert (header.seconds, header.problem) == (1.0, "")
    assert MOST_PIXELS > 108_000_000


CUT = [b64decode(PNG), b64decode(WAV), b64decode(MP4)]


@pytest.mark.parametrize("data", CUT)
def test_cut_anywhere(data: bytes) -> None:
    for end in [*range(min(len(data), 200)), *range(200, len(data), 97)]:
        assert isinstance(read_header(Media(octets=data[:end]), "video"), Header)


STARTS = [head for head, _, _ in HEADS] + CUT


@given(st.sampled_from(STARTS), st.binary(max_size=200), st.integers(0, 100))
def test_any_bytes(head: bytes, tail: bytes, keep: int) -> None:
    assert isinstance(read_header(Media(octets=head[: keep or None] + tail), "audio"), Header)


# ---- claims ----------------------------------------------------------------------------------------------------------

CLAIMS = [
    ("image/jpg", "image/jpeg", False),
    ("", "image/png", False),
    ("application/octet-stream", "image/png", False),
    ("audio/opus", "audio/ogg", False),
    ("audio/webm;codecs=opus", "audio/webm", False),
    ("video/webm", "audio/webm", False),
    ("audio/mp3", "audio/mpeg", False),
    ("image/jpeg", "image/png", True),
    ("audio/wav", "audio/mpeg", True),
    ("application/pdf", "image/png", True),
]


@pytest.mark.parametrize(("claim", "mime", "wrong"), CLAIMS)
def test_what_is_worth_a_notice(claim: str, mime: str, wrong: bool) -> None:
    assert contradicts(claim, mime) is wrong
