"""An answer that runs away: text that goes in circles, the same call again and again, thoughts without end.

`found` names the signs, each once, in the order of their first time: repeats, same_call, long_thinking. With `stop` the
answer ends at the first one, as one that was cut: open parts end, each choice with `length`, and nothing follows. Where
it ends does not depend on how the text was cut into deltas.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final, Literal

from gateway.canonical.events import ChoiceEnd, End, Event, PartDelta, PartEnd, PartStart
from gateway.filters.loops.periods import STEP, Periods
from gateway.filters.loops.prose import Prose

Sign = Literal["repeats", "same_call", "long_thinking"]

_MOST_CALLS: Final = 1024
"""Different calls of a choice that are remembered."""

_Place = tuple[int, int]


@dataclass(slots=True)
class _Choice:
    """`thought`: characters of thoughts so far. `calls`: how many times each call was made."""

    thought: int = 0
    ended: bool = False
    calls: dict[bytes, int] = field(default_factory=dict)


class _Told:
    """One text or thought. `room`: characters until it is looked at again."""

    __slots__ = ("choice", "periods", "pieces", "prose", "room", "step", "thinking")

    def __init__(self, choice: _Choice, thinking: bool, limit: int) -> None:
        self.choice = choice
        self.thinking = thinking
        self.pieces: list[str] = []
        self.prose = Prose()
        self.periods = Periods()
        self._next(0, limit)

    def _next(self, waiting: int, limit: int) -> None:
        room = STEP - waiting
        if self.thinking and limit >= self.choice.thought:
            room = min(room, limit - self.choice.thought + 1)
        self.room = self.step = room

    def count(self) -> None:
        if self.thinking:
            self.choice.thought += self.step - self.room

    def look(self, limit: int) -> list[tuple[int, Sign]]:
        """(how many characters ago, which sign), latest last."""
        signs: list[tuple[int, Sign]] = []
        text = "".join(self.pieces)
        at = 0
        while len(text) - at >= STEP:
            at += STEP
            if self.periods.feed(self.prose.feed(text[at - STEP : at])):
                signs.append((len(text) - at, "repeats"))
        self.pieces = [text[at:]]
        self.count()
        if self.thinking and self.choice.thought > limit:
            signs.append((self.choice.thought - limit, "long_thinking"))
        self._next(len(text) - at, limit)
        return sorted(signs, reverse=True)


class Runaway:
    """`stop`: ends the answer. `thinking_limit` in characters of one choice's thoughts; `same_calls` = how many times
    one call may be made; `choices` = how many the answer has. `done`: it was ended here."""

    def __init__(
        self, *, stop: bool = False, thinking_limit: int = 200_000, same_calls: int = 3, choices: int = 1
    ) -> None:
        self._stop = stop
        self._limit = thinking_limit
        self._same_calls = same_calls
        self._choices: dict[int, _Choice] = {index: _Choice() for index in range(choices)}
        self._open: dict[_Place, _Told | None] = {}
        """What is told in each open part; None: a call, or nothing that is looked at."""
        self._calls: dict[_Place, blake2b] = {}
        self._hot: _Told | None = None
        self._hot_choice = self._hot_part = -1
        self.done = False
        self.found: list[Sign] = []

    @property
    def repairs(self) -> list[str]:
        return [f"stopped_{self.found[0]}"] if self.done else []

    def feed(self, events: list[Event]) -> list[Event]:
        if self.done:
            return []
        for i, e in enumerate(events):
            if type(e) is PartDelta:
                if e.part != self._hot_part or e.choice != self._hot_choice:
                    self._warm(e)
                told = self._hot
                if told is None:
                    call = self._calls.get((e.choice, e.part))
                    if call is not None:
                        call.update(e.arguments.encode("utf-8", "surrogatepass"))
                    continue
                told.pieces.append(e.text)
                told.room -= len(e.text)
                if told.room <= 0:
                    signs = told.look(self._limit)
                    if signs and self._see(signs):
                        ago = signs[0][0]
                        return [*events[:i], *_shortened(e, ago), *self._close()]
            elif self._note(e):
                return [*events[: i + 1], *self._close()]
        return events

    def end(self) -> list[Event]:
        return []

    def _warm(self, e: PartDelta) -> None:
        self._hot = self._open.get((e.choice, e.part))
        self._hot_choice, self._hot_part = e.choice, e.part

    def _see(self, signs: list[tuple[int, Sign]]) -> bool:
        """Notes the signs. Is it to end here?"""
        for _, sign in signs:
            if sign not in self.found:
                self.found.append(sign)
        return self._stop

    def _note(self, e: Event) -> bool:
        """Is it to end behind this event?"""
        if isinstance(e, PartStart):
            choice = self._choices.setdefault(e.choice, _Choice())
            place = e.choice, e.part
            self._hot_part = -1
            self._open[place] = None
            if e.kind == "tool_call":
                name = e.name.encode("utf-8", "surrogatepass")
                self._calls[place] = blake2b(name + b"\0", digest_size=16)
            elif e.kind != "opaque":
                self._open[place] = _Told(choice, e.kind == "thinking", self._limit)
        elif isinstance(e, PartEnd):
            place = e.choice, e.part
            self._hot_part = -1
            told = self._open.pop(place, None)
            if told is not None:
                told.count()
            call = self._calls.pop(place, None)
            if call is not None:
                return self._called(self._choices[e.choice].calls, call.digest())
        elif isinstance(e, ChoiceEnd):
            self._choices.setdefault(e.choice, _Choice()).ended = True
        return False

    def _called(self, calls: dict[bytes, int], call: bytes) -> bool:
        if call in calls or len(calls) < _MOST_CALLS:
            calls[call] = calls.get(call, 0) + 1
        return calls.get(call, 0) > self._same_calls and self._see([(0, "same_call")])

    def _close(self) -> list[Event]:
        self.done = True
        note = f"ended by the gateway: {self.found[0]}"
        parts = [PartEnd(*place) for place in self._open]
        open_ = sorted(index for index, choice in self._choices.items() if not choice.ended)
        return [*parts, *(ChoiceEnd(index, "length", note=note) for index in open_), End()]


def _shortened(e: PartDelta, ago: int) -> list[PartDelta]:
    """The delta without its last `ago` characters."""
    if not ago:
        return [e]
    return [replace(e, text=e.text[:-ago])] if ago < len(e.text) else []
