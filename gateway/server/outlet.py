"""One HTTP exchange over ASGI: the way back to the client, and the watch on whether the client is still there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.errors import ClientGone, GatewayError

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]
Header = tuple[bytes, bytes]

_STREAM_HEADERS: list[Header] = [
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold a stream back otherwise
]


class AsgiOutlet:
    """`committed` = a status line is out. `gone` = the client left before the answer was complete."""

    __slots__ = ("_common", "_send", "_watcher", "committed", "dismissal", "done", "gone", "left_at")

    def __init__(self, send: Send, common: list[Header]) -> None:
        self._send = send
        self._common = common
        self._watcher: asyncio.Task[None] | None = None
        self.committed = False
        self.done = False
        self.gone = False
        self.left_at = 0.0
        self.dismissal: GatewayError | None = None
        """Why the gateway itself ends this request."""

    def watch(self, receive: Receive) -> None:
        """From now on, a client that leaves cancels the calling task."""
        task = asyncio.current_task()
        assert task is not None
        self._watcher = asyncio.create_task(self._wait_for_leave(receive, task), name="client watch")

    async def _wait_for_leave(self, receive: Receive, task: asyncio.Task[Any]) -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                if not self.done:
                    self.gone = True
                    self.left_at = asyncio.get_running_loop().time()
                    task.cancel()
                return

    def unwatch(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def whole(self, status: int, headers: list[Header], body: bytes) -> None:
        self.committed = self.done = True
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode()),
                    *self._common,
                    *headers,
                ],
            }
        )
        await self._send({"type": "http.response.body", "body": body})

    async def begin(self, headers: list[Header], media_type: str) -> None:
        self.committed = True
        await self._send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", media_type.encode()), *_STREAM_HEADERS, *self._common, *headers],
            }
        )

    async def write(self, data: bytes) -> None:
        if self.gone:
            raise ClientGone("the client left")
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        self.done = True
        await self._send({"type": "http.response.body", "body": b""})

    def abort(self) -> None:
        """Nothing more can be said to this client; the server closes the connection when the request's task ends."""
        self.gone = True
