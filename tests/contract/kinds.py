"""The scripted upstreams, one a kind."""

from __future__ import annotations

import json
from typing import Any

from tests.contract.stage import HELLO, Traits
from tests.contract.voices import Forever, Json, Probes, Said, Voice, http10, pieces, words
from tests.faults import kinds as faults
from tests.faults.steps import Body, Finish, Head, Reply, Sleep, Step, encode
from tests.faults.wire import Received
from tests.wire import recorded

_SAMPLING = words("model messages stream stream_options max_tokens temperature top_p seed")
_USUAL = _SAMPLING | words("stop n logprobs top_logprobs tools tool_choice response_format")
_MEDIA = frozenset({"text", "image_url", "input_audio", "video_url"})


def listed(*cards: Json) -> tuple[int, Any, dict[str, str]]:
    return 200, {"object": "list", "data": list(cards)}, {}


def error(message: str, status: int, **more: Any) -> tuple[Step, ...]:
    return (Reply(encode({"error": {"message": message, **more}}), status),)


class Vllm(Voice):
    """0.32 with Gemma 4's parsers: tests/wire/vllm."""

    traits = Traits("vllm", frozenset({"stop", "json", "none", "counts"}), refuses_long="a b " * 5000)
    honours = words("stop n logprobs response_format tool_choice constraint")
    fields = _USUAL | words("parallel_tool_calls structured_outputs chat_template_kwargs reasoning_effort")
    parts = _MEDIA
    records = {
        ("talk", False): "vllm/chat",
        ("talk", True): "vllm/stream",
        ("think", False): "vllm/thinking",
        ("call", False): "vllm/tools_call",
        ("call", True): "vllm/tools_call_stream",
        ("place", False): "vllm/json_schema",
    }
    owner = "vllm"

    def replies(self) -> Probes:
        permission = [{"id": "modelperm-1", "object": "model_permission"}]
        card = {"id": self.model, "object": "model", "created": 1795499899, "owned_by": self.owner, "root": self.model}
        no = {"detail": "Not Found"}
        return {
            ("GET", "/v1/models"): listed({**card, "parent": None, "max_model_len": 8192, "permission": permission}),
            ("GET", "/version"): (200, {"version": "0.32.0"}, {}),
            ("GET", "/health"): (200, None, {}),
            ("GET", "/metrics"): (200, None, {}),
            ("POST", "/v1/embeddings"): (404, no, {}),
        }

    def probe(self, r: Received, path: str, body: Json) -> tuple[int, Any, dict[str, str]] | None:
        if path == "/tokenize":
            n = max(1, r.body.count(b" "))
            return 200, {"count": n, "max_model_len": 8192, "tokens": [1] * min(n, 9), "token_strs": None}, {}
        if "chat_template" in body:
            words = "Chat template is passed with request, but --trust-request-chat-template is not set."
            return 400, {"error": {"message": words, "type": "BadRequestError", "param": None, "code": 400}}, {}
        return super().probe(r, path, body)

    def must_call(self, body: Json) -> bool:
        """Its own `tool_choice` it does not hold to; a constraint on the text it does."""
        return "tool_call" in str((body.get("structured_outputs") or {}).get("regex", ""))

    def say(self, body: Json, scenario: str, attempt: int) -> Said:
        said = super().say(body, scenario, attempt)
        if said.calls and not self.must_call(body):
            said.text = HELLO if scenario == "call1" else ""
        return said

    def reasoning(self, thought: str) -> Json:
        return {"reasoning": thought} if thought else {}

    def callpieces(self, index: int, arguments: Json) -> list[Json]:
        whole = {"index": index, **self.call(index, arguments)}
        named = {**whole, "function": {"name": "get_weather"}}
        return [named, {"index": index, "function": {"arguments": whole["function"]["arguments"]}}]

    def call(self, index: int, arguments: Json) -> Json:
        return super().call(index, arguments) | {"id": f"chatcmpl-tool-97d70aaed802e85{index}"}


