"""The hop to a model server: calls over kept connections.

Foreign exceptions are renamed here and nowhere else. Redirects are never followed, coded bodies never asked for,
proxies of the environment never used; a client's headers never travel on.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from gateway import __version__
from gateway.backends import Call
from gateway.engine.http1 import Connection, Exchange
from gateway.errors import BadResponse, ConnectError, GatewayError, ProtocolFault, Reset, UpstreamTimeout

LARGE = 256 * 1024
"""Bodies above this are sent piece by piece."""
STALE = 1.0
"""Seconds within which a kept connection that was dropped shows. Later, it is the server that broke over this call."""
KEEP = 3.0
"""Seconds that an idle connection is kept: model servers behind uvicorn drop theirs after 5."""

_ALWAYS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": f"gateway/{__version__}"}
_JSON = {"content-type": "application/json"}
_JSON_LINE = b"content-type: application/json\r\n"
_SAFE = "%/:?#[]@!$&'()*+,;=-._~"

Origin = tuple[str, int, bool]
"""Host, port, TLS."""


class Address:
    """Where a server is and what it wants to see: base URL without a trailing slash, extra headers (credentials);
    seconds that a connection may take to open. Raises ValueError for a URL or a header that can't be sent."""

    __slots__ = ("_base", "_heads", "_lines", "connect", "headers", "origin", "url")

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, connect: float = 3.0) -> None:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        self.url = url
        self.connect = connect
        self.origin: Origin = (parts.hostname or "", parts.port or (443 if tls else 80), tls)
        self.headers = dict(headers or {})
        self._base = parts.path
        host = parts.netloc.rpartition("@")[2]
        self._lines = {"Host": host, **_ALWAYS, **self.headers}
        self._heads: dict[tuple[str, str], bytes] = {}
        _lines(self._lines)

    def head(self, call: Call, request_id: str, size: int | None, trace: bytes = b"") -> bytes:
        """The head of the request: everything before its body, which has `size` octets (None: there is none). `trace`:
        a header line, or nothing."""
        usual = call.headers == _JSON or not call.headers
        out = self._start(call.method, call.path) if usual else self._own_start(call)
        out += b"x-request-id: " + request_id.encode("latin-1", "replace") + b"\r\n" + trace
        if size is None:
            return out + b"\r\n"
        if usual:
            out += _JSON_LINE
        return out + b"Content-Length: %d\r\n\r\n" % size

    def _start(self, method: str, path: str) -> bytes:
        """The request line and the lines that are the same for every call; there are only a few paths."""
        start = self._heads.get((method, path))
        if start is None:
            if len(self._heads) > 256:
                self._heads.clear()
            start = self._heads[method, path] = self._request_line(method, path) + _lines(self._lines)
        return start

    def _own_start(self, call: Call) -> bytes:
        names = {name.lower() for name in call.headers}
        lines = {k: v for k, v in self._lines.items() if k.lower() not in names}
        if call.body is not None and "content-type" not in names:
            lines |= _JSON
        return self._request_line(call.method, call.path) + _lines({**lines, **call.headers})

    def _request_line(self, method: str, path: str) -> bytes:
        return f"{method} {quote(self._base + path, safe=_SAFE) or '/'} HTTP/1.1\r\n".encode("ascii")


def _lines(headers: Mapping[str, str]) -> bytes:
    """Header lines. Raises ValueError where a value could end its line."""
    out = []
    for name, value in headers.items():
        if any(c in value or c in name for c in "\r\n\0"):
            raise ValueError(f"the value of the header {name!r} has a line break in it")
        out.append(f"{name}: {value}\r\n")
    return "".join(out).encode("latin-1")


def rename(error: BaseException) -> GatewayError:
    """What an exception while a connection opens means for us. Never carries its text: that has addresses in it."""
    if isinstance(error, socket.gaierror):
        return ConnectError("the server's name could not be resolved", code="upstream_dns_error")
    if isinstance(error, ssl.SSLError):
        return ConnectError("the server's TLS certificate or handshake is not acceptable", code="upstream_tls_error")
    if isinstance(error, TimeoutError):
        return UpstreamTimeout("the server did not accept a connection in time", param="connect")
    if isinstance(error, OSError):
        return ConnectError("the server does not accept connections")
    return ProtocolFault("the exchange with the server failed")


