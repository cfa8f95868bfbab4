from __future__ import annotations

from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import Media, Segments
from gateway.canonical.media.octets import Octets


@given(st.binary(max_size=300), st.integers(1, 40), st.integers(0, 310), st.integers(0, 310))
def test_the_same_octets_in_every_form(data: bytes, size: int, start: int, count: int) -> None:
    text = b64encode(data)
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    forms = [Media(octets=data)]
    if data:
        forms += [Media(base64=text.decode()), Media(base64=Segments(pieces))]
    for media in forms:
        octets = Octets(media)
        assert octets.size == len(data)
        assert octets.read(start, count) == data[start : start + count]


def test_what_is_not_here_or_no_base64() -> None:
    assert Octets(Media(url="https://h/x")).read(0, 10) == b""
    assert Octets(Media(base64="é!é!")).read(0, 10) == b""
    assert Octets(Media(octets=b"abc")).read(5, 10) == b""


def test_nothing_is_joined() -> None:
    """Reading from the end of many chunks touches only the last ones."""

    class Chunk(bytes):
        touched = 0

        def __getitem__(self, key: object) -> bytes:  # type: ignore[override]
            Chunk.touched += 1
            return bytes.__getitem__(self, key)  # type: ignore[index]

    octets = Octets(Media(base64=Segments([Chunk(b"AAAA" * 1000) for _ in range(200)])))
    Chunk.touched = 0
    assert octets.read(octets.size - 10, 10) == bytes(10)
    assert Chunk.touched <= 2
