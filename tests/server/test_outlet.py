"""The way back to a client: what is out is known, and a client that is gone is not talked to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.errors import ClientGone
from gateway.server.outlet import AsgiOutlet
from gateway.server.protocol import Out

COMMON = [(b"x-request-id", b"req_1")]


class Way:
    """Where the messages of an exchange go. `broken` = sending fails."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken
        self.sent: list[dict[str, Any]] = []
        self.outlet = AsgiOutlet(self.send, COMMON)

    async def send(self, message: dict[str, Any]) -> None:
        if self.broken:
            raise RuntimeError("Invalid HTTP header value.")
        self.sent.append(message)


async def test_a_whole_answer():
    way = Way()
    await way.outlet.whole(200, [(b"x-gateway-target", b"a/b\nc")], b"{}")
    start, body = way.sent
    assert start["status"] == 200
    assert dict(start["headers"]) == {
        b"content-type": b"application/json",
        b"content-length": b"2",
        b"x-request-id": b"req_1",
        b"x-gateway-target": b"a/b%0Ac",
    }
    assert body == {"type": "http.response.body", "body": b"{}", "more_body": False}
    assert way.outlet.committed and way.outlet.done


async def test_a_stream():
    way = Way()
    await way.outlet.begin([(b"x-gateway-target", "gr\u00f6\u00dfe".encode())], "text/event-stream")
    await way.outlet.write(b"data: 1\n\n")
    assert way.outlet.committed and not way.outlet.done
    await way.outlet.end()
    assert way.outlet.done
    headers = dict(way.sent[0]["headers"])
    assert (headers[b"content-type"], headers[b"cache-control"]) == (b"text/event-stream", b"no-store")
    assert headers[b"x-gateway-target"] == b"gr%C3%B6%C3%9Fe"
    assert [m.get("more_body") for m in way.sent] == [None, True, False]


async def test_what_could_not_be_sent_is_not_committed():
    for act in (lambda o: o.whole(200, [], b""), lambda o: o.begin([], "text/event-stream")):
        way = Way(broken=True)
        with pytest.raises(RuntimeError):
            await act(way.outlet)
        assert not way.outlet.committed and not way.outlet.done


async def test_after_an_abort_nothing_more_is_sent():
    way = Way()
    await way.outlet.begin([], "text/event-stream")
    way.outlet.abort()
    for act in (way.outlet.write(b"x"), way.outlet.end(), way.outlet.whole(200, [], b"")):
        with pytest.raises(ClientGone):
            await act
    assert len(way.sent) == 1 and not way.outlet.done


async def test_a_client_that_leaves_cancels_the_task_before_the_end_and_not_after():
    for finished in (False, True):
        way = Way()
        leave = asyncio.Event()

        async def receive(leave: asyncio.Event = leave) -> dict[str, Any]:
            await leave.wait()
            return {"type": "http.disconnect"}

        async def serve(
            way: Way = way, leave: asyncio.Event = leave, receive: Any = receive, finished: bool = finished
        ) -> str:
            way.outlet.watch(receive)
            if finished:
                await way.outlet.whole(200, [], b"{}")
            leave.set()
            for _ in range(5):
                await asyncio.sleep(0)
            way.outlet.unwatch()
            return "served"

        task = asyncio.create_task(serve())
        [result] = await asyncio.gather(task, return_exceptions=True)
        assert (result == "served") is finished
        assert way.outlet.gone is not finished


class Line:
    """What an outlet asks of a connection that several requests use one after the other."""

    on_leave: Any = None

    def __init__(self) -> None:
        self.out = Out(None)  # type: ignore[arg-type]

    def watch(self, left: Any) -> None:
        self.on_leave = left

    def abort(self) -> None: ...


async def test_the_end_of_a_request_does_not_end_the_watch_of_the_next_one():
    """The next request may come while the engine still reads the end of the last one's reply."""
    line = Line()
    first, second = (AsgiOutlet(Way().send, COMMON, line) for _ in range(2))  # type: ignore[arg-type]
    first.watch(None)  # type: ignore[arg-type]
    await first.whole(200, [], b"{}")

    async def next_one() -> None:
        second.watch(None)  # type: ignore[arg-type]
        await asyncio.sleep(60)

    task = asyncio.create_task(next_one())
    await asyncio.sleep(0)
    first.unwatch()
    line.on_leave()
    await asyncio.wait([task], timeout=1)
    assert task.cancelled() and second.gone and not first.gone
    second.unwatch()
    assert line.on_leave is None
