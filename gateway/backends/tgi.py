"""Hugging Face's Text Generation Inference, 3.x. Read in its source (January 2026), not run.

- It is in maintenance mode, and no Gemma 4 is in it: what claims to be one behind it is a degraded last resort, for
  text only. Pictures, sound and tools are refused for a Gemma 4; another model may take pictures and tools.
- One server has one model and ignores `model`. /info tells its name, room and version.
- Tools are held to by a grammar, `tool_choice` included. Every call has the id "0", every answer the id "".
- Errors are `{"error": "...", "error_type": "..."}`: 422 for a request that it does not like, 429 when it is full.
- A picture goes as an `image_url`; it would fetch one by its URL.
- Finish reasons are `stop`, `eos_token`, `stop_sequence` and `length`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from gateway.backends import Busyness, Call, Discovery, Load, Model, Probe, Reply
from gateway.backends.base import HINTS, Json, OpenAIWire
from gateway.backends.wire.gauges import gauge
from gateway.backends.wire.listing import cards, json_of, trouble
from gateway.backends.wire.prepare import Manner
from gateway.backends.wire.refusal import Signs
from gateway.backends.wire.values import as_count
from gateway.canonical.facts import Facts, Finding
from gateway.canonical.requests import Chat, Completion, ThinkingConfig
from gateway.errors import UnsupportedParameter
from gateway.families import identify

_NO_GEMMA4 = "TGI has no Gemma 4 in it: serve this model with vLLM or llama.cpp"


class Backend(OpenAIWire):
    kind = "tgi"
    names_itself = True
    tier = 7
    witness = "/info"
    slots = 32
    assumed = Facts(
        operations=frozenset({"chat", "completion"}),
        audio=False,
        video=False,
        document=False,
        image_formats=frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"}),
        forced_tool="enforced",
        json_schema="enforced",
        logprobs=True,
        choices=1,
        seed=True,
        thinking=False,
        prefill=False,
        audio_out=False,
        counts=False,
    )
    hints: ClassVar[Mapping[str, str]] = {
        **HINTS,
        "image": f"serve a model that sees; {_NO_GEMMA4}",
        "audio": f"TGI takes no sound; {_NO_GEMMA4}",
        "video": f"TGI takes no video; {_NO_GEMMA4}",
        "tools": f"start it with a tokenizer whose chat template has tools; {_NO_GEMMA4}",
        "forced_tool": f"start it with a tokenizer whose chat template has tools; {_NO_GEMMA4}",
        "json_schema": "start it without --disable-grammar-support",
        "logprobs": "update TGI",
        "choices": "TGI gives one choice: ask several times",
        "thinking": "TGI has no switch for thinking",
        "prefill": "TGI begins every answer anew",
        "context": "raise --max-total-tokens",
        **dict.fromkeys(("operation", "chat", "completion"), "serve a generating model with a chat template"),
        "embedding": "use Text Embeddings Inference",
        "count_tokens": "TGI counts no chats",
        "body_limit": "start it with --payload-limit 70000000 (its default is 2000000)",
    }
    manner = Manner(
        sampling=frozenset({"top_k", "min_p", "repetition_penalty", "logit_bias"}), thoughts=False, one_text=True
    )
    signs = Signs(
        context=re.compile(
            r"`?inputs`? (?:tokens \+|must have less than)|max_total_tokens|max_input_(?:tokens|length)"
        ),
        modality=re.compile(r"(?i)image[^.]{0,40}not supported|does not support images"),
        gone=re.compile(r"(?!)"),
        dead=re.compile(r"Request failed during generation: Server error"),
    )

    def think(self, body: Json, thinking: ThinkingConfig, dropped: list[str]) -> None:
        for key in ("reasoning", "reasoning_effort", "chat_template_kwargs"):
            body.pop(key, None)

    def adapt(self, body: Json, request: Chat, facts: Facts, dropped: list[str]) -> None:
        if request.choices > 1:
            raise UnsupportedParameter("this server gives one choice", param="n")
        body.pop("parallel_tool_calls", None)

    def adapt_completion(self, body: Json, request: Completion, facts: Facts, dropped: list[str]) -> None:
        if request.choices > 1 or len(request.prompt) != 1 or not isinstance(request.prompt[0], str):
            raise UnsupportedParameter("this server completes one text once, no token ids", param="prompt")
        body["prompt"] = request.prompt[0]

    def claims(self, models: Reply) -> bool:
        """A model of its is owned by itself."""
        found = cards(models)
        return bool(found) and all(c.get("owned_by") == c["id"] for c in found or ())

    def admits(self, reply: Reply) -> bool:
        told = json_of(reply)
        return isinstance(told, dict) and str(told.get("router")).startswith("text-generation-router")

    def probe(self) -> Probe:
        reply = yield Call("GET", "/info")
        info = json_of(reply)
        if not isinstance(info, dict) or not isinstance(info.get("model_id"), str):
            return trouble(reply, "/info")
        name: str = info["model_id"]
        version = info.get("version")
        version = version if isinstance(version, str) else ""
        facts = Facts(
            context=as_count(info.get("max_total_tokens")),
            slots=as_count(info.get("max_concurrent_requests")),
            image=info.get("model_pipeline_tag") == "image-text-to-text",
            version=version or None,
        )
        detail = ""
        if identify(name).family == "gemma4":
            facts.image = facts.tools = False
            facts.forced_tool = "ignored"
            detail = f"degraded: {_NO_GEMMA4}"
        findings = [Finding("unsupported-model", detail, _NO_GEMMA4, name)] if detail else []
        return Discovery("ready", [Model(name, [], facts, root=name)], version, detail, findings)

    def busy(self, model: str) -> Busyness:
        reply = yield Call("GET", "/metrics")
        running, waiting = gauge(reply, "tgi_batch_current_size"), gauge(reply, "tgi_queue_size")
        if running is None and waiting is None:
            return None
        return Load(None if running is None else int(running), None if waiting is None else int(waiting))
