"""llama.cpp's server (`llama-server`, and the same server in wheels). Measured on b11434 and b11549.

- Any `model` is served, also an unknown one; in router mode (no model given at start) an unknown one is 400, not 404.
- Thinking is on unless told otherwise; the switch must be a boolean, a string is 400.
- A named tool choice is ignored without a word, `required` is enforced by a grammar: only that tool, and `required`.
- Tools together with a schema: the schema wins and no tool can be called. Tools with logprobs in a stream: 400.
- It looks for the client of a whole answer only when nothing happened in any slot for a second, for that of a stream at
  every token: so all is asked for as a stream. One thing is not: a whole chat with logprobs, which a stream loses for
  tokens that show no text of their own (the last one, marks of a thought). Such an answer can't be cancelled at once.
- With `n`, each choice of a stream brings a usage of its own, in the order in which they end; they are added up. A
  whole answer counts its first choice only.
- A begun answer (prefill) is repeated by a whole answer, not by a stream.
- Media: pictures by a data: URL of type image/*, sound as `input_audio` (wav and mp3, known by their first bytes),
  video as `video_url` where ffmpeg is installed; frames only, no sound. A URL would be fetched by the server itself.
- A medium that it can't take at all is 500, as are a bad schema and arguments that are no JSON: the client's fault.
- `/v1/completions` takes one text; more prompts or token ids are 400, and `suffix` and `echo` are ignored.
- `n` is at most the number of slots. Header `X-Conversation-Id` makes an answer outlive its client: it is never sent.
- While its only model loads every route answers 503: it is left alone until it is ready. GETs do not wake a server that
  sleeps.
- /slots tells which slots work, /metrics (off by default: 501) how many requests wait for one. They go through the same
  queue as requests, so they may be late. A scrape of /metrics starts its averages anew, which are the operator's: it is
  asked only when no slot is free.
- Router mode: each model has a state of its own (downloading, unloaded, loading, loaded, sleeping); a request loads its
  model, may drop the one that was used least, and waits until it is loaded, also where another one began that: so one
  that loads is cold, not 503 (`ensure_model_ready` in tools/server/server-models.cpp). With --no-models-autoload
  (`models_autoload` in /props) nothing waits: an unloaded model is 400, one that loads 503. /props, /slots and /metrics
  are asked for one model by `?model=`, and `autoload=false` keeps that from loading it. A model's `args` hold paths and
  ports. Whether it takes video is listed only once it is loaded.
- Without a projector (--mmproj) a model that sees and hears reads text only: noticed, and said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar
from urllib.parse import quote

from gateway.backends import Busyness, Call, Discovery, Load, Model, Probe, Reply
from gateway.backends.base import HINTS, JSON, Json, OpenAIWire, keep, number_in, one_text, post, think_by_template
from gateway.backends.wire.gauges import gauge
from gateway.backends.wire.listing import cards, json_of, trouble
from gateway.backends.wire.prepare import Manner, words
from gateway.backends.wire.refusal import Signs
from gateway.backends.wire.values import as_count, as_object, as_text
from gateway.canonical.events import Event, Usage
from gateway.canonical.facts import Facts, Finding, State, Target, shown_model
from gateway.canonical.requests import Chat, Completion, CountTokens, Request, ThinkingConfig
from gateway.dialects import Decoder
from gateway.errors import UnsupportedParameter
from gateway.families import identify
from gateway.families.default import quantization

_EXTRAS = words(
    "chat_template_kwargs grammar cache_prompt ignore_eos min_keep post_sampling_probs timings_per_token "
    "typical_p tfs_z top_n_sigma mirostat mirostat_tau mirostat_eta repeat_last_n samplers dynatemp_range "
    "dynatemp_exponent xtc_probability xtc_threshold dry_multiplier dry_base dry_allowed_length dry_penalty_last_n "
    "dry_sequence_breakers t_max_predict_ms embd_normalize"
)

_STATES: dict[str, State] = {"loaded": "ready", "sleeping": "cold", "downloading": "loading"}
"""`status.value` of a router's model -> state, of those that do not depend on how the router was started."""

_THINKS = re.compile(r"enable_thinking|reasoning_effort|reasoning_content|<think")
_NEW_TEMPLATE = "{#- OpenAI Chat Completions:"
"""Stands in Gemma 4's own template since July 2026."""
_SOME = {"embedding": "/v1/embeddings", "rerank": "/v1/rerank", "infill": "/infill"}
"""What only some of them do: to an empty request the others answer 501."""
_SMALLEST = 1_000_000
"""Parameters. Nothing with fewer can mean what it says: it is a stand-in for tests."""


