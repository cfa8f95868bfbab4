"""Room: a prompt that is too long for one target goes to one with more; text waits for a place at a real model."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.demo.fleet import EYES
from tests.real.conftest import Client, ClientFor, Start, backend
from tests.real.content import chat, endless, error, image, text

pytestmark = pytest.mark.real

LONG = "a b " * 1_500
"""3,000 tokens for a fixture; by its bytes at least 1,000 and at most 6,080, which leaves 2,048 open."""
FIRST = {"gateway": {"prefer": [{"backend": "little"}]}}


async def two_sizes(start: Start, client_for: ClientFor) -> tuple[Client, Any, Any]:
    little, large = start("little", fixture=EYES, ctx=2048), start("large", fixture=EYES)
    names = {"gemma": {"targets": [{"backend": "little"}, {"backend": "large"}]}}
    return await client_for({"little": little, "large": large}, models=names), little, large


async def test_it_goes_where_there_is_room(start: Start, client_for: ClientFor):
    client, little, _ = await two_sizes(start, client_for)
    assert (await client.post(chat("gemma", **FIRST))).headers["x-gateway-target"] == "little/little"
    before = (await little.counters())["prompt_tokens_total"]
    got = await client.post(chat("gemma", LONG, **FIRST))
    assert (got.status_code, got.headers["x-gateway-target"], got.headers["x-gateway-attempts"]) == (
        200,
        "large/large",
        "1",
    )
    assert (await little.counters())["prompt_tokens_total"] == before
    told = (await client.explain(chat("gemma", LONG, **FIRST))).json()
    assert told["chosen"] == "large/large"
    [short] = told["too_long_for"]
    assert short["target"] == "little/little"
    assert "-c N" in short["hint"]


async def test_and_nowhere_if_there_is_none(start: Start, client_for: ClientFor):
    client, _, _ = await two_sizes(start, client_for)
    got = await client.post(chat("gemma", "x" * 70_000, **FIRST))
    assert (got.status_code, error(got.content)["code"]) == (400, "context_length_exceeded")
    assert "x-gateway-target" not in got.headers


async def test_with_a_picture_too(start: Start, client_for: ClientFor):
    client, _, _ = await two_sizes(start, client_for)
    got = await client.post(chat("gemma", [text(LONG), image()], **FIRST))
    assert (got.status_code, got.headers["x-gateway-target"]) == (200, "large/large")


async def crowded(start: Start, client_for: ClientFor) -> tuple[dict[str, Any], str]:
    """Text for `auto` while a real model is at its limit and a fixture is free: what explain says, where it went."""
    real, stand_in = start("one"), start("two")
    entry = backend(real, facts={"fixture": False}, max_in_flight=1)
    client = await client_for({"real": entry, "stand-in": stand_in})
    busy = endless("auto", 3_000, stream=True)
    async with client.http.stream("POST", "/v1/chat/completions", json=busy) as got:
        assert got.headers["x-gateway-target"] == "real/one"
        reading = asyncio.create_task(got.aread())
        told = (await client.explain(chat("auto"))).json()
        served = await client.post(chat("auto"))
        await reading
    return told, served.headers["x-gateway-target"]


async def test_text_waits_for_a_real_model(start: Start, client_for: ClientFor):
    """A fixture that is free is no reason to be told its sentence, and explain says so too."""
    told, target = await crowded(start, client_for)
    assert told["chosen"] == target == "real/one"


async def test_and_each_candidate_says_so(start: Start, client_for: ClientFor):
    told, _ = await crowded(start, client_for)
    standing = {c["target"]: c["verdict"] for c in told["candidates"]}
    assert standing == {"real/one": "busy", "stand-in/two": "fits"}
