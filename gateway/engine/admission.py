"""Who may go now and who waits: a limit per target with a bounded, first-come queue.

The full policy set (priorities, fairness between keys) has its place here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Sequence
from types import TracebackType

from gateway.errors import Overloaded
from gateway.routing.candidate import Candidate


class Gate:
    """The door to one model of one server. `candidate.in_flight` and `candidate.queued` are changed here and nowhere
    else. Where several targets are that same model, `candidate` is one of them, and the others are told its numbers."""

    __slots__ = ("_twins", "_waiting", "candidate")

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self._twins: tuple[Candidate, ...] = ()
        self._waiting: deque[asyncio.Future[None]] = deque()

    def belongs_to(self, candidates: Sequence[Candidate], in_flight: int, queued: int) -> None:
        """Whose gate this is from now on, and what it has counted so far."""
        self.candidate, *others = candidates
        self._twins = tuple(others)
        self.candidate.in_flight, self.candidate.queued = in_flight, queued
        self._tell_twins()

    def _tell_twins(self) -> None:
        c = self.candidate
        for twin in self._twins:
            twin.in_flight, twin.queued = c.in_flight, c.queued

    @property
    def free(self) -> bool:
        """Whether `try_enter` would let one in."""
        return self.candidate.in_flight < self.candidate.limit and not self._waiting

    @property
    def full(self) -> bool:
        """Whether nobody more may wait."""
        return self.candidate.queued >= self.candidate.queue_limit

    def try_enter(self) -> Slot | None:
        """A slot if one is free and nobody waits for it."""
        c = self.candidate
        if c.in_flight >= c.limit or self._waiting:
            return None
        c.in_flight += 1
        if self._twins:
            self._tell_twins()
        return Slot(self)

    async def enter(self, timeout: float) -> Slot:
        """Waits for a slot, at most `timeout` seconds. Raises Overloaded at once when the queue is full."""
        slot = self.try_enter()
        if slot is not None:
            return slot
        if self.full:
            raise queue_full()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._queue(1)
        try:
            async with asyncio.timeout(timeout):  # not wait_for: in 3.11 it loses a cancellation in the same moment
                await turn
        except (TimeoutError, asyncio.CancelledError) as e:
            if turn.done() and not turn.cancelled():
                self._leave()  # the slot was handed over in the same moment: pass it on
            if isinstance(e, TimeoutError):
                raise Overloaded(
                    f"every target that fits is at its limit; waited {timeout:g} s for a place", retry_after=5.0
                ) from None
            raise
        finally:
            self._queue(-1)
            if turn in self._waiting:
                self._waiting.remove(turn)
        return Slot(self)

    def _queue(self, step: int) -> None:
        self.candidate.queued += step
        if self._twins:
            self._tell_twins()

    def _leave(self) -> None:
        """Frees the slot, and hands what is free now to those who wait longest: the limit may have grown meanwhile."""
        c = self.candidate
        c.in_flight -= 1
        while self._waiting and c.in_flight < c.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                c.in_flight += 1
        if self._twins:
            self._tell_twins()


def queue_full() -> Overloaded:
    """Said to a request that could only wait, where there is no place to wait."""
    return Overloaded("every target that fits is at its limit, and its queue is full", retry_after=2.0)


class Slot:
    """The right to have one request at a target. Given back exactly once, whatever happened in between."""

    __slots__ = ("_gate",)

    def __init__(self, gate: Gate) -> None:
        self._gate: Gate | None = gate

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.leave()

    def leave(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            gate._leave()


class Memory:
    """The octets that may be held at once, over all requests: of their bodies, and of media that were fetched or
    converted for them."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def reserve(self, octets: int) -> None:
        """Raises Overloaded when that would be too much."""
        if self.held + octets > self.limit:
            raise Overloaded("the gateway holds as much of requests as it may; try again shortly", retry_after=1.0)
        self.held += octets

    def release(self, octets: int) -> None:
        self.held -= octets


class Hold:
    """What one request keeps reserved of a memory until `release`; of None nothing is reserved."""

    __slots__ = ("_known", "_memory", "octets")

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = memory
        self._known: set[Hashable] = set()
        self.octets = 0

    def grow(self, octets: int) -> None:
        """Raises Overloaded."""
        if self._memory is not None:
            self._memory.reserve(octets)
            self.octets += octets

    def once(self, key: Hashable, octets: int) -> None:
        """The same for what may be asked for again: it is there once. Raises Overloaded."""
        if key not in self._known:
            self.grow(octets)
            self._known.add(key)

    def release(self) -> None:
        if self._memory is not None:
            self._memory.release(self.octets)
        self._known.clear()
        self.octets = 0
