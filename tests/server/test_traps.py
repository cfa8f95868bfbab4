"""What agents and their SDKs stumble over: each in the words and statuses that keep them going."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.rawclient import request_bytes
from tests.faults.running import CHAT, KEY, PUBLIC, config
from tests.faults.steps import Answer, Events, Finish, Head, Json

LONG = "word " * 4000
OVERFLOW: dict[str, tuple[dict[str, Any], str]] = {
    CHAT: ({"messages": [{"role": "user", "content": LONG}]}, "maximum context length"),
    "/v1/responses": ({"input": LONG}, "maximum context length"),
    "/v1/messages": ({"max_tokens": 9, "messages": [{"role": "user", "content": LONG}]}, "prompt is too long"),
    "/api/chat": ({"messages": [{"role": "user", "content": LONG}]}, "maximum context length"),
    f"/v1beta/models/{PUBLIC}:generateContent": (
        {"contents": [{"parts": [{"text": LONG}]}]},
        "exceeds the maximum number of tokens allowed",
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", list(OVERFLOW))
async def test_an_overflow_is_a_400_that_makes_agents_compact(
    path: str, stream: bool, upstreams: Upstreams, gateway_for: GatewayFor
):
    """Before a stream commits, whatever the client asked for: agents retry no error inside a stream."""
    [wire] = await upstreams(n_ctx=256)
    gateway = await gateway_for(config(wire))
    body, words = OVERFLOW[path]
    if path.startswith("/v1beta/"):
        path = path.replace("generateContent", "streamGenerateContent?alt=sse") if stream else path
        gateway.sent += 1
        got = await gateway.post(path, body)
    else:
        got = await gateway.post(path, {"model": PUBLIC, "stream": stream, **body})
    assert got.status == 400, got.body
    text = got.body.decode()
    assert "context_length_exceeded" in text.lower() and words in text, text
    assert not wire.requests


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_the_root_says_that_somebody_is_there(method: str, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, auth={"api_key_env": "K"}), env={"K": KEY})
    gateway.secrets.append(KEY)
    data = request_bytes(method, "/", {"x-api-key": KEY, "anthropic-version": "2023-06-01"})
    got = await gateway.send(data, counts=False, no_body=method == "HEAD")
    assert got.status == 200 and bool(got.body) == (method == "GET")
    got = await gateway.send(request_bytes(method, "/"), counts=False, no_body=method == "HEAD")
    assert got.status == 401 and bool(got.body) == (method == "GET")


async def test_the_list_of_models_takes_what_clients_add(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    for query, headers in (("?limit=1000", {"anthropic-version": "2023-06-01"}), ("?client_version=0.1", {})):
        got = await gateway.get(f"/v1/models{query}", headers)
        listed = got.json()
        assert got.status == 200 and listed["has_more"] is False
        card = next(c for c in listed["data"] if c["id"] == PUBLIC)
        assert card["type"] == "model" and card["display_name"] and card["created_at"]


async def test_a_line_that_changes_with_every_request_does_not_reach_the_prompt(
    upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    for turn in range(2):
        line = {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1; cch={turn}f3a;"}
        rule = {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}}
        body = {"model": PUBLIC, "max_tokens": 9, "system": [line, rule]}
        got = await gateway.post("/v1/messages?beta=true", {**body, "messages": [{"role": "user", "content": "hi"}]})
        gateway.sent += 1
        assert got.status == 200 and "system:billing_line" in (got.header("x-gateway-dropped") or "")
    assert wire.bodies[0]["messages"] == wire.bodies[1]["messages"]
    assert wire.bodies[0]["messages"][0] == {"role": "system", "content": "You are an agent."}


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 32000}, "max_tokens>"),
        (CHAT, {"messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 32000}, "max_tokens>"),
        ("/v1/responses", {"input": "hi", "max_output_tokens": 32000}, "max_tokens>"),
        (
            "/v1/messages",
            {
                "messages": [{"role": "user", "content": "hi"}],
                "max_tokens": 32000,
                "thinking": {"type": "enabled", "budget_tokens": 64000},
            },
            "max_tokens>",
        ),
    ],
)
async def test_limits_that_are_too_high_are_brought_down_and_named(
    path: str, body: dict[str, Any], named: str, upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams(kind="vllm")
    wire.answer(Answer())
    gateway = await gateway_for(config(wire))
    got = await gateway.post(path, {"model": PUBLIC, **body})
    assert got.status == 200, got.body
    assert 3000 < wire.bodies[-1]["max_tokens"] < 4096
    assert named in (got.header("x-gateway-dropped") or "")


async def test_hosted_tools_are_offers(upstreams: Upstreams, gateway_for: GatewayFor):
    """No server here has them: the others are given on, and an agent's turn does not end over it."""
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    function = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
    schema = {"name": "f", "input_schema": function["parameters"]}
    cases: list[tuple[str, dict[str, Any]]] = [
        (
            "/v1/responses",
            {
                "input": "hi",
                "tools": [{"type": "web_search"}, {"type": "image_generation"}, {"type": "tool_search"}, function],
            },
        ),
        (
            "/v1/messages",
            {
                "max_tokens": 9,
                "messages": [{"role": "user", "content": "hi"}],
                "tools": [{"type": "web_search_20250305", "name": "web_search"}, schema],
            },
        ),
        (
            f"/v1beta/models/{PUBLIC}:generateContent",
            {
                "contents": [{"parts": [{"text": "hi"}]}],
                "tools": [{"googleSearch": {}}, {"codeExecution": {}}, {"functionDeclarations": [{"name": "f"}]}],
            },
        ),
        (
            CHAT,
            {
                "messages": [{"role": "user", "content": "hi"}],
                "web_search_options": {},
                "tools": [{"type": "web_search"}, {"type": "function", "function": {"name": "f"}}],
            },
        ),
    ]
    for path, body in cases:
        gateway.sent += path.startswith("/v1beta/")
        got = await gateway.post(path, {"model": PUBLIC, **body} if "v1beta" not in path else body)
        assert got.status == 200, (path, got.body)
        assert [t["function"]["name"] for t in wire.bodies[-1]["tools"]] == ["f"], path
        assert "earch" in (got.header("x-gateway-dropped") or ""), path


