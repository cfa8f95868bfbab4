"""What needs no decoder. The decoders themselves are tested where they are installed: test_real.py."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import Audio, Clip, Image, Media, Segments
from gateway.errors import PartRefused
from gateway.worker.keras.media import octets, spread, stamp


@given(st.integers(0, 5000), st.integers(2, 40))
def test_frames_are_spread_from_the_first_to_the_last(count: int, most: int) -> None:
    found = spread(count, most)
    assert len(found) == min(count, most)
    assert found == sorted(set(found))
    if count:
        assert (found[0], found[-1]) == (0, count - 1)
        gaps = [b - a for a, b in pairwise(found)]
        assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(("seconds", "told"), [(0, "00:00"), (59.99, "00:59"), (75.4, "01:15"), (6000, "100:00")])
def test_times(seconds: float, told: str) -> None:
    assert stamp(seconds) == told


def test_octets() -> None:
    assert octets(Image(Media("image/png", octets=b"abc"))) == b"abc"
    assert octets(Image(Media("image/png", base64="YWJj"))) == b"abc"
    assert octets(Audio(Media("audio/wav", base64=Segments([b"YW", b"Jj"])))) == b"abc"


@pytest.mark.parametrize(
    "media",
    [
        Media(url="https://example.com/a.png"),
        Media(file_id="file-1"),
        Media("audio/wav", base64="YWJj", clip=Clip(1.0, 2.0)),
        Media("audio/wav", base64="YW Jj!"),
    ],
)
def test_what_is_not_here_is_refused_by_its_path(media: Media) -> None:
    with pytest.raises(PartRefused) as e:
        octets(Audio(media, path="messages[0].content[1]"))
    assert e.value.param == "messages[0].content[1]"
