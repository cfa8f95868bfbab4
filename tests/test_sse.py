from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sse import MAX_EVENT, EventTooLarge, Splitter
from tests.wire import recorded

STREAM = (
    b"\xef\xbb\xbfdata: first\n\n"
    b": a comment\r\n"
    b"event: message\r\nid: 7\r\ndata: two\r\ndata:lines\r\n\r\n"
    b"data\n\n"
    b"data:  indented\r\rretry: 5\r\n\r\n"
    b":\n\n\n\n"
    b"data: caf\xc3\xa9 \xf0\x9f\x8e\xb5\n\ndataset: no\n\ndata: [DONE]\n\n"
)


def split(data: bytes, *cuts: int) -> tuple[list[bytes], list[bytes]]:
    """(the events, the comments)."""
    splitter = Splitter()
    out: list[bytes] = []
    for a, b in zip((0, *cuts), (*cuts, len(data)), strict=True):
        out += splitter.feed(data[a:b])
    return out, splitter.comments


def test_whole() -> None:
    events, comments = split(STREAM)
    assert events == [b"first", b"two\nlines", b"", b" indented", b"caf\xc3\xa9 \xf0\x9f\x8e\xb5", b"[DONE]"]
    assert comments == [b"a comment", b""]


def test_cut_at_every_offset_and_at_all_of_them() -> None:
    whole = split(STREAM)
    for at in range(len(STREAM) + 1):
        assert split(STREAM, at) == whole
    for at in range(len(STREAM)):
        for second in range(at, min(at + 4, len(STREAM))):
            assert split(STREAM, at, second) == whole
    assert split(STREAM, *range(1, len(STREAM))) == whole


lines = st.lists(
    st.sampled_from(
        [b"data: a", b"data:b", b"data", b"data:", b"data:  c d", b": note", b":", b"event: x", b"", b"", b""]
    ),
    max_size=14,
)
ends = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(lines, st.lists(ends, min_size=14, max_size=14), st.lists(st.integers(0, 120), max_size=6), st.booleans())
@settings(max_examples=120, deadline=None)
def test_neither_the_cuts_nor_the_line_ends_matter(
    text: list[bytes], line_ends: list[bytes], cuts: list[int], mark: bool
) -> None:
    head = b"\xef\xbb\xbf" if mark else b""
    plain = b"".join(line + b"\n" for line in text)
    # a lone CR before an empty line with LF would be read as one line end, and rightly so
    if any(
        a == b"\r" and b == b"\n" and not line for a, b, line in zip(line_ends, line_ends[1:], text[1:], strict=False)
    ):
        line_ends = [b"\r\n"] * 14
    mixed = head + b"".join(line + end for line, end in zip(text, line_ends, strict=False))
    points = sorted(min(c, len(mixed)) for c in cuts)
    assert split(mixed, *points) == split(plain)


def reference(text: list[bytes]) -> list[bytes]:
    """The standard's own words: https://html.spec.whatwg.org/#event-stream-interpretation, for `data` alone."""
    out, buffer = [], None
    for line in text:
        if not line:
            if buffer is not None:
                out.append(buffer)
            buffer = None
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            if field == b"data":
                value = value.removeprefix(b" ")
                buffer = value if buffer is None else buffer + b"\n" + value
    return out


@given(lines)
def test_it_is_the_standard(text: list[bytes]) -> None:
    assert split(b"".join(line + b"\n" for line in text))[0] == reference(text)


def test_the_usual_read_is_taken_whole() -> None:
    """Recorded bytes, read by read, give the same on the quick way as in one go."""
    body = recorded("vllm/stream").body
    points = [i + 2 for i in range(len(body)) if body[i : i + 2] == b"\n\n"]
    assert split(body, *points)[0] == split(body)[0] and len(split(body)[0]) == 18


def test_a_line_that_ends_with_its_read_does_not_swallow_the_blank_line() -> None:
    """The quick way holds what begins an event; the next read may be none of its kind."""
    text = b"data: 1\n\ndata: 2\n\ndata: 3\n\n"
    for odd in (b"\n\n", b": note\n\n", b"event: x\n\n", b"\r\n"):
        for at in range(1, len(text)):
            for second in range(at, len(text)):
                assert split(text + odd, at, second)[0] == [b"1", b"2", b"3"]


def test_the_quick_way_hands_over() -> None:
    for tail in (
        b"event: x\ndata: b\n\n",
        b"data: b\r\n\r\n",
        b"data:b\n\n",
        b": c\n\ndata: b\n\n",
        b"\n\ndata: b\n\n",
    ):
        splitter = Splitter()
        assert splitter.feed(b"data: a\n\n") == [b"a"]
        assert splitter.feed(b"data: x\n\ndata: y\n\n") == [b"x", b"y"]
        assert splitter.feed(tail) == [b"b"]


def test_one_event_is_bounded() -> None:
    for line in (b"data: " + b"x" * MAX_EVENT, b"x" * (MAX_EVENT + 1)):
        splitter = Splitter()
        with pytest.raises(EventTooLarge):
            for i in range(0, len(line), 65536):
                splitter.feed(line[i : i + 65536])
    splitter = Splitter()
    with pytest.raises(EventTooLarge):
        for _ in range(100):
            splitter.feed(b"data: " + b"x" * 65536 + b"\n")


def test_many_events_are_not_one() -> None:
    splitter = Splitter()
    event = b"data: " + b"x" * 65530 + b"\n\n"
    for _ in range(40):
        assert len(splitter.feed(event[:100])) + len(splitter.feed(event[100:])) == 1


def test_a_long_line_costs_linear_time() -> None:
    """Its pieces are joined once: nothing is copied while it grows."""
    splitter = Splitter()
    splitter.feed(b"data: a\n\n")
    pieces = [b"data: "] + [bytes([65 + i % 26]) for i in range(20_000)]
    for piece in pieces:
        assert splitter.feed(piece) == []
    assert all(a is b for a, b in zip(splitter._pending, pieces, strict=True))
    assert splitter.feed(b"\n\n") == [b"".join(pieces)[6:]]


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        (b"", None),
        (b"data: a\n\n", None),
        (b"data: a\n", b"a"),
        (b"data: a", b"a"),
        (b"data: a\r", b"a"),
        (b"data: a\ndata: b", b"a\nb"),
        (b"data: a\n\nda", None),
        (b": note", None),
        (b"\xef\xbb", None),
        (b"\xef\xbb\xbfdata: a", b"a"),
    ],
)
def test_what_is_left_when_the_stream_ends(data: bytes, rest: bytes | None) -> None:
    for cuts in ((), tuple(range(1, len(data)))):
        splitter = Splitter()
        for a, b in zip((0, *cuts), (*cuts, len(data)), strict=True):
            splitter.feed(data[a:b])
        assert splitter.rest() == rest
        assert splitter.rest() is None