class Upstream:
    """The client side of the gateway: all connections to model servers."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Origin, list[Connection]] = {}
        self._all: dict[Connection, Origin] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._tls: ssl.SSLContext | None = None

    async def send(self, call: Call, address: Address, request_id: str, trace: bytes = b"") -> Exchange:
        """Sends the call; returns when the reply's head has arrived. A connection that the server dropped while it was
        idle costs one silent second try. Raises ConnectError, UpstreamTimeout, Reset, ProtocolFault, BadResponse."""
        kept = self._kept(address.origin)
        if kept is not None:
            sent = self._loop.time()
            try:
                return await self._send(kept, call, address, request_id, trace)
            except Reset:
                if kept.heard() or self._loop.time() - sent > STALE:
                    raise
        return await self._send(await self._open(address), call, address, request_id, trace)

    async def _send(
        self, connection: Connection, call: Call, address: Address, request_id: str, trace: bytes
    ) -> Exchange:
        exchange = connection.begin()
        try:
            body = call.body
            size = None if body is None else sum(map(len, body))
            head = address.head(call, request_id, size, trace)
            if body is None or not size:
                connection.write(head)
            elif size > LARGE:
                connection.write(head)
                await connection.write_body(body)
            else:
                connection.write(head + call.octets())
            await exchange.head()
            if exchange.fields.get(b"content-encoding", b"identity").lower() != b"identity":
                raise BadResponse("the server sent a coded body that was not asked for", code="upstream_bad_response")
        except BaseException:  # cancelled, too: the client has left, and the server must see it
            exchange.close()
            raise
        return exchange

    # ---- connections ----

    def _kept(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        oldest = self._loop.time() - KEEP
        while idle:
            connection = idle.pop()
            if not connection.closed and connection.since > oldest:
                return connection
            connection.transport.abort()
        return None

    async def _open(self, address: Address) -> Connection:
        """A new connection. The addresses of a name are tried in turn, each for its share of the time."""
        host, port, _tls = address.origin
        end = self._loop.time() + address.connect
        try:
            async with asyncio.timeout_at(end):
                found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            if not found:
                raise socket.gaierror(socket.EAI_NONAME, "no address")
            targets = list(dict.fromkeys(info[4][0] for info in found))
            for left in range(len(targets), 0, -1):
                now = self._loop.time()
                try:
                    async with asyncio.timeout_at(now + max(0.0, end - now) / left):
                        return await self._connect(str(targets[-left]), address.origin)
                except (TimeoutError, OSError):
                    if left == 1:
                        raise
            raise AssertionError("the last address returns or raises")
        except (OSError, UnicodeError) as e:
            raise rename(e) from e

    async def _connect(self, ip: str, origin: Origin) -> Connection:
        host, port, tls = origin
        connection = Connection(self._loop, self._keep, self._forget)
        context = self._context() if tls else None
        await self._loop.create_connection(
            lambda: connection, ip, port, ssl=context, server_hostname=host if tls else None
        )
        self._all[connection] = origin
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _keep(self, connection: Connection) -> None:
        origin = self._all.get(connection)
        if origin is None:
            connection.transport.abort()  # the gateway is about to stop
            return
        connection.since = self._loop.time()
        self._idle.setdefault(origin, []).append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(KEEP, self._sweep)

    def _forget(self, connection: Connection) -> None:
        origin = self._all.pop(connection, None)
        idle = self._idle.get(origin) if origin is not None else None
        if idle and connection in idle:
            idle.remove(connection)

    def _sweep(self) -> None:
        """Closes what has been idle for too long: one timer for all."""
        oldest = self._loop.time() - KEEP
        for origin, idle in list(self._idle.items()):
            for connection in [c for c in idle if c.since <= oldest]:
                idle.remove(connection)
                connection.transport.abort()
            if not idle:
                del self._idle[origin]
        self._sweeper = self._loop.call_later(KEEP, self._sweep) if self._idle else None

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        everything = list(self._all)
        self._all.clear()
        self._idle.clear()
        for connection in everything:
            connection.transport.abort()
        await asyncio.sleep(0)
