"""Servers that load a model when a request comes: the request waits there and its client sees that it lives. Servers
that answer 503 while they load get nothing until they are ready."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.running import PUBLIC, Running, ask, config
from tests.faults.steps import Gate, Json, Sse
from tests.faults.wire import Wire

WAITS = {"life_sign": 0.1, "liveness": 0.05, "first_byte": 30, "first_byte_unknown": 30, "facts": 600}


def router(wire: Wire, status: str, *, autoload: bool = True, failed: bool = False) -> None:
    """From now on llama.cpp's router has its model in that state."""
    value = {"value": status, "args": ["llama-server"], **({"failed": True} if failed else {})}
    card = {"id": answers.MODEL, "owned_by": "llamacpp", "status": value}
    card["architecture"] = {"input_modalities": ["text"]}
    wire.answer(Json({"object": "list", "data": [card]}), path="/v1/models")
    wire.answer(Json({"role": "router", "models_autoload": autoload, "build_info": "b1"}), path="/props")


async def state(gateway: Running) -> Any:
    [card] = [c for c in (await gateway.get("/v1/models")).json()["data"] if c["id"] == PUBLIC]
    return card["gateway"]["targets"][0]["state"]


@pytest.mark.parametrize("status", ["unloaded", "loading", "sleeping"])
async def test_a_request_waits_while_the_router_loads(status: str, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    router(wire, status)
    gate = asyncio.Event()
    wire.answer(Gate(gate), Sse())
    gateway = await gateway_for(config(wire, timeouts=WAITS))
    assert await state(gateway) == "cold"
    async with gateway.client(ask(stream=True)) as client:
        response = await client.read_head()
        await client.read_until(response, b"\n\n")
        assert response.status == 200 and response.body.startswith(b":"), response.body
        router(wire, "loaded")
        gate.set()
        async for piece in client.pieces(response):
            response.body += piece
    assert (response.text, response.done) == (answers.TEXT, True)
    async with asyncio.timeout(10):  # its facts are due in ten minutes: the answer made the gateway look
        while await state(gateway) != "ready":
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("status", "failed", "words"),
    [("loading", False, "is loading its model"), ("unloaded", False, "not answer"), ("unloaded", True, "not answer")],
)
async def test_a_router_that_loads_nothing_on_demand_is_sent_nothing(
    status: str, failed: bool, words: str, upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams()
    router(wire, status, autoload=False, failed=failed)
    gateway = await gateway_for(config(wire, timeouts=WAITS))
    got = await gateway.chat()
    assert (got.status, got.error["code"]) == (503, "no_healthy_backend")
    assert words in got.error["message"] and got.header("retry-after")
    assert not wire.requests
