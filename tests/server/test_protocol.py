"""A client's connection: slow, endless and broken heads, early answers, and clients that take nothing. No socket and no
clock: the test is the loop and the transport."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.server import protocol
from gateway.server.outlet import AsgiOutlet
from gateway.server.protocol import HEAD_FIELDS, HEAD_OCTETS, HEAD_SECONDS, STALL_SECONDS, Connection


class Timer:
    def __init__(self, at: float, act: Callable[[], None]) -> None:
        self.at, self.act, self.cancelled = at, act, False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """A clock that is moved by hand, and tasks that are stepped by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []
        self.tasks: list[Coroutine[Any, Any, Any]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, act: Callable[..., None], *args: Any) -> Timer:
        timer = Timer(self.now + delay, lambda: act(*args))
        self.timers.append(timer)
        return timer

    def create_task(self, coro: Coroutine[Any, Any, Any], **_: Any) -> Any:
        self.tasks.append(coro)
        return asyncio.Future(loop=asyncio.get_running_loop())

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            due = [t for t in self.timers if not t.cancelled and t.at <= end]
            if not due:
                break
            timer = min(due, key=lambda t: t.at)
            self.timers.remove(timer)
            self.now = max(self.now, timer.at)
            timer.act()
        self.now = end


class Transport:
    """`unsent` = octets that the client does not take."""

    def __init__(self) -> None:
        self.out = b""
        self.unsent = 0
        self.calls = 0
        self.eof = self.closed = self.aborted = False
        self.protocol: Connection

    def write(self, data: bytes) -> None:
        assert not self.eof and not self.closed, "written after the end"
        self.out += data
        self.calls += 1

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        self.eof = True

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class Client:
    """One connection; `seen` = the scopes of the requests that became one."""

    def __init__(self, app: Callable[..., Coroutine[Any, Any, None]] | None = None) -> None:
        self.loop = Loop()
        self.transport = Transport()
        self.seen: list[dict[str, Any]] = []
        self.errors: list[str] = []

        async def serve(scope: Any, receive: Any, send: Any) -> None:
            self.seen.append(scope)
            if app is not None:
                await app(scope, receive, send)
            else:
                await answer(send)

        config = uvicorn.Config(serve, interface="asgi3", log_config=None, ws="none", timeout_keep_alive=75)
        self.connection = Connection(config, ServerState(), {}, self.loop)  # type: ignore[arg-type]
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    async def run(self) -> None:
        """Runs the requests that have come in to their end."""
        while self.loop.tasks:
            await self.loop.tasks.pop(0)

    @property
    def ended(self) -> bool:
        return self.transport.closed or self.transport.aborted

    def said(self) -> tuple[int, dict[str, str], Any]:
        head, _, body = self.transport.out.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), json.loads(body) if body else None


