"""Ends an answer at the client's `stop` texts, for servers that ignore them or only take them out.

A stop text may come in pieces, cut anywhere: what could be the beginning of one is held back until it is known, whole
deltas at a time, so that what belongs to a delta stays with it. Of several that are there the one that is complete
first counts, so that the result does not depend on how the text was cut. Only text is looked at: thoughts and the
arguments of calls are not ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gateway.canonical.events import ChoiceEnd, Event, PartDelta, PartEnd, PartStart

_Place = tuple[int, int]


@dataclass(slots=True)
class _Held:
    """Deltas of one text part that are not shown yet, and their text together."""

    deltas: list[PartDelta] = field(default_factory=list)
    text: str = ""


class Stop:
    """`choices` = how many the answer has. Empty stop texts count for nothing."""

    __slots__ = ("_choices", "_open", "_stopped", "_stops")

    def __init__(self, stops: Sequence[str], choices: int = 1) -> None:
        self._stops = [s for s in stops if s]
        self._choices = choices
        self._open: dict[_Place, _Held] = {}
        self._stopped: set[int] = set()

    @property
    def done(self) -> bool:
        """Every choice was ended here: what the server still says is for nobody."""
        return len(self._stopped) >= self._choices

    def feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] | None = None
        for i, e in enumerate(events):
            kept = self._look(e)
            if out is None:
                if len(kept) == 1 and kept[0] is e:
                    continue
                out = events[:i]
            out += kept
        return events if out is None else out

    def end(self) -> list[Event]:
        out: list[Event] = []
        for place in list(self._open):
            out += self._release(place)
        return out

    def _look(self, e: Event) -> list[Event]:
        """What is passed on for one event: [e] itself where nothing is to be done."""
        if isinstance(e, PartStart):
            if e.choice in self._stopped:
                return []
            if e.kind == "text":
                self._open[(e.choice, e.part)] = _Held()
            return [e]
        if isinstance(e, PartDelta):
            if e.choice in self._stopped:
                return []
            held = self._open.get((e.choice, e.part))
            return [e] if held is None else self._delta(e, held)
        if isinstance(e, PartEnd):
            if e.choice in self._stopped:
                return []
            return [*self._release((e.choice, e.part)), e]
        if isinstance(e, ChoiceEnd):
            if e.choice in self._stopped:
                return []
            places = [place for place in self._open if place[0] == e.choice]
            return [*(d for place in places for d in self._release(place)), e]
        return [e]

    def _release(self, place: _Place) -> list[Event]:
        held = self._open.pop(place, None)
        return [] if held is None else [*held.deltas]

    def _delta(self, e: PartDelta, held: _Held) -> list[Event]:
        text = held.text + e.text
        found = self._find(text)
        if found is not None:
            return self._cut([*held.deltas, e], *found)
        safe = len(text) - self._beginning(text)
        if safe == len(text):
            if not held.deltas:
                return [e]
            out: list[Event] = [*held.deltas, e]
            held.deltas, held.text = [], ""
            return out
        held.deltas.append(e)
        out = []
        passed = 0
        while held.deltas and passed + len(held.deltas[0].text) <= safe:
            passed += len(held.deltas[0].text)
            out.append(held.deltas.pop(0))
        held.text = text[passed:]
        return out

    def _find(self, text: str) -> tuple[int, str] | None:
        """(where it begins, the stop text) of the one that is complete first."""
        found = [(at + len(s), at, s) for s in self._stops if (at := text.find(s)) >= 0]
        if not found:
            return None
        _, at, stop = min(found)
        return at, stop

    def _beginning(self, text: str) -> int:
        """How many characters at the end of `text` could begin a stop text."""
        longest = 0
        for stop in self._stops:
            for n in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:n]):
                    longest = n
                    break
        return longest

    def _cut(self, deltas: list[PartDelta], at: int, stop: str) -> list[Event]:
        """The deltas up to `at`, and the end of part and choice."""
        choice, part = deltas[0].choice, deltas[0].part
        out: list[Event] = []
        for delta in deltas:
            if at >= len(delta.text):
                at -= len(delta.text)
                out.append(delta)
                continue
            if at > 0:
                out.append(replace(delta, text=delta.text[:at]))
            break
        self._stopped.add(choice)
        for place in [p for p in self._open if p[0] == choice]:
            if place[1] != part:
                out += [*self._release(place), PartEnd(*place)]
            else:
                del self._open[place]
        return [*out, PartEnd(choice, part), ChoiceEnd(choice, "stop", stop_sequence=stop)]
