"""Thoughts go, everything else stays as it is."""

from __future__ import annotations

from gateway.canonical.events import ChoiceEnd, Event, PartDelta, PartEnd, PartStart
from gateway.filters.hide_thinking import HideThinking

THOUGHT: list[Event] = [PartStart(0, 0, "thinking"), PartDelta(0, 0, "hm"), PartEnd(0, 0)]
WORDS: list[Event] = [PartStart(0, 1, "text"), PartDelta(0, 1, "hello"), PartEnd(0, 1), ChoiceEnd(0, "stop")]


def test_thoughts_are_left_out_at_any_cut() -> None:
    for size in range(1, 8):
        f = HideThinking()
        events = THOUGHT + WORDS
        out: list[Event] = []
        for at in range(0, len(events), size):
            out += f.feed(events[at : at + size])
        assert out + f.end() == WORDS


def test_nothing_to_hide_is_the_same_list() -> None:
    assert HideThinking().feed(WORDS) is WORDS


def test_another_choice_keeps_its_part_of_the_same_number() -> None:
    other: list[Event] = [PartStart(1, 0, "text"), PartDelta(1, 0, "hello"), PartEnd(1, 0)]
    assert HideThinking().feed([*THOUGHT, *other]) == other
