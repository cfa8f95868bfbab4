"""The limits of the configuration are in force, with the path of what is too much."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults.running import CHAT, PUBLIC, ask, config
from tests.faults.steps import Gate, Json

USER = {"role": "user", "content": "x"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
TOOL = {"type": "function", "function": {"name": "f"}}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "messages": ({"messages": 1}, {"messages": [USER, USER]}, "messages"),
    "parts": ({"parts": 1}, {"messages": [{**USER, "content": [IMAGE, IMAGE]}]}, "messages[0].content"),
    "images": ({"images": 1}, {"messages": [{**USER, "content": [IMAGE, IMAGE]}]}, "messages[0].content"),
    "tools": ({"tools": 1}, {"tools": [TOOL, {**TOOL, "function": {"name": "g"}}]}, "tools"),
    "stop": ({"stop": 1}, {"stop": ["a", "b"]}, "stop"),
    "choices": ({"choices": 1}, {"n": 2}, "n"),
    "top_logprobs": ({"top_logprobs": 1}, {"logprobs": True, "top_logprobs": 2}, "top_logprobs"),
}


@pytest.mark.parametrize(("limits", "fields", "param"), CASES.values(), ids=CASES)
async def test_what_is_too_much_for_the_configuration(
    limits: dict[str, Any], fields: dict[str, Any], param: str, upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams(slots=4)
    gateway = await gateway_for(config(wire, limits=limits))
    for path in (CHAT, "/v1/route/explain"):
        got = await gateway.post(path, ask(**fields))
        assert (got.status, got.error["param"]) == (400, param), path
    usual = await gateway_for(config(wire))
    assert (await usual.chat(**fields)).status == 200


async def test_the_length_of_a_name(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, limits={"model_name": len(PUBLIC) - 1}, unknown_model="auto"))
    assert (await gateway.chat(model="auto")).status == 200
    assert (await gateway.chat()).status == 404


async def test_sixteen_stops_are_taken(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    assert (await gateway.chat(stop=[str(k) for k in range(16)])).status == 200
    assert len(wire.bodies[-1]["stop"]) == 16
    assert (await gateway.chat(stop=[str(k) for k in range(17)])).status == 400


async def test_more_requests_than_the_gateway_may_have_are_turned_away_at_once(
    upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams(slots=8)
    gate = asyncio.Event()
    wire.answer(Gate(gate), Json())
    gateway = await gateway_for(config(wire, limits={"in_flight": 2}))
    running = [asyncio.create_task(gateway.chat(str(k))) for k in range(2)]
    await wire.seen(2)
    got = await gateway.chat("one too many")
    assert (got.status, got.error["code"], got.header("retry-after")) == (503, "server_is_overloaded", "1")
    assert (await gateway.get("/healthz")).status == 200
    gate.set()
    assert [r.status for r in await asyncio.gather(*running)] == [200, 200]
    assert (await gateway.chat("again")).status == 200


async def test_no_queue(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(slots=1)
    gate = asyncio.Event()
    wire.answer(Gate(gate), Json())
    gateway = await gateway_for(config(wire, limits={"queue": 0}))
    running = asyncio.create_task(gateway.chat())
    await wire.seen()
    got = await gateway.chat()
    assert (got.status, got.error["code"]) == (503, "server_is_overloaded")
    gate.set()
    assert (await running).status == 200


async def test_the_octets_of_bodies_are_shown(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(n_ctx=1_000_000)
    gate = asyncio.Event()
    wire.answer(Gate(gate), Json())
    gateway = await gateway_for(config(wire))
    running = asyncio.create_task(gateway.chat("x" * 200_000))
    await wire.seen()
    assert 200_000 < (await gateway.metrics()).sum("gateway_body_bytes") < 210_000
    gate.set()
    assert (await running).status == 200
