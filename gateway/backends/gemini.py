"""Google's Gemini API with its native `generateContent`: hosted Gemma and Gemini models, and private servers that speak
it too (gemma.cpp's). Read in documentation and reports; no live endpoint was asked.

- The key travels as `x-goog-api-key`, never in a URL. A private `url` needs none.
- Hosted Gemma 4 is 31B and 26B-A4B: text and pictures, no sound, no video. `thinkingBudget` is 400, of the levels it
  takes minimal and high; it thinks unless told minimal, and sends its thoughts even when told not to.
- Gemma up to 3 has no system role: the instructions open the user's first turn.
- Ids of calls are an unknown field, and 400, for models before Gemini 3. Gemini 3 refuses past calls without the
  signature that it gave them; one that was lost is replaced by the word for that.
- Whether a model takes JSON Schema as it is, or the older form only, is seen from its 400: that error tells what it
  taught (`learned`), for the next attempt.
- A stream ends with its connection, and says STOP on every chunk. Overload is 429 with RetryInfo, or 503.
Sources: https://ai.google.dev/api, https://ai.google.dev/gemma/docs/core/gemma_on_gemini_api,
https://github.com/google/gemma.cpp/blob/main/API_SERVER_README.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote

import msgspec

from gateway.backends import Busyness, Call, Discovery, Liveness, Model, Place, Probe, Reply
from gateway.backends.base import HINTS, Json, number_in, post
from gateway.backends.wire import refusal
from gateway.backends.wire.generate import foreign, many_stops, ready
from gateway.backends.wire.listing import alive_state, json_of
from gateway.backends.wire.refusal import Signs
from gateway.backends.wire.scrub import scrub
from gateway.backends.wire.stopping import Stopping
from gateway.canonical.events import Answer
from gateway.canonical.facts import Facts, Target
from gateway.canonical.requests import (
    Chat,
    Completion,
    CountTokens,
    Embedding,
    Relayed,
    Request,
    Transcription,
)
from gateway.dialects import Decoder
from gateway.dialects.gemini import decoder, embeddings, requests
from gateway.dialects.gemini.decoder import StreamDecoder
from gateway.dialects.gemini.errors import error_object, read_error
from gateway.dialects.gemini.models import name_facts, receiver_of
from gateway.errors import (
    BadCredentials,
    BadResponse,
    GatewayError,
    NeedsOtherForm,
    NotImplementedHere,
    UpstreamRefused,
)
from gateway.filters.stop import Stop

API: Final = "/v1beta"
_PAGES: Final = 10

_LADDER: Final[tuple[tuple[re.Pattern[str], dict[str, Any]], ...]] = (
    (re.compile(r"Unknown name \"id\" at '[^']{0,120}function_?(?:call|response)", re.IGNORECASE), {"call_ids": False}),
    (
        re.compile(
            r"Unknown name \"(?:parameters|response)_?json_?schema\"|(?:parameters|response)_?json_?schema[^.]{0,80}"
            r"not (?:supported|enabled)|json schema is not enabled",
            re.IGNORECASE,
        ),
        {"schema_form": "openapi"},
    ),
    (
        re.compile(r"function_?declarations?\[?\d*\]?[^.]{0,80}parameters[^.]{0,80}schema", re.IGNORECASE),
        {"schema_form": "openapi"},
    ),
    (re.compile(r"missing a thought_?signature", re.IGNORECASE), {"call_signatures": True}),
    (re.compile(r"thinking level is not supported", re.IGNORECASE), {"thinking_levels": frozenset()}),
    (re.compile(r"thinking budget is not supported", re.IGNORECASE), {"thinking_budget": False}),
)
"""What a 400 says of the form that the model wants -> what that teaches."""


PROVIDER = "gcp.gemini"
ENVIRONMENT = ("google", "GEMINI_API_KEY")
"""The name that it has where no file gives it one, and the variable whose key is enough for that."""


class Backend:
    kind: ClassVar[str] = "gemini"
    local: ClassVar[bool] = False
    tier: ClassVar[int] = 2
    slots: ClassVar[int] = 16
    names_itself: ClassVar[bool] = False
    loose_arguments: ClassVar[bool] = False
    parts_tenants = False
    token_scope: ClassVar[str] = ""
    reads_thoughts: ClassVar[bool] = True
    witness: ClassVar[str] = ""
    default_url: ClassVar[str] = "https://generativelanguage.googleapis.com"
    assumed: ClassVar[Facts] = Facts(
        operations=frozenset({"chat", "count_tokens"}),
        cuts=True,
        own_uris=frozenset(
            {"gs://", *(f"https://{host}/" for host in ("www.youtube.com", "youtube.com", "m.youtube.com", "youtu.be"))}
        ),
        image_formats=frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"}),
        audio_formats=frozenset(
            {"audio/wav", "audio/mpeg", "audio/aiff", "audio/aac", "audio/ogg", "audio/flac", "audio/mp4"}
        ),
        video_formats=frozenset(
            {"video/mp4", "video/mpeg", "video/quicktime", "video/x-msvideo", "video/webm", "video/3gpp"}
        ),
        forced_tool="verified",
        json_schema="verified",
        seed=True,
        prefill=True,
        audio_out=False,
        counts=True,
    )
    hints: ClassVar[Mapping[str, str]] = {
        **HINTS,
        "audio": "hosted Gemma does not hear: send sound to a local server with a model that does",
        "video": "hosted Gemma takes no video: send pictures, or use a server that takes video",
        "image": "use a model that sees",
        "document": "use a model that reads documents, or send their pages as images",
        "choices": "ask for one choice",
        "context": "use a model with a longer input limit",
        "completion": "this API completes no raw text: use chat",
        "embedding": "name an embedding model, such as gemini-embedding-001",
        **dict.fromkeys(
            ("tools", "forced_tool", "json_schema", "logprobs", "thinking", "prefill", "operation", "chat"),
            "use a model that can, or say in the backend's `facts:` that this one can",
        ),
    }

    def credentials(self, key: str) -> dict[str, str]:
        """The headers that carry the key."""
        return {"x-goog-api-key": key}

    def placed(self, place: Place) -> Self:
        return self

    # --- requests

    def build(self, request: Request, target: Target, facts: Facts) -> Call:
        """Raises BadRequest, with a path, for what the target can't take."""
        if isinstance(request, Embedding):
            body = embeddings.render_request(replace(request, model=target.model))
            return _call(target, "batchEmbedContents", body, foreign(request, list(request.dropped)))
        if isinstance(request, Completion):
            raise NotImplementedHere("servers of this kind complete no raw text")
        if isinstance(request, Transcription | Relayed):
            raise NotImplementedHere(f"servers of this kind serve no {request.operation}: leave it out of `facts:`")
        if isinstance(request, CountTokens):
            return self.count(request, target, facts)
        dropped = list(request.dropped)
        body = self._body(request, target, facts, dropped)
        if request.stream or many_stops(request):
            return _call(target, "streamGenerateContent?alt=sse", body, dropped, streamed=True)
        return _call(target, "generateContent", body, dropped)

    def _body(self, chat: Chat, target: Target, facts: Facts, dropped: list[str]) -> Json:
        receiver = receiver_of(target.model, facts)
        body = requests.render_request(ready(chat, target.model, facts, receiver, dropped), receiver)
        del body["model"]
        return body

    # --- answers

    def decoder(self, request: Request) -> Decoder:
        chat = request if isinstance(request, Chat) else None
        expected = chat.choices if chat is not None else 1
        decoder = StreamDecoder(_declared(chat), expected)
        if chat is None or not many_stops(chat):
            return decoder
        return Stopping(decoder, Stop(chat.sampling.stop or [], expected))

    def read(self, request: Request, body: Any) -> Answer | Json:
        """A whole reply. Raises the error that stands in it, or BadResponse if it is no answer."""
        error = self.error_in(body)
        if error is not None:
            raise error
        if isinstance(request, CountTokens):
            return {"input_tokens": self.read_count(body)}
        if isinstance(request, Embedding):
            return embeddings.parse_answer(body)
        return decoder.parse_answer(body, _declared(request if isinstance(request, Chat) else None))

    def error_in(self, body: Any) -> GatewayError | None:
        inner = error_object(body)
        return None if inner is None else _error(inner, 500)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        """The error that a reply which is no answer means. Header names in lower case."""
        inner = None
        if 400 <= status < 600:
            try:
                inner = error_object(msgspec.json.decode(body))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                inner = None
        if inner is None or not isinstance(inner.get("status"), str):
            return refusal.error_for(status, headers, refusal.read(body), Signs())
        error = _error(inner, status)
        if error.retry_after is None:
            error.retry_after = refusal.retry_after(headers)
        return error

    # --- counting

    def count(self, request: CountTokens, target: Target, facts: Facts) -> Call:
        dropped = list(request.chat.dropped)
        inner = self._body(request.chat, target, facts, dropped)
        body = {"generateContentRequest": {"model": _resource(target.model), **inner}}
        return _call(target, "countTokens", body, dropped)

    def read_count(self, body: Any) -> int:
        return number_in(body, "totalTokens")

    # --- probing

    def claims(self, models: Reply) -> bool:
        """Its list stands under `models`, each a resource's name."""
        return bool(_cards(json_of(models)))

    def admits(self, reply: Reply) -> bool:
        return False

    def alive(self) -> Liveness:
        reply: Reply = yield Call("GET", f"{API}/models?pageSize=1")
        return alive_state(reply, "loading")

    def probe(self) -> Probe:
        found: list[Json] = []
        page = ""
        for _ in range(_PAGES):
            reply: Reply = yield Call("GET", f"{API}/models?pageSize=1000{page}")
            body = json_of(reply)
            cards = _cards(body)
            if cards is None:
                return _trouble(reply)
            found += cards
            following = body.get("nextPageToken")
            if not isinstance(following, str) or not following:
                break
            page = f"&pageToken={quote(following, safe='')}"
        models = [m for m in map(_model, found) if m is not None]
        return Discovery("ready", models) if models else Discovery("down", detail="it lists no models that answer")

    def busy(self, model: str) -> Busyness:
        """It does not say."""
        return None
        yield  # a generator, like every kind's


