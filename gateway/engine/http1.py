"""HTTP/1.1 as a client, over httptools' parser: one connection to a model server, one exchange on it at a time.

Why not a general client: docs/decisions/0004. What such a client does and this one never may is left out: redirects,
cookies, proxies, decompression, retries. What is here is what the hop needs: a reply that can be read while it comes,
back pressure both ways, a connection that closes the moment its exchange is given up, and the end of a reply told from
a break (RFC 9112, 6.3 and 8: https://www.rfc-editor.org/rfc/rfc9112#section-8).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.backends import Body
from gateway.errors import BadResponse, GatewayError, ProtocolFault, Reset, Truncated

PIECE = 64 * 1024
"""Octets per write of a large body: sending 50 MB as views of this size costs no extra memory."""
HEAD_OCTETS = 64 * 1024
HEAD_FIELDS = 100
"""How long the head of a reply may be."""
UNREAD = 256 * 1024
"""Octets of a reply that may wait for their reader before the server is slowed down."""
MAX_ANSWER = 64 << 20
"""Octets of a whole answer."""


class Exchange:
    """One call under way: the reply as it arrives. `status` 0 = its head is not here yet. `fields` = its header lines,
    names in lower case. `complete` = all of it has arrived, though perhaps not been read."""

    __slots__ = ("_connection", "_loop", "_waiter", "chunks", "complete", "error", "fields", "status", "unread")

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self.status = 0
        self.fields: dict[bytes, bytes] = {}
        self.chunks: list[bytes] = []
        self.unread = 0
        self.complete = False
        self.error: GatewayError | None = None

    # ---- for the reader ----

    @property
    def headers(self) -> dict[str, str]:
        return {k.decode("latin-1"): v.decode("latin-1") for k, v in self.fields.items()}

    @property
    def content_type(self) -> str:
        return self.fields.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")

    @property
    def at_end(self) -> bool:
        """Has everything been read, so that the connection is free?"""
        return self.complete and not self.chunks

    async def head(self) -> None:
        """Returns when the head has arrived. Raises Reset or ProtocolFault."""
        while not self.status:
            if self.error is not None:
                raise self.error
            await self._wait()

    async def read_some(self) -> bytes:
        """What has arrived since the last time; b"" at the end. What came before a break is given first, then it raises
        Reset, Truncated or ProtocolFault."""
        while not self.chunks:
            if self.complete:
                return b""
            if self.error is not None:
                raise self.error
            await self._wait()
        chunks = self.chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        if self.unread > UNREAD:
            self._connection.resume_reading(self)
        self.unread = 0
        return data

    async def read_all(self, limit: int = MAX_ANSWER) -> bytes:
        """The whole body. Raises BadResponse when it is larger than `limit`."""
        length = self.fields.get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:
            raise BadResponse("the server's answer is too large")
        pieces: list[bytes] = []
        size = 0
        while data := await self.read_some():
            pieces.append(data)
            size += len(data)
            if size > limit:
                raise BadResponse("the server's answer is too large")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Ends the exchange at once: unless the reply has arrived to its end, the server sees the connection close."""
        if not self.complete:
            self._connection.give_up(self)

    async def _wait(self) -> None:
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    # ---- for the connection ----

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def fail(self, error: GatewayError) -> None:
        if self.error is None and not self.complete:
            self.error = error
        self.wake()


