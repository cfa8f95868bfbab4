"""Errors that no dialect's own code raises, in the words of the client's dialect all the same: what is not there, what
is not taken, what is too large, what cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults.rawclient import Response, request_bytes
from tests.faults.running import PUBLIC, config

JSON = {"content-type": "application/json"}
CLAUDE = {**JSON, "anthropic-version": "2023-06-01"}
GOOGLE = {**JSON, "x-goog-api-key": "k"}
FORM = {"content-type": "multipart/form-data; boundary=B"}
LARGE = b'{"pad": "' + b"x" * 9000 + b'"}'
GEMINI = f"/v1beta/models/{PUBLIC}:generateContent"


def openai(got: Response) -> None:
    error = got.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}


def anthropic(got: Response) -> None:
    body = got.json()
    assert body["type"] == "error" and body["error"]["type"] and body["error"]["message"]


def gemini(got: Response) -> None:
    assert got.body.startswith(b'{"error":')
    error = got.json()["error"]
    assert error["code"] == got.status and error["status"].isupper() and error["message"]


def ollama(got: Response) -> None:
    assert isinstance(got.json()["error"], str)


CASES: list[tuple[Any, str, str, dict[str, str], bytes, int]] = [
    *((openai, "GET", f"/v1/{p}", JSON, b"", 404) for p in ("nothing", "responses/x/nothing", "files/x/y/z")),
    *((openai, "POST", f"/v1/{p}", JSON, b"{}", 404) for p in ("conversations", "batches", "moderations")),
    (openai, "GET", "/v1/chat/completions", JSON, b"", 405),
    (openai, "PUT", "/v1/responses/resp_1", JSON, b"{}", 405),
    (openai, "PUT", "/v1/files/x", JSON, b"{}", 405),
    (openai, "POST", "/v1/chat/completions", JSON, LARGE, 413),
    (openai, "POST", "/v1/responses", JSON, LARGE, 413),
    (openai, "POST", "/v1/chat/completions", JSON, b"{", 400),
    (openai, "POST", "/v1/files", FORM, b"no form", 400),
    (anthropic, "POST", "/v1/messages/batches", JSON, b"{}", 404),
    (anthropic, "GET", "/v1/nothing", CLAUDE, b"", 404),
    (anthropic, "GET", "/v1/messages", JSON, b"", 405),
    (anthropic, "DELETE", "/v1/models", CLAUDE, b"", 405),
    (anthropic, "POST", "/v1/messages", JSON, LARGE, 413),
    (anthropic, "POST", "/v1/messages/count_tokens", JSON, LARGE, 413),
    (anthropic, "POST", "/v1/messages", JSON, b"{", 400),
    (anthropic, "POST", "/v1/files", {**CLAUDE, **FORM}, b"no form", 400),
    (gemini, "GET", "/v1beta/nothing", JSON, b"", 404),
    (gemini, "GET", "/v1/nothing", GOOGLE, b"", 404),
    (gemini, "POST", "/v1/interactions", GOOGLE, b"{}", 404),
    (gemini, "POST", "/v1/cachedContents", GOOGLE, b"{}", 404),
    (gemini, "POST", GEMINI.replace("generate", "batchGenerate"), JSON, b"{}", 404),
    (gemini, "PUT", GEMINI, JSON, b"{}", 405),
    (gemini, "PUT", GEMINI.replace("v1beta", "v1"), JSON, b"{}", 405),
    (gemini, "DELETE", "/v1/models", GOOGLE, b"", 405),
    (gemini, "POST", GEMINI, JSON, LARGE, 400),  # google.rpc has no word for 413
    (gemini, "POST", GEMINI.replace("v1beta", "v1"), JSON, LARGE, 400),
    (gemini, "POST", GEMINI, JSON, b"{", 400),
    (gemini, "POST", "/upload/v1beta/files", JSON, b"{}", 400),
    (ollama, "GET", "/api/nothing", JSON, b"", 404),
    (ollama, "POST", "/api/pull", JSON, b"{}", 404),
    (ollama, "GET", "/api/chat", JSON, b"", 405),
    (ollama, "DELETE", "/api/tags", JSON, b"", 405),
    (ollama, "POST", "/api/chat", JSON, LARGE, 413),
    (ollama, "POST", "/api/generate", JSON, b"{", 400),
]


@pytest.mark.parametrize("check", [openai, anthropic, gemini, ollama])
async def test_each_in_the_words_of_its_dialect(check: Any, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    gateway = await gateway_for(config(wire, limits={"body": 4096}))
    seen = set()
    for _, method, path, headers, body, status in (c for c in CASES if c[0] is check):
        got = await gateway.send(request_bytes(method, path, headers, body), counts=False)
        assert got.status == status, (method, path, got.status, got.body)
        check(got)
        assert (got.header("allow") is not None) == (status == 405), (method, path)
        seen.add(status)
    assert seen >= {400, 404, 405} and not wire.requests
    await gateway.take_count()
