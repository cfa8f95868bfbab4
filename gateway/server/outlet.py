"""One HTTP exchange over ASGI: the way back to the client, and the watch on whether the client is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.engine.quota import Meter
from gateway.errors import ClientGone, GatewayError
from gateway.server.answer import Header, clean
from gateway.server.protocol import Connection

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]

_STREAM_HEADERS: list[Header] = [
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold a stream back otherwise
]


class AsgiOutlet:
    """`committed` = a status line is out. `done` = the answer is complete. `gone` = the client left before it was, or
    can't be told anything any more; what is sent then raises ClientGone."""

    __slots__ = (
        "_common",
        "_connection",
        "_send",
        "_task",
        "_watcher",
        "committed",
        "dismissal",
        "done",
        "gone",
        "left_at",
        "meter",
    )

    def __init__(self, send: Send, common: list[Header], connection: Connection | None = None) -> None:
        self._send = send
        self._common = common
        self._connection = connection
        self._task: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self.committed = False
        self.done = False
        self.gone = False
        self.left_at = 0.0
        self.dismissal: GatewayError | None = None
        """Why the gateway itself ends this request."""
        self.meter: Meter | None = None
        """What the answer's head tells about the limits of its key."""

    def watch(self, receive: Receive) -> None:
        """From now on, a client that leaves cancels the calling task."""
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        if self._connection is not None:
            self._connection.watch(self._left)
            return
        self._watcher = asyncio.create_task(self._wait_for_leave(receive), name="client watch")

    async def _wait_for_leave(self, receive: Receive) -> None:
        """For servers whose connection can't be asked."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._left()

    def _left(self) -> None:
        if self.done or self.gone or self._task is None:
            return
        self.gone = True
        self.left_at = asyncio.get_running_loop().time()
        self._task.cancel()

    def unwatch(self) -> None:
        if self._connection is not None and self._connection.on_leave == self._left:  # else the next request's by now
            self._connection.on_leave = None
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def whole(
        self, status: int, headers: list[Header], body: bytes, media_type: str = "application/json"
    ) -> None:
        own: list[Header] = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))]
        await self._start(status, [*own, *self._common, *clean(headers)])
        await self._put(body, more=False)
        self.done = True

    async def nothing(self, headers: list[Header]) -> None:
        """An answer without a body."""
        await self._start(204, [*self._common, *headers])
        await self._put(b"", more=False)
        self.done = True

    async def begin(self, headers: list[Header], media_type: str) -> None:
        """Something to `write` follows at once."""
        own: list[Header] = [(b"content-type", media_type.encode()), *_STREAM_HEADERS]
        await self._start(200, [*own, *self._common, *clean(headers)])

    async def write(self, data: bytes) -> None:
        await self._put(data, more=True)

    async def end(self, data: bytes = b"") -> None:
        """`data`: the last words."""
        await self._put(data, more=False)
        self.done = True

    def abort(self) -> None:
        """Nothing more can be said to this client: the connection closes now, whether it reads or not."""
        self.gone = True
        if self._connection is not None:
            self._connection.abort()

    async def _start(self, status: int, headers: list[Header]) -> None:
        if self.gone:
            raise ClientGone("the client left")
        if self._connection is not None:
            self._connection.out.hold_head()
        if self.meter is not None:
            headers = [*headers, *self.meter.headers(asyncio.get_running_loop().time())]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        self.committed = True

    async def _put(self, data: bytes, *, more: bool) -> None:
        if self.gone:
            raise ClientGone("the client left")
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        if self._connection is not None:
            self._connection.out.release()
