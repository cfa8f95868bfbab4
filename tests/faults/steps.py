"""What a scripted upstream does with one request: steps, in order.

A step writes through the `Exchange` that it is run with. Steps after the peer closed are not run.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, Protocol

from tests.faults import answers

Framing = Literal["chunked", "close"]


class Exchange(Protocol):
    """One request on one connection, as steps see it."""

    framing: Framing
    complete: bool
    """True once a response that HTTP calls whole was written: the connection may take another request."""
    transport: asyncio.Transport

    @property
    def asked(self) -> dict[str, Any]: ...
    @property
    def model(self) -> str: ...
    async def write(self, data: bytes) -> None: ...


class Step(Protocol):
    async def run(self, x: Exchange) -> None: ...


def encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def head(status: int, headers: dict[str, str]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Odd"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


@dataclass(frozen=True)
class Send:
    """Raw bytes. `whole` = with them the response is complete."""

    data: bytes
    whole: bool = False

    async def run(self, x: Exchange) -> None:
        await x.write(self.data)
        x.complete = x.complete or self.whole


@dataclass(frozen=True)
class Reply:
    """A whole response with a Content-Length."""

    body: bytes = b""
    status: int = 200
    type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    async def run(self, x: Exchange) -> None:
        fields = {"Content-Type": self.type, "Content-Length": str(len(self.body)), **self.headers}
        await x.write(head(self.status, fields) + self.body)
        x.complete = True


@dataclass(frozen=True)
class Json:
    """A whole JSON response. `obj` None = the kind of answer that the request asks for."""

    obj: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    async def run(self, x: Exchange) -> None:
        obj = answers.chat(model=x.model) if self.obj is None else self.obj
        await Reply(encode(obj), self.status, headers=self.headers).run(x)


@dataclass(frozen=True)
class Head:
    """The head of an event stream."""

    framing: Framing = "chunked"
    status: int = 200
    type: str = "text/event-stream"
    headers: dict[str, str] = field(default_factory=dict)

    async def run(self, x: Exchange) -> None:
        x.framing = self.framing
        how = {"Transfer-Encoding": "chunked"} if self.framing == "chunked" else {"Connection": "close"}
        await x.write(head(self.status, {"Content-Type": self.type, **how, **self.headers}))


@dataclass(frozen=True)
class Body:
    """Bytes of the body in the framing of the Head, cut into `sizes` (the last size repeats; none = one piece)."""

    data: bytes
    sizes: Sequence[int] = ()

    async def run(self, x: Exchange) -> None:
        for piece in cut(self.data, self.sizes):
            framed = b"%x\r\n%b\r\n" % (len(piece), piece) if x.framing == "chunked" else piece
            await x.write(framed)
            await asyncio.sleep(0)


@dataclass(frozen=True)
class Events:
    """Stream events, each written on its own: str = a text delta, dict = its JSON, bytes = raw, None = `[DONE]`."""

    events: Sequence[str | dict[str, Any] | bytes | None]
    every: float = 0.0

    async def run(self, x: Exchange) -> None:
        for event in self.events:
            await Body(event_bytes(event, x.model)).run(x)
            await asyncio.sleep(self.every)


@dataclass(frozen=True)
class Finish:
    """The end of the body: the last chunk, or the close where that is the framing."""

    async def run(self, x: Exchange) -> None:
        if x.framing == "chunked":
            await x.write(b"0\r\n\r\n")
            x.complete = True
        else:
            x.complete = True
            x.transport.close()


@dataclass(frozen=True)
class Sse:
    """A stream from head to end. `finish` None = no finish reason; `done` = `[DONE]` is said; `end` = the body ends."""

    texts: Sequence[str] | None = None
    finish: str | None = "stop"
    done: bool = True
    end: bool = True
    usage: bool = True
    every: float = 0.0
    framing: Framing = "chunked"

    async def run(self, x: Exchange) -> None:
        texts = None if self.texts is None else list(self.texts)
        events: list[Any] = list(answers.chunks(texts, model=x.model, finish=self.finish, usage=self.usage))
        if self.done:
            events.append(None)
        await Head(self.framing).run(x)
        await Events(events, self.every).run(x)
        if self.end:
            await Finish().run(x)


@dataclass(frozen=True)
class Answer:
    """The right answer to the request, whole or streamed: what a healthy server says."""

    text: str = answers.TEXT

    async def run(self, x: Exchange) -> None:
        asked = x.asked
        if asked.get("stream"):
            texts = answers.TEXTS if self.text == answers.TEXT else [self.text]
            await Sse(texts).run(x)
        elif "input" in asked:
            given = asked["input"]
            many = len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1
            await Json(answers.embedding(many, model=x.model)).run(x)
        elif "prompt" in asked:
            await Json(answers.completion(self.text, model=x.model)).run(x)
        else:
            await Json(answers.chat(self.text, model=x.model)).run(x)


@dataclass(frozen=True)
class Drip:
    """Raw bytes, `n` at a time, one piece every `every` seconds. `whole` = with them the response is complete."""

    data: bytes
    n: int = 1
    every: float = 0.01
    whole: bool = False

    async def run(self, x: Exchange) -> None:
        for piece in cut(self.data, [self.n]):
            await x.write(piece)
            await asyncio.sleep(self.every)
        x.complete = x.complete or self.whole


@dataclass(frozen=True)
class Slice:
    """Raw bytes cut at `sizes` (the last size repeats), each piece a segment of its own."""

    data: bytes
    sizes: Sequence[int]
    whole: bool = True

    async def run(self, x: Exchange) -> None:
        for piece in cut(self.data, self.sizes):
            await x.write(piece)
            await asyncio.sleep(0)
        x.complete = x.complete or self.whole


@dataclass(frozen=True)
class Sleep:
    seconds: float

    async def run(self, x: Exchange) -> None:
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True)
class Gate:
    """Waits until the test opens it."""

    event: asyncio.Event

    async def run(self, x: Exchange) -> None:
        await self.event.wait()


@dataclass(frozen=True)
class Hang:
    """Says nothing more until the peer closes."""

    async def run(self, x: Exchange) -> None:
        await asyncio.Event().wait()


@dataclass(frozen=True)
class Repeat:
    """The same steps over and over until the peer closes, `every` seconds apart."""

    steps: Sequence[Step]
    every: float = 0.01

    async def run(self, x: Exchange) -> None:
        while True:
            for step in self.steps:
                await step.run(x)
            await asyncio.sleep(self.every)


@dataclass(frozen=True)
class Reset:
    """Aborts the connection with a RST, after `after` seconds so that what was sent before is read."""

    after: float = 0.03

    async def run(self, x: Exchange) -> None:
        await asyncio.sleep(self.after)
        sock = x.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        x.transport.abort()


@dataclass(frozen=True)
class Fin:
    """Closes the connection in order (FIN), wherever the response stands."""

    async def run(self, x: Exchange) -> None:
        x.transport.close()


def event_bytes(event: str | dict[str, Any] | bytes | None, model: str = answers.MODEL) -> bytes:
    if isinstance(event, bytes):
        return event
    if event is None:
        return b"data: [DONE]\n\n"
    value = answers.chunk({"content": event}, model=model) if isinstance(event, str) else event
    return b"data: " + encode(value) + b"\n\n"


def cut(data: bytes, sizes: Sequence[int]) -> Iterable[bytes]:
    """`data` in pieces of `sizes`, the last size repeating; in one piece if there are none."""
    at, k = 0, 0
    while at < len(data):
        size = sizes[min(k, len(sizes) - 1)] if sizes else len(data)
        yield data[at : at + size]
        at, k = at + size, k + 1
