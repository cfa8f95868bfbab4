"""mlx-lm's server (`mlx_lm.server`). Measured on 0.32.2 (Linux, CPU), and its source read.

- Text only: a medium is 404 "Only 'text' content type is supported". Texts of one message are glued without a gap.
- **It loads whatever `model` names**, downloads it first if it must, and drops the one that it had. So it gets no name
  but one that it lists, or `default_model`, which is the one that it was started with. /v1/models lists the complete
  repositories of the hub's cache (only those in several files) and, last, a local `--model` by its absolute path; which
  of them is loaded it does not say. Without a cache folder that route breaks off after its headers.
- It speaks HTTP/1.0: a request needs `Content-Length` (else 411), a reply ends with its connection.
- A whole answer goes on when its client has left, a stream stops at its next token: it is always asked for a stream. In
  a stream it gives no logprobs.
- It listens before it has loaded, /health says `ok` meanwhile: one token is asked of it before it counts as ready.
- `stop` takes the text out of the answer and goes on; `n`, `tool_choice`, `response_format` and `reasoning_effort` are
  ignored without a word. A prompt that is longer than the context is taken all the same.
- Thinking is on unless told otherwise (`chat_template_kwargs`); thoughts come and are read as `reasoning`.
- An explicit null is 400; so is `top_logprobs` 0. `stream_options` without `include_usage` ends the stream without
  [DONE]. `adapters` and `draft_model` are paths that it would load: never sent.
- A call comes in one piece when it is complete; one that can't be parsed is left out. Arguments of past calls must be
  JSON. Errors are `{"error": "text"}`, nearly all of them 404.
- It continues no begun answer, has no tokenizer route and no metrics.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from typing import ClassVar

from gateway.backends import Call, Discovery, Model, Probe, Reply
from gateway.backends.base import HINTS, Json, OpenAIWire, one_text, post, think_by_template
from gateway.backends.wire import refusal
from gateway.backends.wire.listing import cards, trouble
from gateway.backends.wire.prepare import Manner, words
from gateway.backends.wire.refusal import Signs
from gateway.backends.wire.scrub import scrub
from gateway.canonical.facts import Facts, Finding, Target, shown_model
from gateway.canonical.requests import Chat, Completion, ThinkingConfig
from gateway.errors import GatewayError, ModelGone, UnsupportedParameter, UpstreamUnavailable
from gateway.families.default import quantization

DEFAULT = "default_model"
"""Its own word for the model that it was started with."""

_EXTRAS = words(
    "chat_template_kwargs repetition_context_size presence_context_size frequency_context_size xtc_probability "
    "xtc_threshold num_draft_tokens"
)
_TEXT = "mlx-lm reads text only: serve this model with mlx-vlm instead"
_LOADING = "it has not given its first token yet: it is loading its model, or busy"
_CARD = {"id", "object", "created"}


class Backend(OpenAIWire):
    kind = "mlx_lm"
    tier = 4
    slots = 8
    always_streams = True
    stops_itself = False
    assumed = Facts(
        operations=frozenset({"chat", "completion"}),
        image=False,
        audio=False,
        video=False,
        document=False,
        tools=True,
        forced_tool="verified",
        json_schema="verified",
        logprobs=False,
        choices=1,
        seed=True,
        prefill=False,
        audio_out=False,
        counts=False,
    )
    hints: ClassVar[Mapping[str, str]] = {
        **HINTS,
        **dict.fromkeys(("image", "audio", "video"), _TEXT),
        "tools": "serve a model whose chat template has tools",
        "forced_tool": "serve a model whose chat template has tools",
        "json_schema": "mlx-lm has no constrained output: use a server that has",
        "logprobs": "mlx-lm gives no logprobs in a stream, and whole answers of it can't be called off",
        "choices": "mlx-lm gives one choice: ask several times",
        "thinking": "serve a model whose chat template can think",
        "prefill": "mlx-lm begins every answer anew",
        "context": "serve a model with more context, and say it in `facts: {context: N}`: mlx-lm does not tell",
        **dict.fromkeys(("operation", "chat", "completion"), "serve a generating model"),
        "embedding": "mlx-lm has no embeddings",
        "count_tokens": "mlx-lm has no way to count tokens",
    }
    manner = Manner(extras=_EXTRAS, choosing=False, one_text=True)
    signs = Signs(
        modality=re.compile(r"Only 'text' content type is supported"),
        gone=re.compile(r"cached snapshot folder|Repository Not Found|is not a (?:local folder|valid model)"),
        dead=re.compile(r"generation thread"),
    )
    reasoning_field = "reasoning"
    unready = "down"  # its /health says 503 when the thread that generates has died

    def called(self, target: Target) -> str:
        """Only a repository of the hub has a `/` in its name; anything else is what it was started with, and by a path
        written otherwise it would load the same once more."""
        name = target.model
        return name if "/" in name and not name.startswith(("/", "~", ".")) and "\\" not in name else DEFAULT

    def think(self, body: Json, thinking: ThinkingConfig, dropped: list[str]) -> None:
        think_by_template(body, thinking, dropped)

    def adapt(self, body: Json, request: Chat, facts: Facts, dropped: list[str]) -> None:
        if request.choices > 1:
            raise UnsupportedParameter("this server gives one choice", param="n")
        if request.logprobs:
            raise UnsupportedParameter("this server gives no logprobs in a stream", param="logprobs")
        _fit(body)

    def adapt_completion(self, body: Json, request: Completion, facts: Facts, dropped: list[str]) -> None:
        one_text(body, request, dropped, ("suffix", "echo"))
        if request.choices > 1:
            raise UnsupportedParameter("this server gives one choice", param="n")
        if request.logprobs is not None:
            raise UnsupportedParameter("this server gives no logprobs in a stream", param="logprobs")
        _fit(body)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """Its 404 is for everything that goes wrong before the first token: the words tell. Only an unknown route has
        no JSON."""
        said = refusal.read(body)
        own = bool(said.message) and not said.html and said.param is None and said.message != "Not Found"
        if status != 404 or not own:
            return super().refusal(status, headers, body)
        if self.signs.dead.search(said.message):
            return UpstreamUnavailable("the model server's generation thread has died")
        if self.signs.gone.search(said.message):
            return ModelGone("the model server can't load the model that it listed")
        return refusal.error_for(400, headers, said, self.signs)

    def claims(self, models: Reply) -> bool:
        """Python's own HTTP server, and cards with nothing on them."""
        listed = cards(models)
        plain = listed is not None and all(set(c) == _CARD for c in listed)
        return plain and models.headers.get("server", "").startswith("BaseHTTP/")

    def probe(self) -> Probe:
        listed = yield Call("GET", "/v1/models")
        found = cards(listed)
        if found is None:
            health = yield Call("GET", "/health")
            if listed.status not in (0, 200) or health.status != 200 or refusal.read(health.body).html:
                return trouble(listed)
            found = []  # it has no cache folder, and its list breaks off
        paths = [c for c in found if c["id"].startswith("/")]
        known = paths[-1:] or found
        if len(known) > 1:
            detail = (
                f"it lists the {len(known)} models of its cache and not the one that it has loaded: name one in "
                "`model:` of a target, or start it with a local path as --model"
            )
            findings = [Finding("which-model", detail, "start it with --model PATH")]
            return Discovery("ready", [_model(c["id"], cold=True) for c in known], "", detail, findings)
        model = _model(known[0]["id"] if known else DEFAULT)
        detail = (
            "" if known else "it does not say which model it serves: say `variant` and `quantization` of the backend"
        )
        warm = yield from _warm(self.called(Target("", self.kind, model.id)))
        if warm is not None:
            return warm
        return Discovery("ready", [model], detail=detail)


def _warm(model: str) -> Generator[Call, Reply, Discovery | None]:
    """Asks for one token. None = it came; else what is the matter."""
    reply = yield post(
        "/v1/chat/completions",
        {
            "model": model,
            "messages": [{"role": "user", "content": "x"}],
            "chat_template_kwargs": {"enable_thinking": False},
            "max_tokens": 1,
            "stream": True,
        },
    )
    if reply.status == 200:
        return None
    if reply.status == 0:
        return Discovery("loading", detail=_LOADING)
    said = scrub(refusal.read(reply.body).message)[:200]
    return Discovery("down", detail=f"its first token failed: {said}" if said else "its first token failed")


def _fit(body: Json) -> None:
    """The types that it insists on."""
    for key in ("xtc_probability", "xtc_threshold"):
        if isinstance(body.get(key), int):
            body[key] = float(body[key])


def _model(name: str, cold: bool = False) -> Model:
    """A local model goes by the last component of its path: where it lies is nobody's business."""
    path = name if name.startswith("/") else ""
    facts = Facts(quantization=quantization(name, container="mlx"))
    return Model(shown_model(name), [], facts, state="cold" if cold else "ready", root=path)
