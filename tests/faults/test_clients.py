"""Clients that leave, half close, or read slowly: upstream sees the close, and nothing keeps running for nobody."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode

import pytest

from gateway.demo.media import wav
from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.rawclient import json_request
from tests.faults.running import CHAT, Running, ask, config
from tests.faults.steps import Body, Events, Finish, Gate, Hang, Head, Json, Repeat, Send, Sse, event_bytes
from tests.faults.table import Turns

SLOW = {"first_byte": 30, "first_byte_unknown": 30, "idle": 30, "queue": 30, "life_sign": 40}
WITHIN = 1.0
"""Seconds until upstream must have seen the close: as promised. On loopback it is far less."""


@pytest.mark.parametrize("how", ["leave", "abort"])
@pytest.mark.parametrize("stream", [False, True])
async def test_C1_leaving_before_the_first_byte(how, stream, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(Hang())
    gateway = await gateway_for(config(wire, timeouts=SLOW))
    async with gateway.client(ask(stream=stream)) as client:
        request = await wire.seen()
        left = time.monotonic()
        await getattr(client, how)()
        assert await wire.closed(request) - left < WITHIN
    metrics = await gateway.settled()
    assert metrics.labels("gateway_client_disconnects_total", "phase") == {"before_first_byte": 1}
    assert metrics.labels("gateway_requests_total", "code") == {"client_disconnected": 1}


@pytest.mark.parametrize("seconds", [2.0, 20.0, 200.0])
@pytest.mark.parametrize("how", ["leave", "abort"])
async def test_C1_leaving_behind_a_large_body(how, seconds, upstreams: Upstreams, gateway_for: GatewayFor):
    """While it arrived reading was paused; nothing of that may be left when the client goes."""
    [wire] = await upstreams(modalities=("text", "audio"))
    wire.answer(Hang())
    gateway = await gateway_for(config(wire, timeouts=SLOW))
    sound = {"data": b64encode(wav(seconds)).decode(), "format": "wav"}
    body = ask(messages=[{"role": "user", "content": [{"type": "input_audio", "input_audio": sound}]}])
    async with gateway.client(body) as client:
        request = await wire.seen()
        left = time.monotonic()
        await getattr(client, how)()
        assert await wire.closed(request) - left < WITHIN


async def test_C1_leaving_after_the_upstream_head(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(Head(), Body(b": thinking\n\n"), Hang())
    gateway = await gateway_for(config(wire, timeouts=SLOW))
    async with gateway.client(ask(stream=True)) as client:
        request = await wire.seen()
        await asyncio.sleep(0.05)
        left = time.monotonic()
        await client.leave()
        assert await wire.closed(request) - left < WITHIN


@pytest.mark.parametrize("how", ["leave", "abort"])
@pytest.mark.parametrize("busy", [False, True], ids=["silent upstream", "talking upstream"])
async def test_C2_leaving_mid_stream(how, busy, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(Head(), Events(["Hello"]), Repeat([Events(["more "])], 0.01) if busy else Hang())
    gateway = await gateway_for(config(wire, timeouts=SLOW))
    async with gateway.client(ask(stream=True)) as client:
        response = await client.read_head()
        await client.read_until(response, b"Hello")
        left = time.monotonic()
        await getattr(client, how)()
        assert await wire.closed(wire.requests[0]) - left < WITHIN
    metrics = await gateway.settled()
    assert metrics.labels("gateway_client_disconnects_total", "phase") == {"streaming": 1}
    assert metrics.sum("gateway_ejected") == 0, "the client's leaving says nothing about the server"


async def test_C1_leaving_while_a_whole_body_arrives(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n{"

    wire.answer(Send(head), Hang())
    gateway = await gateway_for(config(wire, timeouts=SLOW))
    async with gateway.client(ask()) as client:
        request = await wire.seen()
        await asyncio.sleep(0.05)
        left = time.monotonic()
        await client.leave()
        assert await wire.closed(request) - left < WITHIN


@pytest.mark.parametrize("stream", [False, True])
async def test_C3_leaving_while_queued_is_no_attempt(stream, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(slots=1)
    gate = asyncio.Event()
    wire.answer(Gate(gate), Sse() if stream else Json())
    gateway = await gateway_for(config(wire, timeouts=SLOW))
    async with gateway.client(ask("first", stream=stream)) as first:
        await wire.seen()
        async with gateway.client(ask("second", stream=stream)) as second:
            await queued(gateway, 1)
            await second.leave()
            await queued(gateway, 0)
        gate.set()
        answer = await first.read()
        assert (answer.status, answer.text) == (200, answers.TEXT)
    metrics = await gateway.settled()
    assert len(wire.requests) == 1, "no upstream attempt at all"
    assert metrics.labels("gateway_client_disconnects_total", "phase") == {"queued": 1}


async def queued(gateway: Running, count: int, within: float = 1.0) -> None:
    end = time.monotonic() + within
    while (now := (await gateway.metrics()).sum("gateway_queued")) != count:
        assert time.monotonic() < end, f"queued: {now}, not {count}"
        await asyncio.sleep(0.01)


async def test_C4_many_who_come_and_go(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(slots=64)
    wire.answer(Hang(), when=lambda body: body["messages"][0]["content"] == "go")
    gateway = await gateway_for(config(wire, timeouts=SLOW))

    async def come_and_go(k: int) -> None:
        async with gateway.client(ask("go", stream=bool(k % 2))) as client:
            await asyncio.sleep(0.001 * (k % 20))
            await (client.abort() if k % 3 else client.leave())

    for round in range(5):
        await asyncio.gather(*(come_and_go(round * 40 + k) for k in range(40)))
    await gateway.settled(3.0)
    assert (await gateway.chat("stay")).text == answers.TEXT


async def test_C5_half_close_is_answered_or_is_leaving_but_never_hangs(upstreams: Upstreams, gateway_for: GatewayFor):
    """Behind a proxy or in a script (`nc`) a client may close its sending side first. Whether that is an answer or a
    goodbye is the server's choice; what may not be is work for nobody, or an answer that is cut."""
    [wire] = await upstreams()
    gate = asyncio.Event()
    wire.answer(Gate(gate), Json())
    gateway = await gateway_for(config(wire, timeouts=SLOW))
    async with gateway.client(ask()) as client:
        await wire.seen()
        client.half_close()
        await asyncio.sleep(0.1)
        gate.set()
        said = await client.ended(2.0)
    if said:
        assert b"200 OK" in said and said.endswith(b"}")
    else:
        await wire.until(lambda: wire.requests[0].settled)


