"""Gemma 4 in keras-hub, behind the project's own server: `gateway worker keras` (docs/servers/keras.md).

- One request at a time; a bounded queue stands before it, and 503 with `Retry-After` when that is full, or while the
  model loads.
- `/v1/models` tells everything there is to know: the preset in `root`, `max_model_len` (prompt and answer),
  `architecture.input_modalities`, `dtype`, `parameters`.
- Pictures and sound in any format that Pillow and FFmpeg know, by a data: URL only; sound of at most 30 s; of a video
  32 frames, without its sound.
- A forced call begins as it must: the sampler lets nothing else come. Its arguments are the model's own, so they are
  verified like everybody's. `n`, logprobs and formats are refused: a format is asked of the model in words.
- While it reads a long prompt its stream says so in comments, which are read as progress.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from gateway.backends import Busyness, Call, Discovery, Load, Model, Probe, Reply
from gateway.backends.base import HINTS, Json, OpenAIWire, keep, number_in, post, think_by_template
from gateway.backends.wire.listing import cards, json_of, trouble
from gateway.backends.wire.prepare import Manner
from gateway.backends.wire.refusal import Signs
from gateway.backends.wire.values import as_count, as_text
from gateway.canonical.facts import Facts, Target
from gateway.canonical.requests import Chat, CountTokens, ThinkingConfig
from gateway.errors import UnsupportedParameter

_OWNER = "keras-hub"
_DTYPES = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}
"""How the weights are held -> the word of gateway.families."""
_SMALLEST = 1_000_000
"""Parameters. Nothing with fewer can mean what it says: it is a stand-in for tests."""


class Backend(OpenAIWire):
    kind = "keras"
    witness = "/health"
    names_itself = True
    tier = 6
    slots = 1
    assumed = Facts(
        operations=frozenset({"chat", "count_tokens"}),
        video_sound=False,
        document=False,
        image_formats=frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "image/tiff"}),
        audio_formats=frozenset(
            {"audio/wav", "audio/mpeg", "audio/flac", "audio/ogg", "audio/opus", "audio/mp4", "audio/aac", "audio/webm"}
        ),
        video_formats=frozenset(
            {"video/mp4", "video/quicktime", "video/webm", "video/x-matroska", "video/x-msvideo", "video/mpeg"}
            | {"video/jpeg"}
        ),
        tools=True,
        thinking=True,
        forced_tool="verified",
        json_schema="verified",
        logprobs=False,
        choices=1,
        seed=True,
        prefill=True,
        audio_out=False,
        counts=True,
    )
    hints: ClassVar[Mapping[str, str]] = {
        **HINTS,
        **dict.fromkeys(("image", "video"), "serve a Gemma 4 preset: all of them see"),
        "audio": "serve gemma4_instruct_2b or gemma4_instruct_4b: the larger ones do not hear",
        **dict.fromkeys(("tools", "forced_tool", "thinking", "prefill"), "update the gateway on the worker's machine"),
        "json_schema": "servers of this kind keep to no schema",
        "logprobs": "servers of this kind tell no logprobs",
        "choices": "servers of this kind give one choice",
        "context": "start gateway worker keras with a larger --max-context",
        **dict.fromkeys(("operation", "completion", "embedding"), "servers of this kind only chat"),
        **dict.fromkeys(("chat", "count_tokens"), "update the gateway on the worker's machine"),
    }
    manner = Manner()
    signs = Signs(
        context=re.compile(r"context_length_exceeded"),
        modality=re.compile(r"this model does not (?:see|hear)"),
        gone=re.compile(r"model_not_found"),
    )

    def think(self, body: Json, thinking: ThinkingConfig, dropped: list[str]) -> None:
        body.pop("chat_template_kwargs", None)  # its template has no other
        think_by_template(body, thinking, dropped)

    def adapt(self, body: Json, request: Chat, facts: Facts, dropped: list[str]) -> None:
        for asked, key, why in (
            (request.choices > 1, "n", "gives one choice"),
            (request.logprobs, "logprobs", "tells no logprobs"),
        ):
            if asked:
                raise UnsupportedParameter(f"this server {why}", param=key)
        body.pop("response_format", None)  # it refuses one; the model was told, and the answer is verified

    def count(self, request: CountTokens, target: Target, facts: Facts) -> Call | None:
        body = self._chat_body(request.chat, target, facts, [])
        kept = ("model", "messages", "tools", "tool_choice", "chat_template_kwargs")
        return post("/v1/chat/completions/input_tokens", keep(body, *kept))

    def read_count(self, body: Any) -> int:
        return number_in(body, "input_tokens")

    def busy(self, model: str) -> Busyness:
        told = json_of((yield Call("GET", "/health")))
        requests = as_count(told.get("requests")) if isinstance(told, dict) else None
        return Load(min(1, requests or 0), max(0, (requests or 0) - 1)) if isinstance(told, dict) else None

    def claims(self, models: Reply) -> bool:
        return any(c.get("owned_by") == _OWNER for c in cards(models) or ())

    def admits(self, reply: Reply) -> bool:
        told = json_of(reply)
        return isinstance(told, dict) and told.keys() == {"status", "requests"}

    def probe(self) -> Probe:
        listed = yield Call("GET", "/v1/models")
        found = cards(listed)
        if not found:
            return trouble(listed)
        card = found[0]
        version = card.get("version")
        model = _model(card)
        model.facts.version = version if isinstance(version, str) else None
        return Discovery("ready", [model], model.facts.version or "")


def _model(card: Json) -> Model:
    facts = Facts(context=as_count(card.get("max_model_len")), quantization=_DTYPES.get(as_text(card.get("dtype"))))
    shape = card.get("architecture")
    listed = shape.get("input_modalities") if isinstance(shape, dict) else None
    if isinstance(listed, list):
        facts.image, facts.audio, facts.video = ("image" in listed, "audio" in listed, "video" in listed)
    parameters = as_count(card.get("parameters"))
    if parameters is not None:
        facts.size = parameters / 1e9
        facts.fixture = parameters < _SMALLEST or None
    return Model(card["id"], [], facts, root=as_text(card.get("root")))
