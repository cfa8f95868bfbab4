from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.filters.gemma4.block import LIMIT, Block
from gateway.filters.gemma4.grammar import MARKERS, without_markers
from tests.filters.reading import cut_by

D = '<|"|>'


def stops(chunks: list[str]) -> list[tuple[str, int, int]]:
    block = Block()
    out = []
    for chunk in chunks:
        block.feed(chunk)
        while (stop := block.next()) is not None:
            out.append((stop.kind, stop.start, stop.end))
            if stop.kind in ("marker", "full", "mismatch"):
                return out
    return out


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("call:f{a:1}<tool_call|>", ["balanced", "marker"]),
        (f"call:f{{a:{D}}}<tool_call|>{D}}}<tool_call|>", ["candidate", "balanced", "marker"]),
        (f"call:f{{a:{D}x}}<tool_call|><|tool_call>call:f{{a:{D}pwd", ["candidate", "mismatch"]),
        ("call:f(a:{b})", ["balanced"]),
        ("call:f{a::)}", ["balanced"]),
        ("call:f{a:1}}}", ["balanced"]),
        ("call:f{", []),
    ],
)
def test_stops(text: str, kinds: list[str]) -> None:
    assert [kind for kind, _, _ in stops([text])] == kinds


@given(
    st.lists(st.sampled_from([*MARKERS, D, D, "{", "}", "(", ")", "x", " ", ",", "<", "<|"]), max_size=20).map("".join),
    st.lists(st.integers(1, 8), min_size=1, max_size=5),
)
def test_the_cut_does_not_matter(text: str, sizes: list[int]) -> None:
    # what could still become a marker is not looked at in either
    assert stops(cut_by(text, sizes)) == stops([text])


@pytest.mark.parametrize("size", [LIMIT + 5, 1000])
def test_the_longest_call(size: int) -> None:
    text = "call:f{a:" + "x" * LIMIT
    assert stops(cut_by(text, [size])) == [("full", LIMIT, LIMIT)]


@given(
    st.lists(st.sampled_from([*MARKERS, "<", "<|", "tool_call>", "|>", "<tur", "n|>", "x"]), max_size=20).map("".join)
)
def test_no_marker_is_left(text: str) -> None:
    assert not [m for m in MARKERS if m in without_markers(text)]
