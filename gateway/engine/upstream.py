"""The hop to a model server: one aiohttp session for the life of the process.

Foreign exceptions are renamed here and nowhere else. Redirects are never followed, coded bodies never asked for,
proxies of the environment never used; a client's headers never travel on.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from gateway import __version__
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
STALE = 1.0
"""Seconds within which a kept connection that was dropped shows. Later, it is the server that broke over this call."""
MAX_ANSWER = 64 << 20
"""Octets of a whole answer."""


class Address:
    """Where a server is and what it wants to see: base URL without a trailing slash, extra headers (credentials);
    seconds that a connection may take to open."""

    __slots__ = ("_urls", "headers", "timeout", "url")

    def __init__(self, url: str, headers: Mapping[str, str] | None = None, connect: float = 3.0) -> None:
        self.url = url
        self.headers: CIMultiDict[str] = CIMultiDict(headers or {})
        # no read timeout: the client re-arms a timer at every read (9 us each); engine/deadlines watches instead
        # `connect` bounds the name's resolution too
        self.timeout = aiohttp.ClientTimeout(total=None, connect=connect + 1.0, sock_connect=connect)
        self._urls: dict[str, URL] = {}

    def of(self, path: str) -> URL:
        """The URL of a path, parsed once: there are only a few."""
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = URL(self.url + path, encoded=True)
        return url


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


_opened: ContextVar[bool] = ContextVar("opened")
"""Did the call at hand open its connection? Set by the connector in the call's own task: a tenth of the cost of
aiohttp's tracing."""


class _Connector(aiohttp.TCPConnector):
    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        _opened.set(True)
        return await super()._create_connection(req, traces, timeout)


class Exchange:
    """One call under way: the reply as it arrives."""

    __slots__ = ("response",)

    def __init__(self) -> None:
        self.response: aiohttp.ClientResponse | None = None

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


class Upstream:
    """The client side of the gateway."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            # 3 s: model servers behind uvicorn drop an idle connection after 5 s
            connector=_Connector(limit=0, keepalive_timeout=3.0, ttl_dns_cache=30),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": f"gateway/{__version__}",
            },
        )

    async def send(self, call: Call, address: Address, request_id: str) -> Exchange:
        """Sends the call; returns when the reply's head has arrived. A connection that the server dropped while it was
        idle costs one silent second try. Raises the errors of `rename`."""
        _opened.set(False)
        sent = asyncio.get_running_loop().time()
        try:
            return await self._send_once(call, address, request_id)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as e:
            if _opened.get() or asyncio.get_running_loop().time() - sent > STALE:
                raise rename(e) from e
        except (aiohttp.ClientError, OSError, ValueError) as e:
            raise rename(e) from e
        try:
            return await self._send_once(call, address, request_id)
        except (aiohttp.ClientError, OSError, ValueError) as e:
            raise rename(e) from e

    async def _send_once(self, call: Call, address: Address, request_id: str) -> Exchange:
        headers = address.headers.copy()
        headers["x-request-id"] = request_id
        if call.headers:
            headers.update(call.headers)
        data: Any = None
        if call.body is not None:
            size = sum(map(len, call.body))
            if size > LARGE:
                headers["Content-Length"] = str(size)
                data = _pieces(call.body)
            else:
                data = call.octets()
        exchange = Exchange()
        exchange.response = await self._session.request(
            call.method,
            address.of(call.path),
            data=data,
            headers=headers,
            allow_redirects=False,
            timeout=address.timeout,
        )
        if exchange.response.headers.get("Content-Encoding", "identity") != "identity":
            exchange.close()
            raise BadResponse("the server sent a coded body that was not asked for", code="upstream_bad_response")
        return exchange

    async def close(self) -> None:
        await self._session.close()
        await asyncio.sleep(0)
