"""llama-swap: one address in front of servers that it starts and stops on demand. Read in its source (August 2026), not
run.

- /v1/models lists all that it could start, /running what runs and how far it is. A model that does not run is cold: its
  answer waits for the start, and for whatever has to stop first.
- Behind it is llama.cpp's server mostly, else any that speaks this dialect. What that one knows is not known here: no
  more is sent than what all of them take, and media, tools and room are what its configuration says (`capabilities`).
- With `sendLoadingState` it fills the wait with thoughts of its own ("llama-swap loading model ...") in chunks that
  hold nothing but these words: they are no part of the answer, only a sign of life.
- `cmd` and `proxy` in /running hold paths and addresses: not for clients. A GET of /upstream/MODEL/ would start it.
- An unknown model is 400 or 404, one that does not start 502.
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
from gateway.backends.wire.values import as_count, as_object
from gateway.canonical.events import Event, Progress
from gateway.canonical.facts import Facts, State
from gateway.canonical.requests import Request, ThinkingConfig
from gateway.dialects import Decoder

_SAY = "say it in the model's `capabilities` of llama-swap's configuration, or in the backend's `facts:`"
_READY = "ready"
"""Of the states of a process the one in which it answers at once; `starting`, `stopping` and `stopped` take requests as
well and let them wait."""
_WAITING = re.compile(rb'data: \{"choices":\[\{"delta":\{"reasoning_content":"(?:[^"\\]|\\.)*"\}\}\]\}\s*')
_WAIT_BEGINS = b'data: {"choices":[{"delta":{"reasoning_content":"'


class Backend(OpenAIWire):
    kind = "llamaswap"
    tier = 1
    slots = 4
    assumed = Facts(
        operations=frozenset({"chat", "completion", "embedding"}),
        video_sound=False,
        document=False,
        image_formats=frozenset({"image/png", "image/jpeg"}),
        audio_formats=frozenset({"audio/wav", "audio/mpeg"}),
        video_formats=frozenset({"video/mp4"}),
        forced_tool="verified",
        json_schema="verified",
        logprobs=True,
        seed=True,
        audio_out=False,
        counts=False,
    )
    hints: ClassVar[Mapping[str, str]] = {
        **HINTS,
        **dict.fromkeys(("image", "audio", "video", "tools", "forced_tool", "json_schema", "logprobs"), _SAY),
        **dict.fromkeys(("choices", "thinking", "prefill", "context"), _SAY),
        **dict.fromkeys(("operation", "chat", "completion", "embedding"), _SAY),
        "count_tokens": "put the server behind llama-swap into the configuration as a backend of its own kind",
    }
    manner = Manner(extras=words("chat_template_kwargs"), named_as_required=True)
    signs = Signs(
        context=re.compile(r"exceed_context_size_error|exceeds the available context size|maximum context length"),
        modality=re.compile(r"(?:image|audio|video) input is not supported|At most 0 (?:image|audio|video)"),
        gone=re.compile(r"(?i)model (?:'[^']*' )?not found|no router for|could not find (?:real )?model"),
        client=re.compile(
            r"(?i)JSON schema error|failed to parse|Invalid base64|is not supported|Failed to load image"
        ),
    )
    reasoning_field = "reasoning_content"

    def think(self, body: Json, thinking: ThinkingConfig, dropped: list[str]) -> None:
        think_by_template(body, thinking, dropped)

    def decoder(self, request: Request) -> Decoder:
        return _Waiting(super().decoder(request))

    def claims(self, models: Reply) -> bool:
        return any(c.get("owned_by") == "llama-swap" for c in cards(models) or ())

    def probe(self) -> Probe:
        listed = yield Call("GET", "/v1/models")
        found = cards(listed)
        if not found:
            return trouble(listed)
        running = _running((yield Call("GET", "/running")))
        models = [_model(c, running) for c in found if _kind(c) in ("", "model")]
        return Discovery("ready", models)


def _running(reply: Reply) -> dict[str, State]:
    told = json_of(reply)
    rows = told.get("running") if isinstance(told, dict) else None
    if not isinstance(rows, list):
        return {}
    return {
        row["model"]: "ready" if row.get("state") == _READY else "cold"
        for row in rows
        if isinstance(row, dict) and isinstance(row.get("model"), str)
    }


def _kind(card: Json) -> str:
    """`model`, or one of the names that only lead to models; "" where it does not tell."""
    told = _meta(card).get("type")
    return told if isinstance(told, str) else ""


def _model(card: Json, running: dict[str, State]) -> Model:
    facts = Facts(context=as_count(card.get("context_length")))
    told = card.get("architecture")
    inputs = told.get("input_modalities") if isinstance(told, dict) else None
    if isinstance(inputs, list):
        facts.image, facts.audio, facts.video = ("image" in inputs, "audio" in inputs, "video" in inputs)
    able = card.get("capabilities")
    if isinstance(able, dict) and able.get("function_calling") is True:
        facts.tools = True
    aliases = _meta(card).get("aliases")
    names = [a for a in aliases if isinstance(a, str)] if isinstance(aliases, list) else []
    return Model(card["id"], names, facts, state=running.get(card["id"], "cold"))


def _meta(card: Json) -> Json:
    return as_object(as_object(card.get("meta")).get("llamaswap"))


class _Waiting:
    """A decoder that takes llama-swap's own words about a start for signs of life."""

    __slots__ = ("_buffer", "_decoder", "_over")

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._buffer = b""
        self._over = False

    def feed(self, data: bytes) -> list[Event]:
        if self._over:
            return self._decoder.feed(data)
        self._buffer = (self._buffer + data).lstrip(b"\n")
        waited = False
        while found := _WAITING.match(self._buffer):
            self._buffer = self._buffer[found.end() :]
            waited = True
        if self._buffer and not (_WAIT_BEGINS.startswith(self._buffer) or self._buffer.startswith(_WAIT_BEGINS)):
            self._over = True
            data, self._buffer = self._buffer, b""
            return self._decoder.feed(data)
        return [Progress(0, 0)] if waited else []

    def end(self) -> list[Event]:
        data, self._buffer = self._buffer, b""
        before = self._decoder.feed(data) if data else []
        return [*before, *self._decoder.end()]
