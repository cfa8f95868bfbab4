"""Counting a prompt's tokens: by the server where one can, else a guess that says so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults.rawclient import Response
from tests.faults.running import PUBLIC, Running, config
from tests.faults.steps import Json

WORDS = "word " * 200
ANTHROPIC = "/v1/messages/count_tokens"
GEMINI = f"/v1beta/models/{PUBLIC}:countTokens"
BODIES: dict[str, dict[str, Any]] = {
    ANTHROPIC: {"model": PUBLIC, "messages": [{"role": "user", "content": WORDS}]},
    GEMINI: {"contents": [{"parts": [{"text": WORDS}]}]},
}
FIELD = {ANTHROPIC: "input_tokens", GEMINI: "totalTokens"}


async def count(gateway: Running, path: str) -> Response:
    gateway.sent += path == GEMINI
    return await gateway.post(path, BODIES[path])


@pytest.mark.parametrize("path", list(BODIES))
async def test_a_guess_where_no_server_counts(path: str, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    gateway = await gateway_for(config(wire))
    got = await count(gateway, path)
    assert got.status == 200 and got.header("x-gateway-estimated") == "input_tokens"
    body = got.json()
    assert body.pop("estimated") is True and list(body) == [FIELD[path]]
    assert 200 <= body[FIELD[path]] <= 300 and not wire.requests


@pytest.mark.parametrize("path", list(BODIES))
async def test_the_servers_count_where_one_can(path: str, upstreams: Upstreams, gateway_for: GatewayFor):
    one, two = await upstreams(2, kind="openai")
    two.kind = "vllm"
    two.answer(Json({"count": 42, "max_model_len": 4096, "tokens": []}), path="/tokenize")
    gateway = await gateway_for(config(one, two))
    got = await count(gateway, path)
    assert got.json() == {FIELD[path]: 42} and got.header("x-gateway-estimated") is None
    await two.stop()
    got = await count(gateway, path)
    assert got.status in (502, 503), "it is only not there now"
    await two.start()


async def test_what_nobody_takes_is_not_guessed(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    gateway = await gateway_for(config(wire, backends={"one": {"facts": {"image": False}}}))
    url = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    content = [{"type": "image", "source": url}]
    body = {"model": PUBLIC, "messages": [{"role": "user", "content": content}]}
    got = await gateway.post(ANTHROPIC, body)
    assert got.status == 400 and "no_target_fits" in got.body.decode()
    assert (await gateway.post(ANTHROPIC, {**BODIES[ANTHROPIC], "model": "nobody"})).status == 404
