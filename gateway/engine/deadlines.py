"""Who has waited too long: one sweep a second over all calls instead of a timer per read (9 us each).

A call keeps one timestamp, moved whenever the server says something that counts. The sweep cancels the task of a call
whose time is up; the call turns that into the error of the phase that it was in.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Literal

from gateway.errors import ClientGone, DeadlinePassed, GatewayError, RequestTimeout, UpstreamTimeout
from gateway.settings import Settings

Phase = Literal["body", "first_byte", "idle", "total", "send"]

_WORDS = {
    "first_byte": "the server sent nothing in time",
    "idle": "the server stopped in the middle of its answer",
    "total": "the answer took longer than a request may take",
}


class Watch:
    """One call's time. `expires` and `deadline` in seconds of the loop's clock; `deadline` never moves."""

    __slots__ = ("_sweep", "_task", "deadline", "expired", "expires", "phase")

    def __init__(self, sweep: Sweep, expires: float, deadline: float, phase: Phase = "first_byte") -> None:
        self._sweep = sweep
        self._task = asyncio.current_task()
        self.expires = expires
        self.deadline = deadline
        self.phase: Phase = phase
        self.expired: Phase | None = None

    def __enter__(self) -> Watch:
        self._sweep.watches.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """A cancellation that was this watch's becomes the error that it stands for."""
        self._sweep.watches.discard(self)
        if kind is asyncio.CancelledError:
            meant = self.error()
            if meant is not None:
                raise meant from None

    def expire(self, phase: Phase) -> None:
        self.expired = phase
        self._sweep.watches.discard(self)
        if self._task is not None:
            self._task.cancel()

    def error(self) -> GatewayError | None:
        """The error that the cancellation stands for; None if it was not this watch that cancelled."""
        if self.expired is None:
            return None
        if self._task is not None and self._task.uncancel() > 0:
            return None  # somebody else cancelled in the same moment: the client left
        if self.phase == "body":
            return RequestTimeout("the request's body did not arrive in time")
        if self.expired == "send":
            return ClientGone("the client stopped reading", code="client_stalled")
        if self.expired == "total":
            return DeadlinePassed(_WORDS["total"], param="total")
        return UpstreamTimeout(_WORDS[self.expired], param=self.expired)


class Sweep:
    """The one sweeper of a process. `period` in seconds is how late a call may notice."""

    def __init__(self, period: float = 1.0) -> None:
        self.period = period
        self.watches: set[Watch] = set()
        self._task: asyncio.Task[Any] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="deadlines")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.period)
            self.sweep(loop.time())

    def sweep(self, now: float) -> None:
        """Cancels every call whose time is up at `now`."""
        for watch in list(self.watches):
            if now >= watch.deadline:
                watch.expire("total")
            elif now >= watch.expires:
                watch.expire(watch.phase)


def sweep_interval(settings: Settings) -> float:
    """Seconds between two looks at who has waited too long: often enough for the shortest of the times."""
    given = [settings.timeouts, *(b.timeouts for b in settings.backends.values())]
    shortest = min(min(t.first_byte, t.idle, t.total, t.first_byte_unknown) for t in given)
    return min(1.0, min(shortest, settings.timeouts.client_body) / 4)
