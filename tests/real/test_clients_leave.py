"""Clients that leave: the server stops working on their request, as its own metrics tell."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.real.conftest import Client, ClientFor, Start, until
from tests.real.content import chat, endless, long
from tests.real.servers import RealServer

pytestmark = pytest.mark.real

PATIENT = {"first_byte": 60.0, "first_byte_unknown": 60.0, "liveness": 60.0, "facts": 60.0}


async def idle(server: RealServer) -> bool:
    return await server.busy() == 0


async def working(server: RealServer, requests: int) -> bool:
    return await server.busy() == requests


async def gone(client: Client, phase: str) -> None:
    """What the gateway says of it."""
    metrics = await client.gateway.settled()
    assert metrics.labels("gateway_client_disconnects_total", "phase") == {phase: 1}
    assert metrics.sum("gateway_requests_total", code="client_disconnected") == 1
    assert metrics.sum("gateway_orphaned_seconds_total") < 1.0
    [line] = [x for x in client.gateway.log_lines if x.get("code") == "client_disconnected"]
    assert line["status"] == 499


async def test_in_the_middle_of_a_stream(start: Start, client_for: ClientFor):
    one = start("one")
    client = await client_for({"one": one}, timeouts=PATIENT)
    async with client.http.stream("POST", "/v1/chat/completions", json=endless("one", stream=True)) as got:
        pieces = got.aiter_raw()  # held: it would close the answer when it is dropped
        await anext(pieces)
        assert await one.busy() == 1
    assert await until(lambda: idle(one), 2) < 1.0
    await gone(client, "streaming")


async def test_with_the_sdk(start: Start, client_for: ClientFor):
    one = start("one")
    client = await client_for({"one": one}, timeouts=PATIENT)
    body: Any = endless("one", stream=True)
    stream = await client.sdk.chat.completions.create(
        model="one", messages=body["messages"], max_tokens=60_000, extra_body={"ignore_eos": True}, stream=True
    )
    async for _ in stream:
        break
    await stream.close()
    assert await until(lambda: idle(one), 2) < 1.0
    await gone(client, "streaming")


async def test_while_a_whole_answer_is_made(start: Start, client_for: ClientFor):
    one = start("one")
    client = await client_for({"one": one}, timeouts=PATIENT)
    asked = asyncio.create_task(client.post(endless("one")))
    await until(one.busy)
    asked.cancel()
    assert await until(lambda: idle(one), 2) < 1.0
    await gone(client, "before_first_byte")


async def test_while_a_whole_answer_is_made_beside_a_stream(start: Start, client_for: ClientFor):
    """llama.cpp itself looks whether the client of a whole answer is there when nothing happened on all the server for
    a second; a stream in another slot is enough to keep it from ever looking. So the gateway asks for a stream."""
    one = start("one", slots=2)
    client = await client_for({"one": one}, timeouts=PATIENT)
    async with client.http.stream("POST", "/v1/chat/completions", json=endless("one", 30_000, stream=True)) as got:
        pieces = got.aiter_raw()
        await anext(pieces)

        async def read_on() -> None:
            async for _ in pieces:
                pass

        reading = asyncio.create_task(read_on())
        asked = asyncio.create_task(client.post(endless("one", 30_000)))
        await until(lambda: working(one, 2))
        asked.cancel()
        assert await until(lambda: working(one, 1), 5) < 2.0
        assert not reading.done()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_while_its_prompt_is_read(start: Start, client_for: ClientFor):
    """llama.cpp looks up between two batches of the prompt."""
    one = start("one")
    client = await client_for({"one": one}, timeouts=PATIENT)
    asked = asyncio.create_task(client.post(chat("one", long("leave", 20_000), stream=True)))
    await until(one.busy)
    asked.cancel()
    assert await until(lambda: idle(one), 4) < 3.0
    assert (await one.counters())["tokens_predicted_total"] == 0
    await gone(client, "before_first_byte")


async def test_while_it_waits_for_a_place(start: Start, client_for: ClientFor):
    """Its request never reaches the server, and the one that is there goes on."""
    one = start("one", slots=2)
    limited = {"kind": "llamacpp", "url": one.url, "max_in_flight": 1}
    client = await client_for({"one": limited}, timeouts=PATIENT)
    first = asyncio.create_task(client.post(endless("one", 3_000)))
    await until(one.busy)
    second = asyncio.create_task(client.post(chat("one")))

    async def queued() -> bool:
        return (await client.gateway.metrics()).sum("gateway_queued", backend="one") == 1

    await until(queued, 2)
    second.cancel()

    async def left() -> bool:
        return not await queued()

    assert await until(left, 2) < 1.0
    assert await one.busy() == 1
    assert (await first).json()["usage"]["completion_tokens"] == 3_000
    await gone(client, "queued")
    assert (await one.counters())["tokens_predicted_total"] == 3_000


async def test_its_place_is_free_for_the_next(start: Start, client_for: ClientFor):
    """One slot, ten clients one after the other who all leave: the eleventh is served at once."""
    one = start("one")
    client = await client_for({"one": one}, timeouts=PATIENT)
    for _ in range(10):
        async with client.http.stream("POST", "/v1/chat/completions", json=endless("one", stream=True)) as got:
            async for _ in got.aiter_raw():
                break
    got = await client.post(chat("one"))
    assert got.status_code == 200
    metrics = await client.gateway.settled()
    assert metrics.sum("gateway_client_disconnects_total") == 10
