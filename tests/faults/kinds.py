"""What each kind of scripted upstream says when it is probed. The bytes are those of real servers (`bytes/`), with the
model's name, modalities, context and slots as the test wants them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.faults.wire import Received, Wire

Said = tuple[int, Any, dict[str, str]]
"""Status, JSON value (or None for an empty body), further headers."""

NO_EMBEDDINGS = "This server does not support embeddings. Start it with `--embeddings`"
LOADING = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}


@cache
def _recorded(name: str) -> str:
    return (Path(__file__).parent / "bytes" / name).read_text()


def probe(wire: Wire, request: Received) -> Said | None:
    """The reply to a probe; None if the request is not one."""
    return {"llamacpp": _llamacpp, "vllm": _vllm, "openai": _openai, "mlx_lm": _mlx_lm}[wire.kind](wire, request)


def _llamacpp(wire: Wire, r: Received) -> Said | None:
    headers = {"Server": "llama.cpp", "Access-Control-Allow-Origin": ""}
    path = r.path.partition("?")[0]
    if r.method == "POST":
        if path == "/tokenize":
            return 200, {"tokens": list(range(_words(r)))}, headers
        if path.endswith("/input_tokens"):
            return 200, {"input_tokens": _words(r), "object": "response.input_tokens"}, headers
        if path == "/v1/embeddings" and not wire.embeddings:
            return 501, {"error": {"code": 501, "message": NO_EMBEDDINGS, "type": "not_supported_error"}}, headers
        operation = {"/v1/rerank": "rerank", "/infill": "infill"}.get(path, "")
        if operation and r.body == b"{}":
            lists = operation in wire.more
            refused = {"code": 400 if lists else 501, "message": "nothing in it" if lists else "not supported"}
            return refused["code"], {"error": {**refused, "type": "x"}}, headers  # type: ignore[return-value]
        if path == "/v1/embeddings" and r.body == b"{}":
            missing = {"code": 400, "message": '"input" or "content" must be provided', "type": "invalid_request_error"}
            return 400, {"error": missing}, headers
        return None
    if wire.state == "loading" and path != "/v1/models":
        return 503, LOADING, headers
    if path == "/health":
        return 200, {"status": "ok"}, headers
    if path == "/v1/models":
        models = json.loads(_recorded("llamacpp_models.json"))
        models["models"][0] |= {"name": wire.model, "model": wire.model}
        card = models["data"][0]
        card |= {"id": wire.model, "aliases": [wire.model]}
        card["architecture"]["input_modalities"] = list(wire.modalities)
        card["meta"]["n_ctx"] = wire.n_ctx
        return 200, models, headers
    if path == "/props":
        props = json.loads(_recorded("llamacpp_props.json"))
        props["default_generation_settings"]["n_ctx"] = wire.n_ctx
        seen = {"vision": "image", "video": "video", "audio": "audio"}
        props["modalities"] = {k: m in wire.modalities for k, m in seen.items()}
        props |= {"total_slots": wire.slots, "model_alias": wire.model, "model_path": f"models/{wire.model}.gguf"}
        return 200, props, headers
    if path == "/slots":
        slot = {"n_ctx": wire.n_ctx, "speculative": False, "is_processing": False}
        return 200, [{"id": i, **slot} for i in range(wire.slots)], headers
    return 404, {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}, headers


def _vllm(wire: Wire, r: Received) -> Said | None:
    headers = {"server": "uvicorn", "vary": "Origin"}
    path = r.path.partition("?")[0]
    if r.method == "POST":
        if path == "/tokenize":
            n = _words(r)
            tokens = list(range(n))
            return 200, {"count": n, "max_model_len": wire.n_ctx, "tokens": tokens, "token_strs": None}, headers
        if path == "/v1/embeddings" and (r.body == b"{}" or not wire.embeddings):
            return 404, {"detail": "Not Found"}, headers
        operation = {"/v1/audio/transcriptions": "transcription", "/v1/rerank": "rerank"}.get(path, "")
        if operation and r.body == b"{}":
            status, words = (400, "nothing in it") if operation in wire.more else (404, "Not Found")
            return status, {"detail": words}, headers
        if path == "/v1/chat/completions" and b'"chat_template":"x"' in r.body:
            words = "Chat template is passed with request, but --trust-request-chat-template is not set."
            error = {"message": words, "type": "BadRequestError", "param": None, "code": 400}
            return 400, {"error": error}, headers
        return None
    if path == "/health":
        return 200, None, headers
    if path == "/version":
        return 200, {"version": "0.32.0"}, headers
    if path == "/v1/models":
        models = json.loads(_recorded("vllm_models.json"))
        del models["data"][1:]
        models["data"][0] |= {"id": wire.model, "max_model_len": wire.n_ctx}
        return 200, models, headers
    return 404, {"detail": "Not Found"}, headers


def _openai(wire: Wire, r: Received) -> Said | None:
    if r.method == "POST":
        return None
    if r.path.partition("?")[0] == "/v1/models":
        card = {"id": wire.model, "object": "model", "created": 1795499924, "owned_by": "somebody"}
        return 200, {"object": "list", "data": [card]}, {}
    return 404, {"error": {"message": "Not found", "type": "invalid_request_error", "param": None, "code": None}}, {}


def _mlx_lm(wire: Wire, r: Received) -> Said | None:
    headers = {"Server": "BaseHTTP/0.6 Python/3.11.7", "Access-Control-Allow-Origin": "*"}
    if r.method == "POST":
        return (200, {}, headers) if b'"max_tokens":1,' in r.body else None
    path = r.path.partition("?")[0]
    if path == "/health":
        return 200, {"status": "ok"}, headers
    if path == "/v1/models":
        card = {"id": wire.model, "object": "model", "created": 1795499689}
        return 200, {"object": "list", "data": [card]}, headers
    return 404, None, headers


def _words(r: Received) -> int:
    return max(1, r.body.count(b" "))