class Backend(OpenAIWire):
    kind = "llamacpp"
    names_itself = True
    reads_thoughts = True
    always_streams = True
    tier = 1
    slots = 4
    assumed = Facts(
        operations=frozenset({"chat", "completion", "count_tokens"}),
        video_sound=False,
        splits_sound=True,
        document=False,
        image_formats=frozenset({"image/png", "image/jpeg", "image/gif", "image/bmp"}),
        audio_formats=frozenset({"audio/wav", "audio/mpeg"}),
        video_formats=frozenset(
            {"video/mp4", "video/quicktime", "video/webm", "video/x-matroska", "video/x-msvideo", "video/mpeg"}
        ),
        forced_tool="enforced",
        json_schema="enforced",
        logprobs=True,
        seed=True,
        prefill=True,
        audio_out=False,
        counts=True,
    )
    hints: ClassVar[Mapping[str, str]] = {
        **HINTS,
        "image": "start llama-server with --mmproj FILE, or with -hf, which fetches the projector",
        "audio": "start llama-server with --mmproj FILE of a model that hears",
        "video": "start llama-server with --mmproj FILE; a build with video and ffmpeg in its PATH is needed",
        "moe_quantization": "start llama-server with -hf google/gemma-4-26B-A4B-it-qat-q4_0-gguf",
        "tools": "use a model whose chat template has tools, or give one with --chat-template-file; not --no-jinja",
        "forced_tool": "use a model whose chat template has tools",
        "json_schema": "update llama.cpp",
        "logprobs": "update llama.cpp",
        "choices": "start llama-server with -np N: it gives at most as many choices as it has slots",
        "thinking": "use a model whose chat template can think; not --reasoning off",
        "prefill": "start llama-server without --no-prefill-assistant",
        "context": "start llama-server with a larger -c N; it is divided by -np",
        "embedding": "start llama-server with --embeddings and a --pooling other than none",
        "rerank": "start llama-server with --reranking and a model that is made for it",
        "infill": "serve a model that has tokens for filling in the middle",
        **dict.fromkeys(("operation", "chat", "completion"), "serve a generating model"),
        "count_tokens": "update llama.cpp: it needs POST /v1/chat/completions/input_tokens",
    }
    manner = Manner(extras=_EXTRAS, named_as_required=True)
    signs = Signs(
        context=re.compile(
            r"exceed_context_size_error|exceeds the available context size|Context size has been exceeded"
            r"|input is too large to process"
        ),
        modality=re.compile(r"(?:image|audio|video) input is not supported"),
        medium=re.compile(r"Failed to load image or audio file|Invalid (?:uri-encoded )?base64"),
        gone=re.compile(r"model '[^']*' not found|model is not loaded|model name is missing"),
        client=re.compile(
            r"(?i)JSON schema error|While executing \w+ at line|jinja|parse error|failed to parse|json\.exception"
            r"|Invalid base64|cannot make GET request|requires --jinja|is not supported|unsupported content"
            r"|Failed to load image"
        ),
    )
    reasoning_field = "reasoning_content"

    def think(self, body: Json, thinking: ThinkingConfig, dropped: list[str]) -> None:
        think_by_template(body, thinking, dropped, budgets=True)
        if thinking.enabled and thinking.effort is not None:
            body["chat_template_kwargs"]["reasoning_effort"] = thinking.effort  # for templates that know degrees
        if thinking.enabled and thinking.budget:
            body["reasoning_budget_tokens"] = thinking.budget

    def streams(self, request: Chat | Completion) -> bool:
        loses = isinstance(request, Chat) and request.logprobs
        return request.stream or (self.always_streams and not loses)

    def decoder(self, request: Request) -> Decoder:
        decoder = super().decoder(request)
        return _AddedUsage(decoder) if isinstance(request, Chat | Completion) and request.choices > 1 else decoder

    def adapt(self, body: Json, request: Chat, facts: Facts, dropped: list[str]) -> None:
        slots = facts.choices or facts.slots
        if slots is not None and request.choices > slots:
            raise UnsupportedParameter(f"this server gives at most {slots} choices", param="n")
        if "structured_outputs" in body:
            choices = body.pop("structured_outputs")["choice"]
            body["grammar"] = "root ::= " + " | ".join(json.dumps(c, ensure_ascii=False) for c in choices)
        tools = "tools" in body and body.get("tool_choice") != "none"
        if tools and "response_format" in body:
            raise UnsupportedParameter(
                "this server can't call tools while it keeps to a format: ask for one of the two",
                param="response_format",
            )
        if tools and "grammar" in body:
            raise UnsupportedParameter("this server can't call tools while it keeps to a grammar", param="grammar")
        if "tools" in body and request.logprobs and "stream" in body:
            raise UnsupportedParameter("this server gives no logprobs in a stream with tools", param="logprobs")
        if "repetition_penalty" in body:
            body["repeat_penalty"] = body.pop("repetition_penalty")
        if "stream" in body:
            body["return_progress"] = True

    def adapt_completion(self, body: Json, request: Completion, facts: Facts, dropped: list[str]) -> None:
        one_text(body, request, dropped, ("suffix", "echo"))
        if "repetition_penalty" in body:
            body["repeat_penalty"] = body.pop("repetition_penalty")
        if "stream" in body:
            body["return_progress"] = True

    def count(self, request: CountTokens, target: Target, facts: Facts) -> Call | None:
        body = self._chat_body(request.chat, target, facts, [])
        return post(
            "/v1/chat/completions/input_tokens", keep(body, "model", "messages", "tools", "chat_template_kwargs")
        )

    def read_count(self, body: Any) -> int:
        return number_in(body, "input_tokens")

    def claims(self, models: Reply) -> bool:
        """Its name stands in a header, also while it loads or wants a key."""
        if models.headers.get("server", "").startswith("llama.cpp"):
            return True
        return any(c.get("owned_by") == "llamacpp" for c in cards(models) or ())

    def probe(self) -> Probe:
        listed = yield Call("GET", "/v1/models")
        found = cards(listed)
        if not found:
            return trouble(listed)
        told = yield Call("GET", "/props")
        if told.status == 503:
            return trouble(told)  # while it loads it lists its model already
        props = json_of(told)
        if not isinstance(props, dict):
            return Discovery("ready", [_model(c, {}) for c in found], detail="it has no /props: its facts are guesses")
        version = as_text(props.get("build_info"))
        if version.startswith("b0-"):
            version = ""  # built outside of its own repository: it does not know
        if props.get("role") == "router":
            on_demand = props.get("models_autoload") is not False
            models, findings = [], _unloaded(found, on_demand)
            for card in found:
                state = _state(card, on_demand)
                asked = json_of((yield Call("GET", f"/props?{_of(card['id'])}"))) if state == "ready" else None
                own = as_object(asked)
                models += [_routed(card, own, state)]
                findings += _old_template(models[-1], as_text(own.get("chat_template")))
            return Discovery("ready", models, version, _blind(models), findings)
        alone: State = "cold" if props.get("is_sleeping") is True else "ready"
        model = _model(found[0], props)
        model.state = alone
        model.facts.version = version or None
        if alone == "ready":  # a POST would wake a sleeping one
            operations = {"chat", "completion", "count_tokens"}
            for operation, path in _SOME.items():
                reply = yield Call("POST", path, [b"{}"], dict(JSON))
                if reply.status == 400 and b"ooling type" not in reply.body:
                    operations.add(operation)
            model.facts.operations = frozenset(operations)
        return Discovery(
            alone, [model], version, _blind([model]), _old_template(model, as_text(props.get("chat_template")))
        )

    def busy(self, model: str) -> Busyness:
        slots = json_of((yield Call("GET", f"/slots?{_of(model)}")))
        at_work = (
            [s.get("is_processing") is True for s in slots if isinstance(s, dict)] if isinstance(slots, list) else []
        )
        if not all(at_work):
            return Load(sum(at_work), 0)  # nobody waits while a slot is free
        metrics = yield Call("GET", f"/metrics?{_of(model)}")
        running, waiting = (gauge(metrics, f"llamacpp:requests_{what}") for what in ("processing", "deferred"))
        if running is None and not at_work:
            return None
        return Load(len(at_work) or int(running or 0), None if waiting is None else int(waiting))


