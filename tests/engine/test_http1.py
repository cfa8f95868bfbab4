"""One connection's exchanges: what a reply's bytes mean, wherever the reads cut them. No socket: the transport is a
stand-in that notes what it was told; tests/engine/test_upstream.py does the same over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.canonical.content import Segments
from gateway.engine.http1 import HEAD_OCTETS, PIECE, UNREAD, Connection, Exchange, pieces
from gateway.errors import BadResponse, GatewayError, ProtocolFault, Reset, Truncated

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nContent-Length: 11\r\n\r\nhello world"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"6\r\nhello \r\n5;ext=1\r\nworld\r\n0\r\nX-Trailer: 1\r\n\r\n"
)
UNFRAMED = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\nhello world"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"


class Noted:
    """A transport that notes what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.written = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        self.written += data

    def abort(self) -> None:
        self.told.append("abort")

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


class Under:
    """A connection under test, with an exchange begun."""

    def __init__(self) -> None:
        self.idle: list[Connection] = []
        self.lost: list[Connection] = []
        self.connection = Connection(asyncio.get_running_loop(), self.idle.append, self.lost.append)
        self.transport: Any = Noted()
        self.connection.connection_made(self.transport)
        self.exchange: Exchange = self.connection.begin()


async def whole(under: Under) -> tuple[int, bytes]:
    await under.exchange.head()
    return under.exchange.status, await under.exchange.read_all()


@pytest.mark.parametrize("before", [b"", INTERIM])
@pytest.mark.parametrize(("reply", "again"), [(LENGTH, True), (CHUNKED, True)])
async def test_a_reply_cut_anywhere(reply: bytes, again: bool, before: bytes):
    data = before + reply
    for cut in range(1, len(data)):
        under = Under()
        under.connection.data_received(data[:cut])
        assert not under.exchange.complete
        under.connection.data_received(data[cut:])
        assert await whole(under) == (200, b"hello world")
        assert under.exchange.content_type == "text/event-stream" and "link" not in under.exchange.headers
        assert under.exchange.at_end and bool(under.idle) is again and under.transport.told == []


async def test_byte_by_byte():
    under = Under()
    for octet in CHUNKED:
        under.connection.data_received(bytes([octet]))
    assert await whole(under) == (200, b"hello world")


async def test_a_reply_without_a_length_ends_with_its_connection():
    under = Under()
    under.connection.data_received(UNFRAMED)
    assert not under.exchange.complete
    under.connection.connection_lost(None)
    assert await whole(under) == (200, b"hello world")
    assert not under.idle and under.lost == [under.connection]


@pytest.mark.parametrize("reply", [LENGTH, CHUNKED])
@pytest.mark.parametrize(("how", "error"), [(None, Truncated), (ConnectionResetError(), Reset)])
async def test_a_break_is_told_after_what_came_before_it(
    reply: bytes, how: Exception | None, error: type[GatewayError]
):
    for cut in range(reply.index(b"hello") + 5, len(reply)):
        under = Under()
        under.connection.data_received(reply[:cut])
        under.connection.connection_lost(how)
        got = await under.exchange.read_some()
        assert got and b"hello world".startswith(got)
        with pytest.raises(error):
            await under.exchange.read_some()
        with pytest.raises(error):
            await under.exchange.read_some()


@pytest.mark.parametrize("cut", [0, 1, 20])
async def test_closed_before_an_answer(cut: int):
    under = Under()
    if cut:
        under.connection.data_received(LENGTH[:cut])
    under.connection.connection_lost(None)
    assert under.connection.heard() is (cut > 0)
    with pytest.raises(Reset):
        await under.exchange.head()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01 this is TLS\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Big: " + b"a" * (HEAD_OCTETS + 1),
        b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n" % b"".join(b"X-%d: a\r\n" % i for i in range(100)),
        b"HTTP/1.1 200 OK\r\nX-Big: " + b"a" * (HEAD_OCTETS + 1) + b"\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_what_is_no_answer(data: bytes):
    under = Under()
    under.connection.data_received(data)
    with pytest.raises(ProtocolFault):
        await under.exchange.head()
    assert under.transport.told == ["abort"] and not under.idle