async def answer(send: Any, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


HEAD = b"POST /v1/x HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n"


async def test_an_ordinary_request_is_served_and_the_connection_kept():
    client = Client()
    for _ in range(3):
        client.send(HEAD % 2 + b"{}")
        await client.run()
    assert len(client.seen) == 3 and client.transport.out.count(b"200 OK") == 3
    assert client.seen[0]["gateway.connection"] is client.connection
    client.loop.advance(3 * HEAD_SECONDS)
    assert not client.ended


# ---- heads ----


@pytest.mark.parametrize("way", ["whole", "stream", "nothing"])
async def test_a_head_leaves_together_with_what_follows_it(way: str):
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        outlet = AsgiOutlet(send, [], scope["gateway.connection"])
        if way == "whole":
            await outlet.whole(200, [], b"{}")
        elif way == "nothing":
            await outlet.nothing([])
        else:
            await outlet.begin([], "text/event-stream")
            await outlet.write(b"one")
            await outlet.write(b"two")
            await outlet.end(b"three")

    for method in (b"POST", b"HEAD"):
        client = Client(app)
        client.send(method + b" / HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
        await client.run()
        said = client.transport.out
        assert said.startswith(b"HTTP/1.1 20")
        if method == b"HEAD" or way == "nothing":
            assert client.transport.calls == 1 and said.endswith(b"\r\n\r\n")
        elif way == "whole":
            assert client.transport.calls == 1 and said.endswith(b"\r\n\r\n{}")
        else:
            assert client.transport.calls == 3
            assert said.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n")


async def test_a_head_that_nothing_followed_leaves_before_the_connection_closes():
    transport = Transport()
    out = protocol.Out(transport)  # type: ignore[arg-type]
    out.hold_head()
    out.write(b"head")
    assert transport.out == b"" and not out.is_closing()
    out.close()
    assert transport.out == b"head" and out.is_closing()


async def test_C9_a_connection_that_says_nothing_is_closed():
    client = Client()
    client.loop.advance(HEAD_SECONDS - 0.1)
    assert not client.ended
    client.loop.advance(0.2)
    assert client.ended and not client.transport.out


async def test_C9_a_head_that_dribbles_is_408():
    client = Client()
    for octet in b"GET / HTTP/1.1\r\nHost: g\r\n":
        client.send(bytes([octet]))
        client.loop.advance(1.0)
        if client.transport.out:
            break
    assert client.loop.now - 1000 == pytest.approx(HEAD_SECONDS, abs=1.1)
    status, headers, body = client.said()
    assert (status, headers["connection"], body["error"]["code"]) == (408, "close", "request_timeout")
    client.loop.advance(HEAD_SECONDS)
    assert client.ended


async def test_C9_a_later_head_has_its_time_from_its_first_octet_on():
    client = Client()
    client.send(HEAD % 2 + b"{}")
    await client.run()
    client.transport.out = b""
    client.loop.advance(4 * HEAD_SECONDS)
    assert not client.ended, "an idle connection is kept"
    client.send(b"GET ")
    client.loop.advance(HEAD_SECONDS - 0.1)
    assert not client.transport.out
    client.loop.advance(0.2)
    assert client.said()[0] == 408


async def test_C9_blank_lines_do_not_keep_a_connection():
    client = Client()
    client.send(HEAD % 2 + b"{}")
    await client.run()
    for _ in range(30):
        if not client.ended:
            client.send(b"\r\n")
        client.loop.advance(1.0)
    assert client.ended


async def test_a_request_under_way_is_no_slow_head():
    client = Client()
    client.send(HEAD % 2 + b"{}")
    client.loop.advance(100 * HEAD_SECONDS)
    assert not client.ended
    await client.run()
    assert client.said()[0] == 200


FIELD = b"X-%04d: " + b"v" * 1000 + b"\r\n"

TOO_LARGE = {
    "one endless field": b"GET / HTTP/1.1\r\nX: " + b"v" * (HEAD_OCTETS + 100),
    "one endless path": b"GET /" + b"v" * (HEAD_OCTETS + 100),
    "many large fields": b"GET / HTTP/1.1\r\n" + b"".join(FIELD % i for i in range(40)) + b"\r\n",
    "too many fields": b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: v\r\n" % i for i in range(HEAD_FIELDS + 1)) + b"\r\n",
}


@pytest.mark.parametrize("name", TOO_LARGE)
@pytest.mark.parametrize("size", [1000, 1 << 20])
async def test_C15_heads_that_are_too_large_are_431(name: str, size: int):
    data = TOO_LARGE[name]
    client = Client()
    for start in range(0, len(data), size):
        client.send(data[start : start + size])
    status, headers, body = client.said()
    assert (status, headers["connection"], body["error"]["code"]) == (431, "close", "request_head_too_large")
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert headers["x-request-id"] and headers["content-type"] == "application/json"
    assert not client.seen and not client.loop.tasks


async def test_C15_a_head_within_the_limits_is_served_however_it_comes():
    fields = b"".join(b"X-%d: %s\r\n" % (i, b"v" * 280) for i in range(HEAD_FIELDS))
    data = b"GET / HTTP/1.1\r\n" + fields + b"\r\n"
    assert HEAD_OCTETS * 0.8 < len(data) < HEAD_OCTETS
    for size in (999, 1 << 20):
        client = Client()
        for start in range(0, len(data), size):
            client.send(data[start : start + size])
        await client.run()
        assert client.said()[0] == 200
    client = Client()
    client.send(HEAD % 200_000 + b"x" * 200_000)  # a large read is no large head
    await client.run()
    assert client.said()[0] == 200


async def test_trailers_and_the_framing_of_chunks_are_bounded_too():
    """The parser keeps a line whole until it ends: without a bound it would be the client's way into our memory."""
    for endless in (b"0\r\nX: " + b"v" * 300_000, b"0\r\n" + b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(30_000))):
        client = Client(app=_read_all)
        client.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        for start in range(0, len(endless), 1000):
            if client.transport.out:
                break
            client.send(endless[start : start + 1000])
        assert client.said()[0] == 431
        assert start <= HEAD_OCTETS + 1000
        await client.run()


async def test_trailers_are_no_headers():
    """In one read with the body they came before the request was looked at."""
    client = Client()
    body = b"2\r\n{}\r\n0\r\nHost: other\r\nAuthorization: Bearer x\r\n\r\n"
    client.send(b"POST / HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n" + body + HEAD % 0)
    await client.run()
    assert [scope["headers"] for scope in client.seen] == [
        [(b"host", b"g"), (b"transfer-encoding", b"chunked")],
        [(b"host", b"g"), (b"content-length", b"0")],
    ]


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
OFFERS = {
    "none": (b"GET / HTTP/1.1\r\nHost: g\r\n" + UPGRADE + b"\r\n", b""),
    "empty": (b"POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 0\r\n" + UPGRADE + b"\r\n", b""),
    "length": (b"POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 9\r\n" + UPGRADE + b"\r\n123456789", b"123456789"),
    "chunked": (
        b"POST / HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n" + UPGRADE + b"\r\n"
        b"4\r\n1234\r\n5\r\n56789\r\n0\r\n\r\n",
        b"123456789",
    ),
}  # as Java's HttpClient sends them to http:// addresses


@pytest.mark.parametrize("name", OFFERS)
async def test_an_offer_of_another_protocol_changes_nothing(name: str):
    data, body = OFFERS[name]
    read: list[bytes] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        got, more = b"", True
        while more:
            message = await receive()
            got, more = got + message["body"], message["more_body"]
        read.append(got)
        await answer(send)

    for cut in range(1, len(data) + 1):
        client = Client(app)
        read.clear()
        for piece in (data[:cut], data[cut:] + data + HEAD % 2 + b"{}"):
            client.send(piece)
        await client.run()
        assert read == [body, body, b"{}"] and not client.ended, cut
        assert [scope["method"] for scope in client.seen[:2]] == [data.split()[0].decode()] * 2
    client = Client(app)
    client.send(OFFERS["none"][0] * 1000)
    await client.run()
    assert len(client.seen) == 1000 and not client.ended


async def test_an_offer_does_not_hide_a_head_that_is_too_large():
    client = Client()
    client.send(OFFERS["none"][0] + b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_OCTETS)
    await client.run()
    assert client.transport.out.endswith(b"}") and b" 431 " in client.transport.out


async def test_many_small_chunks_are_a_body_like_any_other():
    client = Client(app=_read_all)
    client.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(20_000):
        client.send(b"1\r\n")
        client.send(b"x\r\n")
    client.send(b"0\r\n\r\n")
    await client.run()
    assert client.said()[0] == 200


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"GET\r\n\r\n"])
async def test_C16_what_is_no_http_is_told_so_in_our_shape(data: bytes):
    client = Client()
    client.send(data)
    status, headers, body = client.said()
    assert (status, body["error"]["code"]) == (400, "invalid_http")
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert headers["x-request-id"] and headers["content-type"] == "application/json"
    assert not client.seen