class _AddedUsage:
    """A decoder of several choices: each Usage tells of all choices that have ended. The prompt was read once; what the
    later choices have of it from the first one was never in the cache before."""

    __slots__ = ("_decoder", "_sum")

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._sum: Usage | None = None

    def feed(self, data: bytes) -> list[Event]:
        return [self._add(e) if isinstance(e, Usage) else e for e in self._decoder.feed(data)]

    def end(self) -> list[Event]:
        return [self._add(e) if isinstance(e, Usage) else e for e in self._decoder.end()]

    def _add(self, e: Usage) -> Usage:
        if self._sum is not None and e.output is not None:
            cached = [c for c in (self._sum.cached, e.cached) if c is not None]
            e = replace(e, output=(self._sum.output or 0) + e.output, cached=min(cached, default=None))
        self._sum = e
        return e


def _model(card: Json, props: Json) -> Model:
    """The one model of a server: its card in /v1/models, and /props."""
    meta, settings, caps = (
        as_object(x)
        for x in (card.get("meta"), props.get("default_generation_settings"), props.get("chat_template_caps"))
    )
    path = as_text(props.get("model_path"))
    facts = Facts(
        context=as_count(settings.get("n_ctx")) or as_count(meta.get("n_ctx")),
        slots=as_count(props.get("total_slots")),
        choices=as_count(props.get("total_slots")),
        quantization=quantization(
            as_text(props.get("model_ftype")) or as_text(meta.get("ftype")), path, container="gguf"
        ),
    )
    _modalities(facts, card, as_object(props.get("modalities")))
    if caps:
        facts.tools = caps.get("supports_tool_calls") is True or caps.get("supports_tools") is True
        if not facts.tools:
            facts.forced_tool = "ignored"
    template = as_text(props.get("chat_template"))
    if template:
        facts.thinking = _THINKS.search(template) is not None
    parameters = meta.get("n_params")
    if isinstance(parameters, int) and parameters > 0:
        facts.size = parameters / 1e9
        facts.fixture = parameters < _SMALLEST or None
    return Model(card["id"], _aliases(card), facts, root=path)


