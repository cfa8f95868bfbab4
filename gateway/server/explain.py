"""POST /v1/route/explain: what serving would do with this request, without generating. The same code decides."""

from __future__ import annotations

import copy
from collections.abc import MutableMapping
from typing import Any, Final

import msgspec

from gateway.canonical.context import Context
from gateway.canonical.requests import Chat, Request, conversation
from gateway.dialects import anthropic, gemini, ollama
from gateway.dialects.fields import one_of
from gateway.dialects.openai import RelayedCodec, chat_codec, transcription_codec, translation_codec
from gateway.dialects.openai.audio import FILE
from gateway.dialects.openai.responses import responses_codec
from gateway.engine.fleet import Fleet
from gateway.engine.job import ClientCodec
from gateway.engine.receipt import fates_of
from gateway.engine.record import Record
from gateway.engine.route import Router
from gateway.errors import GatewayError
from gateway.routing.explain import explain
from gateway.server.body import Held
from gateway.server.front import Endpoint
from gateway.server.gemini import CALL
from gateway.server.handlers import ModelEndpoint
from gateway.server.ollama import known_name
from gateway.server.outlet import AsgiOutlet
from gateway.server.relayed import RELAYED_PATHS
from gateway.server.responses import Answers, read_response
from gateway.server.shape import speaks_gemini
from gateway.settings import Settings

HERE: Final = "/v1/route/explain"
FORMS: Final[dict[str, tuple[str, ClientCodec]]] = {
    "openai": ("openai", chat_codec),
    "responses": ("openai", responses_codec),
    "anthropic": ("anthropic", anthropic.messages_codec),
    "gemini": ("gemini", gemini.generate_codec),
    "ollama": ("ollama", ollama.chat_codec),
    "ollama-generate": ("ollama", ollama.generate_codec),
    "transcription": ("openai", transcription_codec),
    "translation": ("openai", translation_codec),
    "rerank": ("openai", RelayedCodec("rerank")),
    "speech": ("openai", RelayedCodec("speech")),
    "images": ("openai", RelayedCodec("images")),
    "infill": ("openai", RelayedCodec("infill")),
}
"""Form of a body -> (its dialect, what reads it)."""
_PATHS: Final = {
    "/v1/chat/completions": "openai",
    "/v1/responses": "responses",
    "/v1/messages": "anthropic",
    "/api/chat": "ollama",
    "/api/generate": "ollama-generate",
    "/v1/audio/transcriptions": "transcription",
    "/v1/audio/translations": "translation",
    **RELAYED_PATHS,
}


class ExplainEndpoint(ModelEndpoint):
    """The body is a request as it would be sent to one of the other endpoints: read, parsed and watched alike.

    Whose body it is, is said by the path behind this endpoint's own (`/v1/route/explain/v1/messages`), else by the
    body's field `dialect`, else by the headers or fields that only one dialect has."""

    def __init__(self, fleet: Fleet, answers: Answers, form: str, *rest: Any) -> None:
        """`form`: one of FORMS, or "" where the body tells."""
        super().__init__("openai", chat_codec, *rest)
        self._file_field = FILE if form in ("transcription", "translation") else ""
        self._fleet = fleet
        self._answers = answers
        self._form = form
        self._model = ""

    async def __call__(self, *request: Any) -> None:
        one = copy.copy(self)  # which learns whose body it is
        await super(ExplainEndpoint, one).__call__(*request)

    def named(self, model: str) -> ExplainEndpoint:
        """The one for the model that a path names."""
        out = copy.copy(self)
        out._model = model
        return out

    async def _read(self, body: Any, headers: dict[bytes, bytes], settings: Settings, key: str, held: Held) -> Request:
        if not isinstance(body, dict):
            return self._parse(body, headers, settings)  # says so
        form = self._form or form_of(body, headers)
        body = {k: v for k, v in body.items() if k != "dialect"}
        if self._model:
            body["model"] = self._model
        self._dialect, self._codec = FORMS[form]
        if form == "responses":
            return await read_response(self._answers, body, headers, self._limits_of(settings), key, held)
        request = self._parse(body, headers, settings)
        if self._dialect == "ollama" and isinstance(request, Chat):
            request.model = known_name(self._fleet, request.model)
        return request

    async def _answer(self, request: Request, context: Context[Settings], outlet: AsgiOutlet, record: Record) -> None:
        value = await explain_request(request, context, self._dispatcher.router)
        record.model = value["model"]
        await outlet.whole(200, [], msgspec.json.encode(value))


def form_of(body: dict[str, Any], headers: dict[bytes, bytes]) -> str:
    """Raises BadRequest for a `dialect` that there is not."""
    told = body.get("dialect")
    if told is not None:
        return one_of(told, "dialect", FORMS)
    if b"anthropic-version" in headers:
        return "anthropic"
    if "contents" in body or speaks_gemini(headers):
        return "gemini"
    if "file" in body and "messages" not in body:
        return "transcription"
    return "responses" if "input" in body and "messages" not in body else "openai"


class ExplainPaths:
    """The endpoint for each path of a chat request, behind `/v1/route/explain`."""

    def __init__(self, *about: Any) -> None:
        """`about`: what every ExplainEndpoint is built with, but its form: the fleet, the answers; then the rest."""
        fleet, answers, *rest = about

        def serve(form: str) -> ExplainEndpoint:
            return ExplainEndpoint(fleet, answers, form, *rest)

        self.exact = {HERE: Endpoint("explain", "openai", serve(""))}
        self.exact |= {HERE + path: Endpoint("explain", "openai", serve(form)) for path, form in _PATHS.items()}
        self._gemini = serve("gemini")

    def find(self, scope: MutableMapping[str, Any]) -> Endpoint | None:
        """For paths with a model's name in them; None for any other."""
        path = scope["path"]
        found = CALL.fullmatch(path[len(HERE) :]) if path.startswith(HERE) else None
        if found is None or found[2] not in ("generateContent", "streamGenerateContent"):
            return None
        return Endpoint("explain", "openai", self._gemini.named(found[1]))


async def explain_request(request: Request, context: Context[Settings], router: Router) -> dict[str, Any]:
    """Raises ModelNotFound; any other error that serving would give stands in the answer's `error`."""
    route = router.route(context, request)
    try:
        foreseen = await router.foresee(route, request)
    finally:
        route.done()
    chat = conversation(request)
    error = chosen = call = None
    if isinstance(foreseen, GatewayError):
        error = foreseen
    else:
        chosen, call = foreseen
    out = explain(
        route.decision,
        route.needs,
        model=route.name.public,
        chosen=chosen,
        auto=route.name.auto,
        dialect=context.dialect,
        parts=[] if call is None or chat is None else fates_of(chat, call.fates),
        dropped=[] if call is None else call.dropped,
        error=error,
    )
    out["too_long_for"] = [
        {"target": c.target.label, "reason": lack.reason, "hint": lack.hint} for c, lack in route.short
    ]
    return out