async def test_C16_a_body_that_breaks_ends_its_request():
    left = []

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            left.append(message)
        left.append(message)

    client = Client(app)
    client.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
    await client.run()
    assert left[-1]["type"] == "http.disconnect"
    assert client.said()[0] == 400


async def test_C16_garbage_behind_a_request_is_a_client_that_left():
    left = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        scope["gateway.connection"].on_leave = lambda: left.append(True)
        client.send(b"\x00 garbage\r\n\r\n")

    client = Client(app)
    client.send(HEAD % 2 + b"{}")
    await client.run()
    client.connection.connection_lost(None)
    assert left == [True] and client.said()[0] == 400


async def test_C16_nothing_is_written_into_an_answer_that_has_begun():
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        client.send(b"zz\r\n")

    client = Client(app)
    client.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    await client.run()
    assert client.transport.aborted and client.transport.out.count(b"HTTP/1.1") == 1


# ---- early answers ----


async def _read_all(_scope: Any, receive: Any, send: Any) -> None:
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass
    if message["type"] == "http.request":
        await answer(send)


async def _refuse(scope: Any, _receive: Any, send: Any) -> None:
    send = protocol.closing(scope, send, scope["gateway.connection"], lambda: (1_000_000, 30.0))
    await answer(send, 413)


