"""Leaves the thoughts out of an answer, for a client that asked not to see them. They were thought all the same: usage
counts them."""

from __future__ import annotations

from gateway.canonical.events import Event, PartDelta, PartEnd, PartStart


class HideThinking:
    __slots__ = ("_hidden",)

    def __init__(self) -> None:
        self._hidden: set[tuple[int, int]] = set()

    def feed(self, events: list[Event]) -> list[Event]:
        out = [e for e in events if not self._is_hidden(e)]
        return events if len(out) == len(events) else out

    def end(self) -> list[Event]:
        return []

    def _is_hidden(self, e: Event) -> bool:
        if isinstance(e, PartStart) and e.kind == "thinking":
            self._hidden.add((e.choice, e.part))
            return True
        return isinstance(e, PartDelta | PartEnd) and (e.choice, e.part) in self._hidden
