from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.canonical.content import Document, Media, Opaque, Text, ToolCall
from gateway.canonical.events import (
    Answer,
    Choice,
    ChoiceEnd,
    End,
    Fault,
    Folder,
    PartDelta,
    PartEnd,
    PartStart,
    Progress,
    Start,
    Usage,
    fold,
    join_logprobs,
    merge_extra,
    unfold,
)
from tests.canonical.strategies import answers, fields, interleaved, logprobs, recut


@given(answers)
@settings(max_examples=50, deadline=None)
def test_fold_is_the_inverse_of_unfold(answer: Answer) -> None:
    assert fold(unfold(answer)) == answer


@given(answers, st.data())
@settings(max_examples=30, deadline=None)
def test_folding_does_not_depend_on_the_cuts(answer: Answer, data: Any) -> None:
    events = data.draw(recut(unfold(answer)))
    assert fold(events) == answer
    folder = Folder()
    for e in events:
        folder.feed([e])
        assert isinstance(folder.answer, Answer)  # looking at it in between changes nothing
    assert folder.answer == answer and folder.ended and folder.fault is None


@given(answers, st.data())
@settings(max_examples=30, deadline=None)
def test_choices_may_interleave(answer: Answer, data: Any) -> None:
    assert fold(data.draw(interleaved(unfold(answer)))) == answer


@given(answers)
@settings(max_examples=30, deadline=None)
def test_folding_changes_no_event(answer: Answer) -> None:
    events = unfold(deepcopy(answer))
    before = deepcopy(events)
    fold(events)
    assert events == before


@given(answers)
@settings(max_examples=30, deadline=None)
def test_unfolding_keeps_the_grammar(answer: Answer) -> None:
    events = unfold(answer)
    assert type(events[0]) is Start and type(events[-1]) is End
    still: set[tuple[int, int]] = set()
    for e in events:
        if isinstance(e, PartStart):
            still.add((e.choice, e.part))
        elif isinstance(e, PartDelta):
            assert (e.choice, e.part) in still
        elif isinstance(e, PartEnd):
            still.remove((e.choice, e.part))
    assert not still
    assert sum(isinstance(e, ChoiceEnd) for e in events) == len(answer.choices)


def test_parallel_calls_interleave() -> None:
    events = [
        Start(),
        PartStart(0, 0, "tool_call", "a", "f"),
        PartStart(0, 1, "tool_call", "b", "g"),
        PartDelta(0, 1, arguments="[1"),
        PartDelta(0, 0, arguments="{"),
        PartDelta(0, 1, arguments="]"),
        PartDelta(0, 0, arguments="}"),
        PartEnd(0, 1),
        PartEnd(0, 0, {"openai.part": {"x": 1}}),
        ChoiceEnd(0, "tool_calls"),
        End(),
    ]
    assert fold(events).choices[0].parts == [  # type: ignore[arg-type]
        ToolCall("a", "f", "{}", extra={"openai.part": {"x": 1}}),
        ToolCall("b", "g", "[1]"),
    ]


def test_where_extras_go() -> None:
    answer = fold(
        [
            Start(extra={"openai": {"a": 1}}),
            PartStart(0, 0, "text", extra={"openai.part": {"b": 1}, "openai": {"c": 1}}),
            PartDelta(0, 0, "x", extra={"openai.message": {"d": 1}, "openai": {"a": 2}, "openai.part": {"b": 2}}),
            ChoiceEnd(0, "stop", extra={"openai.choice": {"e": 1}, "openai": {"f": 1}}),
            Usage(1, extra={"openai.usage": {"g": 1}, "openai": {"h": 1}}),
            End({"openai": {"i": 1}}),
        ]
    )
    assert answer.extra == {"openai": {"a": 2, "c": 1, "f": 1, "h": 1, "i": 1}}
    assert answer.choices == [
        Choice(
            [Text("x", extra={"openai.part": {"b": 2}})],
            "stop",
            extra={"openai.message": {"d": 1}, "openai.choice": {"e": 1}},
        )
    ]
    assert answer.usage == Usage(1, extra={"openai.usage": {"g": 1}})


def test_the_last_usage_wins_and_progress_is_no_content() -> None:
    answer = fold([Start(), Progress(1, 2), Usage(1, 1), Usage(1, 2), End()])
    assert answer == Answer(usage=Usage(1, 2))


def test_a_cut_answer_is_no_answer() -> None:
    folder = Folder()
    folder.feed([Start("a"), Fault("upstream_reset", "gone"), Fault("upstream_error", "later")])
    assert folder.fault == Fault("upstream_reset", "gone") and not folder.ended
    with pytest.raises(ValueError, match="gone"):
        fold([Start(), Fault("upstream_reset", "gone")])


def test_what_no_answer_holds() -> None:
    with pytest.raises(ValueError, match="Document"):
        unfold(Answer(choices=[Choice([Document(Media(url="http://h/x"))], "stop")]))


def test_an_opaque_part_is_not_shared_with_its_event() -> None:
    raw = Opaque("gemini", "x", {})
    answer = fold([Start(), PartStart(0, 0, "opaque", opaque=raw), PartEnd(0, 0, {"gemini.part": {"a": 1}}), End()])
    assert answer.choices[0].parts == [Opaque("gemini", "x", {}, extra={"gemini.part": {"a": 1}})]
    assert raw.extra is None


def test_an_answer_of_many_deltas_costs_linear_time() -> None:
    """The pieces are joined when somebody looks, not one by one."""
    folder = Folder()
    folder.feed([Start(), PartStart(0, 0, "text")])
    folder.feed([PartDelta(0, 0, "x", logprobs=[i]) for i in range(1000)])
    assert folder._pieces[(0, 0)] == ["x"] * 1000 and len(folder._logprobs[0]) == 1000
    choice = folder.answer.choices[0]
    assert choice.parts == [Text("x" * 1000)] and choice.logprobs == list(range(1000))
    assert len(folder._pieces[(0, 0)]) == 1


layers = st.none() | st.dictionaries(st.sampled_from(["a", "b"]), fields, max_size=2)


@given(layers, layers)
def test_merging_changes_neither(a: Any, b: Any) -> None:
    before = deepcopy((a, b))
    merged = merge_extra(a, b)
    assert (a, b) == before
    for name in {*(a or {}), *(b or {})}:
        assert (merged or {})[name] == {**(a or {}).get(name, {}), **(b or {}).get(name, {})}


@given(logprobs, logprobs, logprobs)
def test_logprobs_join_in_order(a: Any, b: Any, c: Any) -> None:
    kinds = {type(x) for x in (a, b, c) if x is not None}
    if len(kinds) < 2:
        assert join_logprobs(join_logprobs(a, b), c) == join_logprobs(a, join_logprobs(b, c))
    assert join_logprobs(a, None) == a == join_logprobs(None, a)