class Nim(Vllm):
    """The same engine behind NVIDIA's routes."""

    traits = Traits("nim", Vllm.traits.native, refuses_long=Vllm.traits.refuses_long)
    owner = "system"

    def replies(self) -> Probes:
        told = {
            "version": "1.7.0",
            "modelInfo": [{"shortName": "gemma-4-e4b-it", "modelUrl": "ngc://nim/google/gemma-4-e4b-it"}],
        }
        return super().replies() | {
            ("GET", "/v1/health/ready"): (200, {"object": "health.response", "status": "ready"}, {}),
            ("GET", "/v1/metadata"): (200, told, {}),
            ("GET", "/v1/metrics"): (200, None, {}),
        }


class OpenAI(Voice):
    """Any server of the dialect, held to its letter."""

    traits = Traits("openai", words("stop forced named none one_call json counts"), refuses_long="z " * 9000)
    honours = words("stop n logprobs response_format tool_choice forced parallel_tool_calls")
    fields = _USUAL | frozenset({"parallel_tool_calls", "reasoning_effort"})
    parts = _MEDIA

    def replies(self) -> Probes:
        card = {"id": self.model, "object": "model", "created": 1, "owned_by": "somebody", "context_length": 8192}
        return {("GET", "/v1/models"): listed(card)}

    def thinks(self, body: Json) -> bool:
        return body.get("reasoning_effort", "none") != "none"

    def refuse(self, body: Json) -> tuple[Step, ...] | None:
        if json.dumps(body).count("z ") > 8000:
            text = "This model's maximum context length is 8192 tokens. Please reduce the length of the messages."
            return error(text, 400, type="invalid_request_error", param="messages", code="context_length_exceeded")
        return None


class LlamaSwap(Voice):
    """In front of llama.cpp, whose manner shows through."""

    traits = Traits("llamaswap", words("stop forced none json counts"), refuses_long="y " * 9000)
    honours = words("stop n logprobs response_format tool_choice forced")
    fields = _USUAL | frozenset({"parallel_tool_calls", "chat_template_kwargs"})
    parts = _MEDIA

    def replies(self) -> Probes:
        inputs = {"input_modalities": ["text", "image", "audio", "video"], "output_modalities": ["text"]}
        card = {"id": self.model, "object": "model", "owned_by": "llama-swap", "context_length": 8192}
        card |= {"architecture": inputs, "capabilities": {"vision": True, "function_calling": True}}
        return {
            ("GET", "/v1/models"): listed(card),
            ("GET", "/running"): (200, {"running": [{"model": self.model, "state": "ready"}]}, {}),
            ("GET", "/health"): (200, None, {}),
        }

    def must_call(self, body: Json) -> bool:
        return self.choice(body) == "required"  # a named choice is ignored without a word

    def refuse(self, body: Json) -> tuple[Step, ...] | None:
        if json.dumps(body).count("y ") > 8000:
            text = "request (9012 tokens) exceeds the available context size (8192 tokens), try increasing it"
            return error(text, 400, code=400, type="exceed_context_size_error", n_prompt_tokens=9012, n_ctx=8192)
        return None


class LlamaCpp(Voice):
    """What the tiny model in the real one never does: it calls nothing of its own accord, and never two at once."""

    model_name = "tiny-gemma4"
    traits = Traits(
        "llamacpp",
        frozenset({"one_call"}),
        cases=frozenset({"tools: auto", "tools: parallel", "tools: one at a time"}),
        arguments=({"city": "Paris"}, {"city": "Rome"}),
        name="llamacpp-scripted",
    )
    honours = words("stop n logprobs response_format tool_choice forced parallel_tool_calls")
    fields = _USUAL | words("parallel_tool_calls chat_template_kwargs return_progress")
    parts = _MEDIA
    records = {("call", True): "llamacpp/tools_required_stream"}

    def probe(self, r: Received, path: str, body: Json) -> tuple[int, Any, dict[str, str]] | None:
        return faults._llamacpp(self, r)


