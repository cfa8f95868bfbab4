"""A scriptable upstream on a real socket: it answers, lies, stalls and dies as it is told, and writes down what it saw.

    async with Wire() as wire:
        wire.answer(Head(), Events(["Hel"]), Reset())          # every request from now on
        wire.answer(Json(error, status=500), nth=0)            # the first one (the newest rule that fits wins)
        wire.answer(Hang(), when=lambda body: "slow" in str(body))
        ...
        await wire.closed(wire.requests[0], within=1.0)        # when *upstream* saw the close

Probes (`/health`, `/v1/models`, `/props`, ...) are answered as a server of its `kind` would and stand in `probes`;
`requests` holds only what the rules are about. Times are of the monotonic clock. Standard library only.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Self, cast

from tests.faults import answers, kinds
from tests.faults.steps import Answer, Framing, Reply, Step, encode

Ending = Literal["", "closed", "reset", "ours"]
"""How a connection ended: the peer closed it in order | the peer aborted it | this side did."""


async def moments(within: float, step: float = 0.01) -> AsyncIterator[None]:
    """Moments at which to look whether something has happened, for so many seconds *of this loop*: where a busy machine
    lets this process wait, what is waited for in it waits as well."""
    for _ in range(int(within / step)):
        yield
        await asyncio.sleep(step)
    yield


@dataclass
class Received:
    """One request as it arrived. Header names in lower case, in order. `nth` counts the rules' requests from 0,
    `turn` the requests of its connection. `closed_at` is when its connection ended, if it did."""

    nth: int
    conn: int
    turn: int
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    at: float
    complete_at: float | None = None
    closed_at: float | None = None
    ending: Ending = ""

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k == name.lower()), None)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def settled(self) -> bool:
        """True if nothing of it is going on any more: fully answered, or its connection is gone."""
        return self.complete_at is not None or self.closed_at is not None


@dataclass(frozen=True)
class Entry:
    """`what`: open, request, sent, peer_closed, peer_reset, ours (this side closed)."""

    at: float
    conn: int
    what: str
    detail: str = ""


@dataclass
class _Rule:
    steps: tuple[Step, ...]
    nth: frozenset[int] | None = None
    turn: int | None = None
    path: str | None = None
    when: Callable[[dict[str, Any]], bool] | None = None

    def fits(self, r: Received) -> bool:
        if self.nth is not None and r.nth not in self.nth:
            return False
        if self.turn is not None and r.turn < self.turn:
            return False
        if self.path is not None and r.path.partition("?")[0] != self.path:
            return False
        return self.when is None or self.when(_object(r.body))


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


@dataclass
class Wire:
    """`kind`: which server's probes it answers. `state` "loading" = it says that it still loads its model.
    `more`: operations that its probes find beyond the usual. `key` = the bearer token that it wants, on probes too.
    `tls` = it listens for TLS, from its next start on."""

    kind: Literal["llamacpp", "vllm", "openai", "mlx_lm"] = "llamacpp"
    model: str = answers.MODEL
    modalities: tuple[str, ...] = ("text", "image", "audio", "video")
    n_ctx: int = 4096
    slots: int = 2
    embeddings: bool = True
    more: tuple[str, ...] = ()
    key: str | None = None
    tls: ssl.SSLContext | None = None
    state: Literal["ready", "loading"] = "ready"
    port: int = 0
    log: list[Entry] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)
    probes: list[Received] = field(default_factory=list)
    _rules: list[_Rule] = field(default_factory=list)
    _open: set[_Connection] = field(default_factory=set)
    _conns: int = 0
    _server: asyncio.Server | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _held: list[socket.socket] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listens; the second time on the port that it had."""
        self._release()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self.port, reuse_address=True, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Closes the listener and every connection: from now on connections are refused, as after a kill."""
        self._release()
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._open):
            connection.drop()
        while self._open:
            await asyncio.sleep(0.001)
        if self.failures:
            raise self.failures.pop(0)

    async def blackhole(self) -> None:
        """Closes everything, then holds the port with a full backlog: new connections get no answer at all."""
        await self.stop()
        trap = socket.socket()
        trap.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trap.bind(("127.0.0.1", self.port))
        trap.listen(0)
        self._held = [trap]
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(trap.getsockname())
            self._held.append(filler)

    def _release(self) -> None:
        for held in self._held:
            held.close()
        self._held = []

    def answer(
        self,
        *steps: Step,
        nth: int | Iterable[int] | None = None,
        turn: int | None = None,
        path: str | None = None,
        when: Callable[[dict[str, Any]], bool] | None = None,
    ) -> None:
        """From now on requests that fit get `steps`; the newest rule wins. `nth`: which of the requests, from 0.
        `turn`: not before this request of its connection. `path`: exactly, and then probes too. `when`: asked of the
        decoded body."""
        which = None if nth is None else frozenset([nth] if isinstance(nth, int) else nth)
        self._rules.append(_Rule(steps, which, turn, path, when))

    def forget(self) -> None:
        """Drops the rules, and the requests and probes seen so far."""
        self._rules.clear()
        self.requests.clear()
        self.probes.clear()

    @property
    def bodies(self) -> list[Any]:
        return [r.json() for r in self.requests]

    def unsettled(self) -> list[Received]:
        """Requests whose answer is neither complete nor given up by either side."""
        return [r for r in self.requests if not r.settled]

    async def until(self, done: Callable[[], bool], within: float = 5.0) -> None:
        """Waits for `done()`. AssertionError with the log if it is late."""
        async for _ in moments(within):
            if done():
                return
        raise AssertionError(f"not within {within} s; upstream saw:\n{self.story()}")

    async def seen(self, requests: int = 1, within: float = 10.0) -> Received:
        """Waits until so many requests have arrived; the last of them."""
        await self.until(lambda: len(self.requests) >= requests, within)
        return self.requests[requests - 1]

    async def closed(self, request: Received, within: float = 1.0) -> float:
        """Waits until the peer closed the connection of `request`: the time of it."""
        await self.until(lambda: request.closed_at is not None, within)
        assert request.closed_at is not None
        assert request.ending in ("closed", "reset"), request.ending
        return request.closed_at

    def story(self) -> str:
        start = self.log[0].at if self.log else 0.0
        return "\n".join(f"  {e.at - start:7.3f} #{e.conn} {e.what} {e.detail}" for e in self.log[-60:])

    def note(self, conn: int, what: str, detail: str = "") -> float:
        now = time.monotonic()
        self.log.append(Entry(now, conn, what, detail))
        self._changed.set()
        self._changed = asyncio.Event()
        return now

    def steps_for(self, r: Received) -> tuple[Step, ...]:
        """Files the request and says what it gets."""
        for rule in reversed(self._rules):
            if rule.path is not None and rule.fits(r):
                self.probes.append(r) if r.method == "GET" else self._count(r)
                return rule.steps
        if self.key is not None and r.header("authorization") != f"Bearer {self.key}":
            body = {"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}}
            self.probes.append(r) if r.method == "GET" else self._count(r)
            return (Reply(encode(body), 401),)
        said = kinds.probe(self, r)
        if said is not None:
            status, value, headers = said
            self.probes.append(r)
            return (Reply(b"" if value is None else encode(value), status, headers=headers),)
        self._count(r)
        for rule in reversed(self._rules):
            if rule.fits(r):
                return rule.steps
        return (Answer(),)

    def _count(self, r: Received) -> None:
        r.nth = len(self.requests)
        self.requests.append(r)


class _Connection(asyncio.Protocol):
    """Reads requests one after the other and runs their steps. Bytes that come early wait."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        wire._conns += 1
        self.number = wire._conns
        self.buffer = bytearray()
        self.turns = 0
        self.request: Received | None = None
        self.task: asyncio.Task[None] | None = None
        self.framing: Framing = "chunked"
        self.complete = False
        self.ending: Ending = ""
        self.transport: asyncio.Transport
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.wire._open.add(self)
        self.wire.note(self.number, "open")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._next()

    def _next(self) -> None:
        if self.request is not None:
            return
        parsed = _parse(self.buffer)
        if parsed is None:
            return
        method, path, headers, body, used = parsed
        del self.buffer[:used]
        now = self.wire.note(self.number, "request", f"{method} {path} {len(body)} bytes")
        self.request = Received(-1, self.number, self.turns, method, path, headers, body, now)
        self.turns += 1
        self.complete = False
        steps = self.wire.steps_for(self.request)
        self.task = asyncio.get_running_loop().create_task(self._run(steps))

    async def _run(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            try:
                await step.run(self)
            except Exception as e:  # noqa: BLE001 (a mistake in the script: raised by `stop`)
                self.wire.failures.append(e)
                self.drop()
                return
            self._settle()
            if self.transport.is_closing():
                return
        if self.complete:
            self.request = None
            self.task = None
            self._next()

    def _settle(self) -> None:
        request = self.request
        if self.complete and request is not None and request.complete_at is None:
            request.complete_at = self.wire.note(self.number, "sent", "whole")

    async def write(self, data: bytes) -> None:
        if self.transport.is_closing():
            await asyncio.Event().wait()  # the peer is gone: connection_lost ends this task
        self.transport.write(data)
        self.wire.note(self.number, "sent", f"{len(data)} bytes")
        await self._writable.wait()

    @property
    def asked(self) -> dict[str, Any]:
        return {} if self.request is None else _object(self.request.body)

    @property
    def model(self) -> str:
        return self.wire.model

    def drop(self) -> None:
        self.transport.abort()

    def eof_received(self) -> None:
        self._gone("closed")

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone("ours" if exc is None else "reset")
        self.wire._open.discard(self)
        if self.task is not None:
            self.task.cancel()
        self._writable.set()

    def _gone(self, ending: Ending) -> None:
        if self.ending:
            return
        self.ending = ending
        now = self.wire.note(self.number, {"closed": "peer_closed", "reset": "peer_reset"}.get(ending, ending))
        if self.request is not None:
            self.request.closed_at, self.request.ending = now, ending


def _parse(buffer: bytearray) -> tuple[str, str, list[tuple[str, str]], bytes, int] | None:
    """One whole request from the front of `buffer`, and how many bytes it took; None if it is not all there."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = [(k.strip().lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines)]
    given = dict(headers)
    at = end + 4
    if "chunked" in given.get("transfer-encoding", ""):
        body = bytearray()
        while True:
            line = buffer.find(b"\r\n", at)
            if line < 0:
                return None
            size = int(buffer[at:line].split(b";")[0], 16)
            at = line + 2
            if len(buffer) < at + size + 2:
                return None
            body += buffer[at : at + size]
            at += size + 2
            if size == 0:
                return method, path, headers, bytes(body), at
    size = int(given.get("content-length", 0))
    if len(buffer) < at + size:
        return None
    return method, path, headers, bytes(buffer[at : at + size]), at + size


class Refused:
    """A port that is taken and never listens: every connection is refused at once."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._socket.close()
