"""Calls that are not permitted are gone without a trace; everything else is there, and counted from 0."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.canonical.content import ToolCall
from gateway.canonical.events import Answer, ChoiceEnd, Event, PartDelta, PartEnd, PartStart, fold, unfold
from gateway.filters.permitted import Permitted
from tests.canonical.strategies import answers, interleaved, recut
from tests.filters.batches import fed
from tests.filters.reading import well_formed


def call(part: int, name: str, choice: int = 0) -> list[Event]:
    return [
        PartStart(choice, part, "tool_call", f"id{part}", name),
        PartDelta(choice, part, arguments='{"a":'),
        PartDelta(choice, part, arguments="1}"),
        PartEnd(choice, part),
    ]


def text(part: int, choice: int = 0) -> list[Event]:
    return [PartStart(choice, part, "text"), PartDelta(choice, part, "hello"), PartEnd(choice, part)]


@pytest.mark.parametrize(
    ("names", "parallel", "kept", "repairs"),
    [
        (None, True, [0, 1, 2, 3, 4], []),
        (frozenset("ab"), True, [0, 1, 2, 3, 4], []),
        (frozenset("a"), True, [0, 1, 3, 4], ["call_not_allowed"]),
        (frozenset("b"), True, [0, 2, 3], ["call_not_allowed"]),
        (frozenset(), True, [0, 3], ["call_not_allowed"]),
        (None, False, [0, 1, 3], ["parallel_call"]),
        (frozenset("b"), False, [0, 2, 3], ["call_not_allowed"]),
        (frozenset("a"), False, [0, 1, 3], ["call_not_allowed", "parallel_call"]),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_calls(names: frozenset[str] | None, parallel: bool, kept: list[int], repairs: list[str], size: int) -> None:
    parts = [text(0), call(1, "a"), call(2, "b"), text(3), call(4, "a")]
    events = [*(e for part in parts for e in part), ChoiceEnd(0, "tool_calls")]
    f = Permitted(names, parallel)
    out = fed(f, events, [size])
    expected = [replace(e, part=n) for n, index in enumerate(kept) for e in parts[index]]  # type: ignore[call-arg]
    assert out == [*expected, ChoiceEnd(0, "tool_calls")]
    assert f.repairs == repairs


def test_calls_that_interleave() -> None:
    one, two, three = call(0, "a"), call(1, "b"), call(2, "a")
    events = [one[0], two[0], two[1], three[0], one[1], three[1], two[2], two[3], one[2], three[2], three[3], one[3]]
    out = fed(Permitted(frozenset("a")), events)
    assert out == [
        one[0],
        replace(three[0], part=1),  # type: ignore[call-arg]
        one[1],
        replace(three[1], part=1),  # type: ignore[call-arg]
        one[2],
        replace(three[2], part=1),  # type: ignore[call-arg]
        replace(three[3], part=1),  # type: ignore[call-arg]
        one[3],
    ]


def test_each_choice_has_its_own_first_call() -> None:
    events = [*call(0, "a", choice=1), *call(0, "a"), *call(1, "a", choice=1), *text(2, choice=1)]
    out = fed(Permitted(None, parallel=False), events)
    assert out == [*call(0, "a", choice=1), *call(0, "a"), *text(1, choice=1)]


def test_what_a_dropped_call_told_of_the_answer_is_kept() -> None:
    events: list[Event] = [
        PartStart(0, 0, "tool_call", "id", "a", extra={"openai.part": {"x": 1}, "openai": {"fingerprint": 1}}),
        PartDelta(0, 0, arguments="{}", logprobs=[1], extra={"openai": {"more": 2}}),
        PartEnd(0, 0),
        ChoiceEnd(0, "stop", logprobs=[2], extra={"openai": {"last": 3}}),
    ]
    out = fed(Permitted(frozenset()), events)
    extra: Any = {"openai": {"fingerprint": 1, "more": 2, "last": 3}}
    assert out == [ChoiceEnd(0, "stop", logprobs=[1, 2], extra=extra)]


@settings(max_examples=50)
@given(answers)
def test_nothing_to_do_is_the_same_list(answer: Answer) -> None:
    events = unfold(answer)
    assert Permitted(None).feed(events) is events


@settings(max_examples=50)
@given(st.data(), answers, st.booleans(), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_what_is_left_is_the_answer_without_them(
    data: st.DataObject, answer: Answer, parallel: bool, sizes: list[int]
) -> None:
    names = frozenset(data.draw(st.sets(st.sampled_from([c.name for c in calls(answer)] or [""]))))
    events = data.draw(interleaved(data.draw(recut(unfold(answer)))))
    out = fed(Permitted(names, parallel), events, sizes)
    well_formed(_told(out))
    for choice in answer.choices:
        first = True
        kept = []
        for part in choice.parts:
            if isinstance(part, ToolCall):
                if part.name not in names or not (first or parallel):
                    continue
                first = False
            kept.append(part)
        choice.parts = kept
    assert fold(out) == answer


def calls(answer: Answer) -> list[ToolCall]:
    return [p for choice in answer.choices for p in choice.parts if isinstance(p, ToolCall)]


def _told(events: list[Event]) -> list[Event]:
    """The same, without parts that tell nothing, which `well_formed` does not expect."""
    return [replace(e, kind="opaque") if isinstance(e, PartStart) else e for e in events]
