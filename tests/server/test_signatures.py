"""A call that its maker signed comes back signed, whatever dialect its client speaks, also after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Upstreams
from tests.faults.running import CHAT, Running, config, running
from tests.faults.steps import Json
from tests.faults.wire import Wire

MODEL = "gemini-3-pro-preview"
SIGNATURE = "c2lnbmVkIGJ5IGl0cyBtYWtlcg=="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def hosted(wire: Wire) -> dict[str, Any]:
    """The wire as a server of signed calls; the settings of a gateway in front of it."""
    card = {"name": f"models/{MODEL}", "supportedGenerationMethods": ["generateContent"]}
    wire.answer(Json({"models": [card]}), path="/v1beta/models")
    call = {"functionCall": {"name": "weather", "args": {"city": "Paris"}, "id": "fc_1"}, "thoughtSignature": SIGNATURE}
    told = {"candidates": [{"content": {"role": "model", "parts": [call]}, "finishReason": "STOP", "index": 0}]}
    wire.answer(Json(told), path=f"/v1beta/models/{MODEL}:generateContent")
    backends = {"g": {"kind": "gemini", "url": wire.url, "local": True}}
    return {**config(), "backends": backends, "models": {"m": {"targets": [{"backend": "g", "model": MODEL}]}}}


async def post(gateway: Running, path: str, body: dict[str, Any]) -> dict[str, Any]:
    got = await gateway.post(path, {"model": "m", **body})
    assert got.status == 200, got.body
    return got.json()


async def chat(gateway: Running, back: dict[str, Any] | None) -> dict[str, Any]:
    """`back`: the answer before, without the signature, as most clients send it."""
    tools = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
    if back is not None:
        [call] = back["choices"][0]["message"]["tool_calls"]
        call = {k: call[k] for k in ("id", "type", "function")}
        messages += [{"role": "assistant", "content": None, "tool_calls": [call]}]
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": "20"}]
    return await post(gateway, CHAT, {"messages": messages, "tools": tools})


async def messages(gateway: Running, back: dict[str, Any] | None) -> dict[str, Any]:
    said: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
    if back is not None:
        [call] = [b for b in back["content"] if b["type"] == "tool_use"]
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": "20"}
        said += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    tools = [{"name": "weather", "input_schema": SCHEMA}]
    return await post(gateway, "/v1/messages", {"max_tokens": 99, "messages": said, "tools": tools})


@pytest.mark.parametrize("turn", [chat, messages])
async def test_a_signature_that_the_client_has_no_place_for(turn: Any, upstreams: Upstreams, tmp_path: Path):
    [wire] = await upstreams(kind="openai")
    settings = {**hosted(wire), "state": {"dir": str(tmp_path)}}
    async with running(settings, wires=[wire]) as gateway:
        first = await turn(gateway, None)
        await turn(gateway, first)
    async with running(settings, wires=[wire]) as gateway:
        await turn(gateway, first)
    for request in wire.requests[1:]:
        part = request.json()["contents"][1]["parts"][0]
        assert part["functionCall"]["name"] == "weather" and part["thoughtSignature"] == SIGNATURE
    assert len(wire.requests) == 3
