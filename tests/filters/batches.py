"""Events as reads of the network give them: several at a time."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.canonical.events import Event
from gateway.filters import Filter


def fed(f: Filter, events: Sequence[Event], sizes: Sequence[int] = (1,)) -> list[Event]:
    """All that comes out of a filter, its end included, if so many events come at a time, over and over."""
    out: list[Event] = []
    at = turn = 0
    while at < len(events):
        n = max(1, sizes[turn % len(sizes)])
        out += f.feed(list(events[at : at + n]))
        at += n
        turn += 1
    return [*out, *f.end()]