class Connection(asyncio.Protocol):
    """`idle` is told when the connection can be used again, with the connection; `lost` when it is gone.
    `since` = when it became idle, on the loop's clock."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        idle: Callable[[Connection], None],
        lost: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._idle = idle
        self._lost = lost
        self._parser = HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._fed = 0  # octets since the exchange began, until its head is complete
        self._interim = False  # the head at hand is a 1xx: another follows
        self._complete = False  # the parser has seen the end of the reply
        self._again = False  # the connection may be used for another exchange
        self._sending = False  # pieces of the body are still to be sent
        self._room: asyncio.Future[None] | None = None
        self._full = False
        self.transport = cast(asyncio.Transport, None)
        self.closed = False
        self.since = 0.0

    # ---- one exchange ----

    def begin(self) -> Exchange:
        """The next exchange. Only on a connection that has none."""
        assert self._exchange is None
        self._fed = 0
        self._complete = self._interim = False
        self._exchange = exchange = Exchange(self, self._loop)
        if self.closed:
            exchange.fail(Reset("the connection to the server was reset"))
        return exchange

    def heard(self) -> bool:
        """Has anything been said in the exchange at hand?"""
        return self._fed > 0

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.transport.write(data)

    async def write_body(self, body: Body) -> None:
        """Sends a large body piece by piece, as fast as the server takes it, until it has answered or left: a refusal
        need not wait for the rest."""
        exchange = self._exchange
        assert exchange is not None
        self._sending = True
        for piece in pieces(body):
            if self.closed or exchange.status or exchange.error is not None:
                return
            self.transport.write(piece)
            if self._full:
                self._room = self._loop.create_future()
                try:
                    await self._room
                finally:
                    self._room = None
        self._sending = False

    def give_up(self, exchange: Exchange) -> None:
        """The exchange is not wanted any more: closes at once, also where the server does not read."""
        if self._exchange is exchange:
            exchange.fail(Reset("the exchange was given up"))
            self._exchange = None
            self.transport.abort()

    def resume_reading(self, exchange: Exchange) -> None:
        if self._exchange is exchange and not self.closed:
            self.transport.resume_reading()

    # ---- asyncio's protocol ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one, but does not say so

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            if not exchange.status:
                exchange.fail(Reset("the server closed the connection before it answered"))
            elif exc is None and not _framed(exchange.fields):
                exchange.complete = True
                exchange.wake()
            elif exc is None:
                exchange.fail(Truncated("the server's answer broke off"))
            else:
                exchange.fail(Reset("the connection to the server was reset in the middle of its answer"))
        self._make_room()
        self._lost(self)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._make_room()

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.transport.abort()  # nobody asked
            return
        if not exchange.status:
            self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._break(exchange)
            return
        if not exchange.status and self._fed > HEAD_OCTETS:
            self._break(exchange)
            return
        if exchange.status and self._room is not None:
            self._make_room()
        if self._complete:
            self._finish(exchange)
        exchange.wake()

    def _break(self, exchange: Exchange) -> None:
        """What came is no HTTP, or goes on after its end."""
        self._exchange = None
        if self._complete:
            exchange.complete = True
            exchange.wake()
        else:
            exchange.fail(ProtocolFault("the server does not answer in HTTP"))
        self._make_room()
        self.transport.abort()

    def _finish(self, exchange: Exchange) -> None:
        exchange.complete = True
        self._exchange = None
        if self._sending or not self._again:
            self.transport.abort()  # an orderly close would wait until the server has read the rest of the body
            return
        if exchange.unread > UNREAD:
            self.transport.resume_reading()
        self._idle(self)

    # ---- the parser's callbacks ----

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("more than one reply")

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self._exchange
        if exchange is not None and not exchange.status:
            exchange.fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        status = self._parser.get_status_code()
        self._interim = status < 200
        if self._interim:
            exchange.fields.clear()
        elif len(exchange.fields) > HEAD_FIELDS or (
            self._fed > HEAD_OCTETS and sum(map(len, exchange.fields.values())) > HEAD_OCTETS
        ):
            raise ValueError("the head is too long")
        else:
            exchange.status = status

    def on_body(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        exchange.chunks.append(data)
        before = exchange.unread
        exchange.unread = before + len(data)
        if before <= UNREAD < exchange.unread:
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        if not self._interim:
            self._complete = True
            self._again = self._parser.should_keep_alive()  # only known in here


def pieces(body: Body) -> Iterator[memoryview]:
    """The body in views of PIECE octets at most, none of it joined or copied."""
    for part in body:
        for chunk in (part,) if isinstance(part, bytes) else part:
            view = memoryview(chunk)
            for start in range(0, len(view), PIECE):
                yield view[start : start + PIECE]


def _framed(fields: dict[bytes, bytes]) -> bool:
    """Does the reply say itself where it ends? Else it ends with its connection."""
    return b"content-length" in fields or b"chunked" in fields.get(b"transfer-encoding", b"").lower()