async def test_C6_a_slow_reader_gets_everything_and_slows_the_upstream(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    piece = event_bytes("x" * 4000)
    many = 6000  # 24 MB, more than all sockets between can hold
    wire.answer(
        Head(),
        *[Body(piece) for _ in range(many)],
        Events([answers.chunk({}, finish="stop"), None]),
        Finish(),
    )
    gateway = await gateway_for(config(wire, timeouts=SLOW))
    async with gateway.client(ask(stream=True), window=4096) as client:
        response = await client.read_head()
        await asyncio.sleep(0.5)
        held = sum(int(e.detail.split()[0]) for e in wire.log if e.what == "sent" and e.detail.endswith("bytes"))
        assert held < 14_000_000, f"the gateway took {held} octets for a client that read nothing"
        got = 0
        async for data in client.pieces(response):
            got += data.count(b"x" * 4000)
            response.body = data
        assert got >= many * 0.9  # a few straddle two pieces
        assert response.clean and response.body.endswith(b"data: [DONE]\n\n")


async def test_C7_a_reader_that_stops_for_ever_is_given_up(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(slots=1)
    wire.answer(Head(), Repeat([Body(event_bytes("x" * 4000))], 0), nth=0)
    gateway = await gateway_for(config(wire, timeouts={**SLOW, "send_stall": 0.5}))
    async with gateway.client(ask(stream=True), window=4096) as client:
        response = await client.read_head()
        stalled = time.monotonic()
        metrics = await gateway.settled(4.5)
        assert time.monotonic() - stalled > 0.4, "not before its time"
        assert wire.requests[0].ending, "both sides are given up"
        got = 0
        async for piece in client.pieces(response):
            got += len(piece)
        assert not response.clean and got < 14_000_000, "what was not sent is not offered any more"
    assert metrics.labels("gateway_requests_total", "code") == {"client_stalled": 1}
    assert metrics.sum("gateway_ejected") == 0, "a client's stall says nothing about the server"
    assert (await gateway.chat()).text == answers.TEXT, "its place is free again"


async def test_a_connection_serves_several_requests(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))

    async with gateway.client() as client:
        for stream in (False, True, False, True):
            gateway.sent += 1
            await client.send(json_request(CHAT, ask(stream=stream)))
            assert (await client.read()).text == answers.TEXT
    assert len({r.conn for r in wire.requests}) == 1, "upstream's connection is used again too"


async def test_pipelined_requests_are_answered_in_order(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))

    async with gateway.client() as client:
        gateway.sent += 2
        await client.send(json_request(CHAT, ask("one")) + json_request(CHAT, ask("two", stream=True)))
        first, second = await client.read(), await client.read()
    assert (first.text, second.text) == (answers.TEXT, answers.TEXT)
    assert second.done


async def test_leaving_after_a_failover(upstreams: Upstreams, gateway_for: GatewayFor):

    wires = await upstreams(2)
    turns = Turns([[Json(answers.error("broken"), 502)], [Hang()]])
    for wire in wires:
        wire.answer(turns)
    gateway = await gateway_for(config(*wires, timeouts=SLOW))
    async with gateway.client(ask()) as client:
        while sum(len(w.requests) for w in wires) < 2:
            await asyncio.sleep(0.005)
        await client.leave()
        for wire in wires:
            await wire.until(lambda: wire.requests[0].settled)  # noqa: B023
