"""The sockets that are listened at, and the HTTP server behind them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from typing import Any

import uvicorn

from gateway.server.protocol import Connection

FLUSH = 2.0
"""Seconds that the last words of dismissed requests have to leave for their clients."""


class PortTaken(Exception):
    """The address can't be listened at. `address` is what the configuration says; `in_use` = somebody else does."""

    def __init__(self, address: str, reason: str, *, in_use: bool = False) -> None:
        super().__init__(f"can't listen at {address}: {reason}")
        self.address, self.in_use = address, in_use


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # with the protocol named, asyncio sets TCP_NODELAY on what it accepts: 2 ms instead of 46 for a kept connection
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except OSError as e:
        sock.close()
        raise PortTaken(f"{host}:{port}", e.strerror or type(e).__name__, in_use=e.errno == errno.EADDRINUSE) from None
    sock.setblocking(False)
    return sock


def url_of(sock: socket.socket, scheme: str = "http") -> str:
    host, port = sock.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


class HttpServer(uvicorn.Server):
    """uvicorn, for one ASGI app, without its signal handlers: the order of a stop is ours."""

    def __init__(self, app: Any, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",
                loop="none",
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                ssl_context_factory=None if tls is None else lambda *_: tls,
            )
        )
        self._up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._up.set()

    async def wait_started(self, serving: asyncio.Task[Any]) -> None:
        """Returns when the sockets are served, or when serving ended before."""
        up = asyncio.create_task(self._up.wait(), name="start-up")
        await asyncio.wait([up, serving], return_when=asyncio.FIRST_COMPLETED)
        up.cancel()

    async def flush(self) -> None:
        """Returns when the last answers have left for their clients, and the connections are closed or had FLUSH
        seconds for that."""
        loop = asyncio.get_running_loop()
        end = loop.time() + FLUSH
        open_ones = self.server_state.connections
        while open_ones and (loop.time() < end or any(map(_unsent, open_ones))):  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.05)

    def abort(self) -> None:
        """Closes what is still open."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def _unsent(connection: Any) -> int:
    """Octets that wait for a client to take them."""
    return int(connection.transport.get_write_buffer_size())
