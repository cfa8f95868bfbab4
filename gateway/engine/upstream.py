"""The hop to a model server: one aiohttp session for the life of the process.

Foreign exceptions are renamed here and nowhere else. Redirects are never followed, coded bodies never asked for,
proxies of the environment never used; a client's headers never travel on.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp

from gateway.backends import Body, Call
from gateway.canonical.content import Segments
from gateway.errors import (
    BadResponse,
    ConnectError,
    GatewayError,
    ProtocolFault,
    Reset,
    Truncated,
    UpstreamTimeout,
)

PIECE = 64 * 1024
"""Octets per write of a large body: sending 50 MB as views of this size costs no extra memory."""
LARGE = 256 * 1024
"""Bodies above this are sent piece by piece."""
MAX_ANSWER = 64 << 20
"""Octets of a whole answer."""


@dataclass(slots=True)
class Address:
    """Where a server is and what it wants to see: base URL without a trailing slash, extra headers (credentials);
    seconds that a connection may take to open."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    connect: float = 3.0
    timeout: aiohttp.ClientTimeout = field(init=False)

    def __post_init__(self) -> None:
        # no read timeout: the client re-arms a timer at every read (9 us each); engine/deadlines watches instead
        self.timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.connect)


def rename(error: BaseException) -> GatewayError:
    """What an exception of the HTTP client means for us. Never carries its text: that has addresses in it."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ConnectError("the server's name could not be resolved", code="upstream_dns_error")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return ConnectError("the server's TLS certificate or handshake is not acceptable", code="upstream_tls_error")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return UpstreamTimeout("the server did not accept a connection in time", param="connect")
    if isinstance(error, aiohttp.ClientConnectorError):
        return ConnectError("the server does not accept connections")
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        return UpstreamTimeout("the server did not answer in time", param="first_byte")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return Reset("the server closed the connection before it answered")
    # aiohttp tells a reset from an early end in its text only (client_proto.connection_lost)
    if isinstance(error, aiohttp.ClientPayloadError) and "ConnectionResetError" in str(error):
        return Reset("the connection to the server was reset in the middle of its answer")
    if isinstance(error, aiohttp.ClientPayloadError):
        return Truncated("the server's answer broke off")
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.http_exceptions.HttpProcessingError):
        return ProtocolFault("the server does not answer in HTTP")
    if isinstance(error, aiohttp.ClientOSError | OSError):
        return Reset("the connection to the server was reset")
    return ProtocolFault("the exchange with the server failed")


async def _pieces(body: Body) -> AsyncIterator[memoryview]:
    for part in body:
        for chunk in part if isinstance(part, Segments) else (part,):
            view = memoryview(chunk)
            for start in range(0, len(view), PIECE):
                yield view[start : start + PIECE]


async def _mark_reused(_session: Any, trace: SimpleNamespace, _params: Any) -> None:
    if trace.trace_request_ctx is not None:
        trace.trace_request_ctx.reused = True


class Exchange:
    """One call under way: the reply as it arrives. `reused` = the connection was not opened for this call."""

    __slots__ = ("response", "reused")

    def __init__(self) -> None:
        self.response: aiohttp.ClientResponse | None = None
        self.reused = False

    @property
    def status(self) -> int:
        assert self.response is not None
        return self.response.status

    @property
    def headers(self) -> dict[str, str]:
        assert self.response is not None
        return {k.lower(): v for k, v in self.response.headers.items()}

    @property
    def content_type(self) -> str:
        assert self.response is not None
        return self.response.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def read_some(self) -> bytes:
        """What has arrived since the last time; b"" at the end. Raises Reset, Truncated or ProtocolFault."""
        assert self.response is not None
        try:
            return await self.response.content.readany()
        except (aiohttp.ClientError, OSError) as e:
            raise rename(e) from e

    async def read_all(self, limit: int = MAX_ANSWER) -> bytes:
        """The whole body. Raises BadResponse when it is larger than `limit`."""
        assert self.response is not None
        length = self.response.content_length
        if length is not None and length > limit:
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
        """Ends the exchange at once: unless the reply was read to its end, the server sees the connection close."""
        if self.response is not None and not self.response.closed:
            self.response.close()

    def release(self) -> None:
        """The reply was read to its end: the connection may serve the next call."""
        if self.response is not None:
            self.response.release()


class Upstream:
    """The client side of the gateway."""

    def __init__(self) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_mark_reused)
        self._session = aiohttp.ClientSession(
            # 3 s: model servers behind uvicorn drop an idle connection after 5 s
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=3.0, ttl_dns_cache=30),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            trace_configs=[trace],
        )

    async def send(self, call: Call, address: Address, request_id: str) -> Exchange:
        """Sends the call; returns when the reply's head has arrived. A connection that the server dropped while it was
        idle costs one silent second try on a new one. Raises the errors of `rename`."""
        exchange = Exchange()
        try:
            return await self._send_once(exchange, call, address, request_id)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as e:
            if not exchange.reused or isinstance(e, aiohttp.ClientConnectorError):
                raise rename(e) from e
        except (aiohttp.ClientError, OSError, ValueError) as e:
            raise rename(e) from e
        try:
            return await self._send_once(Exchange(), call, address, request_id)
        except (aiohttp.ClientError, OSError, ValueError) as e:
            raise rename(e) from e

    async def _send_once(self, exchange: Exchange, call: Call, address: Address, request_id: str) -> Exchange:
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if call.streamed else "application/json",
            "Accept-Encoding": "identity",
            "x-request-id": request_id,
            **call.headers,
            **address.headers,
        }
        data: Any = None
        if call.body is not None:
            size = sum(map(len, call.body))
            if size > LARGE:
                headers["Content-Length"] = str(size)
                data = _pieces(call.body)
            else:
                data = call.octets()
        exchange.response = await self._session.request(
            call.method,
            address.url + call.path,
            data=data,
            headers=headers,
            allow_redirects=False,
            timeout=address.timeout,
            trace_request_ctx=exchange,
        )
        if exchange.response.headers.get("Content-Encoding", "identity") != "identity":
            exchange.close()
            raise BadResponse("the server sent a coded body that was not asked for", code="upstream_bad_response")
        return exchange

    async def close(self) -> None:
        await self._session.close()
        await asyncio.sleep(0)