def _declared(chat: Chat | None) -> frozenset[str]:
    return frozenset(t.name for t in chat.tools) if chat is not None else frozenset()


def _resource(model: str) -> str:
    return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"


def _call(target: Target, method: str, body: Json, dropped: list[str], streamed: bool = False) -> Call:
    call = post(f"{API}/{quote(_resource(target.model), safe='/:@-._~')}:{method}", body)
    call.streamed = streamed
    call.dropped = list(dict.fromkeys(dropped))
    return call


def _error(inner: Json, status: int) -> GatewayError:
    """What an `error` object means, in words that a client may read."""
    error: GatewayError = read_error(inner, status)
    if isinstance(error, BadCredentials):
        return BadCredentials("the model server does not accept the gateway's key, or its account or location")
    error.message = scrub(error.message)
    if isinstance(error, UpstreamRefused):
        for sign, learned in _LADDER:
            if sign.search(error.message):
                return NeedsOtherForm(error.message, learned=learned)
    error.args = (error.message,)
    return error


def _cards(body: Any) -> list[Json] | None:
    listed = body.get("models") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        return None
    return [m for m in listed if isinstance(m, dict) and str(m.get("name", "")).startswith(("models/", "tunedModels/"))]


def _model(card: Json) -> Model | None:
    """One model of the list, with its limits; None for one that neither answers nor embeds."""
    name: str = card["name"]
    methods = card.get("supportedGenerationMethods")
    methods = methods if isinstance(methods, list) else ["generateContent"]
    model = name.removeprefix("models/")
    operations = set()
    if "generateContent" in methods:
        operations |= {"chat", "count_tokens"}
    if "embedContent" in methods or "batchEmbedContents" in methods:
        operations.add("embedding")
    if not operations:
        return None
    facts = name_facts(model)
    facts.operations = frozenset(operations)
    limit = card.get("inputTokenLimit")
    facts.context = int(limit) if isinstance(limit, int | str) and str(limit).isdecimal() and int(limit) > 0 else None
    if card.get("thinking") is True:
        facts.thinking = True
    version = card.get("version")
    facts.version = version if isinstance(version, str) and version else None
    return Model(model, [name], facts)


def _trouble(reply: Reply) -> Discovery:
    """What a reply that lists no models means, in words for the operator."""
    if reply.status == 0:
        return Discovery("down", detail=reply.error or "nobody answers")
    said = refusal.read(reply.body)
    if reply.status in (401, 403) or "API_KEY" in said.message or "api key" in said.message.lower():
        return Discovery("down", detail="it wants an API key: name a variable that holds it in `api_key_env`")
    if reply.status in (429, 503):
        return Discovery("down", detail="it is overloaded, or limits the probe")
    words = scrub(said.message)[:200]
    if reply.status == 200:
        return Discovery("down", detail=f"its {API}/models is not a list of models: another API, or the wrong `kind`")
    return Discovery("down", detail=f"GET {API}/models gave status {reply.status}" + (f": {words}" if words else ""))


__all__ = ["Backend", "BadResponse", "name_facts", "receiver_of"]