class MlxLm(Voice):
    """0.32 on Linux: tests/wire/mlx_lm. HTTP/1.0, and always asked for a stream."""

    traits = Traits("mlx_lm", backend={"facts": {"context": 8192}})
    fields = words(
        "model messages stream stream_options max_tokens temperature tools chat_template_kwargs "
        "tool_choice parallel_tool_calls response_format"  # read by nobody there
    )
    records = {("think", True): "mlx_lm/thinking_stream"}
    names = (b"default_model",)

    def replies(self) -> Probes:
        head = {"Server": "BaseHTTP/0.6 Python/3.11.7"}
        card = {"id": self.model, "object": "model", "created": 1795499689}
        return {
            ("GET", "/v1/models"): (200, {"object": "list", "data": [card]}, head),
            ("GET", "/health"): (200, {"status": "ok"}, head),
        }

    def probe(self, r: Received, path: str, body: Json) -> tuple[int, Any, dict[str, str]] | None:
        if body.get("max_tokens") == 1:
            return 200, {}, {}
        return super().probe(r, path, body)

    def framed(self, data: bytes) -> tuple[Step, ...]:
        return http10(b": keepalive 1/1\n\n" * (not data.startswith(b":")) + data, "text/event-stream")

    def reasoning(self, thought: str) -> Json:
        return {"reasoning": thought} if thought else {}

    def callpieces(self, index: int, arguments: Json) -> list[Json]:
        return [{"index": index, **self.call(index, arguments)}]


class MlxVlm(Voice):
    """0.7.10 on Linux: tests/wire/mlx_vlm."""

    traits = Traits("mlx_vlm", frozenset({"json", "counts"}), refuses_long="a b " * 5000)
    honours = frozenset({"response_format", "logprobs"})
    fields = words(
        "model messages stream stream_options max_tokens temperature tools tool_choice parallel_tool_calls "
        "enable_thinking reasoning_effort context_management response_format logprobs top_logprobs"
    )
    parts = _MEDIA
    records = {
        ("talk", True): "mlx_vlm/stream",
        ("call", True): "mlx_vlm/tools_call_stream",
    }
    names = (b"models/hf-tied",)

    def replies(self) -> Probes:
        head = {"server": "mlx_vlm/0.7.10"}
        health = json.loads(recorded("mlx_vlm/health").body) | {"loaded_model": self.model}
        return {
            ("GET", "/v1/models"): (200, {"data": [{"id": self.model, "object": "model", "loaded": True}]}, head),
            ("GET", "/health"): (200, health, head),
            ("GET", "/metrics"): (200, {"summary": {"in_flight": 0}}, head),
        }

    def probe(self, r: Received, path: str, body: Json) -> tuple[int, Any, dict[str, str]] | None:
        if path == "/v1/responses/input_tokens":
            return 200, {"input_tokens": max(1, r.body.count(b" ")), "object": "response.input_tokens"}, {}
        return super().probe(r, path, body)

    def thinks(self, body: Json) -> bool:
        return body.get("enable_thinking") is True

    def reasoning(self, thought: str) -> Json:
        return {"reasoning_content": thought, "reasoning": thought} if thought else {}


