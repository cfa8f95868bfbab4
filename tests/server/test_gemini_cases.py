"""The cases of tests/cases/gemini_translation.json through a running gateway: what the pure translators do
(tests/dialects/gemini/test_cases.py) is what goes over the sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.faults import rawclient
from tests.faults.rawclient import Response, json_request
from tests.faults.running import CHAT, Running, config, running
from tests.faults.steps import Events, Fin, Finish, Head, Json
from tests.faults.wire import Wire

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "cases" / "gemini_translation.json").read_text(encoding="utf-8")
)
LOCAL, HOSTED = "gemma-4-31b-it", "gemini-3-flash-preview"
"""What leads to the server that speaks chat completions, and to the one that speaks the Gemini API."""
DONE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]}
CHUNK = {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}
CANDIDATE = {"candidates": [{"content": {"role": "model", "parts": [{"text": "x"}]}, "finishReason": "STOP"}]}
OUT = [c for c in CASES if c["direction"] == "openai_request_to_gemini"]


ANSWERED = [c["id"] for c in CASES if c["direction"] in ("gemini_response_to_openai", "stream")]


def of(direction: str) -> list[Any]:
    found = [pytest.param(c["input"], c["expect"], id=c["id"]) for c in CASES if c["direction"] == direction]
    assert found
    return found


def facts_of(told: dict[str, Any]) -> dict[str, Any]:
    """What a case says that its server can do, as the operator of a gateway would say it."""
    found = {
        "modalities": ["text", "image", *(["audio"] if told.get("audio") else [])],
        "call_ids": told.get("function_call_ids"),
        "call_signatures": told.get("requires_thought_signature"),
        "schema_form": told.get("schema_mode"),
        "thinking_levels": ["minimal", "high"],
        "forced_tool": "enforced",
        "json_schema": "enforced",
    }
    return {key: value for key, value in found.items() if value is not None}


class Stage:
    """A gateway with a chat server (`chat`) and a server of the Gemini API (`google`)."""

    def __init__(self, gateway: Running, chat: Wire, google: Wire) -> None:
        self.gateway, self.chat, self.google = gateway, chat, google

    async def post(self, path: str, body: Any) -> Response:
        return await rawclient.send(self.gateway.url, json_request(path, body, {}))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served() -> AsyncIterator[Stage]:
    hosted = sorted({c["input"]["body"]["model"] for c in OUT} | {HOSTED})
    local = {c["input"]["path"].partition("/models/")[2].rpartition(":")[0] for c in CASES if "path" in c["input"]}
    async with Wire(kind="openai") as chat, Wire(kind="openai") as google:
        cards = [{"name": f"models/{m}", "supportedGenerationMethods": ["generateContent"]} for m in hosted]
        google.answer(Json({"models": cards}), path="/v1beta/models")
        enforced = {"modalities": ["text", "image"], "forced_tool": "enforced", "json_schema": "enforced"}
        backends = {"chat": {"kind": "openai", "url": chat.url, "facts": enforced}}
        models = {m: {"targets": [{"backend": "chat"}]} for m in sorted(local | {LOCAL})}
        for name, model, told in [
            (c["id"], c["input"]["body"]["model"], c["input"].get("capabilities", {})) for c in OUT
        ]:
            backends[name] = {"kind": "gemini", "url": google.url, "facts": facts_of(told)}
            models[f"case-{name}"] = {"targets": [{"backend": name, "model": model}]}
        for name in ANSWERED:  # each its own: a server that failed rests for a while
            backends[name] = {"kind": "gemini", "url": google.url}
            models[f"case-{name}"] = {"targets": [{"backend": name, "model": HOSTED}], "thinking": "off"}
        async with running({**config(), "backends": backends, "models": models}, wires=[chat, google]) as gateway:
            yield Stage(gateway, chat, google)


@pytest_asyncio.fixture(loop_scope="module")
async def stage(served: Stage) -> Stage:
    served.chat.forget()
    served.google.forget()
    return served


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(("given", "expected"), of("gemini_request_to_openai"))
async def test_requests_in(given: Any, expected: Any, stage: Stage) -> None:
    stage.chat.answer(Json(DONE), when=lambda body: not body.get("stream"))
    stage.chat.answer(Head(), Events([CHUNK, None]), Finish(), when=lambda body: bool(body.get("stream")))
    got = await stage.post(given["path"], given["body"])
    if "error" in expected:
        error = got.json()["error"]
        assert (got.status, error["status"]) == (expected["error"]["http_status"], expected["error"]["status"])
        assert expected["error"]["message_contains"] in error["message"]
        assert not stage.chat.requests
        return
    assert stage.chat.requests, got.body
    assert {**stage.chat.bodies[0], "model": expected["model"]} == expected  # its server has a name of its own


@pytest.mark.parametrize("case", [pytest.param(c, id=c["id"]) for c in OUT])
async def test_requests_out(case: Any, stage: Stage) -> None:
    given, expected = case["input"], case["expect"]
    stage.google.answer(Json(CANDIDATE))
    got = await stage.post(CHAT, {**given["body"], "model": f"case-{case['id']}"})
    if "error" in expected:
        assert got.status == expected["error"]["http_status"]
        assert expected["error"]["message_contains"] in got.error["message"]
        assert not stage.google.requests
        return
    assert stage.google.requests, got.body
    sent = stage.google.requests[0]
    body = sent.json()
    if "reasoning_effort" not in given["body"]:  # nothing asked is off, said outright
        assert body["generationConfig"].pop("thinkingConfig") == {"thinkingLevel": "MINIMAL"}
        if not body["generationConfig"]:
            del body["generationConfig"]
    assert (sent.path, body) == (expected["path"], expected["body"])


def alike(found: Any, expected: Any) -> bool:
    """The same where both say something: a gateway may say more, and what is null may be left out."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(alike(found.get(k), v) for k, v in expected.items())
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(alike, found, expected))
    return bool(found == expected)


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c["id"]) for c in CASES if c["direction"].startswith("gemini_resp")]
)
async def test_answers_in(case: Any, stage: Stage) -> None:
    given, expected = case["input"], case["expect"]
    stage.google.answer(Json(given["body"], status=given["status"]))
    tools = [{"type": "function", "function": {"name": "get", "parameters": {"type": "object", "properties": {}}}}]
    body = {"model": f"case-{case['id']}", "messages": [{"role": "user", "content": "x"}], "tools": tools}
    got = await stage.post(CHAT, {**body, "include_reasoning": given.get("options", {}).get("include_reasoning")})
    assert got.status == expected.get("status", 200), got.body
    if got.status == 200:
        assert alike(got.json()["choices"], expected["choices"]), got.body
        assert got.json().get("usage") == expected.get("usage")
        return
    assert got.json() == expected["body"]
    for name, value in expected["headers"].items():
        assert got.header(name) == value


