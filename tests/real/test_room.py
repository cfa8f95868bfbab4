"""A prompt that is too long for one target goes to one with more room, before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.demo.fleet import EYES
from tests.real.conftest import Client, ClientFor, Start
from tests.real.content import chat, error, image, text

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
