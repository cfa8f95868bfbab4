"""Conversations stay at the server that has their prompt in its cache, and what is asked aside goes elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.conftest import GatewayFor, Upstreams
from tests.faults.running import CHAT, PUBLIC, Running, config
from tests.faults.steps import Answer, Gate
from tests.faults.wire import Wire

TOOL = {"type": "function", "function": {"name": "read", "parameters": {"type": "object", "properties": {}}}}


def turn(number: int, who: str) -> dict[str, Any]:
    """An agent's request: its history grows, its beginning stays."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are an agent."},
        {"role": "user", "content": f"task of {who}"},
    ]
    for i in range(number):
        messages += [{"role": "assistant", "content": f"step {i}"}, {"role": "user", "content": "go on"}]
    return {"model": PUBLIC, "messages": messages, "tools": [TOOL]}


def title(number: int) -> dict[str, Any]:
    words = f"A short title for conversation {number}, please."
    return {"model": PUBLIC, "messages": [{"role": "user", "content": words}]}


async def where(gateway: Running, body: dict[str, Any]) -> str:
    got = await gateway.post(CHAT, body)
    assert got.status == 200, got.body
    return got.header("x-gateway-target") or ""


async def test_titles_do_not_drive_a_conversation_out(upstreams: Upstreams, gateway_for: GatewayFor):
    wires = await upstreams(2, slots=1)
    gateway = await gateway_for(config(*wires))
    for who in ("anna", "bo", "chi"):
        home = await where(gateway, turn(0, who))
        for number in range(1, 4):
            assert await where(gateway, title(number)) != home, "the other server's cache is the older one"
            assert await where(gateway, turn(number, who)) == home


async def test_a_title_that_came_first_does_not_move_it(upstreams: Upstreams, gateway_for: GatewayFor):
    """Beside turn 1 the agent asks for a title: the conversation stays where turn 1 went, whatever its hash says."""
    wires = await upstreams(2, slots=2)
    gateway = await gateway_for(config(*wires))
    for who in "abcdefgh":
        opened = asyncio.Event()
        for wire in wires:
            wire.answer(Gate(opened), Answer(), when=lambda body: "title" in str(body))
        async with gateway.client(title(ord(who))) as client:
            await _one_waits(wires)
            home = await where(gateway, turn(0, who))
            opened.set()
            await client.read()
        for number in range(1, 3):
            assert await where(gateway, turn(number, who)) == home


async def _one_waits(wires: list[Wire]) -> None:
    for _ in range(400):
        if any(w.unsettled() for w in wires):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("nobody got the request")
