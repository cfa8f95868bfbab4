"""Bodies that are too large, too slow or too many, and clients without the right key."""

from __future__ import annotations

import asyncio
import base64
import time

from gateway.server.protocol import LINGER_OCTETS
from tests.conftest import GatewayFor, Upstreams
from tests.faults.rawclient import request_bytes
from tests.faults.running import CHAT, ask, config

HI = b'{"model":"gemma-4","messages":[{"role":"user","content":"hi"}]}'


async def test_C12_a_declared_length_that_is_too_large_is_refused_unread(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, limits={"body": 100_000}))
    async with gateway.client() as client:
        gateway.sent += 1
        start = time.monotonic()
        await client.send(
            request_bytes("POST", CHAT, {"Content-Type": "application/json", "Content-Length": "100000000"})
        )
        got = await client.read()
        assert time.monotonic() - start < 2.0
        gateway.answers.append(got)
        assert (got.status, got.error["code"]) == (413, "request_too_large")
        assert got.header("connection") == "close"
        assert await client.ended(1.0) == b""


async def test_C13_chunks_without_end_are_refused_at_the_limit(upstreams: Upstreams, gateway_for: GatewayFor):
    """The answer comes at the limit; what still comes is thrown away for a while, so that a client which sends it all
    before it reads finds the answer; then the connection is gone."""
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, limits={"body": 1_000_000}))
    async with gateway.client() as client:
        gateway.sent += 1
        await client.send(
            request_bytes("POST", CHAT, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
        )
        for _ in range(16):
            await client.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        got = await client.read()
        gateway.answers.append(got)
        assert (got.status, got.error["code"], got.header("connection")) == (413, "request_too_large", "close")
        await gateway.settled()
        sent = 0
        try:
            while sent < 2 * LINGER_OCTETS:
                await client.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
                sent += 65536
        except ConnectionError:
            pass
        assert sent < 2 * LINGER_OCTETS, "the gateway reads on and on"


async def test_C14_more_bodies_than_memory_allows_are_503(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, limits={"memory": 1_000_000}))
    async with gateway.client() as slow:
        gateway.sent += 1
        await slow.send(request_bytes("POST", CHAT, {"Content-Type": "application/json", "Content-Length": "900000"}))
        await asyncio.sleep(0.1)
        got = await gateway.chat("x" * 200_000)
        assert (got.status, got.error["code"]) == (503, "server_is_overloaded")
    assert (await gateway.chat("y" * 2000)).status == 200


async def test_C10_a_body_that_never_comes_is_408(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, timeouts={"client_body": 0.3}))
    async with gateway.client() as client:
        gateway.sent += 1
        await client.send(request_bytes("POST", CHAT, {"Content-Type": "application/json", "Content-Length": "900"}))
        await client.send(b'{"model"')
        got = await client.read()
    gateway.answers.append(got)
    assert (got.status, got.error["code"]) == (408, "request_timeout")


async def test_a_large_and_honest_body_goes_through_unharmed(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, timeouts={"first_byte": 5, "first_byte_unknown": 5}))
    png = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 6000
    url = "data:image/png;base64," + base64.b64encode(png).decode()
    parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": url}}]
    got = await gateway.post(CHAT, ask(messages=[{"role": "user", "content": parts}]))
    assert got.status == 200, got
    assert got.header("x-gateway-parts") == "0=text,1=image"
    sent = wire.bodies[0]["messages"][-1]["content"]
    assert sent[1]["image_url"]["url"] == url
