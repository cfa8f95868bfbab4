"""The Gemini API: a model and what is to be done with it stand in the path, before and behind its last colon.

Its newest clients use `/v1`, where OpenAI's are: of the paths that both have, a client's own signs tell which is meant.
"""

from __future__ import annotations

import copy
import re
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import Response

from gateway.canonical.context import Context, Rights
from gateway.canonical.requests import Chat
from gateway.canonical.requests import Request as ModelRequest
from gateway.dialects import gemini
from gateway.dialects.gemini import listing
from gateway.dialects.gemini.requests import model_id
from gateway.engine.fleet import Fleet, Name
from gateway.engine.job import ClientCodec
from gateway.engine.record import Record
from gateway.engine.rights import permitted, shown
from gateway.errors import NotFound
from gateway.server.auth import Grant
from gateway.server.front import Endpoint
from gateway.server.handlers import ModelEndpoint
from gateway.server.ollama import best
from gateway.settings import Settings

CALL = re.compile(
    r"/(?:(?:v1|v1beta|v1alpha|v1beta1)/)?"
    r"((?:projects/[^/]+/locations/[^/]+/)?(?:publishers/[^/]+/)?(?:models|tunedModels|endpoints)/.+):(\w+)"
)
_SSE = re.compile(rb"(?:^|&)alt=sse(?:&|$)", re.IGNORECASE)
_SECONDS = re.compile(rb"\d{1,6}(?:\.\d{1,6})?")

_METHODS: Final[dict[str, tuple[str, ClientCodec]]] = {
    "generateContent": ("chat", gemini.generate_codec),
    "streamGenerateContent": ("chat", gemini.array_codec),
    "countTokens": ("count_tokens", gemini.count_codec),
    "embedContent": ("embedding", gemini.embed_codec),
    "batchEmbedContents": ("embedding", gemini.batch_embed_codec),
    "predict": ("embedding", gemini.predict_codec),
}
_EVENTS: Final = "streamGenerateContent?alt=sse"


class GeminiEndpoint(ModelEndpoint):
    """One method. `named` gives the one for the model that the path names."""

    _model = ""
    _seconds: float | None = None

    def named(self, model: str) -> GeminiEndpoint:
        out = copy.copy(self)
        out._model = model
        return out

    def _parse(self, body: Any, headers: dict[bytes, bytes], settings: Settings) -> ModelRequest:
        wait = headers.get(b"x-server-timeout", b"")
        self._seconds = float(wait) if _SECONDS.fullmatch(wait) else None
        request = super()._parse({**body, "model": self._model} if isinstance(body, dict) else body, headers, settings)
        if isinstance(request, Chat):
            gemini.remember_client(request, headers.get(b"user-agent", b"").decode("latin-1"))
        return request

    def _context(self, grant: Grant, request: ModelRequest, record: Record, settings: Settings) -> Context[Settings]:
        """A client says how long it waits: nobody reads what comes later."""
        context = super()._context(grant, request, record, settings)
        if not self._seconds:
            return context
        return replace(context, deadline=min(context.deadline, record.started + self._seconds))


class _Unknown:
    """What serves a method that there is not."""

    def __init__(self, method: str) -> None:
        self._method = method

    async def __call__(self, *_: Any) -> None:
        known = ", ".join(_METHODS)
        raise NotFound(f"there is no method {self._method[:40]!r} of a model here (choices: {known})")


class GeminiPaths:
    """Finds the endpoint of a path. `rest`: what every model endpoint is built with, behind its codec."""

    def __init__(self, *rest: Any) -> None:
        self._endpoints = {
            method: (operation, GeminiEndpoint("gemini", codec, *rest))
            for method, (operation, codec) in {**_METHODS, _EVENTS: ("chat", gemini.stream_codec)}.items()
        }

    def find(self, scope: MutableMapping[str, Any]) -> Endpoint | None:
        """None for a path that is no call of a model."""
        found = CALL.fullmatch(scope["path"])
        if found is None or scope["method"] != "POST":
            return None
        method = found[2]
        if method == "streamGenerateContent" and _SSE.search(scope["query_string"]):
            method = _EVENTS
        operation, endpoint = self._endpoints.get(method, ("", None))
        if endpoint is None:
            return Endpoint("unknown", "gemini", _Unknown(method))
        return Endpoint(operation, "gemini", endpoint.named(found[1]))


def add_models(app: FastAPI, fleet: Fleet) -> None:
    """The lists of models at the paths that only this API has."""

    @app.get("/v1beta/models")
    @app.get("/v1alpha/models")
    async def models(request: Request) -> Response:
        return list_models(request, fleet)

    @app.get("/v1beta1/publishers/{publisher}/models")
    async def published(request: Request, publisher: str) -> Response:
        return list_models(request, fleet, "publisherModels")

    @app.get("/v1beta/tunedModels")
    @app.get("/v1/tunedModels")
    async def tuned() -> Response:
        return _json({"tunedModels": []})

    @app.get("/v1beta/models/{model:path}")
    @app.get("/v1alpha/models/{model:path}")
    @app.get("/v1beta1/publishers/{publisher}/models/{model:path}")
    async def one(request: Request, model: str) -> Response:
        return get_model(request, model, fleet)


def list_models(request: Request, fleet: Fleet, key: str = "models") -> Response:
    query, rights = request.query_params, request.scope["gateway.rights"]
    return _json(listing.page(_cards(fleet, rights), query.get("pageSize"), query.get("pageToken"), key))


def get_model(request: Request, model: str, fleet: Fleet) -> Response:
    """Raises ModelNotFound or ModelNotAllowed."""
    name = model_id(model)
    return _json(_card(permitted(fleet, name, request.scope["gateway.rights"]), name))


def _cards(fleet: Fleet, rights: Rights) -> list[dict[str, Any]]:
    return [_card(name, label) for name, label in shown(fleet, rights)]


def _card(name: Name, shown: str) -> dict[str, Any]:
    ready = [d for d in name.deployments if d.candidate.state in ("ready", "cold")]
    return listing.card(shown, name.public, best(ready or name.deployments))


def _json(value: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
