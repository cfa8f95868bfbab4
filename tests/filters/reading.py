"""Text through a filter, and what came out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.canonical.content import Text, Thinking, ToolCall
from gateway.canonical.events import ChoiceEnd, Event, Finish, PartDelta, PartEnd, PartStart, fold
from gateway.filters.markup.rewrite import MarkupFilter


@dataclass
class Got:
    content: str
    reasoning: str
    calls: list[tuple[str, Any]]
    finish: str | None
    repairs: list[str]
    order: list[str]

    def __bool__(self) -> bool:
        return bool(self.content.strip() or self.reasoning.strip() or self.calls)


def ids() -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"call_{next(numbers)}"


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def cut_by(text: str, sizes: Sequence[int]) -> list[str]:
    """`text` in pieces of these sizes, over and over."""
    out: list[str] = []
    at = 0
    turn: Iterator[int] = itertools.cycle(sizes or [1])
    while at < len(text):
        n = max(1, next(turn))
        out.append(text[at : at + n])
        at += n
    return out


def events_of(markup: MarkupFilter, chunks: Sequence[str], finish: Finish = "stop") -> list[Event]:
    """Every chunk in a list of its own, as a server streams it."""
    out = list(markup.feed([PartStart(0, 0, "text")]))
    for chunk in chunks:
        out += markup.feed([PartDelta(0, 0, chunk)])
    out += markup.feed([PartEnd(0, 0)])
    out += markup.feed([ChoiceEnd(0, finish)])
    return [*out, *markup.end()]


def read(markup: MarkupFilter, chunks: Sequence[str], finish: Finish = "stop") -> Got:
    events = events_of(markup, chunks, finish)
    well_formed(events)
    choice = fold(events).choices[0]
    calls = [p for p in choice.parts if isinstance(p, ToolCall)]
    assert len({c.id for c in calls}) == len(calls)
    return Got(
        "".join(p.text for p in choice.parts if isinstance(p, Text)),
        "".join(p.text for p in choice.parts if isinstance(p, Thinking)),
        [(c.name, json.loads(c.arguments)) for c in calls],
        choice.finish,
        markup.repairs,
        [type(p).__name__ for p in choice.parts],
    )


def well_formed(events: Sequence[Event]) -> None:
    """Parts are numbered from 0, begin and end once, tell something in between, and all end before their choice."""
    open_parts: dict[tuple[int, int], int] = {}
    begun: dict[int, int] = {}
    for e in events:
        if isinstance(e, PartStart):
            assert e.part == begun.get(e.choice, 0)
            begun[e.choice] = e.part + 1
            open_parts[(e.choice, e.part)] = 0 if e.kind in ("text", "thinking") else 1
        elif isinstance(e, PartDelta):
            open_parts[(e.choice, e.part)] += 1
        elif isinstance(e, PartEnd):
            told = open_parts.pop((e.choice, e.part))
            assert told or begun[e.choice] == 1  # an empty part is the server's own
        elif isinstance(e, ChoiceEnd):
            assert not [key for key in open_parts if key[0] == e.choice]
