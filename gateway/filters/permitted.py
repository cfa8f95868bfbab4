"""Drops calls that the request does not permit: of tools that it did not allow, of any tool, or more than one at a
time.

A dropped call leaves no event behind; the parts after it are numbered anew, so that they still count up from 0. What an
event of it told about the whole choice or answer (fields of the dialect, probabilities) goes on with the choice's end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gateway.canonical.events import (
    ChoiceEnd,
    Event,
    PartDelta,
    PartEnd,
    PartStart,
    join_logprobs,
    merge_extra,
)
from gateway.filters.markup.deltas import moved


@dataclass(slots=True)
class _Lane:
    """One choice. `numbers` tells what became of each part once one was dropped; None: it was. `told`: fields that came
    with dropped calls. `refused`: one of them was of a tool that is not permitted."""

    calls: int = 0
    dropped: int = 0
    refused: bool = False
    numbers: dict[int, int | None] = field(default_factory=dict)
    told: ChoiceEnd | None = None


class Permitted:
    """`names`: the tools that may be called, None: any, empty: none. `parallel` False: of each choice only its first
    call. Codes in `repairs`: call_not_allowed, parallel_call."""

    __slots__ = ("_lanes", "_names", "_parallel", "_quiet", "repairs")

    def __init__(self, names: frozenset[str] | None, parallel: bool = True) -> None:
        self._names = names
        self._parallel = parallel
        self._lanes: dict[int, _Lane] = {}
        self._quiet = True
        """Nothing was dropped yet."""
        self.repairs: list[str] = []

    def feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] | None = None
        for i, e in enumerate(events):
            if type(e) is PartDelta and self._quiet:
                if out is not None:
                    out.append(e)
                continue
            kept = self._look(e)
            if kept is not e and out is None:
                out = events[:i]
            if kept is not None and out is not None:
                out.append(kept)
        return events if out is None else out

    def end(self) -> list[Event]:
        return []

    @property
    def bereft(self) -> list[int]:
        """The choices that a call was dropped from because its tool is not permitted."""
        return [index for index, lane in self._lanes.items() if lane.refused]

    def _look(self, e: Event) -> Event | None:
        if isinstance(e, PartStart):
            return self._start(e)
        if isinstance(e, PartDelta | PartEnd | ChoiceEnd):
            lane = self._lanes.get(e.choice)
            if lane is None or not lane.dropped:
                return e
            if isinstance(e, ChoiceEnd):
                return _with(e, lane.told) if lane.told is not None else e
            number = lane.numbers.get(e.part, e.part)
            if number is None:
                _keep(lane, e)
                return None
            if number == e.part:
                return e
            return moved(e, number) if isinstance(e, PartDelta) else replace(e, part=number)
        return e

    def _start(self, e: PartStart) -> PartStart | None:
        lane = self._lanes.get(e.choice)
        if lane is None:
            lane = self._lanes[e.choice] = _Lane()
        if e.kind == "tool_call":
            code = self._refused(e.name, lane)
            if code:
                if code not in self.repairs:
                    self.repairs.append(code)
                self._quiet = False
                lane.dropped += 1
                lane.refused = lane.refused or code == "call_not_allowed"
                lane.numbers[e.part] = None
                _keep(lane, e)
                return None
            lane.calls += 1
        if not lane.dropped:
            return e
        number = lane.numbers[e.part] = e.part - lane.dropped
        return replace(e, part=number)

    def _refused(self, name: str, lane: _Lane) -> str:
        if self._names is not None and name not in self._names:
            return "call_not_allowed"
        return "parallel_call" if lane.calls and not self._parallel else ""


def _keep(lane: _Lane, e: PartStart | PartDelta | PartEnd) -> None:
    """What an event of a dropped call tells that is not the call's own."""
    extra = {k: v for k, v in (e.extra or {}).items() if not k.endswith(".part")} or None
    logprobs = e.logprobs if isinstance(e, PartDelta) else None
    if extra or logprobs is not None:
        more = ChoiceEnd(e.choice, "stop", logprobs=logprobs, extra=extra)
        lane.told = more if lane.told is None else _with(more, lane.told)


def _with(e: ChoiceEnd, told: ChoiceEnd) -> ChoiceEnd:
    return replace(e, logprobs=join_logprobs(told.logprobs, e.logprobs), extra=merge_extra(told.extra, e.extra))
