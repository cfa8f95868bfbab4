"""The Gemini API through a running gateway, as bytes: paths, answers, streams, counting, embedding, lists, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.rawclient import Response, json_request, request_bytes
from tests.faults.running import CANARY, KEY, PUBLIC, Running, config
from tests.faults.steps import Answer, Events, Finish, Hang, Head, Json, Reset

HI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
HOSTED = "/v1beta/models/gemma-4-31b-it"
SDK = {"x-goog-api-key": "K", "x-goog-api-client": "google-genai-sdk/3.4.0 gl-python/3.11.7"}


async def post(gateway: Running, path: str, value: Any = HI, headers: dict[str, str] | None = None) -> Response:
    """A counted request with a client's own headers only."""
    return await gateway.send(json_request(path, value, headers or SDK))


async def served(
    upstreams: Upstreams, gateway_for: GatewayFor, kind: str = "openai", **more: Any
) -> tuple[Any, Running]:
    [wire] = await upstreams(kind=kind)
    wire.answer(Answer())
    return wire, await gateway_for(config(wire, **more))


@pytest.mark.parametrize(
    "path",
    [
        f"/v1beta/models/{PUBLIC}:generateContent",
        f"/v1/models/{PUBLIC}:generateContent",
        f"/v1beta/models/models%2F{PUBLIC}:generateContent",
        f"/v1beta1/projects/p/locations/l/publishers/google/models/{PUBLIC}:generateContent",
        f"/publishers/google/models/{PUBLIC}:generateContent",
    ],
)
async def test_every_path_of_a_model(path: str, upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    got = await post(gateway, path, headers={"Authorization": "Bearer ya29.x"})
    assert got.status == 200, got.body
    assert got.json() == {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": answers.TEXT}]},
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12},
        "modelVersion": PUBLIC,
        "responseId": "chatcmpl-wire",
    }
    assert wire.requests[0].json()["messages"] == [{"role": "user", "content": "hi"}]
    assert got.header("x-gateway-parts") == "0=text"


