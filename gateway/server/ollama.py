"""The Ollama API: its lists of models, and what its model endpoints need beyond a request and a server."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import Response

from gateway.canonical.context import EVERYTHING, Rights
from gateway.canonical.facts import FACT_NAMES, Facts
from gateway.canonical.requests import Chat, Completion, Embedding
from gateway.canonical.requests import Request as ModelRequest
from gateway.dialects.ollama import listing, remembered
from gateway.dialects.ollama.requests import Form, is_load
from gateway.engine.fleet import Fleet, Name
from gateway.engine.rights import permitted, shown
from gateway.engine.servers import Deployment
from gateway.errors import InvalidJson, ModelNotFound
from gateway.server.handlers import ModelEndpoint
from gateway.settings import Settings

TAG = ":latest"
"""What clients put behind a name that has no tag."""


class OllamaEndpoint(ModelEndpoint):
    """A model endpoint whose clients may call a model `<name>:latest`. Gives the answer its times. `form` None: it does
    not generate."""

    def __init__(self, fleet: Fleet, form: Form | None, *rest: Any) -> None:
        super().__init__(*rest)
        self._fleet = fleet
        self._form = form

    def _known(self, body: Any, rights: Rights) -> dict[str, Any] | None:
        """The gateway's servers keep their models in memory themselves: a request for that needs no server."""
        if self._form is None or not isinstance(body, dict) or not isinstance(body.get("model"), str):
            return None
        reason = is_load(body)
        if reason is None:
            return None
        permitted(self._fleet, known_name(self._fleet, body["model"]), rights)
        return listing.loaded(body["model"], self._form, reason, time.time())

    def _parse(self, body: Any, headers: dict[bytes, bytes], settings: Settings) -> ModelRequest:
        request = super()._parse(body, headers, settings)
        if isinstance(request, Chat | Completion):
            memory = remembered(request)
            memory.created = time.time()
            memory.clock = time.monotonic_ns
            memory.began = memory.clock()
        if isinstance(request, Chat | Completion | Embedding):
            request.model = known_name(self._fleet, request.model)
        return request


def known_name(fleet: Fleet, name: str) -> str:
    """The name without the tag that clients add, where only that is known."""
    try:
        fleet.resolve(name)
    except ModelNotFound:
        return name.removesuffix(TAG)
    return name


def add_listing(app: FastAPI, fleet: Fleet, started: int) -> None:
    """The lists of models. `started` in Unix seconds."""

    @app.get("/api/tags")
    async def tags(request: Request) -> Response:
        return _json(listing.tags(models(fleet, started, request.scope["gateway.rights"])))

    @app.get("/api/ps")
    async def ps(request: Request) -> Response:
        return _json(listing.running(models(fleet, started, request.scope["gateway.rights"])))

    @app.get("/api/version")
    async def version() -> Response:
        return _json(listing.version())

    @app.post("/api/show")
    async def show(request: Request) -> Response:
        try:
            body = msgspec.json.decode(await request.body())
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise InvalidJson("the body must be a JSON object")
        name = known_name(fleet, listing.shown_name(body))
        return _json(listing.show(_model(permitted(fleet, name, request.scope["gateway.rights"]), name, started)))


def models(fleet: Fleet, started: int, rights: Rights = EVERYTHING) -> list[listing.Model]:
    """One per public name and per alias that a key may use."""
    return [_model(name, label, started) for name, label in shown(fleet, rights)]


def _model(name: Name, shown: str, started: int) -> listing.Model:
    ready = [d for d in name.deployments if d.candidate.state in ("ready", "cold")]
    return listing.Model(shown, best(ready or name.deployments), bool(ready), started)


def best(deployments: list[Deployment]) -> Facts:
    """What some target of a name can do: the request decides which one takes it."""
    out = Facts()
    for d in deployments:
        facts = d.candidate.facts
        changed = {}
        for key in FACT_NAMES:
            one, other = getattr(out, key), getattr(facts, key)
            if one is None or (isinstance(other, bool | int | float) and other > one):
                changed[key] = other
        if facts.operations is not None and out.operations is not None:
            changed["operations"] = out.operations | facts.operations
        out = replace(out, **changed)
    return out


def _json(value: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