@pytest.mark.parametrize(("given", "expected"), of("openai_response_to_gemini"))
async def test_answers_out(given: Any, expected: Any, stage: Stage) -> None:
    stage.chat.answer(Json(given["body"], status=given["status"]))
    thinking = {"includeThoughts": bool(given.get("options", {}).get("include_thoughts"))}
    body = {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"thinkingConfig": thinking}}
    got = await stage.post(f"/v1beta/models/{LOCAL}:generateContent", body)
    if given["status"] != 200:
        assert got.status == expected["status"]
        assert alike(got.json(), expected["body"]), got.body
        return
    assert alike(got.json(), expected), (got.body, expected)


@pytest.mark.parametrize("case", [pytest.param(c, id=c["id"]) for c in CASES if c["direction"] == "stream"])
async def test_streams(case: Any, stage: Stage) -> None:
    given, expected = case["input"], case["expect"]
    told = [None if e == "[DONE]" else e for e in given["events"]]
    wire = stage.chat if given["from"] == "openai" else stage.google
    wire.answer(Head(), Events(told), *([Finish()] if "[DONE]" in given["events"] else [Finish(), Fin()]))
    if given["to"] == "gemini":
        thinking = {"includeThoughts": given["options"].get("include_thoughts") is not False}
        body: dict[str, Any] = {"contents": [{"parts": [{"text": "x"}]}]}
        body["generationConfig"] = {"thinkingConfig": thinking}
        got = await stage.post(f"/v1beta/models/{LOCAL}:streamGenerateContent?alt=sse", body)
    else:
        body = {"model": f"case-{case['id']}", "messages": [{"role": "user", "content": "x"}], "stream": True}
        got = await stage.post(CHAT, body)
    assert got.status == 200, got.body
    found = [e if e == "[DONE]" else json.loads(e) for e in got.events]
    assert alike(found, expected["events"]), (found, expected["events"])
