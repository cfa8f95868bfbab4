"""A streamed reply on its way to the client: read, decode, filter, encode, write."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import takewhile
from math import inf
from typing import NoReturn

import msgspec

from gateway.backends.wire.scrub import scrub
from gateway.canonical.events import (
    Answer,
    ChoiceEnd,
    End,
    Event,
    Fault,
    Folder,
    PartDelta,
    PartStart,
    Progress,
    Start,
    Usage,
)
from gateway.engine.deadlines import Watch
from gateway.engine.http1 import MAX_ANSWER, Exchange
from gateway.engine.job import Job
from gateway.engine.servers import Deployment, check_model
from gateway.errors import BadResponse, GatewayError, Truncated, by_code
from gateway.filters import complete, finish, run

REFUSAL_LIMIT = 64 * 1024
"""Octets of a server's error that are read."""
LARGEST_FOLD = 2 * MAX_ANSWER
"""Octets of a stream that becomes a whole answer: nine tenths of them are framing. 250 a token is usual."""
LINGER = 0.1
"""Seconds to wait for the end of a reply whose answer is complete, so that its connection can be used again."""
TELLING = 256
"""Prompt tokens from which on the time to the first content tells a server's reading speed."""
SPOKEN = 16
"""Tokens of an answer from which on their time tells its writing speed."""


@dataclass(slots=True, frozen=True)
class Limits:
    """Seconds: until the first event, and between two of them."""

    first_byte: float
    idle: float