class Ollama(Voice):
    """By /api/chat: JSON lines, written as its source writes them."""

    model_name = "gemma4:e4b"
    traits = Traits("ollama", frozenset({"stop", "json"}), long=100_000)
    honours = frozenset({"format", "logprobs", "stop"})
    fields = words("model messages stream think tools format options truncate shift logprobs top_logprobs")

    def replies(self) -> Probes:
        details = {"format": "gguf", "family": "gemma4", "parameter_size": "8.0B", "quantization_level": "Q4_K_M"}
        able = ["completion", "vision", "audio", "tools", "thinking"]
        tag = {"name": self.model, "model": self.model, "details": details}
        return {
            ("GET", "/v1/models"): listed({"id": self.model, "object": "model", "created": 1, "owned_by": "library"}),
            ("GET", "/api/tags"): (200, {"models": [tag]}, {}),
            ("GET", "/api/version"): (200, {"version": "0.14.1"}, {}),
            ("GET", "/api/ps"): (200, {"models": [{"name": self.model, "context_length": 8192}]}, {}),
            ("POST", "/api/show"): (200, {"capabilities": able, "details": details}, {}),
        }

    def thinks(self, body: Json) -> bool:
        return body.get("think") not in (None, False)

    def must_fit(self, body: Json) -> bool:
        return "format" in body

    def answer_to(self, body: Json, said: Said) -> tuple[Step, ...]:
        self.how = "documented"
        for text in (body.get("options") or {}).get("stop", ()):
            said.text = said.text.partition(text)[0]
        base = {"model": self.model, "created_at": "2026-08-21T12:00:00.123456Z"}
        calls = [{"function": {"name": "get_weather", "arguments": a}} for a in said.calls]
        parts: list[Json] = [{"thinking": p} for p in pieces(said.thought)]
        parts += [{"content": p} for p in pieces(said.text)]
        parts += [{"tool_calls": [c]} for c in calls]
        told = [{"logprobs": self.logprobs([p["content"]])["content"]} if "content" in p else {} for p in parts]
        if not body.get("logprobs"):
            told = [{}] * len(parts)
        last = {"done": True, "done_reason": "stop", "total_duration": 9, "prompt_eval_count": 41, "eval_count": 13}
        if not body["stream"]:
            message: Json = {"role": "assistant", "content": said.text}
            message |= {"thinking": said.thought} if said.thought else {}
            message |= {"tool_calls": calls} if calls else {}
            rows = [x for t in told for x in t.get("logprobs", ())]
            return (Reply(encode({**base, "message": message, **last, **({"logprobs": rows} if rows else {})})),)
        lines = [
            {**base, "message": {"role": "assistant", "content": "", **p}, "done": False, **t}
            for p, t in zip(parts, told, strict=True)
        ]
        lines.append({**base, "message": {"role": "assistant", "content": ""}, **last})
        return (Head(type="application/x-ndjson"), Body(b"".join(encode(x) + b"\n" for x in lines), [300]), Finish())

    def endless(self, body: Json) -> tuple[Step, ...]:
        if not body.get("stream"):
            return (Sleep(30.0),)
        line = (
            encode({"model": self.model, "message": {"role": "assistant", "content": "on and "}, "done": False}) + b"\n"
        )
        return (Head(type="application/x-ndjson"), Body(line), Forever(line))


class Tgi(Voice):
    """3.3 with a Gemma 4, which it does not really have: text at best."""

    traits = Traits("tgi", words("stop json none counts"), refuses_long="w " * 9000)
    honours = words("stop response_format tool_choice forced logprobs")
    fields = _SAMPLING | words("stop logprobs top_logprobs tools tool_choice response_format")

    def replies(self) -> Probes:
        info = {"model_id": self.model, "model_pipeline_tag": "image-text-to-text", "max_total_tokens": 8192}
        info |= {"max_concurrent_requests": 128, "router": "text-generation-router", "version": "3.3.6"}
        return {
            ("GET", "/v1/models"): listed({"id": self.model, "object": "model", "owned_by": self.model}),
            ("GET", "/info"): (200, info, {}),
            ("GET", "/health"): (200, None, {}),
            ("GET", "/metrics"): (200, None, {}),
        }

    def refuse(self, body: Json) -> tuple[Step, ...] | None:
        if json.dumps(body).count("w ") > 8000:
            text = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8192. Given: 9012"
            return (Reply(encode({"error": text, "error_type": "validation"}), 422),)
        return None

    def envelope(self, what: str) -> Json:
        return super().envelope(what) | {"id": "", "system_fingerprint": "3.3.6-native"}


class Trtllm(Voice):
    """trtllm-serve: an unknown field is 400."""

    model_name = "google/gemma-4-31B-it"
    traits = Traits(
        "trtllm",
        frozenset({"stop", "none", "json", "counts"}),
        backend={"facts": {"context": 8192, "image": True, "video": True}},
        refuses_long="v " * 9000,
    )
    honours = words("stop n logprobs response_format tool_choice")
    fields = _USUAL | words("chat_template_kwargs reasoning_effort parallel_tool_calls")
    parts = _MEDIA - {"input_audio"}

    def replies(self) -> Probes:
        return {
            ("GET", "/v1/models"): listed(
                {"id": self.model, "object": "model", "created": 1, "owned_by": "tensorrt_llm"}
            ),
            ("GET", "/version"): (200, {"version": "1.2.0"}, {}),
            ("GET", "/health"): (200, None, {}),
        }

    def choice(self, body: Json) -> Any:
        return body.get("tool_choice", "none")

    def refuse(self, body: Json) -> tuple[Step, ...] | None:
        if json.dumps(body).count("v ") > 8000:
            text = "The prompt length (9012) exceeds max_seq_len (8192)"
            return (Reply(encode({"object": "error", "message": text, "type": "BadRequestError", "code": 400}), 400),)
        return None