async def test_a_name_with_a_colon(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    wire.answer(Answer())
    gateway = await gateway_for(config(wire, models={"org/gemma4:31b": {"targets": [{"backend": "one"}]}}))
    got = await post(gateway, "/v1/models/org/gemma4:31b:generateContent")
    assert got.status == 200 and got.json()["modelVersion"] == "org/gemma4:31b"
    one = await gateway.get("/v1beta/models/org/gemma4:31b")
    assert one.json()["name"] == "models/org/gemma4:31b"


async def test_streams(upstreams: Upstreams, gateway_for: GatewayFor):
    _, gateway = await served(upstreams, gateway_for)
    path = f"/v1beta/models/{PUBLIC}:streamGenerateContent"
    got = await post(gateway, f"{path}?alt=sse")
    assert got.clean and got.header("content-type") == "text/event-stream"
    pieces = got.body.split(b"\r\n\r\n")
    assert pieces[-1] == b"" and all(p.startswith(b"data: {") for p in pieces[:-1])
    events = [json.loads(p[6:]) for p in pieces[:-1]]
    assert all(e["candidates"][0]["content"]["parts"] for e in events)
    assert "".join(e["candidates"][0]["content"]["parts"][0]["text"] for e in events) == answers.TEXT
    assert (
        events[-1]["candidates"][0]["finishReason"] == "STOP" and events[-1]["usageMetadata"]["totalTokenCount"] == 12
    )
    array = await post(gateway, path)
    assert array.header("content-type") == "application/json" and array.json() == events


async def test_streams_that_break(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    wire.answer(Head(), Events(answers.chunks()[:3]), Reset())
    path = f"/v1beta/models/{PUBLIC}:streamGenerateContent"
    events = (await post(gateway, f"{path}?alt=sse")).body.split(b"\r\n\r\n")
    assert events[-2].startswith(b'data: {"error":{"code":503,') and events[-1] == b""
    last = (await post(gateway, path)).json()[-1]
    assert last["error"]["status"] == "UNAVAILABLE"


async def test_the_key_stands_in_any_of_three_places(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    wire.answer(Answer())
    gateway = await gateway_for(config(wire, auth={"api_key_env": "K"}), env={"K": KEY})
    path = f"/v1beta/models/{PUBLIC}:generateContent"
    for headers, query, status in (
        ({"x-goog-api-key": KEY}, "", 200),
        ({"Authorization": f"Bearer {KEY}"}, "", 200),
        ({}, f"?key={KEY}", 200),
        ({}, f"?alt=json&key={KEY}", 200),
        ({"x-goog-api-key": "wrong"}, f"?key={KEY}", 401),
        ({}, "?key=wrong", 401),
        ({}, "", 401),
    ):
        got = await gateway.send(json_request(f"{path}{query}", HI, headers))
        assert got.status == status, (headers, query, got.body)
        if status == 401:
            assert got.json()["error"]["status"] == "UNAUTHENTICATED"
    assert (await gateway.get(f"/v1beta/models?key={KEY}")).status == 200
    assert KEY not in gateway.log.getvalue()


@pytest.mark.parametrize(
    ("method", "path", "status", "word"),
    [
        ("POST", f"/v1/models/{PUBLIC}:fly", 404, "NOT_FOUND"),
        ("POST", f"/v1/models/{PUBLIC}:batchGenerateContent", 404, "NOT_FOUND"),
        ("GET", f"/v1beta/models/{PUBLIC}:generateContent", 404, "NOT_FOUND"),
        ("GET", "/v1beta/nothing", 404, "NOT_FOUND"),
        ("GET", "/v1beta/models/nobody", 404, "NOT_FOUND"),
        ("GET", "/v1beta/models?pageSize=x", 400, "INVALID_ARGUMENT"),
        ("POST", "/v1beta/models", 405, "UNIMPLEMENTED"),
        ("POST", "/upload/v1beta/files", 400, "INVALID_ARGUMENT"),
        ("POST", "/v1beta/models/nobody:generateContent", 404, "NOT_FOUND"),
    ],
)
async def test_errors_of_paths(
    method: str, path: str, status: int, word: str, upstreams: Upstreams, gateway_for: GatewayFor
):
    _, gateway = await served(upstreams, gateway_for)
    data = json_request(path, HI, SDK) if method == "POST" else request_bytes(method, path, SDK)
    got = await gateway.send(data, counts=method == "POST" and ":" in path)
    assert got.status == status, got.body
    error = got.json()["error"]
    assert (error["code"], error["status"]) == (status, word)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "contents"),
        ({"contents": [{"parts": [{"hologram": {}}]}]}, "contents[0].parts[0].hologram"),
        ({**HI, "generationConfig": {"temperature": 9}}, "generationConfig.temperature"),
    ],
)
async def test_errors_name_the_field(body: Any, field: str, upstreams: Upstreams, gateway_for: GatewayFor):
    _, gateway = await served(upstreams, gateway_for)
    got = await post(gateway, f"/v1beta/models/{PUBLIC}:generateContent", body)
    error = got.json()["error"]
    assert (got.status, error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["details"][0]["fieldViolations"][0]["field"] == field


async def test_errors_of_servers(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    path = f"/v1beta/models/{PUBLIC}:generateContent"
    wire.answer(Json(answers.error("max_tokens must be >= 1", kind="invalid_request_error"), status=422))
    got = await post(gateway, path)
    assert (got.status, got.json()) == (
        400,
        {"error": {"code": 400, "message": "max_tokens must be >= 1", "status": "INVALID_ARGUMENT"}},
    )
    wire.answer(Json(answers.error("boom"), status=500))
    got = await post(gateway, path)
    assert (got.status, got.json()["error"]["status"]) == (500, "INTERNAL")


async def test_tools_that_no_server_here_has(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    path = f"/v1beta/models/{PUBLIC}:generateContent"
    got = await post(gateway, path, {**HI, "tools": [{"googleSearch": {}}]})
    error = got.json()["error"]
    assert got.status == 400 and f"is not enabled for models/{PUBLIC}" in error["message"]
    tools = [{"functionDeclarations": [{"name": "f"}]}, {"googleSearch": {}}]
    got = await post(gateway, path, {**HI, "tools": tools})
    assert got.status == 200 and "tools[1].googleSearch" in (got.header("x-gateway-dropped") or "")
    assert [t["function"]["name"] for t in wire.requests[-1].json()["tools"]] == ["f"]


async def test_counting_and_embedding(upstreams: Upstreams, gateway_for: GatewayFor):
    [counts] = await upstreams(kind="vllm")
    gateway = await gateway_for(config(counts))
    got = await post(gateway, f"/v1/models/{PUBLIC}:countTokens")
    assert got.status == 200 and got.json()["totalTokens"] > 0, got.body
    [wire] = await upstreams(kind="openai")
    wire.answer(Answer())
    other = await gateway_for(config(wire))
    request = {"model": f"models/{PUBLIC}", "content": {"parts": [{"text": "a"}]}, "taskType": "RETRIEVAL_QUERY"}
    got = await post(other, f"/v1/models/{PUBLIC}:batchEmbedContents", {"requests": [request, request]})
    assert [e["values"] for e in got.json()["embeddings"]] == [[0.5, -0.25, 0.125]] * 2, got.body
    assert got.header("x-gateway-dropped") == "gemini.taskType"
    got = await post(other, f"/v1beta/models/{PUBLIC}:embedContent", {"content": {"parts": [{"text": "a"}]}})
    assert got.json()["embedding"]["values"] == [0.5, -0.25, 0.125]
    got = await post(other, f"/v1beta1/publishers/google/models/{PUBLIC}:predict", {"instances": [{"content": "a"}]})
    assert got.json()["predictions"][0]["embeddings"]["values"] == [0.5, -0.25, 0.125]


async def test_lists(upstreams: Upstreams, gateway_for: GatewayFor):
    _, gateway = await served(upstreams, gateway_for)
    listed = (await gateway.get("/v1beta/models")).json()["models"]
    card = next(m for m in listed if m["name"] == f"models/{PUBLIC}")
    assert "generateContent" in card["supportedGenerationMethods"] and card["displayName"] == PUBLIC
    assert (await gateway.get("/v1/models", SDK)).json()["models"] == listed
    assert (await gateway.get("/v1/models?pageSize=1")).json()["models"] == listed[:1]
    assert "data" in (await gateway.get("/v1/models")).json()
    assert (await gateway.get(f"/v1/models/{PUBLIC}", SDK)).json() == card
    assert (await gateway.get(f"/v1/models/{PUBLIC}")).json()["object"] == "model"
    pages: list[Any] = []
    token = ""
    while True:
        page = (await gateway.get(f"/v1beta/models?pageSize=1&pageToken={token}")).json()
        pages += page["models"]
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert pages == listed
    assert (await gateway.get("/v1beta1/publishers/google/models")).json()["publisherModels"] == listed
    assert (await gateway.get("/v1/tunedModels")).json() == {"tunedModels": []}


async def test_a_client_that_waits_so_long_only(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    wire.answer(Hang())
    got = await post(gateway, f"/v1beta/models/{PUBLIC}:generateContent", headers={**SDK, "X-Server-Timeout": "1"})
    assert (got.status, got.json()["error"]["status"]) == (504, "DEADLINE_EXCEEDED")


async def test_a_hosted_model_by_its_own_api(upstreams: Upstreams, gateway_for: GatewayFor):
    """From any dialect to a server that speaks this one."""
    wire, gateway = await _hosted(upstreams, gateway_for)
    call = {"functionCall": {"name": "read", "args": {"path": "x"}}, "thoughtSignature": "c2ln"}
    chunks = [
        {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}], "responseId": "R"},
        {
            "candidates": [{"content": {"parts": [call]}, "finishReason": "STOP"}],
            "usageMetadata": {"totalTokenCount": 3},
        },
    ]
    wire.answer(Head(), Events(chunks), Finish(), path=f"{HOSTED}:streamGenerateContent")
    wire.answer(Json(chunks[1]), path=f"{HOSTED}:generateContent")
    got = await gateway.chat(stream=True, tools=[{"type": "function", "function": {"name": "read"}}])
    assert got.status == 200 and got.events[-1] == "[DONE]", got.body
    asked = wire.requests[-1]
    assert asked.path == "/v1beta/models/gemma-4-31b-it:streamGenerateContent?alt=sse"
    assert asked.header("x-goog-api-key") == KEY and asked.header("authorization") is None
    assert asked.json()["tools"] == [{"functionDeclarations": [{"name": "read"}]}]
    got = await post(gateway, f"/v1beta/models/{PUBLIC}:generateContent")
    (part,) = got.json()["candidates"][0]["content"]["parts"]
    assert part.pop("thoughtSignature") == "c2ln" and part["functionCall"].pop("id").startswith("call_")
    assert part == {"functionCall": {"name": "read", "args": {"path": "x"}}}


async def test_a_hosted_servers_limit_is_told(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await _hosted(upstreams, gateway_for)
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "47.434392449s"}]
    limit = {
        "code": 429,
        "message": "You exceeded your current quota",
        "status": "RESOURCE_EXHAUSTED",
        "details": details,
    }
    wire.answer(Json({"error": limit}, status=429))
    got = await gateway.chat()
    assert (got.status, got.header("retry-after"), got.header("retry-after-ms")) == (429, "48", "47435")
    assert got.json()["error"] == {
        "message": "You exceeded your current quota",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }


async def _hosted(upstreams: Upstreams, gateway_for: GatewayFor) -> tuple[Any, Running]:
    [wire] = await upstreams(kind="openai")
    listed = {"name": "models/gemma-4-31b-it", "supportedGenerationMethods": ["generateContent"]}
    wire.answer(Json({"models": [listed]}), path="/v1beta/models")
    backends = {"one": {"kind": "gemini", "url": wire.url, "api_key_env": "GOOGLE"}}
    models = {PUBLIC: {"targets": [{"backend": "one", "model": "gemma-4-31b-it"}]}}
    gateway = await gateway_for({**config(), "backends": backends, "models": models}, env={"GOOGLE": KEY})
    gateway.secrets = [s for s in gateway.secrets if s != CANARY]
    return wire, gateway


async def test_the_form_that_a_hosted_model_wants_is_learned(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await _hosted(upstreams, gateway_for)
    message = "Invalid JSON payload received. Unknown name \"parametersJsonSchema\" at 'tools[0]': Cannot find field."
    refusal = Json({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}, status=400)
    answer = {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}
    wire.answer(Json(answer), path=f"{HOSTED}:generateContent")
    wire.answer(refusal, path=f"{HOSTED}:generateContent", when=lambda body: "parametersJsonSchema" in str(body))
    tool = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}
    for _ in range(2):
        got = await gateway.chat(tools=[{"type": "function", "function": tool}])
        assert got.status == 200 and got.json()["choices"][0]["message"]["content"] == "Hi", got.body
    asked = [r.json()["tools"][0]["functionDeclarations"][0] for r in wire.requests if r.method == "POST"]
    assert ["parametersJsonSchema" in a for a in asked] == [True, False, False]
    assert asked[1]["parameters"]["properties"]["a"] == {"type": "STRING"}


async def test_a_form_that_no_other_call_would_change(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await _hosted(upstreams, gateway_for)
    message = "Unknown name \"id\" at 'contents[1].parts[0].function_call': Cannot find field."
    refusal = Json({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}, status=400)
    wire.answer(refusal, path=f"{HOSTED}:generateContent")
    got = await gateway.chat()
    assert (got.status, got.error["type"]) == (400, "invalid_request_error")
    assert len([r for r in wire.requests if r.method == "POST"]) == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", f"/v1beta/models/{PUBLIC}:streamGenerateContent?alt=sse"])
async def test_a_server_that_answers_whole_to_a_client_that_wants_a_stream(
    path: str, upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams(kind="openai")
    wire.answer(Json({"predictions": answers.chat()}))
    about = {"kind": "vertex", "project": "p", "location": "l", "endpoint": "7", "facts": {"runtime": "sax"}}
    backends = {"one": {**about, "url": wire.url, "api_key_env": "TOKEN"}}
    models = {PUBLIC: {"targets": [{"backend": "one", "model": "mine"}]}}
    gateway = await gateway_for({**config(), "backends": backends, "models": models}, env={"TOKEN": KEY})
    body = (
        HI if "alt=sse" in path else {"model": PUBLIC, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    )
    got = await gateway.send(json_request(path, body, SDK))
    assert got.status == 200 and got.header("content-type") == "text/event-stream", got.body
    assert answers.TEXT in got.body.decode()
    asked = wire.requests[-1]
    assert asked.path == "/v1/projects/p/locations/l/endpoints/7:predict"
    assert asked.header("authorization") == f"Bearer {KEY}"
    assert asked.json()["instances"][0]["messages"] == [{"role": "user", "content": "hi"}]


THOUGHT = [
    answers.chunk({"role": "assistant", "content": ""}),
    answers.chunk({"reasoning_content": "hm"}),
    *answers.chunks()[1:],
]


@pytest.mark.parametrize(("asked", "shown"), [({}, []), ({"thinkingConfig": {"includeThoughts": True}}, ["hm"])])
async def test_thoughts_are_shown_to_who_asks_for_them(
    asked: Any, shown: list[str], upstreams: Upstreams, gateway_for: GatewayFor
):
    wire, gateway = await served(upstreams, gateway_for)
    wire.answer(Head(), Events(THOUGHT), Finish())
    path = f"/v1beta/models/{PUBLIC}:streamGenerateContent"
    chunks = (await post(gateway, path, {**HI, "generationConfig": asked})).json()
    parts = [p for c in chunks for p in c["candidates"][0]["content"]["parts"]]
    assert [p["text"] for p in parts if p.get("thought")] == shown
    assert "".join(p["text"] for p in parts if not p.get("thought")) == answers.TEXT
    assert all(c["candidates"][0]["content"]["parts"] for c in chunks)
