"""What servers of every kind say of themselves: path -> reply. Recorded where there is a recording (tests/wire), else
as the server's source or documentation has it (the docstring of its kind says which)."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gateway.backends import Reply
from tests.backends.recorded import reply

JSON = {"content-type": "application/json", "server": "uvicorn"}


@dataclass
class Says:
    """`kind` "" = none is known. `calls` = how many questions it takes to tell."""

    kind: str
    replies: dict[str, Reply]
    sure: bool = True
    gateway: bool = False
    calls: int = 1


def said(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return Reply(status, headers or JSON, msgspec.json.encode(body))


def listed(*cards: object) -> Reply:
    return said({"object": "list", "data": list(cards)})


def card(owner: str, name: str = "gemma") -> dict[str, object]:
    return {"id": name, "object": "model", "created": 1, "owned_by": owner}


UNAUTHORIZED = said({"error": {"message": "no key", "type": "invalid_request_error"}}, 401)
PAGE = Reply(200, {"content-type": "text/html"}, b"<!doctype html><html><body>It works</body></html>")
GOOGLE = {"models": [{"name": "models/gemini-2.5-flash", "supportedGenerationMethods": ["generateContent"]}]}
NIM_METADATA = said({"version": "2.0.3", "modelInfo": [{"shortName": "gemma", "modelUrl": "ngc://x"}]})
TGI_INFO = said({"model_id": "a/b", "router": "text-generation-router", "version": "3.3.6", "max_total_tokens": 4096})

SERVERS: dict[str, Says] = {
    "llama.cpp": Says("llamacpp", {"/v1/models": reply("llamacpp/models")}),
    "llama.cpp as a router": Says("llamacpp", {"/v1/models": reply("llamacpp/router_models")}),
    "llama.cpp behind a key": Says("llamacpp", {"/v1/models": reply("llamacpp/smollm2_err_401_models")}),
    "llama.cpp while it loads": Says("llamacpp", {"/v1/models": said({}, 503, {"server": "llama.cpp"})}),
    "vLLM": Says("vllm", {"/v1/models": reply("vllm/models")}, calls=2),
    "vLLM behind a key": Says(
        "vllm",
        {"/v1/models": reply("vllm/imgonly_err_401_models"), "/metrics": reply("vllm/imgonly_metrics_nokey")},
        calls=6,
    ),
    "NIM 1.x": Says("nim", {"/v1/models": listed(card("system"))}),
    "NIM 2.x": Says("nim", {"/v1/models": reply("vllm/models"), "/v1/metadata": NIM_METADATA}, calls=2),
    "mlx_lm": Says("mlx_lm", {"/v1/models": reply("mlx_lm/models")}),
    "mlx_vlm": Says("mlx_vlm", {"/v1/models": reply("mlx_vlm/models")}),
    "mlx_vlm behind a key": Says(
        "mlx_vlm", {"/v1/models": Reply(401, {**JSON, "server": "mlx_vlm/0.7.10"}, b'{"detail":"Unauthorized"}')}
    ),
    "Ollama": Says("ollama", {"/v1/models": listed(card("library"))}),
    "Ollama without models": Says("ollama", {"/v1/models": said({"object": "list", "data": None})}),
    "Ollama with models of others": Says(
        "ollama",
        {
            "/v1/models": listed(card("unsloth", "hf.co/unsloth/gemma")),
            "/": Reply(200, {"content-type": "text/plain; charset=utf-8"}, b"Ollama is running"),
        },
        calls=4,
    ),
    "TGI": Says("tgi", {"/v1/models": listed(card("a/b", "a/b")), "/info": TGI_INFO}),
    "TGI that names its owner": Says("tgi", {"/v1/models": listed(card("org", "a/b")), "/info": TGI_INFO}, calls=5),
    "TensorRT-LLM": Says("trtllm", {"/v1/models": listed(card("tensorrt_llm"))}),
    "llama-swap": Says("llamaswap", {"/v1/models": listed(card("llama-swap"))}),
    "keras": Says("keras", {"/v1/models": listed(card("keras-hub"))}),
    "keras behind a key": Says(
        "keras", {"/v1/models": UNAUTHORIZED, "/health": said({"status": "ok", "requests": 0})}, calls=2
    ),
    "the Gemini API": Says("gemini", {"/v1/models": said(GOOGLE)}),
    "somebody": Says("openai", {"/v1/models": listed(card("organization_owner"))}, sure=False, calls=6),
    "somebody with metrics": Says(
        "openai",
        {"/v1/models": listed(card("sglang")), "/metrics": Reply(200, {}, b"sglang:token_usage 0.1\nnot_vllm: 1\n")},
        sure=False,
        calls=6,
    ),
    "somebody behind a key": Says("", {"/v1/models": UNAUTHORIZED}, sure=False, calls=6),
    "a web page": Says("", {"/v1/models": PAGE}, sure=False),
    "another API": Says("", {"/v1/models": said({"detail": "Not Found"}, 404)}, sure=False, calls=6),
    "a gateway": Says("", {"/v1/models": listed({**card("vllm"), "gateway": {"targets": []}})}, gateway=True),
    "a gateway behind a key": Says(
        "",
        {"/v1/models": UNAUTHORIZED, "/metrics": Reply(200, {}, b"# HELP x\ngateway_in_flight 0\n")},
        gateway=True,
        calls=6,
    ),
}
