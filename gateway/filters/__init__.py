"""What happens to an answer's events between the server and the client.

A filter takes a list of events and returns a list. **It returns the same list object when it changed nothing**: so the
usual case costs one scan, and identity proves that nothing was touched.
"""

from __future__ import annotations

from typing import Protocol

from gateway.canonical.events import End, Event


class Filter(Protocol):
    """`feed` gets what one network read gave. `end` is called once, before the stream's End or after its last byte, and
    returns what was held back."""

    def feed(self, events: list[Event]) -> list[Event]: ...
    def end(self) -> list[Event]: ...


def run(filters: list[Filter], events: list[Event]) -> list[Event]:
    """Sends `events` through all filters in order."""
    for f in filters:
        if not events:
            return events
        events = f.feed(events)
    return events


def finish(filters: list[Filter]) -> list[Event]:
    """Ends all filters in order: what one held back still goes through the ones behind it."""
    out: list[Event] = []
    for f in filters:
        if out:
            out = f.feed(out)
        out = [*out, *f.end()]
    return out


def complete(filters: list[Filter], events: list[Event]) -> list[Event]:
    """Sends an answer's last events through all filters and ends them: what they held back comes before the End, which
    stands last in `events`. A filter may have ended the answer before."""
    out = [*run(filters, events[:-1]), *finish(filters)]
    return out if out and type(out[-1]) is End else [*out, events[-1]]
