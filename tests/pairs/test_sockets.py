"""Sixty of the pairs through a running gateway: what the server is told on the wire, and the answer as the client
reads it, whole and streamed."""

from __future__ import annotations

import json
from itertools import cycle
from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.rawclient import Response
from tests.faults.running import config
from tests.faults.steps import Answer, Body, Events, Finish, Head, Json
from tests.faults.wire import Wire
from tests.pairs.clients import CLIENTS, body_of
from tests.pairs.servers import READERS
from tests.pairs.talks import TALKS, Talk
from tests.pairs.test_pure import as_told

NOT_HERE = {"video", "sound", "sound and picture", "required", "named", "schema", "any object"}
"""What only some of the servers take, and what demands another answer than the one that all of them give."""
CHOSEN = [t for t in TALKS if t.name not in NOT_HERE]
COUNT = 12
"""Of each client."""
GEMINI = "gemini-2.5-flash"


async def servers(upstreams: Upstreams) -> dict[str, Wire]:
    """One scripted server of each wire; each says the same words."""
    out: dict[str, Wire] = {}
    for wire in READERS:
        kind = wire if wire in ("vllm", "llamacpp") else "openai"
        [out[wire]] = await upstreams(kind=kind, n_ctx=131_072)
        out[wire].answer(Answer())
    _ollama(out["ollama"])
    _gemini(out["gemini"])
    return out


def _ollama(wire: Wire) -> None:
    tag = {"name": answers.MODEL, "model": answers.MODEL, "details": {"format": "gguf"}}
    able = ["completion", "vision", "audio", "tools", "thinking"]
    for path, value in (
        ("/api/tags", {"models": [tag]}),
        ("/api/ps", {"models": [{**tag, "context_length": 131_072}]}),
        ("/api/version", {"version": "0.20.0"}),
        ("/api/show", {"capabilities": able, "details": {"format": "gguf"}}),
    ):
        wire.answer(Json(value), path=path)
    whole = {"model": answers.MODEL, "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop"}
    told = {**whole, "message": {"role": "assistant", "content": answers.TEXT}, "prompt_eval_count": 7, "eval_count": 5}
    wire.answer(Json(told), path="/api/chat")
    line = Body((json.dumps(told) + "\n").encode())
    wire.answer(Head(type="application/x-ndjson"), line, Finish(), path="/api/chat", when=lambda b: bool(b["stream"]))


def _gemini(wire: Wire) -> None:
    card = {"name": f"models/{GEMINI}", "inputTokenLimit": 131_072, "supportedGenerationMethods": ["generateContent"]}
    wire.answer(Json({"models": [card]}), path="/v1beta/models")
    content = {"role": "model", "parts": [{"text": answers.TEXT}]}
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12}
    told = {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}], "usageMetadata": usage}
    head = f"/v1beta/models/{GEMINI}:"
    wire.answer(Json(told), path=f"{head}generateContent")
    wire.answer(Head(), Events([told]), Finish(), path=f"{head}streamGenerateContent")


def streamed(client: str, got: Response) -> str:
    """The words of a stream, as its client puts them together."""
    if client == "ollama":
        return "".join(json.loads(line)["message"]["content"] for line in got.body.splitlines())
    events: list[Any] = [json.loads(e) for e in got.events if e != "[DONE]"]
    if client == "chat":
        return "".join(c["delta"].get("content") or "" for e in events for c in e["choices"])
    if client == "responses":
        return "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    if client == "messages":
        return "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")
    parts = [p for e in events for c in e.get("candidates", ()) for p in c.get("content", {}).get("parts", ())]
    return "".join(p["text"] for p in parts)


def pairs(client: str) -> list[tuple[Talk, str, bool]]:
    """(conversation, wire, streamed?): each wire in turn, every conversation that the others have not had."""
    shift = list(CLIENTS).index(client)
    talks = [t for t in CHOSEN if body_of(client, t) is not None]
    talks = [talks[(i * 5 + shift * 3) % len(talks)] for i in range(COUNT)]
    wires = cycle([*READERS][shift:] + [*READERS][:shift])
    return [(talk, next(wires), bool((i + shift) % 2)) for i, talk in enumerate(talks)]


@pytest.mark.parametrize("client", list(CLIENTS))
async def test_what_goes_over_the_wire(client: str, upstreams: Upstreams, gateway_for: GatewayFor):
    wires = await servers(upstreams)
    backends = {name: {"kind": name, "url": wire.url, "local": True} for name, wire in wires.items()}
    able = {"image": True, "audio": True, "video": True, "tools": True, "context": 131_072}
    backends["openai"]["facts"] = able
    models = {name: {"targets": [{"backend": name}]} for name in wires}
    models["gemini"]["targets"][0]["model"] = GEMINI
    gateway = await gateway_for({**config(), "backends": backends, "models": models})
    for talk, wire, stream in pairs(client):
        body = body_of(client, talk)
        assert body is not None
        path = CLIENTS[client].path.replace("gemma-4", wire)
        body["model"] = wire
        if client != "gemini":
            body["stream"] = stream
        elif stream:
            path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
        before = len(wires[wire].requests)
        got = await gateway.post(path, body)
        gateway.sent += client == "gemini"
        case = (talk.name, wire, stream)
        assert got.status == 200, (case, got.body)
        said = streamed(client, got) if stream else CLIENTS[client].answer(got.json())
        assert said == answers.TEXT, case
        [asked] = wires[wire].requests[before:]
        assert READERS[wire](asked.json()) == as_told(talk, client, wire), case


def test_they_are_sixty() -> None:
    chosen = [(client, *pair) for client in CLIENTS for pair in pairs(client)]
    assert len(chosen) == 60 and len({(c, w, s) for c, _, w, s in chosen}) == 50
    assert len({t.name for _, t, _, _ in chosen}) >= 30
