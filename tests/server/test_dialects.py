"""Every dialect through a running gateway, as bytes: answers, streams, counting, and all errors in its own words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.rawclient import request_bytes
from tests.faults.running import KEY, PUBLIC, config
from tests.faults.steps import Events, Finish, Head, Json, Reset, Sleep

MESSAGES: dict[str, Any] = {"model": PUBLIC, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
RESPONSES: dict[str, Any] = {"model": PUBLIC, "input": "hi"}
CHAT: dict[str, Any] = {"model": PUBLIC, "messages": [{"role": "user", "content": "hi"}]}
GENERATE: dict[str, Any] = {"model": PUBLIC, "prompt": "hi"}
BODIES = {"/v1/messages": MESSAGES, "/v1/responses": RESPONSES, "/api/chat": CHAT, "/api/generate": GENERATE}


@pytest.mark.parametrize("path", list(BODIES))
async def test_whole_answers(path: str, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    wire.answer(Json(answers.chat()))
    gateway = await gateway_for(config(wire))
    got = await gateway.post(
        f"{path}?beta=true", {**BODIES[path], "stream": False}, {"anthropic-beta": "new-2099-01-01"}
    )
    gateway.sent += 1
    assert got.status == 200, got.body
    body = got.json()
    assert answers.TEXT in got.body.decode() and body["model"] == PUBLIC
    assert wire.requests[0].json()["messages"] == [{"role": "user", "content": "hi"}]
    if path == "/v1/responses":
        assert body["id"].startswith("resp_") and body["created_at"] > 0 and body["store"] is True
    assert got.header("x-gateway-target") and got.header("x-gateway-parts") == "0=text"


@pytest.mark.parametrize("path", list(BODIES))
async def test_streams(path: str, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    wire.answer(Head(), Events(answers.chunks()), Finish())
    gateway = await gateway_for(config(wire))
    got = await gateway.post(path, {**BODIES[path], "stream": True})
    assert got.status == 200 and got.clean
    if path.startswith("/api/"):
        assert got.header("content-type") == "application/x-ndjson"
        lines = [json.loads(line) for line in got.body.splitlines()]
        assert lines[-1]["done"] and lines[-1]["eval_count"] == 5 and lines[-1]["total_duration"] > 0
        assert "".join(x.get("response") or x["message"]["content"] for x in lines[:-1]) == answers.TEXT
    else:
        events = [json.loads(e) for e in got.events]
        last = "message_stop" if path == "/v1/messages" else "response.completed"
        assert events[-1]["type"] == last
        deltas = [e.get("delta") for e in events if e["type"] in ("content_block_delta", "response.output_text.delta")]
        assert "".join(d if isinstance(d, str) else d["text"] for d in deltas) == answers.TEXT
        usage = events[-2]["usage"] if path == "/v1/messages" else events[-1]["response"]["usage"]
        assert (usage["input_tokens"], usage["output_tokens"]) == (7, 5)


@pytest.mark.parametrize("path", list(BODIES))
async def test_a_stream_that_is_cut_ends_in_an_error(path: str, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    wire.answer(Head(), Events(answers.chunks(["Hello"], finish=None)), Reset())
    gateway = await gateway_for(config(wire))
    got = await gateway.post(path, {**BODIES[path], "stream": True})
    assert got.status == 200 and got.clean
    last = json.loads(got.body.splitlines()[-1] if path.startswith("/api/") else got.events[-1])
    assert last["error"] and b"Hello" in got.body
    assert path.startswith("/api/") or last["type"] == "error"


@pytest.mark.parametrize("path", list(BODIES))
async def test_a_waiting_client_sees_that_it_lives(path: str, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    wire.answer(Head(), Sleep(0.5), Events(answers.chunks()), Finish())
    gateway = await gateway_for(config(wire, timeouts={"life_sign": 0.1, "first_byte": 3, "first_byte_unknown": 3}))
    got = await gateway.post(path, {**BODIES[path], "stream": True})
    assert got.status == 200 and got.clean
    if path.startswith("/api/"):
        first, second, *_ = [json.loads(line) for line in got.body.splitlines()]
        assert not first["done"] and first.keys() == second.keys()
    else:
        types = [json.loads(e)["type"] for e in got.events]
        if path == "/v1/messages":
            assert types[0] == "ping" and types.count("message_start") == 1
        else:
            assert types[:2] == ["response.created", "response.in_progress"]
            assert types.count("response.created") == 1 and types.count("response.in_progress") >= 2
            numbers = [json.loads(e)["sequence_number"] for e in got.events]
            assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("path", list(BODIES))
async def test_errors_are_told_in_the_words_of_the_dialect(path: str, upstreams: Upstreams, gateway_for: GatewayFor):
    """A wrong field, an unknown model, a wrong method, no JSON, a body that is too large, a path that is not there."""
    [wire] = await upstreams(kind="openai")
    gateway = await gateway_for(config(wire, limits={"body": 4096}))
    wrong = {**BODIES[path], "stream": "yes"}
    for got, status in (
        (await gateway.post(path, wrong), 400),
        (await gateway.post(path, {**BODIES[path], "model": "nobody"}), 404),
        (await gateway.post(path, [1]), 400),
        (await gateway.post(path, {**BODIES[path], "pad": "x" * 5000}), 413),
        (await gateway.send(request_bytes("GET", path)), 405),
        (await gateway.send(request_bytes("GET", f"{path}/nothing"), counts=False), 404),
    ):
        assert got.status == status, (got.status, got.body)
        error = got.json()["error"]
        if path == "/v1/messages":
            assert got.json()["type"] == "error" and error["type"].endswith(("_error", "_too_large"))
        elif path == "/v1/responses":
            assert set(error) >= {"message", "type", "param", "code"}
        else:
            assert isinstance(error, str)


async def test_a_missing_key_is_told_in_the_words_of_the_dialect(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    gateway = await gateway_for(config(wire, auth={"api_key_env": "K"}), env={"K": KEY})
    gateway.secrets.append(KEY)
    got = await gateway.post("/v1/messages", MESSAGES)
    assert got.status == 401 and got.json()["error"]["type"] == "authentication_error"
    got = await gateway.post("/api/chat", CHAT)
    assert got.status == 401 and isinstance(got.json()["error"], str)
    got = await gateway.get("/api/tags")
    assert got.status == 401 and isinstance(got.json()["error"], str)
    got = await gateway.get("/v1/models?limit=1000", {"anthropic-version": "2023-06-01"})
    assert got.status == 401 and got.json()["type"] == "error"
    wire.answer(Json(answers.chat()))
    got = await gateway.post("/v1/messages", MESSAGES, {"Authorization": "", "x-api-key": KEY})
    assert got.status == 200


async def test_a_websocket_is_refused_so_that_the_client_posts(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    gateway = await gateway_for(config(wire))
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    got = await gateway.send(request_bytes("GET", "/v1/responses", upgrade))
    assert got.status == 426 and got.json()["error"]["code"] == "websocket_not_supported"


async def test_the_lists_of_models(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    gateway = await gateway_for(config(wire, models={PUBLIC: {"aliases": ["gpt-4o-mini", "claude-*"]}}))
    tags = (await gateway.get("/api/tags")).json()["models"]
    assert {PUBLIC, "gpt-4o-mini", "auto"} <= {m["name"] for m in tags} and "claude-*" not in {m["name"] for m in tags}
    running = (await gateway.get("/api/ps")).json()["models"]
    assert PUBLIC in {m["name"] for m in running}
    assert "version" in (await gateway.get("/api/version")).json()
    for name in (PUBLIC, f"{PUBLIC}:latest", "claude-x"):
        got = await gateway.post("/api/show", {"model": name})
        assert got.status == 200 and "completion" in got.json()["capabilities"]
    got = await gateway.post("/api/show", {"model": "nobody"})
    assert got.status == 404 and "nobody" in got.json()["error"]
    assert (await gateway.post("/api/show", [1])).status == 400


async def test_a_name_with_a_tag_and_a_request_without_a_prompt(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    wire.answer(Json(answers.chat()))
    gateway = await gateway_for(config(wire))
    got = await gateway.post("/api/chat", {**CHAT, "model": f"{PUBLIC}:latest", "stream": False})
    assert got.status == 200
    for path in ("/api/chat", "/api/generate"):
        got = await gateway.post(path, {"model": PUBLIC})
        assert got.json()["done_reason"] == "load"
        got = await gateway.post(path, {"model": PUBLIC, "keep_alive": 0})
        assert got.json()["done_reason"] == "unload"
        assert (await gateway.post(path, {"model": "nobody"})).status == 404
    assert len(wire.requests) == 1


async def test_embeddings(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    wire.answer(Json(answers.embedding(2)), nth=0)
    wire.answer(Json(answers.embedding(1)), nth=1)
    gateway = await gateway_for(config(wire))
    got = await gateway.post("/api/embed", {"model": PUBLIC, "input": ["a", "b"]})
    assert got.json() == {"model": PUBLIC, "embeddings": [[0.5, -0.25, 0.125]] * 2, "prompt_eval_count": 3}
    got = await gateway.post("/api/embeddings", {"model": PUBLIC, "prompt": "a"})
    assert got.json() == {"embedding": [0.5, -0.25, 0.125]}


async def test_counting_where_a_server_can_count(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="vllm")
    wire.answer(Json({"count": 42, "max_model_len": 100, "tokens": []}), path="/tokenize")
    gateway = await gateway_for(config(wire))
    got = await gateway.post("/v1/messages/count_tokens", {k: v for k, v in MESSAGES.items() if k != "max_tokens"})
    assert got.status == 200, got.body
    assert got.json() == {"input_tokens": 42}
