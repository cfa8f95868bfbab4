"""Whether a video has a sound track.

Small files made with ffmpeg would be kilobytes; these hold the boxes that matter, as ffmpeg writes them."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.wire import samples
from gateway.canonical.content import Media, Segments
from gateway.canonical.media.headers import header_of


def has_sound(media: Media) -> bool | None:
    return header_of(media, "video").sound


def box(kind: bytes, body: bytes) -> bytes:
    return (len(body) + 8).to_bytes(4, "big") + kind + body


def large(kind: bytes, body: bytes) -> bytes:
    return (1).to_bytes(4, "big") + kind + (len(body) + 16).to_bytes(8, "big") + body


def track(handler: bytes, component: bytes = bytes(4)) -> bytes:
    return box(b"trak", box(b"mdia", box(b"hdlr", bytes(4) + component + handler + bytes(12))))


FTYP = box(b"ftyp", b"isomiso2")
VIDEO, SOUND = track(b"vide"), track(b"soun")
EBML = b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01"
MKV_VIDEO, MKV_SOUND = b"\x86\x8fV_MPEG4/ISO/AVC", b"\x86\x86A_OPUS"
AVI = b"RIFF\x00\x10\x00\x00AVI LIST"

FILES = [
    ("at the end", FTYP + box(b"mdat", b"soun" * 99) + box(b"moov", VIDEO + SOUND), True),
    ("at the beginning", FTYP + box(b"moov", SOUND + VIDEO) + box(b"mdat", bytes(99)), True),
    ("silent", FTYP + box(b"mdat", b"hdlr\x00\x00\x00\x00\x00\x00\x00\x00soun") + box(b"moov", VIDEO), False),
    ("quicktime", FTYP + box(b"moov", track(b"vide", b"mhlr") + track(b"soun", b"mhlr")), True),
    ("old quicktime", box(b"wide", b"") + box(b"mdat", bytes(9)) + box(b"moov", track(b"soun", b"mhlr")), True),
    ("large", FTYP + large(b"mdat", bytes(1000)) + box(b"moov", SOUND), True),
    ("open end", FTYP + (0).to_bytes(4, "big") + b"mdat" + bytes(100), None),
    ("cut", FTYP + box(b"mdat", bytes(100))[:50], None),
    ("broken", FTYP + (3).to_bytes(4, "big") + b"moov" + SOUND, None),
    ("no moov", FTYP + box(b"mdat", bytes(100)), None),
    ("matroska", EBML + MKV_VIDEO + MKV_SOUND, True),
    ("silent matroska", EBML + MKV_VIDEO, False),
    ("matroska without tracks near", EBML + bytes(300_000) + MKV_SOUND, None),
    ("avi", AVI + b"strh8\x00\x00\x00vidsH264strh8\x00\x00\x00auds", True),
    ("silent avi", AVI + b"strh8\x00\x00\x00vidsH264", False),
    ("empty avi", AVI, None),
    ("mpeg", b"\x00\x00\x01\xba" + bytes(99), None),
    ("nothing", b"", None),
]


@pytest.mark.parametrize(("name", "data", "expected"), FILES, ids=[f[0] for f in FILES])
def test_files(name: str, data: bytes, expected: bool | None) -> None:
    text = b64encode(data)
    assert has_sound(Media("video/mp4", octets=data)) is expected
    assert has_sound(Media("video/mp4", base64=text.decode())) is expected
    cut = [text[at : at + 7] for at in range(0, min(len(text), 4000), 7)] + [text[4004:]]
    if len(text) < 4000:
        assert has_sound(Media("video/mp4", base64=Segments(cut))) is expected


def test_a_real_file() -> None:
    assert has_sound(Media("video/mp4", base64=samples.MP4)) is False


@pytest.mark.parametrize("media", [Media(url="http://x/y.mp4"), Media(file_id="x"), Media("video/mp4", base64="é!")])
def test_what_is_not_here(media: Media) -> None:
    assert has_sound(media) is None


def test_a_list_of_pictures_is_silent() -> None:
    assert has_sound(Media("video/jpeg", base64="/9j/")) is False


@given(st.binary(max_size=200), st.sampled_from([b"", FTYP, EBML, AVI, FTYP + b"\x00\x00\x00\x01moov"]))
def test_any_bytes(data: bytes, head: bytes) -> None:
    assert has_sound(Media("video/mp4", octets=head + data)) in (True, False, None)


def test_a_file_that_ends_before_its_samples_do() -> None:
    whole = FTYP + box(b"moov", VIDEO) + box(b"mdat", bytes(500))
    assert header_of(Media(octets=whole), "video").problem == ""
    assert "the last 100 octets" in header_of(Media(octets=whole[:-100]), "video").problem
    wide = FTYP + box(b"moov", VIDEO) + large(b"mdat", bytes(500))
    assert header_of(Media(octets=wide), "video").problem == ""
    assert "the last 1 octets" in header_of(Media(octets=wide[:-1]), "video").problem
    to_the_end = FTYP + box(b"moov", VIDEO) + (0).to_bytes(4, "big") + b"mdat" + bytes(100)
    assert header_of(Media(octets=to_the_end), "video").problem == ""
