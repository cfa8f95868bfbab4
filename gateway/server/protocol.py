"""A client's connection: uvicorn's HTTP protocol, and what it lacks towards slow, stalled and broken clients.

- A head has HEAD_SECONDS and HEAD_OCTETS; what is no HTTP is told so in our JSON.
- An answer that goes out before the request's body is read is followed by a lingering close: the sending side is
  closed, and what the client still sends is read and thrown away for a while. Closed at once, the kernel would answer
  the rest of the body with a reset, and that makes most clients forget the answer which they already have
  (RFC 9112, 9.6: https://www.rfc-editor.org/rfc/rfc9112#section-9.6).
- `abort` closes without waiting for a client that reads nothing.
- A request that offers to go on in another protocol keeps its body, and its connection stays what it is: Java's
  HttpClient offers HTTP/2 with its first one.
- Trailers are no headers: https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
"""

from __future__ import annotations

import asyncio
import http
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.errors import BadRequest, GatewayError, HeadTooLarge, RequestTimeout
from gateway.server.answer import CLOSE, HARDENING, Header, error_answer

Scope = MutableMapping[str, Any]
Send = Callable[[Any], Awaitable[None]]

HEAD_OCTETS = 32 * 1024
HEAD_FIELDS = 100
HEAD_SECONDS = 10.0
"""From the connection's opening, or from the first octet of a later request, to the end of the head."""
STALL_SECONDS = 60.0
"""How long a complete answer may lie in the buffer of a client that takes nothing of it."""
LINGER_OCTETS = 64 << 20
"""What is read and thrown away after a refusal at least, however small the limit of a body is: an honest client that is
told 413 is in the middle of an upload of that size."""
_FRAMING = (b"content-length", b"transfer-encoding")
_RESET = struct.pack("ii", 1, 0)


