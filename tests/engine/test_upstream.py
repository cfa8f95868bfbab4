"""The hop to a server: every foreign exception has one name, and no connection is kept that should not be."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from gateway import __version__
from gateway.backends import Call
from gateway.canonical.content import Segments
from gateway.engine.http1 import MAX_ANSWER
from gateway.engine.upstream import LARGE, Address, Upstream
from gateway.errors import BadResponse, ConnectError, GatewayError, ProtocolFault, Reset, Truncated, UpstreamTimeout
from tests.faults.steps import Drip, Fin, Hang, Head, Json, Reply, Send, Sse, Step
from tests.faults.steps import Reset as Rst
from tests.faults.wire import Refused, Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    u = Upstream()
    yield u
    await u.close()


def to(server: Wire | Refused) -> Address:
    return Address(server.url, connect=5.0)


def call(body: bytes = b"{}", *, streamed: bool = False) -> Call:
    return Call("POST", "/v1/chat/completions", [body], streamed=streamed)


async def exchange(upstream: Upstream, wire: Wire, made: Call | None = None) -> bytes:
    x = await upstream.send(made or call(), to(wire), "req-1")
    try:
        return await x.read_all()
    finally:
        x.close()


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([Fin()], Reset),
        ([Rst(after=0.0)], Reset),
        ([Send(b"\x00\x01 nonsense\r\n\r\n"), Fin()], ProtocolFault),
        ([Send(OK + b"X-Big: " + b"a" * 200_000 + b"\r\n\r\n")], ProtocolFault),
        ([Send(OK + b"Content-Length: 100\r\n\r\n{"), Fin()], Truncated),
        ([Send(OK + b"Content-Length: 100\r\n\r\n{"), Rst()], Reset),
        ([Head(type="application/json"), Send(b"2\r\n{}\r\n"), Fin()], Truncated),
        ([Head(type="application/json"), Send(b"zz\r\n{}\r\n")], ProtocolFault),
        ([Reply(b"{}", headers={"Content-Encoding": "gzip"})], BadResponse),
        ([Send(OK + b"Content-Length: %d\r\n\r\n{" % (MAX_ANSWER + 1)), Hang()], BadResponse),
    ],
    ids=lambda x: x.__name__ if isinstance(x, type) else None,
)
async def test_each_fault_has_one_name(steps: list[Step], error: type[GatewayError], upstream: Upstream):
    async with Wire() as wire:
        wire.answer(*steps)
        with pytest.raises(GatewayError) as caught:
            await exchange(upstream, wire)
        assert type(caught.value) is error
        assert "127.0.0.1" not in caught.value.message and str(wire.port) not in caught.value.message
        await wire.until(lambda: wire.requests[0].settled)


async def test_refused_and_unreachable(upstream: Upstream):
    refused = Refused()
    with pytest.raises(ConnectError) as caught:
        await upstream.send(call(), to(refused), "req-1")
    assert caught.value.code == "upstream_connect_error"
    refused.close()
    async with Wire() as wire:
        await wire.blackhole()
        with pytest.raises(UpstreamTimeout) as late:
            await upstream.send(call(), Address(wire.url, connect=0.2), "req-1")
        assert late.value.param == "connect"
    with pytest.raises(ConnectError) as unknown:
        await upstream.send(call(), Address("http://no-such-host.invalid:1"), "req-1")
    assert unknown.value.code == "upstream_dns_error"


async def test_what_is_sent(upstream: Upstream):
    async with Wire() as wire:
        made = Call("POST", "/v1/chat/completions", [b'{"a"', b":1}"], headers={"x-more": "1"}, streamed=True)
        x = await upstream.send(made, Address(wire.url, {"Authorization": "Bearer k"}), "req-1")
        await x.read_all()
        x.close()
    [request] = wire.requests
    assert request.json() == {"a": 1}
    assert dict(request.headers) == {
        "host": f"127.0.0.1:{wire.port}",
        "content-type": "application/json",
        "accept": "*/*",
        "accept-encoding": "identity",
        "x-request-id": "req-1",
        "x-more": "1",
        "authorization": "Bearer k",
        "content-length": "7",
        "user-agent": f"gateway/{__version__}",
    }


async def test_a_large_body_goes_in_pieces_with_its_length(upstream: Upstream):
    data = bytes(range(65, 91)) * (LARGE // 13)
    body = [b'{"url":"', Segments([data[:100_001], data[100_001:]]), b'"}']
    async with Wire() as wire:
        await exchange(upstream, wire, Call("POST", "/v1/chat/completions", body))
    [request] = wire.requests
    assert request.header("content-length") == str(len(data) + 10)
    assert request.header("transfer-encoding") is None
    assert request.json() == {"url": data.decode()}


async def test_a_connection_is_kept_only_when_its_answer_was_read(upstream: Upstream):
    async with Wire() as wire:
        for _ in range(3):
            await exchange(upstream, wire)
        assert {r.conn for r in wire.requests} == {1}
        wire.answer(Head(), Hang())
        x = await upstream.send(call(streamed=True), to(wire), "req-1")
        x.close()
        await wire.closed(wire.requests[-1])
        wire.answer(Sse())
        await exchange(upstream, wire)
        assert wire.requests[-1].conn == 2


@pytest.mark.parametrize("how", [Fin(), Rst(after=0.0)])
async def test_a_stale_connection_costs_one_silent_try(how: Step, upstream: Upstream):
    async with Wire() as wire:
        await exchange(upstream, wire)
        wire.answer(how, turn=1)
        await exchange(upstream, wire)
        assert [(r.conn, r.turn) for r in wire.requests] == [(1, 0), (1, 1), (2, 0)]


async def test_no_second_try_where_it_was_a_new_connection(upstream: Upstream):
    async with Wire() as wire:
        wire.answer(Fin())
        with pytest.raises(Reset):
            await exchange(upstream, wire)
        assert len(wire.requests) == 1


async def test_no_second_try_once_something_was_answered(upstream: Upstream):
    """A reset after the head is no stale connection: the server may have worked on it."""
    async with Wire() as wire:
        await exchange(upstream, wire)
        wire.answer(Send(OK + b"Content-Length: 9\r\n\r\n{"), Rst(), turn=1)
        with pytest.raises(Reset):
            await exchange(upstream, wire)
        assert len(wire.requests) == 2


async def test_cancelling_closes_at_once(upstream: Upstream):
    async with Wire() as wire:
        wire.answer(Hang())
        task = asyncio.create_task(exchange(upstream, wire))
        request = await wire.seen()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await wire.closed(request, within=0.2)


async def test_twenty_calls_at_once_and_cancelled_at_random(upstream: Upstream):
    """The pool must survive what a gateway does all day."""
    async with Wire() as wire:
        wire.answer(Drip(OK + b"Content-Length: 2\r\n\r\n{}", n=9, every=0.002, whole=True))
        for round in range(10):
            tasks = [asyncio.create_task(exchange(upstream, wire)) for _ in range(20)]
            await asyncio.sleep(0.002 * round)
            for k, task in enumerate(tasks):
                if (k + round) % 3:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        wire.answer(Json({"still": "alive"}))
        assert await asyncio.wait_for(exchange(upstream, wire), 2) == b'{"still":"alive"}'
        await wire.until(lambda: not wire.unsettled())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int, upstream: Upstream):
    async with Wire() as wire, Wire() as elsewhere:
        wire.answer(Reply(b"", status, headers={"Location": f"{elsewhere.url}/v1/chat/completions"}))
        x = await upstream.send(call(), to(wire), "req-1")
        assert x.status == status
        x.close()
        assert not elsewhere.log


async def test_a_proxy_of_the_environment_is_not_used(upstream: Upstream, monkeypatch: pytest.MonkeyPatch):
    async with Wire() as wire, Wire() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        await exchange(upstream, wire)
        assert not proxy.log


async def test_an_answer_before_the_body_is_sent(upstream: Upstream):
    """A server may refuse a large body unread: its answer counts, not that it stopped reading."""
    listening = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")
        await listening.wait()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        body: list[bytes | Segments] = [Segments([b"a" * (16 << 20)])]
        made = Call("POST", "/v1/chat/completions", body)
        x = await asyncio.wait_for(upstream.send(made, Address(f"http://127.0.0.1:{port}"), "req-1"), 5)
        assert (x.status, await x.read_all()) == (413, b"{}")
        listening.set()


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer a\r\nX-More: 1"}, {"X-A\n": "b"}, {"X-A": "\u20ac"}])
def test_a_header_that_would_end_its_line_is_refused(headers: dict[str, str]):
    with pytest.raises(ValueError, match=r"header|encode"):
        Address("http://127.0.0.1:1", headers)


def test_the_head():
    address = Address("https://me@example.test:8443/base", {"Authorization": "Bearer k"})
    assert address.origin == ("example.test", 8443, True)
    made = Call("POST", "/v1/mod els:go?a=b", [b"{}"], headers={"authorization": "Own", "X-A": "1"})
    first, *lines = address.head(made, "r", 2).decode().split("\r\n")
    assert first == "POST /base/v1/mod%20els:go?a=b HTTP/1.1"
    assert "Host: example.test:8443" in lines and "authorization: Own" in lines and "Content-Length: 2" in lines
    assert not any(line.startswith("Authorization") for line in lines) and lines[-2:] == ["", ""]
    assert b"Content" not in address.head(Call("GET", "/health"), "r", None)


async def test_tls_that_can_t_be_trusted(upstream: Upstream):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(OK + b"Content-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    address = Address(f"https://localhost:{server.sockets[0].getsockname()[1]}")
    async with server:
        with pytest.raises(ConnectError) as caught:
            await upstream.send(call(), address, "req-1")
        assert caught.value.code == "upstream_tls_error"
        authority.configure_trust(upstream._context())
        x = await upstream.send(call(), address, "req-1")
        assert (x.status, await x.read_all()) == (200, b"{}")


async def test_a_server_that_answers_and_never_reads_the_rest_is_left(upstream: Upstream):
    loop = asyncio.get_running_loop()
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        accepting = asyncio.create_task(loop.sock_accept(listening))
        address = Address(f"http://127.0.0.1:{listening.getsockname()[1]}", connect=5.0)
        sending = asyncio.create_task(upstream.send(call(b"a" * (64 * LARGE)), address, "req-1"))
        served, _ = await accepting
        with served:
            await loop.sock_sendall(served, OK.replace(b"200 OK", b"413 No") + b"Content-Length: 2\r\n\r\n{}")
            x = await sending
            assert (x.status, await x.read_all()) == (413, b"{}")
            x.close()
            async with asyncio.timeout(5):
                while upstream._all:
                    await asyncio.sleep(0.001)
