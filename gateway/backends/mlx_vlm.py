"""mlx-vlm's server (`mlx_vlm.server`). Measured on 0.7.10 (Linux, CPU), and its source read.

- **Another `model` than the one that is loaded drops it**, then loads or downloads the other. Only the model that
  /health names as loaded is ever asked for.
- **It reads paths of its own machine and fetches URLs** wherever a medium may stand (`/etc/passwd`, `file://`, http):
  media only ever go to it as data. Sound as `input_audio` (`audio_url` is 422), video as `video_url` of type mp4
  (`input_video` by its data and a list of frames fail). It looks at 16 frames at most and does not hear a video.
- It takes media in user messages only and drops them elsewhere without a word: refused here. All sound and all videos
  go into the *last* user message, wherever they stood: said in the receipt. Without a picture the texts of a message
  are glued with blanks and stripped.
- It **summarises a conversation that gets too long**, on its own: `context_management: []` turns that off. Then nothing
  checks the context unless it runs with --max-kv-size, so prompts are counted (POST /v1/responses/input_tokens).
- `stop` and `n` are ignored; `tool_choice` is only an English sentence to the model. `max_completion_tokens` and
  `chat_template_kwargs` are ignored: `max_tokens`, and a top-level `enable_thinking` (off unless told otherwise).
- A whole answer goes on when its client has left: it is always asked for a stream.
- An explicit null is 422. 422 repeats the input, a whole medium included. A medium that it can't read is 500.
- `adapter_path` is a path that it would load, `tool_parser` and `context_management` would change the answer: not sent.
- Thoughts come under two names at once. An error inside a stream is a plain string, without [DONE].
- Constrained output (llguidance) needs Metal; on Linux it is 500.
- With a key /health wants it, too. /metrics is JSON. There is no /v1/completions.
- A header tells tenants apart in its prefix cache.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from gateway.backends import Busyness, Call, Discovery, Load, Model, Probe, Reply
from gateway.backends.base import HINTS, Json, OpenAIWire, keep, number_in, post
from gateway.backends.wire.listing import cards, json_of, trouble
from gateway.backends.wire.prepare import Manner, words
from gateway.backends.wire.refusal import Signs
from gateway.backends.wire.values import as_count
from gateway.canonical.content import Audio, Document, Image, MediaPart, Part, ToolResult, Video
from gateway.canonical.facts import Facts, Target
from gateway.canonical.needs import content_parts
from gateway.canonical.requests import Chat, CountTokens, ThinkingConfig
from gateway.errors import PartRefused, UnsupportedParameter
from gateway.families.default import quantization

_EXTRAS = words(
    "min_pixels max_pixels resize_shape top_n_sigma p_less typical_p repetition_context_size presence_context_size "
    "frequency_context_size thinking_start_token thinking_end_token"
)
_SIZE = "serve a model that has it (mlx-vlm: Gemma 4 E2B, E4B and 12B hear, all sizes see)"


class Backend(OpenAIWire):
    kind = "mlx_vlm"
    tier = 4
    slots = 8
    always_streams = True
    stops_itself = False
    assumed = Facts(
        operations=frozenset({"chat", "count_tokens"}),
        video_sound=False,
        document=False,
        image_formats=frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff"}),
        audio_formats=frozenset({"audio/wav", "audio/mpeg", "audio/flac"}),
        video_formats=frozenset({"video/mp4", "video/quicktime", "video/webm", "video/x-matroska", "video/x-msvideo"}),
        forced_tool="verified",
        json_schema="enforced",
        logprobs=True,
        choices=1,
        seed=True,
        prefill=False,
        audio_out=False,
        counts=True,
    )
    hints: ClassVar[Mapping[str, str]] = {
        **HINTS,
        **dict.fromkeys(("image", "audio", "video"), _SIZE),
        "tools": "serve a model whose chat template mlx-vlm knows a tool parser for",
        "forced_tool": "serve a model whose chat template mlx-vlm knows a tool parser for",
        "json_schema": "run mlx-vlm on a Mac: its constrained output needs Metal",
        "logprobs": "update mlx-vlm",
        "choices": "mlx-vlm gives one choice: ask several times",
        "thinking": "serve a model whose chat template can think",
        "prefill": "mlx-vlm begins every answer anew",
        "context": "raise --max-kv-size, or serve a model with more context",
        **dict.fromkeys(("operation", "chat"), "serve a generating model"),
        "completion": "mlx-vlm has no /v1/completions: use the chat, or mlx-lm",
        "count_tokens": "update mlx-vlm: it needs POST /v1/responses/input_tokens",
        "embedding": "serve an embedding model",
    }
    manner = Manner(extras=_EXTRAS, one_text=True)
    signs = Signs(
        context=re.compile(r"exceeds the available context budget|context tokens \(|MAX_KV_SIZE|context window"),
        gone=re.compile(r"Failed to load model|cached snapshot folder"),
        client=re.compile(
            r"Failed to load (?:image|audio|video)|Unable to detect audio format|Cannot open video|Invalid type:"
            r"|empty conversation|[Ii]ncorrect padding"
        ),
    )
    reasoning_field = "reasoning_content"

    def think(self, body: Json, thinking: ThinkingConfig, dropped: list[str]) -> None:
        for key in ("reasoning", "reasoning_effort", "chat_template_kwargs"):
            body.pop(key, None)
        body["enable_thinking"] = bool(thinking.enabled)
        if thinking.enabled and thinking.budget:
            body["thinking_budget"] = thinking.budget
        if thinking.enabled and thinking.effort is not None:
            body["reasoning_effort"] = thinking.effort

    def adapt(self, body: Json, request: Chat, facts: Facts, dropped: list[str]) -> None:
        if request.choices > 1:
            raise UnsupportedParameter("this server gives one choice", param="n")
        if not body.get("logprobs"):
            body.pop("top_logprobs", None)
        body["context_management"] = []
        _only_users_show(request)

    def fates(self, request: Chat, facts: Facts) -> dict[int, str]:
        out = super().fates(request, facts)
        last = next((m for m in reversed(request.messages) if m.role == "user"), None)
        stay = {id(p) for p in last.parts} if last is not None else set()
        for number, part in enumerate(content_parts(request)):
            if isinstance(part, Audio | Video) and id(part) not in stay:
                word = "audio" if isinstance(part, Audio) else "video"
                out[number] = out.get(number, word).replace(word, f"{word}>last_turn", 1)
        return out

    def count(self, request: CountTokens, target: Target, facts: Facts) -> Call | None:
        if any(isinstance(p, Audio | Video) for p in content_parts(request.chat)):
            return None  # this route leaves them out
        body = self._chat_body(request.chat, target, facts, [])
        _only_users_show(request.chat)
        asked = {"model": body["model"], "input": body["messages"], "enable_thinking": body["enable_thinking"]}
        return post("/v1/responses/input_tokens", asked | keep(body, "tools"))

    def read_count(self, body: Any) -> int:
        return number_in(body, "input_tokens")

    def claims(self, models: Reply) -> bool:
        """Its name stands in a header, also where it wants a key."""
        if models.headers.get("server", "").startswith("mlx_vlm/"):
            return True
        listed = cards(models)
        return bool(listed) and all(isinstance(c.get("loaded"), bool) and "owned_by" not in c for c in listed or ())

    def probe(self) -> Probe:
        health = yield Call("GET", "/health")
        told = json_of(health)
        if not isinstance(told, dict) or "loaded_model" not in told:
            return trouble(health, "/health")
        version = health.headers.get("server", "").partition("mlx_vlm/")[2]
        name = told["loaded_model"]
        if not isinstance(name, str) or not name:
            return Discovery("down", detail="it has no model loaded: start it with --model", version=version)
        context = as_count(told.get("effective_context_limit")) or as_count(told.get("loaded_context_size"))
        facts = Facts(
            context=context,
            tools=told.get("loaded_tool_parser") is not None,
            quantization=quantization(name, container="mlx"),
            version=version or None,
        )
        if not facts.tools:
            facts.forced_tool = "ignored"
        path = name if name.startswith(("/", ".")) else ""
        return Discovery("ready", [Model(name, [], facts, root=path)], version)

    def busy(self, model: str) -> Busyness:
        told = json_of((yield Call("GET", "/metrics")))
        if not isinstance(told, dict):
            return None
        summary, server = told.get("summary"), told.get("server")
        flying = summary.get("in_flight") if isinstance(summary, dict) else None
        queued = server.get("request_queue_depth") if isinstance(server, dict) else None
        if not isinstance(flying, int):
            return None
        waiting = queued if isinstance(queued, int) else None
        return Load(running=max(0, flying - (waiting or 0)), waiting=waiting)


def _only_users_show(request: Chat) -> None:
    """Raises for a medium outside of the user's messages."""
    for message in request.messages:
        if message.role != "user":
            for part in _media(message.parts):
                raise PartRefused("this server looks at media in user messages only", param=part.path)


def _media(parts: list[Part]) -> list[MediaPart]:
    out: list[MediaPart] = []
    for part in parts:
        if isinstance(part, Image | Audio | Video | Document):
            out.append(part)
        elif isinstance(part, ToolResult) and isinstance(part.content, list):
            out += _media(part.content)
    return out
