"""TensorRT-LLM's server (`trtllm-serve`). Read in its source (August 2026), not run.

- Gemma 4 is experimental there: it is known to work on datacenter Blackwell only. On GB10, RTX Blackwell and Hopper it
  is known to fail, and this kind says so when it finds one there.
  https://github.com/NVIDIA/TensorRT-LLM/issues/12764 (GB10), 17052 (RTX), 17772 (Hopper)
- An unknown field is 400, as its models forbid them: only what it knows is sent. Its own errors have no `error` around
  them; a body that does not fit its schema is 400 `{"error": "text"}`.
- One model, listed without its room or its abilities. There is no way to count a chat.
- `tool_choice` is `none` unless it is sent; it holds to none, to no named tool and to no `parallel_tool_calls: false`.
- A chat template of a request is refused, its media knobs are taken from anybody: not sent.
- When a client leaves it notices within a second.
- /metrics is a JSON list of the newest iterations' statistics, and taking it empties it: left to the operator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from gateway.backends import Call, Discovery, Model, Probe, Reply
from gateway.backends.base import HINTS, Json, OpenAIWire, think_by_template
from gateway.backends.wire.listing import cards, json_of, trouble
from gateway.backends.wire.prepare import Manner, words
from gateway.backends.wire.refusal import Signs
from gateway.canonical.facts import Facts, Finding
from gateway.canonical.requests import Chat, ThinkingConfig
from gateway.families import identify

INSTEAD = "run it with vLLM instead: `vllm serve MODEL --enable-auto-tool-choice --tool-call-parser gemma4`"

_EXTRAS = words(
    "chat_template_kwargs ignore_eos min_tokens stop_token_ids include_stop_str_in_output length_penalty "
    "truncate_prompt_tokens add_special_tokens"
)
_SAY = "say in the backend's `facts:` that the model can, if it does"


class Backend(OpenAIWire):
    kind = "trtllm"
    tier = 8
    slots = 64
    assumed = Facts(
        operations=frozenset({"chat", "completion"}),
        video_sound=False,
        document=False,
        image_formats=frozenset({"image/png", "image/jpeg", "image/webp"}),
        audio_formats=frozenset({"audio/wav", "audio/mpeg", "audio/flac"}),
        video_formats=frozenset({"video/mp4"}),
        forced_tool="verified",
        json_schema="enforced",
        logprobs=True,
        seed=True,
        prefill=False,
        audio_out=False,
        counts=False,
    )
    hints: ClassVar[Mapping[str, str]] = {
        **HINTS,
        **dict.fromkeys(("image", "audio", "video"), _SAY),
        "tools": "start it with --tool_parser NAME (gemma4 for Gemma 4)",
        "forced_tool": "start it with --tool_parser NAME (gemma4 for Gemma 4)",
        "json_schema": "start it with guided_decoding_backend: xgrammar",
        "logprobs": "use the PyTorch backend",
        "choices": "ask for fewer choices",
        "thinking": "start it with --reasoning_parser NAME",
        "prefill": "TensorRT-LLM begins every answer anew",
        "context": "raise --max_seq_len, and say it in `facts: {context: N}`: TensorRT-LLM does not tell",
        **dict.fromkeys(("operation", "chat", "completion"), "serve a generating model"),
        "embedding": "serve an embedding model",
        "count_tokens": "TensorRT-LLM counts no chats",
    }
    manner = Manner(extras=_EXTRAS)
    signs = Signs(
        context=re.compile(r"(?i)exceeds? max_(?:seq|input|num)_(?:len|tokens)|longer than the maximum|prompt length"),
        modality=re.compile(r"(?i)(?:image|audio|video)[^.]{0,60}not supported|does not support (?:image|audio|video)"),
        dead=re.compile(r"LLM is unavailable|CppExecutorError"),
    )
    reasoning_field = "reasoning"
    unready = "down"  # its /health says 503 when the engine has died; before it has loaded nobody listens

    def think(self, body: Json, thinking: ThinkingConfig, dropped: list[str]) -> None:
        think_by_template(body, thinking, dropped)
        if thinking.enabled and thinking.effort in ("low", "medium", "high", "max"):
            body["reasoning_effort"] = thinking.effort

    def adapt(self, body: Json, request: Chat, facts: Facts, dropped: list[str]) -> None:
        if "tools" in body:
            body.setdefault("tool_choice", "auto")

    def claims(self, models: Reply) -> bool:
        return any(c.get("owned_by") == "tensorrt_llm" for c in cards(models) or ())

    def probe(self) -> Probe:
        listed = yield Call("GET", "/v1/models")
        found = cards(listed)
        if not found:
            return trouble(listed)
        told = json_of((yield Call("GET", "/version")))
        version = told.get("version") if isinstance(told, dict) else None
        version = version if isinstance(version, str) else ""
        models = [Model(c["id"], [], Facts(version=version or None), root=c["id"]) for c in found]
        detail = ""
        if any(identify(m.id).family == "gemma4" for m in models):
            detail = (
                "Gemma 4 works in TensorRT-LLM on datacenter Blackwell only (experimental); on GB10 it fails "
                f"(TensorRT-LLM#12764), on RTX Blackwell and Hopper, too: {INSTEAD}"
            )
        findings = [Finding("unsupported-model", detail, INSTEAD)] if detail else []
        return Discovery("ready", models, version, detail, findings)
