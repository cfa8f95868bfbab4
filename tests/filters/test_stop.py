"""Text ends where a stop text begins, wherever the server cut it; everything else stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import Text
from gateway.canonical.events import ChoiceEnd, End, Event, PartDelta, PartEnd, PartStart, Usage, fold
from gateway.filters.stop import Stop
from tests.filters.reading import cut_by, well_formed

TAIL: list[Event] = [PartEnd(0, 0), ChoiceEnd(0, "length"), Usage(3, 4), End()]


def run(stops: list[str], chunks: list[str], together: bool = False) -> list[Event]:
    events: list[Event] = [PartStart(0, 0, "text"), *(PartDelta(0, 0, c) for c in chunks), *TAIL]
    stop = Stop(stops)
    out: list[Event] = []
    for batch in [events] if together else [[e] for e in events]:
        out += stop.feed(batch)
    return [*out, *stop.end()]


def said(events: list[Event]) -> tuple[str, str | None, str | None]:
    choice = fold(events).choices[0]
    text = "".join(p.text for p in choice.parts if isinstance(p, Text))
    return text, choice.finish, choice.stop_sequence


def expected(stops: list[str], text: str) -> tuple[str, str, str | None]:
    """By the law: the stop text that is complete first, character by character."""
    for end in range(len(text) + 1):
        ready = [s for s in stops if s and text[:end].endswith(s)]
        if ready:
            stop = max(ready, key=len)
            return text[: end - len(stop)], "stop", stop
    return text, "length", None


CASES = [
    (["tiny"], "Hello! I am a tiny test", "Hello! I am a ", "tiny"),
    (["\n"], "a\nb", "a", "\n"),
    (["x"], "abc", "abc", None),
    ([""], "abc", "abc", None),
    ([], "abc", "abc", None),
    (["a"], "abc", "", "a"),
    (["abcd", "c"], "abcd", "ab", "c"),
    (["bcd", "cd"], "abcd", "a", "bcd"),
    (["aab"], "aaab", "a", "aab"),
    (["END"], "the EN", "the EN", None),
    (["🙂!"], "so 🙂!", "so ", "🙂!"),
]


@pytest.mark.parametrize(("stops", "text", "shown", "stop"), CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_cases(stops: list[str], text: str, shown: str, stop: str | None, size: int) -> None:
    for together in (False, True):
        events = run(stops, cut_by(text, [size]), together)
        well_formed(events)
        assert said(events) == (shown, "stop" if stop else "length", stop)
        assert events[-2:] == [Usage(3, 4), End()]


@given(
    st.lists(st.text("ab\n", max_size=4), max_size=3),
    st.text("ab\n", max_size=20),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.booleans(),
)
def test_the_cut_does_not_matter(stops: list[str], text: str, sizes: list[int], together: bool) -> None:
    assert said(run(stops, cut_by(text, sizes), together)) == expected(stops, text)


def test_what_is_not_stopped_is_the_same_list() -> None:
    events: list[Event] = [PartStart(0, 0, "text"), PartDelta(0, 0, "hello"), *TAIL]
    assert Stop(["x"]).feed(events) is events


def test_nothing_that_could_still_be_text_is_shown_too_late() -> None:
    stop = Stop(["</end>"])
    assert stop.feed([PartStart(0, 0, "text"), PartDelta(0, 0, "a <")]) == [PartStart(0, 0, "text")]
    assert stop.feed([PartDelta(0, 0, "b")]) == [PartDelta(0, 0, "a <"), PartDelta(0, 0, "b")]
    assert stop.feed([PartDelta(0, 0, "</en")]) == []
    assert not stop.done
    assert stop.feed([PartDelta(0, 0, "d> and more")]) == [PartEnd(0, 0), ChoiceEnd(0, "stop", stop_sequence="</end>")]
    assert stop.done
    assert stop.feed([PartDelta(0, 0, "more"), PartEnd(0, 0), PartStart(0, 1, "tool_call"), Usage(1, 2)]) == [
        Usage(1, 2)
    ]


def test_a_cut_answer_still_gives_what_was_held() -> None:
    stop = Stop(["stop"])
    stop.feed([PartStart(0, 0, "text")])
    assert stop.feed([PartDelta(0, 0, "we st")]) == []
    assert stop.end() == [PartDelta(0, 0, "we st")]
    assert stop.end() == []


def test_thoughts_and_calls_are_left_alone() -> None:
    events: list[Event] = [
        PartStart(0, 0, "thinking"),
        PartDelta(0, 0, "stop"),
        PartEnd(0, 0),
        PartStart(0, 1, "tool_call", "c", "f"),
        PartDelta(0, 1, arguments='{"a":"stop"}'),
        PartEnd(0, 1),
        ChoiceEnd(0, "tool_calls"),
    ]
    assert Stop(["stop"]).feed(events) is events


def test_each_choice_has_its_own_end() -> None:
    stop = Stop(["x"], choices=2)
    begun: list[Event] = [PartStart(0, 0, "text"), PartStart(1, 0, "text")]
    assert stop.feed(begun) is begun
    stop.feed([PartDelta(0, 0, "ax")])
    assert not stop.done
    rest: list[Event] = [PartDelta(1, 0, "b"), PartEnd(1, 0), ChoiceEnd(1, "stop")]
    assert stop.feed(rest) is rest


def test_what_belongs_to_a_delta_stays_with_it() -> None:
    stop = Stop(["yz"])
    stop.feed([PartStart(0, 0, "text")])
    assert stop.feed([PartDelta(0, 0, "x", logprobs=[1])]) == [PartDelta(0, 0, "x", logprobs=[1])]
    assert stop.feed([PartDelta(0, 0, "ay", logprobs=[2]), PartDelta(0, 0, "", logprobs=[3])]) == []
    out = stop.feed([PartDelta(0, 0, "z", logprobs=[4])])
    assert out[:-2] == [PartDelta(0, 0, "a", logprobs=[2])]
