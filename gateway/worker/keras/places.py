"""Who may wait for the one model: a bounded number of requests, the others are told when to come again."""

from __future__ import annotations

from math import ceil

from gateway.errors import Overloaded

_LONGEST = 60.0
_WEIGHT = 0.3


class Places:
    """`limit`: requests that are answered or wait for it. Times in seconds."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._usual = 1.0

    @property
    def taken(self) -> int:
        return self._taken

    def enter(self) -> None:
        """Takes a place. Raises Overloaded, with the time after which one should be free, when all are taken."""
        if self._taken >= self._limit:
            wait = min(_LONGEST, max(1.0, ceil(self._usual)))
            raise Overloaded(f"{self._limit} requests wait already", retry_after=wait)
        self._taken += 1

    def leave(self, seconds: float | None) -> None:
        """Gives it back. `seconds` that the model worked on the request; None if it did not."""
        self._taken -= 1
        if seconds is not None:
            self._usual += _WEIGHT * (seconds - self._usual)
