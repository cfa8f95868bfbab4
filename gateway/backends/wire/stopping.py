"""A stream that is ended here, at the request's stop texts, where the server does not do it itself."""

from __future__ import annotations

from gateway.canonical.events import End, Event, Fault
from gateway.dialects import Decoder
from gateway.filters.stop import Stop


class Stopping:
    """A decoder whose answer ends where a stop text begins. The answer is complete then: nobody waits for what the
    server goes on to say, nor for its count of tokens, and the closed connection tells it to stop."""

    __slots__ = ("_decoder", "_over", "_stop")

    def __init__(self, decoder: Decoder, stop: Stop) -> None:
        self._decoder = decoder
        self._stop = stop
        self._over = False

    def feed(self, data: bytes) -> list[Event]:
        return [] if self._over else self._pass(self._decoder.feed(data))

    def end(self) -> list[Event]:
        return [] if self._over else self._pass(self._decoder.end())

    def _pass(self, events: list[Event]) -> list[Event]:
        out = self._stop.feed(events)
        last = out[-1] if out else None
        if self._stop.done:
            self._over = True
            return out if isinstance(last, End) else [*(e for e in out if not isinstance(e, Fault)), End()]
        if isinstance(last, End | Fault):
            self._over = True
            held = self._stop.end()
            return [*out[:-1], *held, last] if held else out
        return out
