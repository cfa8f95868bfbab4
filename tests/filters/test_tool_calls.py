"""The finish reason fits what the answer holds; nothing else is touched."""

from __future__ import annotations

import pytest

from gateway.canonical.events import ChoiceEnd, Event, PartDelta, PartEnd, PartStart, Usage
from gateway.filters import finish, run
from gateway.filters.tool_calls import ToolCalls


def call(part: int, *arguments: str, choice: int = 0) -> list[Event]:
    deltas: list[Event] = [PartDelta(choice, part, arguments=a) for a in arguments]
    return [PartStart(choice, part, "tool_call", f"id{part}", "f"), *deltas, PartEnd(choice, part)]


TEXT: list[Event] = [PartStart(0, 0, "text"), PartDelta(0, 0, "hello"), PartEnd(0, 0)]


@pytest.mark.parametrize(
    ("events", "told", "expected"),
    [
        (call(0, '{"a":', "1}"), "stop", "tool_calls"),
        (call(0, "{}"), "tool_calls", "tool_calls"),
        (call(0), "stop", "tool_calls"),  # no arguments at all is an empty object
        (call(0, '{"a":'), "stop", "stop"),  # cut arguments: not a call that may be made
        (call(0, '{"a":1}') + call(1, '{"b"'), "stop", "stop"),
        (call(0, '{"a":1}'), "length", "length"),
        (call(0, "[1]"), "stop", "stop"),
        (TEXT, "tool_calls", "stop"),
        (TEXT, "stop", "stop"),
        (TEXT + call(1, "{}"), "stop", "tool_calls"),
    ],
)
def test_finish(events: list[Event], told: str, expected: str) -> None:
    for size in (1, 2, len(events) + 1):
        f = ToolCalls()
        all_events = [*events, ChoiceEnd(0, told)]  # type: ignore[arg-type]
        out: list[Event] = []
        for at in range(0, len(all_events), size):
            out += run([f], all_events[at : at + size])
        out += finish([f])
        assert out[:-1] == events
        assert out[-1] == ChoiceEnd(0, expected)  # type: ignore[arg-type]


def test_nothing_changed_is_the_same_list() -> None:
    f = ToolCalls()
    events: list[Event] = [*TEXT, ChoiceEnd(0, "stop"), Usage(1, 2)]
    assert f.feed(events) is events


def test_choices_are_kept_apart() -> None:
    events: list[Event] = [*call(0, "{}", choice=1), ChoiceEnd(0, "stop"), ChoiceEnd(1, "stop")]
    out = ToolCalls().feed(events)
    assert [e.finish for e in out if isinstance(e, ChoiceEnd)] == ["stop", "tool_calls"]


def test_a_custom_call_does_not_make_another_one_complete() -> None:
    free = [PartStart(0, 0, "tool_call", "id0", "c", "custom"), PartDelta(0, 0, arguments="any"), PartEnd(0, 0)]
    for more, finish_ in (([], "tool_calls"), (call(1, "{}"), "tool_calls"), (call(1, '{"a'), "stop")):
        assert ToolCalls().feed([*free, *more, ChoiceEnd(0, "stop")])[-1] == ChoiceEnd(0, finish_)  # type: ignore[arg-type]


def test_the_events_that_came_in_are_not_changed() -> None:
    end = ChoiceEnd(0, "stop")
    ToolCalls().feed([*call(0, "{}"), end])
    assert end.finish == "stop"