class StreamedReply:
    """`relay` passes the reply on as it comes; for a client that wants a whole answer it folds it and returns it.

    Nothing is shown before the first content event, and nothing at all before the answer was checked where it has to be
    (`Chain.demand`). After an End nothing follows; a Fault raises, and what the server had said before it has been
    passed on."""

    __slots__ = ("_called", "_d", "_exchange", "_filters", "_folder", "_held", "_hold", "_job", "_limits", "_watch")

    def __init__(self, job: Job, d: Deployment, exchange: Exchange, watch: Watch, limits: Limits) -> None:
        self._job = job
        self._d = d
        self._exchange = exchange
        self._watch = watch
        self._limits = limits
        self._filters = job.chain.filters
        chain = job.chain
        self._hold = chain.hold
        self._called = False
        self._folder = None if job.streamed and not chain.verifies else Folder()
        self._held: list[Event] = []

    async def relay(self, event_type: str) -> Answer | None:
        backend = self._d.server.backend
        assert backend is not None
        filters = self._filters
        exchange = self._exchange
        if exchange.content_type != event_type:
            raise await self._not_a_stream()
        decoder = backend.decoder(self._job.asked or self._job.request)
        clock = asyncio.get_running_loop().time
        done = False
        size = 0
        while not done:
            broken: GatewayError | None = None
            try:
                data = await exchange.read_some()
            except GatewayError as e:
                data, broken = b"", e
            events = decoder.feed(data) if data else decoder.end()
            if broken is not None and not (events and type(events[-1]) is End):
                # with every finish said, how the connection ended does not matter
                await self._break_off([e for e in events if type(e) is not Fault], broken)
            if not events:
                if data:
                    continue  # comments: the connection lives, the answer does not move
                await self._break_off([], Truncated("the server's answer ended before it was complete"))
            done = await self._look(events, clock())
            if filters:
                events = complete(filters, events) if done else run(filters, events)
                if not done and events and type(events[-1]) is End:
                    done = True  # a filter ended the answer
            if self._folder is not None:
                size += len(data)
                if size > LARGEST_FOLD:
                    raise BadResponse("the server's answer is too large")
                self._folder.feed(events)
            if self._job.streamed:
                await self._pass_on(events, done)
        if not self._job.streamed:
            assert self._folder is not None
            return self._folder.answer
        return None

    async def _pass_on(self, events: list[Event], done: bool) -> None:
        """Shows the events, or holds them: until there is content, until the answer was checked."""
        if done:
            self._verify()
            self._job.quiet()
            self._job.note_repairs()
        elif self._hold and self._must_wait(events):
            self._held += events
            return
        if self._held:
            events = [*self._held, *events]
            self._held = []
        if self._job.content:
            await self._write(events, last=done)
        elif done or any(type(e) is PartStart or (type(e) is ChoiceEnd and self._folder is None) for e in events):
            await self._first_content(events, last=done)
        else:
            self._held = events

    def _must_wait(self, events: list[Event]) -> bool:
        """Where all that is demanded is of calls, what comes before the first one may be shown."""
        demand = self._job.chain.demand
        assert demand is not None
        self._called = self._called or not all(map(_is_no_call, events))
        return self._called or not demand.calls_only

    def _verify(self) -> None:
        """Raises when the answer is not what was demanded. Of an answer that its server vouches for, and that was shown
        as it came, this is the last word."""
        if self._folder is not None:
            self._job.chain.verify(self._folder.answer)

    async def settle(self) -> None:
        """After the client has its answer, which it need not wait for: the end of the reply, and what it tells."""
        await self._linger()
        self._learn_rate()

    async def _look(self, events: list[Event], now: float) -> bool:
        """Notes what the events say about time, tokens and progress. Is the answer complete? Raises for a fault."""
        record = self._job.record
        done = content = moved = False
        deltas = 0
        for e in events:
            kind = type(e)
            if kind is PartDelta:
                deltas += 1
            elif kind is PartStart or kind is ChoiceEnd:
                content = True
            elif isinstance(e, Usage):
                record.usage = e
            elif isinstance(e, Progress):
                moved = moved or e.done > self._job.progress[0]
                self._job.progress = (e.done, e.total)
            elif kind is End:
                done = True
            elif isinstance(e, Fault):
                await self._break_off(events[: events.index(e)], fault_error(e))
            elif isinstance(e, Start):
                check_model(self._d, e.model)
        if content and not record.first:
            record.first = now
            self._watch.phase = "idle"
            self._d.breaker.alive(now)
            self._d.note_rest()
        record.last = now
        record.deltas += deltas
        if record.first:
            self._watch.expires = now + self._limits.idle
        elif moved or not self._job.progress[1]:
            self._watch.expires = now + self._limits.first_byte
        return done

    async def _first_content(self, events: list[Event], *, last: bool) -> None:
        job = self._job
        job.content = True
        job.phase = "streaming"
        job.hush()
        job.name_target()
        await self._write(events, last=last)

    async def _write(self, events: list[Event], *, last: bool = False) -> None:
        job = self._job
        assert job.encoder is not None
        data = job.encoder.encode(events)
        if data or last:
            watch, clock = self._watch, asyncio.get_running_loop().time
            watch.phase, watch.expires = "send", clock() + job.context.snapshot.timeouts.send_stall
            job.said = inf
            if not job.outlet.committed:
                await job.outlet.begin(job.headers, job.encoder.media_type)
            await (job.outlet.end(data) if last else job.outlet.write(data))
            job.said = clock()
            watch.phase, watch.expires = "idle", job.said + self._limits.idle

    async def _break_off(self, events: list[Event], error: GatewayError) -> NoReturn:
        """The answer can't be completed: `events`, and what the filters hold, are still the client's, but for what is
        held until the answer was checked."""
        if self._job.streamed and self._job.content:
            before = [*run(self._filters, events), *finish(self._filters)]
            if self._hold:
                before = [] if self._called else list(takewhile(_is_no_call, before))
            if before:
                await self._write(before)
        raise error

    async def _not_a_stream(self) -> GatewayError:
        backend = self._d.server.backend
        assert backend is not None
        body = await self._exchange.read_all(REFUSAL_LIMIT)
        if self._exchange.content_type == "application/json":
            try:
                error = backend.error_in(decode_reply(body))
            except GatewayError:
                error = None
            if error is not None:
                return error
        return BadResponse("the server answered a streamed request with something that is no event stream")

    async def _linger(self) -> None:
        """The answer is complete; reads the end of the reply so that the connection can be kept."""
        if self._exchange.at_end:
            return
        try:
            async with asyncio.timeout(LINGER):
                while await self._exchange.read_some():
                    pass
        except (TimeoutError, GatewayError):
            pass  # the answer was complete: how the connection ends does not matter

    def _learn_rate(self) -> None:
        """Tokens per second. Of a prompt: those that were not in the server's cache over the time to the first content.
        Rather too slow than too fast: what follows from it is when a silent server is given up. How long it took to
        load a model is no part of it."""
        record, c = self._job.record, self._d.candidate
        usage = record.usage
        if usage is None or not record.first:
            return
        if usage.output is not None and usage.output >= SPOKEN and record.last > record.first:
            speed = (usage.output - 1) / (record.last - record.first)
            c.decode_rate = 0.9 * c.decode_rate + 0.1 * speed if c.decode_rate else speed
        if usage.input is None or usage.cached is None or self._job.cold:
            return
        tokens = usage.input - usage.cached
        if tokens >= TELLING:
            rate = tokens / max(0.001, record.first - self._job.sent)
            c.rate = rate if not c.rate or rate < c.rate else 0.9 * c.rate + 0.1 * rate


def _is_no_call(e: Event) -> bool:
    return not (isinstance(e, PartStart) and e.kind == "tool_call")


def fault_error(fault: Fault) -> GatewayError:
    """The error that a fault in a stream stands for."""
    return by_code(fault.code)(scrub(fault.message), param=fault.param)


def decode_reply(body: bytes) -> object:
    """A server's JSON. Raises BadResponse."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise BadResponse("the server answered with broken JSON") from None