async def test_a_bad_chunk_is_told_at_once():
    under = Under()
    under.connection.data_received(CHUNKED[: CHUNKED.index(b"5;ext")] + b"zz\r\n")
    assert await under.exchange.read_some() == b"hello "
    with pytest.raises(ProtocolFault):
        await under.exchange.read_some()


async def test_more_than_was_asked_for_ends_the_connection_not_the_answer():
    under = Under()
    under.connection.data_received(LENGTH + LENGTH)
    assert await whole(under) == (200, b"hello world")
    assert under.transport.told == ["abort"] and not under.idle


async def test_bytes_on_an_idle_connection_end_it():
    under = Under()
    under.connection.data_received(LENGTH)
    under.connection.data_received(b"x")
    assert under.transport.told == ["abort"]


@pytest.mark.parametrize("line", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n"])
async def test_a_server_that_closes_is_not_kept(line: bytes):
    under = Under()
    under.connection.data_received(line + b"Content-Length: 2\r\n\r\n{}")
    assert await whole(under) == (200, b"{}")
    assert under.transport.told == ["abort"] and not under.idle


async def test_one_exchange_after_the_other():
    under = Under()
    for n in range(3):
        under.connection.data_received(LENGTH if n % 2 else CHUNKED)
        assert await whole(under) == (200, b"hello world")
        assert under.idle == [under.connection] * (n + 1)
        under.exchange = under.connection.begin()
        assert not under.connection.heard()


async def test_a_reader_that_lags_slows_the_server_down():
    under = Under()
    size = UNREAD + 1
    under.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * size))
    under.connection.data_received(b"a" * size)
    under.connection.data_received(b"a" * 10)
    assert under.transport.told == ["pause"]
    assert len(await under.exchange.read_some()) == size + 10
    assert under.transport.told == ["pause", "resume"]


async def test_a_connection_that_was_slowed_down_is_not_kept_so():
    under = Under()
    size = UNREAD + 1
    under.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size)
    assert under.transport.told == ["pause", "resume"] and under.idle
    assert len(await under.exchange.read_all()) == size
    assert under.transport.told == ["pause", "resume"]


async def test_giving_up_closes_at_once():
    under = Under()
    under.connection.data_received(LENGTH[:-3])
    under.exchange.close()
    under.exchange.close()
    assert under.transport.told == ["abort"]
    under.connection.connection_lost(None)
    assert under.lost == [under.connection]


async def test_giving_up_what_is_complete_keeps_the_connection():
    under = Under()
    under.connection.data_received(LENGTH)
    under.exchange.close()
    assert under.transport.told == [] and under.idle


async def test_a_body_waits_for_room():
    under = Under()
    body: list[bytes | Segments] = [b"[", Segments([b"a" * PIECE, b"b" * (PIECE + 1)]), b"]"]
    under.connection.pause_writing()
    task = asyncio.create_task(under.connection.write_body(body))
    for _ in range(5):
        await asyncio.sleep(0)
    assert under.transport.written == b"["
    under.connection.resume_writing()
    await task
    assert bytes(under.transport.written) == b"[" + b"a" * PIECE + b"b" * (PIECE + 1) + b"]"
    under.connection.data_received(LENGTH)
    assert under.idle


@pytest.mark.parametrize("end", ["answer", "lost"])
async def test_a_body_that_nobody_waits_for_is_not_sent_on(end: str):
    under = Under()
    under.connection.pause_writing()
    task = asyncio.create_task(under.connection.write_body([b"a" * PIECE, b"b" * PIECE]))
    await asyncio.sleep(0)
    if end == "answer":
        under.connection.data_received(LENGTH.replace(b"200 OK", b"413 No"))
    else:
        under.connection.connection_lost(ConnectionResetError())
    await task
    assert b"b" not in under.transport.written and not under.idle
    if end == "answer":
        assert await whole(under) == (413, b"hello world")
        assert under.transport.told == ["abort"]


async def test_an_answer_that_is_too_large():
    under = Under()
    under.connection.data_received(LENGTH)
    with pytest.raises(BadResponse):
        await under.exchange.read_all(10)
    under = Under()
    under.connection.data_received(CHUNKED)
    with pytest.raises(BadResponse):
        await under.exchange.read_all(10)


def test_pieces():
    body: list[bytes | Segments] = [b"", b"x", Segments([b"a" * (2 * PIECE + 1)])]
    assert [len(p) for p in pieces(body)] == [1, PIECE, PIECE, 1]
