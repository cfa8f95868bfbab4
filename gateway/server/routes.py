"""Everything but the model endpoints: models, health, metrics, and the errors of the framework itself.

One table of paths. The model endpoints and explain stand in `endpoints` (gateway/app.py) and are served before this
app sees them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway import __version__
from gateway.engine.fleet import Fleet
from gateway.engine.rights import permitted
from gateway.errors import BadRequest, GatewayError, Internal, MethodNotAllowed, NotFound
from gateway.observe import Metrics
from gateway.server import gemini
from gateway.server.answer import error_answer, internal
from gateway.server.models import card, cards
from gateway.server.ollama import add_listing
from gateway.server.shape import error_shape, speaks_gemini

Serve = Callable[..., Awaitable[Response]]


def build_routes(fleet: Fleet, metrics: Metrics, started: int, draining: Callable[[], bool]) -> FastAPI:
    """`started` in Unix seconds."""
    # redirect_slashes: a redirect would name the host that the client wrote
    app = FastAPI(title="gateway", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)

    def get(path: str) -> Callable[[Serve], Serve]:
        """GET, and HEAD with it: load balancers ask that way."""

        def add(serve: Serve) -> Serve:
            app.get(path)(serve)
            return app.head(path, include_in_schema=False)(serve)

        return add

    @get("/")
    async def root() -> Response:
        """Some clients ask here first whether somebody is there, and whether their key is taken."""
        return answer({"object": "gateway", "version": __version__})

    @get("/healthz")
    async def healthz() -> Response:
        return answer({"status": "ok"})

    @get("/readyz")
    async def readyz() -> Response:
        """Ready = at least one target can be used, and the gateway is not about to stop."""
        usable = sum(d.candidate.state in ("ready", "cold") for d in fleet.deployments())
        ok = usable > 0 and not draining()
        status = "draining" if draining() else "ready" if ok else "no target can be used"
        return answer({"status": status, "targets": usable}, 200 if ok else 503)

    @get("/metrics")
    async def read_metrics() -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @get("/v1/models")
    async def list_models(request: Request) -> Response:
        if speaks_gemini(dict(request.headers.raw), request.scope["query_string"]):
            return gemini.list_models(request, fleet)
        data = cards(fleet, started, request.scope["gateway.rights"])
        ids = [c["id"] for c in data]
        return answer(
            {
                "object": "list",
                "data": data,
                "has_more": False,
                "first_id": ids[0] if ids else None,
                "last_id": ids[-1] if ids else None,
            }
        )

    @get("/v1/models/{model:path}")
    async def get_model(request: Request, model: str) -> Response:
        if speaks_gemini(dict(request.headers.raw), request.scope["query_string"]):
            return gemini.get_model(request, model, fleet)
        rights = request.scope["gateway.rights"]
        for c in cards(fleet, started, rights):
            if c["id"] == model:
                return answer(c)
        name = permitted(fleet, model, rights)  # a pattern of aliases, or ModelNotFound
        return answer(card(name, model, started))

    gemini.add_models(app, fleet)
    add_listing(app, fleet, started)
    _errors(app)
    return app


def answer(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _errors(app: FastAPI) -> None:
    @app.exception_handler(GatewayError)
    async def gateway_error(request: Request, error: GatewayError) -> Response:
        return failure(request, error)

    @app.exception_handler(HTTPException)
    async def framework_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return failure(request, NotFound(f"there is nothing at {request.method} {_shown(request.url.path)}"))
        if error.status_code == 405:
            found = MethodNotAllowed(f"{_shown(request.url.path)} does not take {request.method}")
            allow = (error.headers or {}).get("Allow", "")
            return failure(request, found, "GET, HEAD" if allow == "GET" else allow)
        if error.status_code < 500:
            return failure(request, BadRequest("the request is not acceptable"))
        return failure(request, _bug(request))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, _error: RequestValidationError) -> Response:
        return failure(request, BadRequest("the request is not acceptable"))

    @app.exception_handler(Exception)
    async def bug(request: Request, _error: Exception) -> Response:
        return failure(request, _bug(request))


def failure(request: Request, error: GatewayError, allow: str = "") -> Response:
    """The error in the words of the client's dialect."""
    shape = error_shape(request.url.path, dict(request.headers.raw))
    status, headers, body = error_answer(error, allow.encode(), shape)
    response = Response(body, status, media_type="application/json")
    response.raw_headers += headers
    return response


def _bug(request: Request) -> Internal:
    return internal(request.scope["gateway.request_id"])


def _shown(path: str) -> str:
    return path if len(path) <= 80 and path.isprintable() else "that path"
