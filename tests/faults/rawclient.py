"""An HTTP/1.1 client on a bare socket: it sends what it is told, leaves when it is told, and reads at its own pace.

Nothing is retried, followed, decoded or repaired, so what a test sees is what was on the wire.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

LIMIT = 10.0
"""Seconds that any single wait may take: a hang is a failure, never a hung test run."""


@dataclass
class Response:
    """A response. Header names in lower case, in order. `body` without the chunked framing. `clean` = the body ended
    as its framing promised; False = the connection ended before."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    clean: bool = True
    raw_head: bytes = b""
    pieces: list[bytes] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k == name.lower()), None)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[str]:
        """The data of each event of a stream."""
        return event_data(self.body)

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The JSON events of a stream, without `[DONE]`."""
        return [json.loads(e) for e in self.events if e != "[DONE]"]

    @property
    def text(self) -> str:
        """The text of choice 0, of a stream or a whole chat answer."""
        if (self.header("content-type") or "").startswith("text/event-stream"):
            deltas = (c["choices"][0]["delta"].get("content") for c in self.chunks if c.get("choices"))
            return "".join(d for d in deltas if d)
        content: str = self.json()["choices"][0]["message"]["content"]
        return content

    @property
    def error(self) -> dict[str, Any] | None:
        """The error of the body, or the one that a stream ended with."""
        if (self.header("content-type") or "").startswith("text/event-stream"):
            return next((c["error"] for c in self.chunks if "error" in c), None)
        found: dict[str, Any] | None = self.json().get("error")
        return found

    @property
    def done(self) -> bool:
        return "[DONE]" in self.events

    @property
    def comments(self) -> list[str]:
        return [line for line in self.body.decode().split("\n") if line.startswith(":")]


def event_data(body: bytes) -> list[str]:
    out = []
    for block in body.decode().replace("\r\n", "\n").split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if lines:
            out.append("\n".join(lines))
    return out


def request_bytes(
    method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None, host: str = "localhost"
) -> bytes:
    fields = {"Host": host, **(headers or {})}
    if body is not None and "Content-Length" not in fields and "Transfer-Encoding" not in fields:
        fields["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + (body or b"")


def json_request(path: str, value: Any, headers: dict[str, str] | None = None) -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return request_bytes("POST", path, {"Content-Type": "application/json", **(headers or {})}, body)


class RawClient:
    """One connection. `window` = the socket's receive buffer in bytes, small for a slow reader."""

    def __init__(self, url: str, window: int | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._window = window
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        sock = socket.socket()
        if self._window is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._window)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (self._host, self._port))
        except BaseException:
            sock.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        limit = self._window or 1 << 16
        self.reader, self.writer = await asyncio.open_connection(sock=sock, limit=limit)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await asyncio.wait_for(self.writer.drain(), LIMIT)

    def half_close(self) -> None:
        """No more is sent; the answer is still read."""
        self.writer.write_eof()

    async def leave(self) -> None:
        """Closes in order (FIN)."""
        self.writer.close()
        try:
            await asyncio.wait_for(self.writer.wait_closed(), LIMIT)
        except OSError:
            pass

    async def abort(self) -> None:
        """Closes with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        await asyncio.sleep(0)

    async def read_head(self) -> Response:
        """Status and headers of the next response that is not a 1xx."""
        while True:
            raw = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), LIMIT)
            first, *lines = raw[:-4].decode("latin-1").split("\r\n")
            status = int(first.split(" ", 2)[1])
            if status >= 200 or status == 101:
                headers = [(k.strip().lower(), v.strip()) for k, _, v in (x.partition(":") for x in lines)]
                return Response(status, headers, raw_head=raw)

    async def pieces(self, response: Response) -> AsyncIterator[bytes]:
        """The body as it comes: one HTTP chunk, or one read, at a time. Sets `clean` at the end."""
        response.clean = False
        try:
            if "chunked" in (response.header("transfer-encoding") or ""):
                while True:
                    size = int((await asyncio.wait_for(self.reader.readline(), LIMIT)).split(b";")[0] or b"", 16)
                    data = await asyncio.wait_for(self.reader.readexactly(size + 2), LIMIT)
                    if size == 0:
                        break
                    yield data[:-2]
            elif (length := response.header("content-length")) is not None:
                left = int(length)
                while left:
                    data = await asyncio.wait_for(self.reader.read(left), LIMIT)
                    if not data:
                        return
                    left -= len(data)
                    yield data
            elif response.status not in (204, 304):
                while data := await asyncio.wait_for(self.reader.read(1 << 16), LIMIT):
                    yield data
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            return
        response.clean = True

    async def read(self, *, no_body: bool = False) -> Response:
        """A whole response."""
        response = await self.read_head()
        if not no_body:
            async for piece in self.pieces(response):
                response.pieces.append(piece)
                response.body += piece
        return response

    async def read_until(self, response: Response, mark: bytes) -> None:
        """Reads the body up to and with the piece in which `mark` is complete."""
        async for piece in self.pieces(response):
            response.pieces.append(piece)
            response.body += piece
            if mark in response.body:
                return
        raise AssertionError(f"the body ended without {mark!r}: {response.body[-500:]!r}")

    async def ended(self, within: float = LIMIT) -> bytes:
        """What comes until the other side closes."""
        try:
            return await asyncio.wait_for(self.reader.read(), within)
        except ConnectionError:
            return b""


async def send(url: str, data: bytes, *, no_body: bool = False) -> Response:
    """One request on a connection of its own."""
    async with RawClient(url) as client:
        try:
            await client.send(data)
        except ConnectionError:
            pass  # refused before all was sent: the answer may be there already
        return await client.read(no_body=no_body)


async def post(url: str, path: str, value: Any, headers: dict[str, str] | None = None) -> Response:
    return await send(url, json_request(path, value, headers))


async def get(url: str, path: str, headers: dict[str, str] | None = None) -> Response:
    return await send(url, request_bytes("GET", path, headers))
