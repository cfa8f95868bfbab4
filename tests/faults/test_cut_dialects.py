"""A cut answer in the dialects beside chat completions: no stream of any looks complete, no whole answer is half of
one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.running import config
from tests.faults.steps import Events, Fin, Finish, Head, Reset, Step

TURN = [{"role": "user", "content": "go"}]
DIALECTS: dict[str, tuple[str, dict[str, Any], tuple[bytes, ...]]] = {
    "responses": ("/v1/responses", {"input": "go", "store": False}, (b"response.completed", b"response.incomplete")),
    "messages": ("/v1/messages", {"messages": TURN, "max_tokens": 9}, (b"message_stop", b'"stop_reason":"')),
    "gemini": (
        "/v1beta/models/{}:",
        {"contents": [{"role": "user", "parts": [{"text": "go"}]}]},
        (b'finishReason":"',),
    ),
    "ollama": ("/api/chat", {"messages": TURN}, (b'"done":true', b'"done": true')),
}
"""Path, body, and what only a complete stream says."""
ERROR = {"error": {"message": "the engine died", "type": "InternalServerError", "code": 500}}
CUTS: dict[str, list[Step]] = {
    "reset": [Reset()],
    "closed": [Fin()],
    "ended in order": [Finish()],
    "half an event": [Events([b'data: {"choices":[{"ind']), Finish()],
    "an error event": [Events([ERROR]), Finish()],
}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_was_cut_looks_cut(dialect: str, upstreams: Upstreams, gateway_for: GatewayFor):
    path, fields, ends = DIALECTS[dialect]
    wires = await upstreams(len(CUTS))
    backends = {f"b{i}": {"kind": wire.kind, "url": wire.url} for i, wire in enumerate(wires)}
    models = {f"m{i}": {"targets": [{"backend": f"b{i}"}]} for i in range(len(wires))}
    gateway = await gateway_for(config(wires[0], backends=backends, models=models))
    for i, (name, steps) in enumerate(CUTS.items()):
        wires[i].answer(Head(), Events(answers.chunks(["Hello", " from"], finish=None)), *steps)
        for stream in (True, False):
            where, value = path, {**fields, "model": f"m{i}", "stream": stream}
            if dialect == "gemini":
                where = path.format(f"m{i}") + ("streamGenerateContent?alt=sse" if stream else "generateContent")
                value = fields
            got = await gateway.post(where, value, {"anthropic-version": "2023-06-01"} if dialect == "messages" else {})
            if stream:
                assert (got.status, got.clean) == (200, True), (name, got)
                assert b"Hello" in got.body and b'"error"' in got.body, (name, got.body)
                assert not any(end in got.body for end in ends), (name, got.body[-400:])
            else:
                assert got.status >= 500 and b"Hello" not in got.body, (name, got.status, got.body)
    await gateway.take_count()
