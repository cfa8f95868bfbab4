"""The load generator: protocols without tasks or futures per request, so that it is never what is full."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

from bench.wire import AnswerReader

PIECE = 128 * 1024
"""Bytes of a large body that are written between two looks at the other connections."""


@dataclass(slots=True)
class Tally:
    """What the clients of one measurement counted together. Times in seconds."""

    done: int = 0
    events: int = 0
    reads: int = 0
    """Reads that held events."""
    bad: int = 0
    """Answers that were not 200, and connections that ended before their answer did."""
    took: list[float] = field(default_factory=list)
    """From a request's first byte to its answer's last."""
    first: list[float] = field(default_factory=list)
    """From a request's first byte to the first read that holds an event."""
    gap: float = 0.0
    """The longest silence between two reads with events on one connection, since it was last set to 0."""
    stop: bool = False
    """No client begins another request."""


class Client(asyncio.Protocol):
    """One kept connection with one request on it at a time, `times` times or until the tally says stop."""

    def __init__(self, request: bytes, tally: Tally, times: int | None = None) -> None:
        self.request = request
        self.tally = tally
        self.times = times
        self.reader = AnswerReader()
        self.begun = self.heard = 0.0
        self.busy = False
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one, but does not say so
        self.begin()

    def begin(self) -> None:
        self.reader = AnswerReader()
        self.busy = True
        self.heard = 0.0
        self.begun = time.perf_counter()
        self.write()

    def write(self) -> None:
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        reader = self.reader
        before = reader.events
        complete = reader.feed(data)
        if reader.events != before:
            self.hear(reader.events - before)
        if complete:
            self.complete()

    def hear(self, events: int) -> None:
        tally = self.tally
        now = time.perf_counter()
        tally.events += events
        tally.reads += 1
        if not self.heard:
            tally.first.append(now - self.begun)
        elif now - self.heard > tally.gap:
            tally.gap = now - self.heard
        self.heard = now

    def complete(self) -> None:
        tally = self.tally
        self.busy = False
        tally.took.append(time.perf_counter() - self.begun)
        if self.reader.status == 200:
            tally.done += 1
        else:
            tally.bad += 1
            tally.stop = True  # an error is no load: whoever reads `bad` must not read the rest
        if self.times is not None:
            self.times -= 1
        if tally.stop or self.times == 0:
            self.transport.close()
        else:
            self.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy:
            self.tally.bad += 1
        if not self.ended.done():
            self.ended.set_result(None)

    def leave(self) -> float:
        """Closes the connection as a client does that has lost patience; returns the monotonic clock just before."""
        self.busy = False
        now = time.monotonic()
        self.transport.close()
        return now


class Upload(Client):
    """Sends a large request in pieces and lets other connections have their turn in between."""

    def write(self) -> None:
        self.rest = memoryview(self.request)
        self.full = False
        self.next_piece()

    def next_piece(self) -> None:
        if not self.full and self.rest and not self.transport.is_closing():
            self.transport.write(self.rest[:PIECE])
            self.rest = self.rest[PIECE:]
            asyncio.get_running_loop().call_soon(self.next_piece)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.next_piece()


async def connect(port: int, client: Client) -> Client:
    """Opens the client's connection; it begins by itself."""
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
    return client


async def all_ended(clients: list[Client], seconds: float) -> None:
    """Waits until every client has ended. TimeoutError after so many seconds."""
    async with asyncio.timeout(seconds):
        for client in clients:
            await client.ended