class Gemini(Voice):
    """Hosted Gemma 4 by `generateContent`."""

    model_name = "gemma-4-31b-it"
    traits = Traits("gemini", frozenset({"stop", "counts", "none"}), backend={"local": True})
    fields = words("contents systemInstruction tools toolConfig generationConfig safetySettings")

    def replies(self) -> Probes:
        card = {"name": f"models/{self.model}", "displayName": "Gemma 4 31B", "inputTokenLimit": 8192}
        card |= {"outputTokenLimit": 8192, "supportedGenerationMethods": ["generateContent", "countTokens"]}
        return {("GET", "/v1beta/models"): (200, {"models": [card]}, {})}

    def probe(self, r: Received, path: str, body: Json) -> tuple[int, Any, dict[str, str]] | None:
        if path.endswith(":countTokens"):
            return 200, {"totalTokens": max(1, r.body.count(b" "))}, {}
        return super().probe(r, path, body)

    def steps_for(self, r: Received) -> tuple[Step, ...]:
        self.streaming = "streamGenerateContent" in r.path
        return super().steps_for(r)

    def thinks(self, body: Json) -> bool:
        config = (body.get("generationConfig") or {}).get("thinkingConfig") or {}
        return config.get("thinkingLevel", "high").lower() != "minimal"

    def choice(self, body: Json) -> Any:
        mode = ((body.get("toolConfig") or {}).get("functionCallingConfig") or {}).get("mode", "AUTO")
        return "none" if mode == "NONE" else "auto"

    def answer_to(self, body: Json, said: Said) -> tuple[Step, ...]:
        self.how = "documented"
        config = body.get("generationConfig") or {}
        for text in config.get("stopSequences", ()):
            said.text = said.text.partition(text)[0]
        thoughts = [{"text": p, "thought": True} for p in pieces(said.thought)]
        words = [{"text": p} for p in pieces(said.text)]
        calls = [{"functionCall": {"name": "get_weather", "args": a}} for a in said.calls]
        usage = {"promptTokenCount": 41, "candidatesTokenCount": 13, "totalTokenCount": 54}

        def answer(parts: list[Json]) -> Json:
            candidate = {"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
            if config.get("responseLogprobs"):
                candidate["logprobsResult"] = _logprobs([p["text"] for p in parts])
            return {
                "candidates": [candidate],
                "usageMetadata": usage,
                "modelVersion": self.model,
                "responseId": "r1",
            }

        parts = [*thoughts, *words, *calls]
        if not self.streaming:
            return (Reply(encode(answer(parts))),)
        data = b"".join(b"data: " + encode(answer([p])) + b"\r\n\r\n" for p in parts)
        return (Head(), Body(data, [400]), Finish())

    def endless(self, body: Json) -> tuple[Step, ...]:
        if not self.streaming:
            return (Sleep(30.0),)
        event = {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "on and "}]}}]}
        data = b"data: " + encode(event) + b"\r\n\r\n"
        return (Head(), Body(data), Forever(data))


def _logprobs(tokens: list[str]) -> Json:
    rows = [{"token": t, "logProbability": -0.01} for t in tokens]
    top = [{"candidates": [row, {"token": "x", "logProbability": -9.0}]} for row in rows]
    return {"chosenCandidates": rows, "topCandidates": top}


SCRIPTED: tuple[type[Voice], ...] = (Vllm, Nim, LlamaCpp, OpenAI, LlamaSwap, MlxLm, MlxVlm, Ollama, Tgi, Trtllm, Gemini)
