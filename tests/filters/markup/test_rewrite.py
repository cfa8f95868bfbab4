"""What belongs to text beside its characters survives, parts keep their order, untouched events stay the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from gateway.canonical.content import Opaque, Refusal, Text, Thinking, ToolCall
from gateway.canonical.events import (
    ChoiceEnd,
    Event,
    PartDelta,
    PartEnd,
    PartStart,
    Progress,
    Start,
    Usage,
    fold,
    unfold,
)
from gateway.filters import finish, run
from gateway.filters.gemma4_markup import Gemma4Markup
from tests.canonical.strategies import answers
from tests.filters.reading import ids, well_formed

CALL = '<|tool_call>call:f{a:<|"|>x<|"|>}<tool_call|>'
THOUGHT = "<|channel>thought\nhm<channel|>"


def markup(**more: Any) -> Gemma4Markup:
    return Gemma4Markup({}, new_id=ids(), **more)


def through(*events: Event, f: Gemma4Markup | None = None) -> list[Event]:
    f = markup() if f is None else f
    out: list[Event] = []
    for e in events:
        out += run([f], [e])
    out += finish([f])
    well_formed(out)
    return out


def text(*deltas: str | PartDelta, part: int = 0, kind: Any = "text", choice: int = 0) -> list[Event]:
    told = [d if isinstance(d, PartDelta) else PartDelta(choice, part, d) for d in deltas]
    return [PartStart(choice, part, kind), *told, PartEnd(choice, part)]


def test_untouched_lists_come_back() -> None:
    f = markup()
    lists: list[list[Event]] = [
        [Start("a"), PartStart(0, 0, "text"), PartDelta(0, 0, "Hello")],
        [PartDelta(0, 0, " world")],
        [PartDelta(0, 0, "", logprobs={"content": [1]})],
        [PartDelta(0, 0, "."), Usage(1, 2)],
        [Progress(1, 2)],
        [PartEnd(0, 0), ChoiceEnd(0, "stop"), Usage(1, 2)],
    ]
    for events in lists:
        assert f.feed(events) is events
    assert f.end() == [] and f.repairs == []


def test_a_whole_plain_answer_in_one_list_comes_back() -> None:
    events: list[Event] = [Start("a"), *text("Hello"), ChoiceEnd(0, "stop"), Usage(1, 2)]
    assert markup().feed(events) is events


@settings(max_examples=60, deadline=None)
@given(answers)
def test_answers_of_any_parts_survive(answer: Any) -> None:
    """Texts of these answers hold no markup: whatever the parts and their extras, nothing is changed or lost."""
    events = unfold(answer)
    for choice in answer.choices:
        for part in choice.parts:
            if isinstance(part, Text | Thinking) and ("<" in part.text or part.text[:1].isspace()):
                return
    f = markup()
    out = [*f.feed(events[:-1]), *f.end(), events[-1]]
    got = fold(out)
    for one, two in zip(answer.choices, got.choices, strict=True):
        assert one.parts == two.parts
    assert got.extra == answer.extra


def test_what_is_beside_the_text_goes_with_it() -> None:
    events = through(
        PartStart(0, 0, "text", extra={"openai.part": {"p": 1}}),
        PartDelta(0, 0, "<|chan", logprobs=[1], extra={"openai.choice": {"x": 1}}),
        PartDelta(0, 0, "nel>thought\nhm<channel|>Hi", logprobs=[2], signature="sig"),
        PartDelta(0, 0, CALL[:20], logprobs=[3]),
        PartDelta(0, 0, CALL[20:], logprobs=[4], annotations=[{"url": 1}]),
        PartEnd(0, 0),
        ChoiceEnd(0, "stop", logprobs=[5]),
    )
    answer = fold(events)
    choice = answer.choices[0]
    assert choice.logprobs == [1, 2, 3, 4, 5]
    assert choice.extra == {"openai.choice": {"x": 1}}
    thinking, told, call = choice.parts[:3]
    assert isinstance(thinking, Thinking) and thinking.text == "hm" and thinking.signature == "sig"
    assert thinking.extra == {"openai.part": {"p": 1}}
    assert isinstance(told, Text) and isinstance(call, ToolCall)
    assert [p.annotations for p in choice.parts if isinstance(p, Text)][-1] == [{"url": 1}]


def test_fields_that_only_one_kind_of_part_has() -> None:
    notes = [{"url": 1}]
    f = markup()
    events = through(
        PartStart(0, 0, "text"),
        PartDelta(0, 0, "<|channel>thought\nhm", annotations=notes),
        PartDelta(0, 0, " hm", annotations=notes),
        PartDelta(0, 0, "", annotations=notes),
        PartDelta(0, 0, " hm"),
        PartDelta(0, 0, "<channel|>Hi"),
        PartDelta(0, 0, " there", annotations=notes),
        PartEnd(0, 0),
        *text(PartDelta(0, 1, "<channel|>x", redacted="r", summary=["s"]), part=1, kind="thinking"),
        ChoiceEnd(0, "stop"),
        f=f,
    )
    told = fold(events).choices[0].parts
    assert told == [Thinking("hm hm hm"), Text("Hi there", notes * 4), Text("x"), Thinking("", ["s"], "r")]


def test_parts_of_the_server_are_numbered_anew() -> None:
    given = [
        *text("plan", kind="thinking"),
        *text(f"Hi{CALL}", part=1),
        PartStart(0, 2, "tool_call", "server", "g"),
        PartDelta(0, 2, arguments='{"b":'),
        PartDelta(0, 2, arguments="1}"),
        PartEnd(0, 2),
        *text("no", part=3, kind="refusal"),
        PartStart(0, 4, "opaque", opaque=Opaque("x", "y", {})),
        PartEnd(0, 4),
        *text("Bye", part=5),
        ChoiceEnd(0, "tool_calls"),
    ]
    events = through(*given)
    parts = fold(events).choices[0].parts
    assert parts == [
        Thinking("plan"),
        Text("Hi"),
        ToolCall("call_0", "f", '{"a":"x"}'),
        ToolCall("server", "g", '{"b":1}'),
        Refusal("no"),
        Opaque("x", "y", {}),
        Text("Bye"),
    ]


def test_thinking_of_the_server_is_read_too() -> None:
    events = through(*text("thought\nplan<channel|>Hi", kind="thinking"), ChoiceEnd(0, "stop"))
    assert fold(events).choices[0].parts == [Thinking("plan"), Text("Hi")]
    # a call in a thought that the server ended is talked about; in one that nothing follows it is meant
    quoted = through(*text(f"plan {CALL}", kind="thinking"), *text("Hi", part=1), ChoiceEnd(0, "stop"))
    assert fold(quoted).choices[0].parts == [Thinking("plan call:f{a:x}"), Text("Hi")]
    meant = through(*text(f"plan {CALL}", kind="thinking"), ChoiceEnd(0, "stop"))
    assert [type(p) for p in fold(meant).choices[0].parts] == [Thinking, ToolCall]


def test_choices_are_kept_apart() -> None:
    f = markup()
    events = through(
        PartStart(0, 0, "text"),
        PartStart(1, 0, "text"),
        PartDelta(0, 0, "<|tool_call>call:f{"),
        PartDelta(1, 0, "Hello <"),
        PartDelta(0, 0, "}<tool_call|>"),
        PartDelta(1, 0, "b>"),
        PartEnd(0, 0),
        PartEnd(1, 0),
        ChoiceEnd(0, "stop"),
        ChoiceEnd(1, "stop"),
        f=f,
    )
    one, two = fold(events).choices
    assert one.parts == [ToolCall("call_0", "f", "{}")] and one.finish == "tool_calls"
    assert two.parts == [Text("Hello <b>")] and two.finish == "stop"


@pytest.mark.parametrize(
    ("raw", "told", "expected"),
    [
        (CALL, "stop", "tool_calls"),
        (CALL, "tool_calls", "tool_calls"),
        (CALL, "length", "length"),
        (CALL, "content_filter", "content_filter"),
        ("Hi", "tool_calls", "stop"),
        ("Hi", "stop", "stop"),
    ],
)
def test_the_finish_fits(raw: str, told: Any, expected: str) -> None:
    assert fold(through(*text(raw), ChoiceEnd(0, told))).choices[0].finish == expected


def test_a_cut_answer_keeps_what_was_held() -> None:
    f = markup()
    out = [*f.feed([PartStart(0, 0, "text"), PartDelta(0, 0, "Hi <")]), *f.end()]
    assert [e.text for e in out if isinstance(e, PartDelta)] == ["Hi ", "<"]
    f = markup()
    out = [*f.feed([PartStart(0, 0, "text"), PartDelta(0, 0, CALL[:-13] + "x")]), *f.end()]
    assert not [e for e in out if isinstance(e, PartStart) and e.kind == "tool_call"]


def test_a_text_that_was_cut_is_not_said_to_be_complete() -> None:
    """Clients take the end of a part for its completeness, also where an error follows."""
    f = markup()
    given: list[Event] = [PartStart(0, 0, "text"), PartDelta(0, 0, "half a")]
    out = [*run([f], given), *finish([f])]
    assert not any(isinstance(e, PartEnd) for e in out)
    ended = [*run([g := markup()], [*given, PartEnd(0, 0)]), *finish([g])]
    assert sum(isinstance(e, PartEnd) for e in ended) == 1


def test_what_was_given_is_not_changed() -> None:
    given = [*text(f"{THOUGHT}Hi{CALL}"), ChoiceEnd(0, "stop")]
    before = repr(given)
    markup().feed(given)
    assert repr(given) == before


def test_a_whole_answer_is_read_as_one() -> None:
    events = through(*text("plan", "<channel|>", "Hi"), ChoiceEnd(0, "stop"), f=markup(whole=True))
    assert fold(events).choices[0].parts == [Thinking("plan"), Text("Hi")]
