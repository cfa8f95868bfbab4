from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.canonical.events import PartDelta, PartStart
from gateway.filters.reasoning import Reasoning
from tests.filters.markup.families import Row, check, check_cut
from tests.filters.reading import read

ROWS: list[Row] = [
    ("<think>\nabc\n</think>\n\nHi", "Hi", "abc", [], []),
    ("\n<think>abc</think>Hi", "Hi", "abc", [], []),
    ("<think>\n\n</think>\n\nHi", "Hi", "", [], []),
    ("<think>a</think><think>b</think>c", "c", "ab", [], []),
    ("<think>abc", "", "abc", [], ["unclosed_thought"]),
    ("Hi <think>x</think>", "Hi <think>x</think>", "", [], []),
    ("Hi `</think>` x", "Hi `</think>` x", "", [], []),
    ("abc</think>Hi", "abcHi", "", [], ["stray_marker"]),
    ("<thinking>", "<thinking>", "", [], []),
    ("a < b", "a < b", "", [], []),
]


@pytest.mark.parametrize("row", ROWS, ids=[r[0][:50] for r in ROWS])
def test_rows(row: Row) -> None:
    check(Reasoning, row)


def test_other_tags() -> None:
    got = read(Reasoning(tags=("[THINK]", "[/THINK]")), ["[THI", "NK]abc[/TH", "INK]Hi [x]"])
    assert (got.content, got.reasoning) == ("Hi [x]", "abc")


def test_a_prompt_that_ends_inside_of_a_thought() -> None:
    for raw in ("abc</think>Hi", "<think>abc</think>Hi"):
        got = read(Reasoning(open_reasoning=True), [raw])
        assert (got.content, got.reasoning) == ("Hi", "abc")


def test_a_thought_known_by_its_end_only() -> None:
    got = read(Reasoning(whole=True), ["abc</th", "ink>Hi"])
    assert (got.content, got.reasoning, got.repairs) == ("Hi", "abc", ["late_thought"])
    assert read(Reasoning(whole=True), ["abc</think>"]).content == "abc"


def test_thinking_passes_untouched() -> None:
    f = Reasoning()
    f.feed([PartStart(0, 0, "text"), PartDelta(0, 0, "<think>abc")])
    events = [PartDelta(0, 0, " def")]
    assert f.feed(events) is events  # type: ignore[arg-type,comparison-overlap]


WORDS = ["<think>", "</think>", "x", " ", "\n", "`", "```\n", "<", "</", '"']


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(WORDS), max_size=14).map("".join),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.sampled_from(["stop", "length"]),
    st.booleans(),
)
def test_streamed_is_whole(text: str, sizes: list[int], finish: Any, inside: bool) -> None:
    check_cut(lambda: Reasoning(open_reasoning=inside), text, sizes, finish)
