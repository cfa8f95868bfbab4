"""HEIC of others: single.heic is libheif's (1.15, `heif-enc`); the tiles are, too, put together by hand, and libheif
decodes the whole to the same pixels, a few values apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("av", reason="the extra `media` is not installed")
from gateway.worker.media import heic, picture
from gateway.worker.media.refused import Refused

FILES = Path(__file__).parents[2] / "wire" / "heic"
SINGLE = (FILES / "single.heic").read_bytes()
TURNED = (FILES / "tiles_turned.heic").read_bytes()
CROPPED = (FILES / "tiles_cropped.heic").read_bytes()
RED, GREEN, BLUE = (220, 30, 30), (30, 200, 40), (30, 40, 220)
YELLOW, CYAN, WHITE = (230, 220, 40), (20, 200, 210), (240, 240, 240)
MOST = 1_000_000


def near(image: Any, at: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    return all(abs(a - b) < 12 for a, b in zip(image.getpixel(at), colour, strict=True))


def test_one_picture() -> None:
    image = heic.decode(SINGLE, MOST)
    assert image.size == (300, 200)
    assert near(image, (50, 50), (20, 200, 60)) and near(image, (250, 150), (20, 30, 220))
    assert near(image, (50, 150), (200, 30, 60))


def test_tiles_turned_and_mirrored() -> None:
    """150 x 100 out of 3 x 2 tiles of 64 x 64: a quarter turn clockwise, then left and right exchanged."""
    plan = heic.read_plan(TURNED)
    assert (plan.tiles, plan.columns, plan.width, plan.height) == ([1, 2, 3, 4, 5, 6], 3, 150, 100)
    image = heic.decode(TURNED, MOST)
    assert image.size == (100, 150)
    for at, colour in (((30, 50), RED), ((30, 100), GREEN), ((30, 140), BLUE), ((90, 30), YELLOW), ((90, 100), CYAN)):
        assert near(image, at, colour), (at, image.getpixel(at))
    assert near(image, (90, 140), WHITE)


def test_tiles_cropped() -> None:
    image = heic.decode(CROPPED, MOST)
    assert image.size == (100, 60)
    assert near(image, (5, 30), RED) and near(image, (50, 30), GREEN) and near(image, (50, 58), CYAN)


def test_one_tile_in_two_places() -> None:
    """Where a picture is of one colour, some write its tile once."""
    ids = b"".join(i.to_bytes(2, "big") for i in range(1, 7))
    assert TURNED.count(ids) == 1
    image = heic.decode(TURNED.replace(ids, ids.replace(b"\0\2", b"\0\1")), MOST)
    assert near(image, (30, 50), RED) and near(image, (30, 100), RED) and near(image, (30, 140), BLUE)


def test_it_becomes_a_jpeg_or_png_of_the_size_that_is_seen() -> None:
    made, mime, count = picture.convert(TURNED, "image/heic", 5000, ["image/png", "image/jpeg"])
    assert (mime, count) == ("image/jpeg", 1) and made.startswith(b"\xff\xd8")
    made, mime, _ = picture.convert(SINGLE, "image/heic", MOST, ["image/png"])
    assert mime == "image/png" and made.startswith(b"\x89PNG")


def test_what_is_too_large_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(Refused, match="150 x 100 pixels"):
        heic.decode(TURNED, 14_999)


@pytest.mark.parametrize("data", [SINGLE, TURNED], ids=["single", "tiles"])
def test_cut_files_are_refused(data: bytes) -> None:
    """In full or not at all: half of the tiles are no picture."""
    whole = picture.convert(data, "image/heic", MOST, ["image/png"])
    for end in [*range(0, len(data) - 1, 23), len(data) - 30]:
        try:
            assert picture.convert(data[:end], "image/heic", MOST, ["image/png"])[1:] == whole[1:]
        except Refused as e:
            assert "JPEG" in str(e) or "can't be read" in str(e)
    with pytest.raises(Refused):
        picture.convert(data[: len(data) // 2], "image/heic", MOST, ["image/png"])


@given(st.integers(0, len(TURNED) - 1), st.binary(min_size=1, max_size=4))
def test_nonsense_is_read_to_an_end(at: int, other: bytes) -> None:
    for data in (TURNED, SINGLE):
        try:
            plan = heic.read_plan(data[:at] + other + data[at + len(other) :])
        except Refused:
            continue
        assert len(plan.tiles) <= heic.MOST_TILES