@pytest.mark.parametrize("stream", [False, True])
async def test_usage_is_true_in_every_dialect(stream: bool, upstreams: Upstreams, gateway_for: GatewayFor):
    """Clients fill their context by it alone: what the server counted, streamed and whole."""
    [wire] = await upstreams(kind="openai")
    usage = {
        "prompt_tokens": 1234,
        "completion_tokens": 56,
        "total_tokens": 1290,
        "prompt_tokens_details": {"cached_tokens": 1000},
    }
    chunks = [c for c in answers.chunks() if not (isinstance(c, dict) and c.get("usage"))]
    wire.answer(Head(), Events([*chunks, answers.chunk(None, usage=usage)]), Finish())
    wire.answer(Json({**answers.chat(), "usage": usage}), when=lambda body: not body.get("stream"))
    gateway = await gateway_for(config(wire))
    hi = {"model": PUBLIC, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    options = {"stream_options": {"include_usage": True}} if stream else {}

    def last(got: Any) -> Any:
        return json.loads([e for e in got.events if e != "[DONE]"][-1]) if stream else got.json()

    told = last(await gateway.post(CHAT, {**hi, **options}))["usage"]
    assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (1234, 56, 1290)
    assert told["prompt_tokens_details"]["cached_tokens"] == 1000
    whole = last(await gateway.post("/v1/responses", {"model": PUBLIC, "input": "hi", "stream": stream}))
    told = (whole["response"] if stream else whole)["usage"]
    assert (told["input_tokens"], told["output_tokens"], told["input_tokens_details"]) == (
        1234,
        56,
        {"cached_tokens": 1000},
    )
    got = await gateway.post("/v1/messages", {**hi, "max_tokens": 9})
    told = json.loads(got.events[-2])["usage"] if stream else got.json()["usage"]
    assert (told["input_tokens"], told["cache_read_input_tokens"], told["output_tokens"]) == (234, 1000, 56)
    got = await gateway.post("/api/chat", hi)
    told = json.loads(got.body.splitlines()[-1])
    assert (told["prompt_eval_count"], told["eval_count"]) == (1234, 56)
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    gateway.sent += 1
    told = last(await gateway.post(f"/v1beta/models/{PUBLIC}:{method}", {"contents": [{"parts": [{"text": "hi"}]}]}))
    told = told["usageMetadata"]
    assert (told["promptTokenCount"], told["candidatesTokenCount"], told["totalTokenCount"]) == (1234, 56, 1290)
    assert told["cachedContentTokenCount"] == 1000
