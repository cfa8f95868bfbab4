"""Ollama: chats by its own /api/chat, completions and embeddings by its OpenAI route. Read in its source (August 2026),
not run: no binary of it can be installed here.

- /api/tags lists everything that was pulled, /api/ps what is loaded and with how much context, /api/show what a model
  can do. The context in the model's card is not what it gets: that follows from the machine's memory.
- A model that is not loaded is loaded when it is asked for, which takes minutes; its answer waits for that.
- **A tag with a `remote_host` runs in Ollama's cloud**: it is left out, so that nothing leaves the machine unasked.
- **A prompt that is too long is cut in silence**, the oldest messages first, with status 200: so each chat says
  `truncate` and `shift` false. As older versions do not know them, what is likely to be too long for the loaded context
  is refused before, and an answer whose prompt has far fewer tokens than the request's text is an error.
- The OpenAI route would make a message of each content part, and drop `top_k` and its kin, forcing a temperature of 1:
  hence /api/chat. There all media of a message come before its text: said in the receipt where that moves one.
- Media as base64 without a type: pictures, and sound that is WAV or MP3 by its first bytes; no video. Models in MLX's
  format neither see nor hear, whatever the model could.
- There are no `tool_choice`, `n`, `parallel_tool_calls` and `logit_bias`. A schema goes as `format`.
- Thinking is on unless `think` is false; a degree or true is 400 for a model that can't think.
- The reply is JSON lines. An answer has no id, nor had its calls in older versions: they get some that differ from
  turn to turn. An error in a stream is a line of its own.
- A name's default tag is `latest`. Over 512 waiting requests: 503.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any, ClassVar

from gateway.backends import Call, Discovery, Model, Probe, Reply
from gateway.backends.base import HINTS, Json, OpenAIWire, one_text, post
from gateway.backends.wire.listing import cards, json_of, trouble
from gateway.backends.wire.prepare import Manner
from gateway.backends.wire.refusal import Signs
from gateway.backends.wire.values import as_count, as_object, as_text
from gateway.canonical.content import MODALITY, Audio, Image, Part, Text, ToolCall
from gateway.canonical.events import Answer, Event, Fault, PartStart, Start, Usage
from gateway.canonical.facts import Facts, Finding, Target
from gateway.canonical.needs import content_parts, needs_of
from gateway.canonical.requests import Chat, Completion, Request, ThinkingConfig
from gateway.dialects import Decoder
from gateway.dialects.ollama.answers import parse_answer
from gateway.dialects.ollama.requests import render_chat, render_think
from gateway.dialects.ollama.stream import ChatDecoder
from gateway.errors import ContextTooLong, UnsupportedParameter
from gateway.families.default import quantization

_MOST_MODELS = 64
_BYTES_A_TOKEN = 8
"""More than any usual text has."""
_SHORT = 4096
"""Octets of text below which nothing is concluded from the number of tokens."""
_NUM_CTX = re.compile(r"^num_ctx\s+([1-9]\d{0,8})\s*$", re.MULTILINE)
_NUMBERED = re.compile(r"(?:call_)?\d{1,4}")
_SIZE = re.compile(r"([\d.]+)\s*([KMBT])", re.IGNORECASE)
_UNITS = {"K": 1e-6, "M": 1e-3, "B": 1.0, "T": 1e3}
_CUT = "the prompt is longer than the context that this server gives it, and it would leave out the oldest messages"


class Backend(OpenAIWire):
    kind = "ollama"
    tier = 5
    slots = 1  # OLLAMA_NUM_PARALLEL is 1 unless it was set
    assumed = Facts(
        operations=frozenset({"chat", "completion"}),
        video=False,
        document=False,
        image_formats=frozenset({"image/png", "image/jpeg", "image/webp"}),
        audio_formats=frozenset({"audio/wav", "audio/mpeg"}),
        forced_tool="verified",
        json_schema="enforced",
        logprobs=True,
        choices=1,
        seed=True,
        prefill=False,
        audio_out=False,
        counts=False,
    )
    chat_path = "/api/chat"
    witness = "/"
    hints: ClassVar[Mapping[str, str]] = {
        **HINTS,
        "image": "pull a model that sees; the -mlx, -mxfp8 and -nvfp4 tags of one do not",
        "audio": "pull a GGUF tag of a model that hears: gemma4:e2b, gemma4:e4b or gemma4:12b",
        "video": "Ollama takes no video: use vLLM, llama.cpp or mlx-vlm",
        "tools": "pull a model that calls tools",
        "forced_tool": "pull a model that calls tools",
        "json_schema": "update Ollama",
        "logprobs": "update Ollama",
        "choices": "Ollama gives one choice: ask several times",
        "thinking": "pull a model that thinks",
        "prefill": "Ollama continues a begun answer for some models only",
        "context": "start Ollama with a larger OLLAMA_CONTEXT_LENGTH",
        **dict.fromkeys(("operation", "chat", "completion"), "pull a generating model"),
        "embedding": "pull an embedding model",
        "count_tokens": "Ollama has no way to count tokens",
    }
    manner = Manner(sampling=frozenset({"logit_bias"}), choosing=False, one_text=True)
    signs = Signs(
        context=re.compile(r"longer than the context length|exceeds the (?:available )?context|input length exceeds"),
        modality=re.compile(
            r"(?i)does not support (?:image|vision|audio|multimodal)|missing data required for (?:image|audio) input"
        ),
        gone=re.compile(r"not found, try pulling|model ['\"][^'\"]*['\"] not found"),
        client=re.compile(r"invalid message|invalid (?:image|input_audio)|failed to (?:process|decode) image"),
    )
    reasoning_field = "reasoning"
    health = "/api/version"

    def render(self, ready: Chat, manner: Manner) -> Json:
        return render_chat(ready, extras=manner.extras)

    def think(self, body: Json, thinking: ThinkingConfig, dropped: list[str]) -> None:
        asked = render_think(thinking)
        body["think"] = False if asked is None else asked
        if thinking.budget is not None:
            dropped.append("thinking_budget")

    def adapt(self, body: Json, request: Chat, facts: Facts, dropped: list[str]) -> None:
        if request.choices > 1:
            raise UnsupportedParameter("this server gives one choice", param="n")
        needs = needs_of(request)
        likely = (needs.text_size + needs.tools_size) // 4 + 8 * needs.messages
        if facts.context is not None and likely > facts.context:
            raise ContextTooLong(f"{_CUT}: about {likely} tokens for {facts.context}", param="messages")
        body["stream"] = body.pop("stream", False)
        body.pop("stream_options", None)
        body["truncate"] = body["shift"] = False

    def fates(self, request: Chat, facts: Facts) -> dict[int, str]:
        out = super().fates(request, facts)
        behind = {id(p) for m in request.messages for p in _behind_text(m.parts)}
        for number, part in enumerate(content_parts(request)):
            if id(part) in behind:
                out[number] = f"{MODALITY[type(part)]}>first"
        return out

    def adapt_completion(self, body: Json, request: Completion, facts: Facts, dropped: list[str]) -> None:
        one_text(body, request, dropped, ("echo",))
        if request.choices > 1:
            raise UnsupportedParameter("this server gives one choice", param="n")

    def build(self, request: Request, target: Target, facts: Facts) -> Call:
        call = super().build(request, target, facts)
        if isinstance(request, Chat):
            call.event_type = "application/x-ndjson"
        return call

    # --- answers

    def chat_decoder(self, choices: int) -> Decoder:
        return ChatDecoder()

    def parse_chat(self, body: Json) -> Answer:
        return parse_answer(body)

    def decoder(self, request: Request) -> Decoder:
        return _Checked(super().decoder(request), _mark(request), _least(request))

    def read(self, request: Request, body: Any) -> Answer | Json:
        answer = super().read(request, body)
        if isinstance(answer, Answer):
            ids = _Ids(_mark(request))
            answer.id = ids.answer(answer.id, answer.created)
            for part in (p for c in answer.choices for p in c.parts):
                if isinstance(part, ToolCall):
                    part.id = ids.call(part.id)
            if answer.usage is not None and _was_cut(answer.usage, _least(request)):
                raise ContextTooLong(_CUT, param="messages")
        return answer

    # --- probing

    def claims(self, models: Reply) -> bool:
        """What it pulled belongs to `library`. With nothing pulled its list is null."""
        told = json_of(models)
        if isinstance(told, dict) and told.get("object") == "list" and "data" in told and told["data"] is None:
            return True
        return any(c.get("owned_by") == "library" for c in cards(models) or ())

    def admits(self, reply: Reply) -> bool:
        """What it pulled from elsewhere belongs to others (`hf.co/...`): then its front page tells."""
        return reply.status == 200 and reply.body.strip() == b"Ollama is running"

    def probe(self) -> Probe:
        listed = yield Call("GET", "/api/tags")
        told = json_of(listed)
        tags = told.get("models") if isinstance(told, dict) else None
        if not isinstance(tags, list):
            return trouble(listed, "/api/tags")
        version = json_of((yield Call("GET", "/api/version")))
        number = as_text(as_object(version).get("version"))
        loaded = _loaded((yield Call("GET", "/api/ps")))
        mine = [t for t in tags if isinstance(t, dict) and isinstance(t.get("name"), str) and not t.get("remote_host")]
        away = len(tags) - len(mine)
        detail = f"{away} models that run in Ollama's cloud are left out" if away else ""
        if not mine:
            return Discovery("down", detail=detail or "it has no models: `ollama pull gemma4:e4b`")
        models = []
        for tag in mine[:_MOST_MODELS]:
            models += [(yield from _model(tag, loaded, number))]
        findings = [Finding("cloud-models", detail, "run `ollama rm` on them, or leave them")] if detail else []
        return Discovery("ready", models, number, detail, findings)


def _loaded(reply: Reply) -> dict[str, int | None]:
    """The models that are in memory -> the context that each has."""
    told = json_of(reply)
    rows = told.get("models") if isinstance(told, dict) else None
    if not isinstance(rows, list):
        return {}
    return {
        r["name"]: as_count(r.get("context_length")) for r in rows if isinstance(r, dict) and as_text(r.get("name"))
    }


def _model(tag: Json, loaded: dict[str, int | None], version: str) -> Generator[Call, Reply, Model]:
    name: str = tag["name"]
    told = json_of((yield post("/api/show", {"model": name})))
    shown = told if isinstance(told, dict) else {}
    details = {**as_object(tag.get("details")), **as_object(shown.get("details"))}
    gguf = details.get("format") == "gguf"
    facts = Facts(
        quantization=quantization(
            as_text(details.get("quantization_level")), name, container="gguf" if gguf else "mlx"
        ),
        size=_billions(as_text(details.get("parameter_size"))),
        version=version or None,
    )
    able = shown.get("capabilities")
    if isinstance(able, list):
        facts.image, facts.audio, facts.tools, facts.thinking = (
            name in able for name in ("vision", "audio", "tools", "thinking")
        )
        if not gguf:
            facts.image = facts.audio = False
        if not facts.tools:
            facts.forced_tool = "ignored"
        operations = {"chat", "completion"} if "completion" in able else set()
        facts.operations = frozenset(operations | ({"embedding"} if "embedding" in able else set()))
    if name in loaded:
        facts.context = loaded[name]
    elif asked := _NUM_CTX.search(as_text(shown.get("parameters"))):
        facts.context = int(asked[1])
    aliases = [name.removesuffix(":latest")] if name.endswith(":latest") else []
    return Model(name, aliases, facts, state="ready" if name in loaded else "cold")


class _Checked:
    """A decoder that makes ids unique, and notices that the prompt was cut."""

    __slots__ = ("_decoder", "_ids", "_least")

    def __init__(self, decoder: Decoder, mark: str, least: int) -> None:
        self._decoder = decoder
        self._ids = _Ids(mark)
        self._least = least

    def feed(self, data: bytes) -> list[Event]:
        return self._look(self._decoder.feed(data))

    def end(self) -> list[Event]:
        return self._look(self._decoder.end())

    def _look(self, events: list[Event]) -> list[Event]:
        for i, e in enumerate(events):
            if isinstance(e, Start):
                events = [*events[:i], replace(e, id=self._ids.answer(e.id, e.created)), *events[i + 1 :]]
            elif isinstance(e, PartStart) and e.kind == "tool_call":
                events = [*events[:i], replace(e, id=self._ids.call(e.id)), *events[i + 1 :]]
            elif isinstance(e, Usage) and _was_cut(e, self._least):
                return [*events[:i], Fault(ContextTooLong.code, _CUT, 400, "messages")]
        return events


class _Ids:
    """Ids of one answer. `mark` tells its request apart from others."""

    __slots__ = ("_mark", "_taken")

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._taken: set[str] = set()

    def answer(self, given: str, created: int | None) -> str:
        return f"{given or 'chatcmpl'}-{created or 0:x}{self._mark}"

    def call(self, given: str) -> str:
        """The server's own id, unless it is none or one that comes again in each turn."""
        unique = given and given not in self._taken and not _NUMBERED.fullmatch(given)
        made = given if unique else f"call_{self._mark}_{len(self._taken)}"
        self._taken.add(made)
        return made


def _least(request: Request) -> int:
    """Tokens that the prompt has for certain; 0 where its text is too short to tell."""
    if not isinstance(request, Chat | Completion):
        return 0
    size = needs_of(request).text_size
    return size // _BYTES_A_TOKEN if size >= _SHORT else 0


def _was_cut(usage: Usage, least: int) -> bool:
    return usage.input is not None and usage.input < least


def _mark(request: Request) -> str:
    """Tells requests apart, without chance: a hash of the last words."""
    digest = blake2b(digest_size=6)
    if isinstance(request, Chat):
        for message in request.messages[-4:]:
            for part in message.parts:
                if isinstance(part, Text | ToolCall):
                    said = part.text if isinstance(part, Text) else part.arguments
                    digest.update(said.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _behind_text(parts: list[Part]) -> list[Part]:
    """The media of a message that come after a text of it."""
    first = next((i for i, p in enumerate(parts) if isinstance(p, Text)), len(parts))
    return [p for p in parts[first:] if isinstance(p, Image | Audio)]


def _billions(text: str) -> float | None:
    found = _SIZE.match(text)
    return float(found[1]) * _UNITS[found[2].upper()] if found and found[1].count(".") < 2 and found[1] != "." else None
