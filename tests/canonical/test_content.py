from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import Media, Segments, Text

chunks = st.lists(st.text(alphabet="ABCab01+/=", max_size=6).map(str.encode), max_size=5)


@given(chunks, chunks)
def test_segments_are_their_text(a: list[bytes], b: list[bytes]) -> None:
    one, other = Segments(a), Segments(b)
    assert one.text() == b"".join(a).decode() and len(one) == len(one.text()) and list(one) == a
    assert (one == other) is (one.text() == other.text())
    assert (one == other.text()) is (one.text() == other.text())
    assert one != 5 and f"{len(one)}" in repr(one)


@given(chunks, st.integers(0, 40))
def test_head_and_skip(a: list[bytes], n: int) -> None:
    segments = Segments(a)
    assert segments.head(n) + segments.skip(n).text() == segments.text()
    assert len(segments.head(n)) == min(n, len(segments))


def test_skip_copies_no_whole_chunk() -> None:
    chunk = b"A" * 1000
    assert Segments([b"head,", chunk]).skip(5).chunks[0] is chunk


def test_a_medium_has_exactly_one_source() -> None:
    for wrong in ({}, {"base64": "AAAA", "url": "http://h"}, {"octets": b"", "file_id": "f"}):
        with pytest.raises(ValueError, match="exactly one"):
            Media(**wrong)  # type: ignore[arg-type]
    assert Media(base64="AAAA").size == 3 and Media(octets=b"abc").size == 3 and Media(url="http://h").size == 0
    assert Media(base64=Segments([b"AA", b"AA"])) == Media(base64="AAAA")


def test_the_place_of_a_part_is_not_its_value() -> None:
    assert Text("a", path="messages[0]") == Text("a", path="messages[1]") and "messages" not in repr(
        Text("", path="messages")
    )
