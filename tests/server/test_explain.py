"""Explain is serving without generating: the same body, the same defaults, the same watch on the client."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults.rawclient import request_bytes
from tests.faults.running import CHAT, PUBLIC, Running, ask, config
from tests.faults.steps import Hang

EXPLAIN = "/v1/route/explain"


async def test_it_names_the_target_that_serves_and_asks_no_server_to_generate(
    upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    told = await gateway.post(EXPLAIN, ask(stream=True))
    assert told.status == 200 and told.header("content-type") == "application/json"
    assert not wire.requests
    served = await gateway.chat()
    assert told.json()["chosen"] == served.header("x-gateway-target")
    assert served.header("x-gateway-parts") == "0=" + told.json()["parts"][0]
    await gateway.settled()
    [line] = (x for x in gateway.log_lines if x.get("operation") == "explain")
    assert (line["status"], line["model"], line["target"]) == (200, PUBLIC, None)


async def test_defaults_and_thinking_of_the_public_name_hold_in_both(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    settings = config(wire)
    settings["models"][PUBLIC] |= {"defaults": {"top_k": 40}, "thinking": {"budget": 100, "enabled": True}}
    gateway = await gateway_for(settings)
    told = await gateway.post(EXPLAIN, ask())
    served = await gateway.chat()
    assert told.json()["dropped"] == (served.header("x-gateway-dropped") or "").split(",")
    assert "top_k" in told.json()["dropped"]


BAD = {
    "no JSON": (b"{", {}),
    "no object": (b"[]", {}),
    "a field that is wrong": (b'{"model":"gemma-4","messages":5}', {}),
    "a model that is not there": (b'{"model":"nothing","messages":[{"role":"user","content":"hi"}]}', {}),
    "another media type": (b"{}", {"Content-Type": "text/plain"}),
    "a coded body": (b"{}", {"Content-Encoding": "gzip"}),
    "options that are no JSON": (b'{"model":"gemma-4","messages":[]}', {"X-Gateway-Options": "{"}),
    "nothing": (b"", {}),
}


@pytest.fixture
async def gateway(upstreams: Upstreams, gateway_for: GatewayFor) -> Running:
    [wire] = await upstreams()
    return await gateway_for(config(wire))


@pytest.mark.parametrize("name", BAD)
async def test_what_is_wrong_is_said_in_the_same_words(name: str, gateway: Running):
    body, headers = BAD[name]
    answers = []
    for path in (EXPLAIN, CHAT):
        data = request_bytes("POST", path, {"Content-Type": "application/json", **headers}, body)
        answers.append(await gateway.send(data))
    told, served = answers
    assert (told.status, told.body) == (served.status, served.body)
    assert told.status in (400, 404, 415)


async def test_a_body_that_never_comes_is_408(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, timeouts={"client_body": 0.3}))
    async with gateway.client() as client:
        gateway.sent += 1
        await client.send(request_bytes("POST", EXPLAIN, {"Content-Type": "application/json", "Content-Length": "9"}))
        got = await client.read()
    gateway.answers.append(got)
    assert (got.status, got.error["code"]) == (408, "request_timeout")


async def test_a_client_that_leaves_while_a_server_counts_ends_the_count(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(n_ctx=512)
    path = "/v1/chat/completions/input_tokens"
    wire.answer(Hang(), path=path)
    gateway = await gateway_for(config(wire))
    async with gateway.client(ask("w " * 400), path=EXPLAIN) as client:
        end = time.monotonic() + 3
        while not (found := [r for r in wire.probes + wire.requests if r.path == path]):
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        await client.leave()
    await wire.until(lambda: found[0].closed_at is not None)
    await gateway.settled()
    assert [x["code"] for x in gateway.log_lines if x.get("operation") == "explain"] == ["client_disconnected"]


FORMS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "responses": ("/v1/responses", {"input": "hi", "max_output_tokens": 9}, {}),
    "anthropic": (
        "/v1/messages",
        {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
        {"anthropic-version": "2023-06-01"},
    ),
    "gemini": (f"/v1beta/models/{PUBLIC}:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]}, {}),
    "ollama": ("/api/chat", {"messages": [{"role": "user", "content": "hi"}], "stream": False}, {}),
    "ollama-generate": ("/api/generate", {"prompt": "hi", "stream": False}, {}),
    "openai": (CHAT, {"messages": [{"role": "user", "content": "hi"}]}, {}),
}


@pytest.mark.parametrize("form", list(FORMS))
async def test_a_body_of_any_dialect(form: str, upstreams: Upstreams, gateway_for: GatewayFor):
    """By its path, by a field, by what only that dialect has: the same answer, and the one that serving gives."""
    one, two = await upstreams(2)
    dialect = {"responses": "openai", "ollama-generate": "ollama"}.get(form, form)
    rule = {"match": {"dialect": dialect}, "prefer": [{"backend": "two"}]}
    gateway = await gateway_for(config(one, two, routes=[rule]))
    path, body, headers = FORMS[form]
    body = {"model": PUBLIC, **body}
    asked = [(EXPLAIN + path, body, {}), (EXPLAIN, {**body, "dialect": form}, {})]
    if form not in ("ollama", "ollama-generate"):  # nothing in these tells them from others
        asked.append((EXPLAIN, body, headers))
    told = []
    for where, given, signs in asked:
        got = await gateway.post(where, given, signs)
        gateway.sent += where != EXPLAIN
        assert got.status == 200, got.body
        told.append(got.json())
    assert all(t["chosen"] == "two/tiny-gemma4" and t["parts"] == ["text"] for t in told)
    assert all(t["dropped"] == told[0]["dropped"] for t in told) and not one.requests + two.requests
    if form == "gemini":
        del body["model"]
        gateway.sent += 1
    served = await gateway.post(path, body, headers)
    assert served.status == 200, served.body
    assert served.header("x-gateway-target") == "two/tiny-gemma4"
    assert (served.header("x-gateway-dropped") or "") == ",".join(told[0]["dropped"])


async def test_what_is_wrong_is_named_in_the_dialects_own_path(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    got = await gateway.post(EXPLAIN, {"model": PUBLIC, "dialect": "klingon", "messages": []})
    assert (got.status, got.error["param"]) == (400, "dialect") and "anthropic" in got.error["message"]
    got = await gateway.post(EXPLAIN, {"model": PUBLIC, "contents": [{"parts": [{"nothing": 1}]}]})
    assert (got.status, got.error["param"]) == (400, "contents[0].parts[0].nothing")
    got = await gateway.post(EXPLAIN, {"model": PUBLIC, "input": "hi", "previous_response_id": "resp_no"})
    assert (got.status, got.error["code"]) == (404, "previous_response_not_found")
    got = await gateway.post(EXPLAIN, ask(model=f"{PUBLIC}:latest", dialect="ollama"))
    assert got.status == 200
    got = await gateway.send(request_bytes("POST", f"{EXPLAIN}/v1beta/models/x:countTokens"), counts=False)
    assert got.status == 404
