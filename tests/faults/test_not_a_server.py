"""What is configured as a model server and is none: the log names it, and requests are told that nobody serves them."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx2
import pytest
import yaml

from gateway.app import Gateway
from gateway.observe import Log
from gateway.settings import parse
from tests.conftest import Upstreams
from tests.faults.running import CHAT, PUBLIC, ask, config
from tests.faults.steps import Json, Reply

PAGE = Reply(b"<!doctype html><html><title>Router</title></html>", type="text/html")
MOVED = Reply(b"", 308, headers={"Location": "http://example.com/v1/models"})
OTHER = Json({"service": "billing", "version": 3})


@pytest.mark.parametrize("kind", ["llamacpp", "vllm", "ollama", None])
@pytest.mark.parametrize(
    ("reply", "words"),
    [(PAGE, "a web page answers there"), (MOVED, "it redirects (status 308)"), (OTHER, "it is another API")],
    ids=["page", "redirect", "other"],
)
async def test_it_is_named(upstreams: Upstreams, kind: str | None, reply: Any, words: str):
    (wire,) = await upstreams(1, kind="openai")
    for path in ("/v1/models", "/api/tags", "/props"):
        wire.answer(reply, path=path)
    settings = config(wire)
    settings["backends"]["one"] = {"url": wire.url, **({"kind": kind} if kind else {})}
    log = io.StringIO()
    gateway = Gateway(parse(yaml.safe_dump(settings), {}), Log(log))
    await gateway.start()
    try:
        transport = httpx2.ASGITransport(app=gateway.front)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:4000") as client:
            refused = await client.post(CHAT, json=ask())
            card = (await client.get(f"/v1/models/{PUBLIC}")).json()
    finally:
        await gateway.stop()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    [said] = [line["change"] for line in lines if line["event"] == "state"]
    assert said.startswith("unprobed -> down: ") and words in said
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_healthy_backend")
    assert words in card["gateway"]["targets"][0]["detail"]
    assert "example.com" not in refused.text and not wire.requests