def _state(card: Json, on_demand: bool) -> State:
    """The state of a router's model; `on_demand`: a request loads it, and waits for that."""
    status = as_object(card.get("status"))
    value = as_text(status.get("value"))
    if status.get("failed"):
        return "down"
    if value in _STATES:
        return _STATES[value]
    if on_demand:
        return "cold"
    return "loading" if value == "loading" else "down"


def _unloaded(found: list[Json], on_demand: bool) -> list[Finding]:
    """Models of a router that it has not loaded, and will not when a request comes."""
    out = []
    for card in found:
        if _state(card, on_demand) != "down":
            continue
        if as_object(card.get("status")).get("failed"):
            text = "the router tried to load it, and it ended with an error"
            fix = "look into llama-server's log; POST /models/load tries again"
            out.append(Finding("failed-model", text, fix, card["id"]))
        else:
            fix = "start llama-server without --no-models-autoload, or load it: POST /models/load"
            out.append(Finding("not-loaded", "it is not loaded, and no request loads it", fix, card["id"]))
    return out


def _routed(card: Json, props: Json, state: State) -> Model:
    """A model of a router, which loads it when it is asked for; `props` are its own once it is loaded. Its arguments
    hold paths and ports: not for clients."""
    model = _model(card, props)
    model.state = state
    if model.state != "ready" and model.facts.image:
        model.facts.video = None
    arguments = as_object(card.get("status")).get("args")
    if isinstance(arguments, list):
        facts = model.facts
        told = _argument(arguments, "--model", "-m", "-hf")
        model.root = told if isinstance(told, str) else ""
        if facts.slots is None:
            facts.slots = facts.choices = _number(_argument(arguments, "--parallel", "-np"))
        if facts.context is None and (size := _number(_argument(arguments, "--ctx-size", "-c"))):
            facts.context = size // (facts.slots or 1)
        if facts.quantization is None:
            facts.quantization = quantization(model.root, container="gguf")
    return model


def _argument(arguments: list[Any], *names: str) -> Any:
    return next((b for a, b in pairwise(arguments) if a in names), None)


def _number(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and re.fullmatch(r"[1-9]\d{0,8}", text) else None


def _of(model: str) -> str:
    """The part of an address that asks a router about one model without loading it; any other server ignores it."""
    return f"model={quote(model, safe='')}&autoload=false"


def _blind(models: list[Model]) -> str:
    """What to tell the operator about models that could see if they had a projector."""
    names = [
        shown_model(m.id)
        for m in models
        if m.facts.image is False and m.facts.audio is False and identify(m.id, m.root).image and not m.facts.fixture
    ]
    if not names:
        return ""
    return f"no projector: {', '.join(names)} could see; start it with --mmproj FILE, or with -hf, which fetches it"


def _old_template(model: Model, template: str) -> list[Finding]:
    """Gemma 4's template before July 2026 closes the model's turn too early and matches results to calls by position.
    https://github.com/ggml-org/llama.cpp/pull/21760"""
    if identify(model.id, model.root).family != "gemma4" or not template or _NEW_TEMPLATE in template:
        return []
    text = "its chat template is older than July 2026: answers behind tool results may be empty or leak thoughts"
    return [Finding("old-template", text, "use a newer GGUF, or --chat-template-file with the model's own", model.id)]


def _modalities(facts: Facts, card: Json, told: Json) -> None:
    """From `architecture.input_modalities`, or from the `modalities` of /props, which older builds have alone."""
    listed = as_object(card.get("architecture")).get("input_modalities")
    if isinstance(listed, list):
        facts.image, facts.audio, facts.video = ("image" in listed, "audio" in listed, "video" in listed)
    elif told:
        facts.image, facts.audio, facts.video = (told.get(k) is True for k in ("vision", "audio", "video"))


def _aliases(card: Json) -> list[str]:
    aliases = card.get("aliases")
    return [a for a in aliases if isinstance(a, str) and a != card["id"]] if isinstance(aliases, list) else []