class Out:
    """What an answer is written to: the connection's transport, but that a head may wait for the first piece of its
    body, since two system calls cost 10 us more than one."""

    __slots__ = ("_head", "_holding", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._holding = False

    def hold_head(self) -> None:
        """What is written next is a head, and something follows it at once."""
        self._holding = True

    def release(self) -> None:
        """Nothing followed: it was an answer without a body."""
        self._holding = False
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def write(self, data: bytes) -> None:
        if self._holding:
            self._holding = False
            self._head = data
        elif self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        else:
            self._transport.write(data)

    def close(self) -> None:
        self.release()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class Connection(HttpToolsProtocol):
    """Stands in the scope as `gateway.connection`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._since = 0.0  # when the head at hand was first waited for; 0 = none is
        self._read = 0  # octets of the read at hand
        self._fed = 0  # octets of the reads before that brought neither a whole head nor a piece of a body
        self._skipped = False  # the parser has left the body of the request at hand out
        self._resuming = False  # it is being told again how long that is
        self._fault: GatewayError | None = None
        self._discard: int | None = None  # octets that may still be thrown away while we linger
        self._timer: asyncio.TimerHandle | None = None
        self.on_leave: Callable[[], None] | None = None
        """Called when the connection is lost: cheaper than a task per request that waits for `http.disconnect`."""
        self.out: Out
        self._unsent = (0, 0.0)  # octets in the buffer of a finished answer, and since when it is that many

    # ---- what the rest of the server asks for ----

    def unread(self, scope: Scope) -> bool:
        """Is there more to come of the body of this request?"""
        cycle = self.cycle
        return cycle is not None and cycle.scope is scope and cycle.more_body

    def watch(self, left: Callable[[], None]) -> None:
        """The request at hand has been read: `left` is called when its client is gone, soon if it is already. Behind a
        large body reading may still be paused, and who does not read does not see the end of a connection."""
        self.on_leave = left
        if self.transport.is_closing():
            self.loop.call_soon(self._tell_leave)
        else:
            self.flow.resume_reading()

    def linger(self, octets: int, seconds: float) -> None:
        """The answer is out: takes no more requests, throws away what the client still sends, and closes when it does,
        or after so many octets or seconds."""
        if self.cycle is not None:
            self.cycle.response_complete = True
            self.cycle.message_event.set()
        if self.transport.is_closing():
            return
        self._discard = octets
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._arm(seconds, self.abort)

    def abort(self) -> None:
        """Closes at once, with a reset: the kernel would offer what is not sent yet to a client that takes nothing for
        minutes more."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        sock = self.transport.get_extra_info("socket")
        if sock is not None and self.parser is not None:  # not lost yet: the descriptor is still ours
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    # ---- the connection ----

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.out = Out(transport)
        self._since = self.loop.time()
        self._arm(HEAD_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._tell_leave()
        if self.scope is not None:
            self.scope.pop("gateway.connection", None)  # type: ignore[typeddict-item]  # else a reference cycle

    def _tell_leave(self) -> None:
        told, self.on_leave = self.on_leave, None
        if told is not None:
            told()

    def data_received(self, data: bytes) -> None:
        if self._discard is not None:
            self._discard -= len(data)
            if self._discard < 0:
                self.abort()
            return
        cycle = self.cycle
        body = -1
        if cycle is None or cycle.response_complete:
            if not self._since:
                self._since = self.loop.time()
        elif cycle.more_body:
            body = len(cycle.body)
        self._read = len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except HttpParserError:
            self.send_400_response("")
            return
        if self._in_head or (body >= 0 and cycle.more_body and len(cycle.body) == body):
            # a head, trailers or the framing of chunks: the parser keeps them whole, whatever their length
            self._fed += len(data)
            if self._fed > HEAD_OCTETS and self._discard is None:
                self._refuse(_too_large())
        elif body >= 0:
            self._fed = 0

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                return
            except HttpParserUpgrade as e:
                data = data[e.args[0] :]
                self._stay()

    def _stay(self) -> None:
        """The parser has stopped behind a head that offers another protocol. Nobody takes that up (RFC 9110, 7.8), so
        another parser goes on: with the body, if there is one, else with the next request."""
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        if self._skipped:
            self._skipped, self._resuming = False, True
            length = b"".join(b"%b: %b\r\n" % field for field in self.scope["headers"] if field[0] in _FRAMING)
            try:
                self.parser.feed_data(b"POST / HTTP/1.1\r\n" + length + b"\r\n")
            finally:
                self._resuming = False

    def _arm(self, seconds: float, act: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, act)

    def _look(self) -> None:
        """The one timer of a connection: every HEAD_SECONDS, or when the head at hand is due."""
        now = self.loop.time()
        delay = HEAD_SECONDS
        if self.cycle is None or self.cycle.response_complete:
            if self._since:
                delay = self._since + HEAD_SECONDS - now
                if delay <= 0:
                    self._head_is_late()
                    return
            if self._stalled(now):
                self.abort()
                return
        self._timer = self.loop.call_later(delay, self._look)

    def _head_is_late(self) -> None:
        if self._fed:
            self._refuse(RequestTimeout("the head of the request did not arrive in time"))
        else:
            self.transport.close()

    def _stalled(self, now: float) -> bool:
        size = self.transport.get_write_buffer_size()
        if not size or size != self._unsent[0]:
            self._unsent = (size, now)
            return False
        return now - self._unsent[1] >= STALL_SECONDS

    # ---- the parser's callbacks ----

    def on_message_begin(self) -> None:
        if self._resuming:
            return
        super().on_message_begin()
        self.scope["gateway.connection"] = self  # type: ignore[typeddict-unknown-key]
        self._in_head = True
        if not self._since:
            self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        if self._resuming:
            return
        self._in_head = False
        self._since = 0.0
        fed, self._fed = self._fed, 0
        # summed up only where the reads were so large that it may matter
        many = len(self.headers) > HEAD_FIELDS
        if many or (fed + self._read > HEAD_OCTETS and self._head_octets() > HEAD_OCTETS):
            self._fault = _too_large()
            raise self._fault  # the parser stops, and `send_400_response` tells why
        super().on_headers_complete()
        self.cycle.transport = self.out  # type: ignore[assignment]  # all that it needs of one
        self._skipped = self.parser.should_upgrade() and any(name in _FRAMING for name, _ in self.headers)
        self.headers = []  # the scope has those that came; trailers end here

    def on_message_complete(self) -> None:
        if not self._skipped:
            super().on_message_complete()

    def _head_octets(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    # ---- refusals of what never became a request ----

    def send_400_response(self, msg: str) -> None:
        """uvicorn's own answer to what the parser refuses, in our shape."""
        self._refuse(self._fault or BadRequest("the request is not valid HTTP/1.1", code="invalid_http"))

    def _refuse(self, error: GatewayError) -> None:
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True  # whoever waits for its body waits in vain
            cycle.message_event.set()
            self._tell_leave()
            if cycle.response_started:
                self.abort()
                return
        status, headers, body = error_answer(error)
        fields: list[Header] = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", f"req_{secrets.token_hex(8)}".encode()),
            *HARDENING,
            *headers,
            CLOSE,
        ]
        head = b"HTTP/1.1 %d %s\r\n" % (status, http.HTTPStatus(status).phrase.encode())
        self.transport.write(head + b"".join(b"%s: %s\r\n" % field for field in fields) + b"\r\n" + body)
        self.linger(LINGER_OCTETS, HEAD_SECONDS)


def closing(scope: Scope, send: Send, connection: Connection, patience: Callable[[], tuple[int, float]]) -> Send:
    """`send` for a request whose body may be unread when it is answered: the connection then lingers, for as many
    octets and seconds as `patience` says."""
    early = False

    async def sender(message: Any) -> None:
        nonlocal early
        if message["type"] == "http.response.start":
            early = connection.unread(scope)
            if early:
                message = {**message, "headers": [*message.get("headers", ()), CLOSE]}
        elif early and not message.get("more_body", False):
            await send({**message, "more_body": True})  # uvicorn closes when it is told that this is all
            connection.linger(*patience())
            return
        await send(message)

    return sender


def _too_large() -> HeadTooLarge:
    return HeadTooLarge(f"the head of a request may have {HEAD_FIELDS} fields and {HEAD_OCTETS // 1024} KiB")