async def test_an_early_answer_is_followed_by_a_lingering_close():
    client = Client(_refuse)
    client.send(HEAD % 20_000_000 + b"x" * 1000)
    await client.run()
    status, headers, _ = client.said()
    assert (status, headers["connection"]) == (413, "close")
    assert client.transport.eof and not client.ended, "the answer is complete, and the client may go on sending"
    for _ in range(900):
        client.send(b"x" * 1000)
    assert not client.ended
    for _ in range(200):
        client.send(b"x" * 1000)
    assert client.transport.aborted, "but not for ever"


async def test_lingering_has_an_end_in_time():
    client = Client(_refuse)
    client.send(HEAD % 20_000_000)
    await client.run()
    client.loop.advance(29.9)
    assert not client.ended
    client.loop.advance(0.2)
    assert client.transport.aborted


async def test_a_body_that_has_arrived_leaves_the_connection_open():
    client = Client(_refuse)
    client.send(HEAD % 2 + b"{}")
    await client.run()
    status, headers, _ = client.said()
    assert status == 413 and "connection" not in headers
    assert not client.ended and not client.transport.eof
    client.send(HEAD % 2 + b"{}")
    await client.run()
    assert len(client.seen) == 2


async def test_what_comes_behind_an_early_answer_is_no_request():
    client = Client(_refuse)
    client.send(HEAD % 100)
    await client.run()
    client.send(b"x" * 100 + HEAD % 0)
    assert not client.loop.tasks and len(client.seen) == 1


# ---- clients that take nothing ----


async def test_an_abort_ends_the_request_and_the_connection():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["gateway.connection"].abort()
        assert (await receive())["type"] == "http.disconnect"

    client = Client(app)
    client.send(HEAD % 2 + b"{}")
    await client.run()
    assert client.transport.aborted


async def test_a_finished_answer_that_nobody_takes_ends_the_connection():
    client = Client()
    client.send(HEAD % 2 + b"{}")
    await client.run()
    client.transport.unsent = 5000
    client.loop.advance(STALL_SECONDS / 2)
    client.transport.unsent = 4000  # slow is not stalled
    client.loop.advance(STALL_SECONDS)
    assert not client.transport.aborted
    client.loop.advance(2 * HEAD_SECONDS)
    assert client.transport.aborted


async def test_when_the_connection_is_lost_no_timer_is_left():
    for lost in (None, ConnectionResetError()):
        client = Client()
        client.send(HEAD % 2 + b"{}")
        await client.run()
        with contextlib.suppress(OSError):
            client.connection.connection_lost(lost)
        assert all(t.cancelled for t in client.loop.timers)
        assert "gateway.connection" not in client.seen[0], "no reference cycle is left"
