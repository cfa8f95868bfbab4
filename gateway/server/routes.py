"""Everything but the model endpoints: models, explain, health, metrics, and the errors of the framework itself.

One table of paths. The model endpoints stand in `endpoints` (gateway/app.py) and are served before this app sees them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway import __version__
from gateway.dialects.openai.errors import render_error
from gateway.engine.fleet import Fleet
from gateway.errors import BadRequest, GatewayError, Internal, MethodNotAllowed, ModelNotFound, NotFound
from gateway.observe import Metrics
from gateway.server.models import card, cards

Explain = Callable[[Request], Any]


def build_routes(
    fleet: Fleet, metrics: Metrics, explain: Explain, started: int, draining: Callable[[], bool]
) -> FastAPI:
    """`started` in Unix seconds. `explain` answers POST /v1/route/explain."""
    app = FastAPI(title="gateway", version=__version__, docs_url=None, redoc_url=None)

    @app.get("/healthz")
    async def healthz() -> Response:
        return answer({"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        """Ready = at least one target can be used, and the gateway is not about to stop."""
        usable = sum(d.candidate.state in ("ready", "cold") for d in fleet.deployments())
        ok = usable > 0 and not draining()
        status = "draining" if draining() else "ready" if ok else "no target can be used"
        return answer({"status": status, "targets": usable}, 200 if ok else 503)

    @app.get("/metrics")
    async def read_metrics() -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models")
    async def list_models() -> Response:
        data = cards(fleet, started)
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

    @app.get("/v1/models/{model:path}")
    async def get_model(model: str) -> Response:
        for c in cards(fleet, started):
            if c["id"] == model:
                return answer(c)
        name = fleet.resolve(model)  # a pattern of aliases, or ModelNotFound
        return answer(card(name, model, started))

    @app.post("/v1/route/explain")
    async def explain_route(request: Request) -> Response:
        return answer(await explain(request))

    _errors(app)
    return app


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def _errors(app: FastAPI) -> None:
    @app.exception_handler(GatewayError)
    async def gateway_error(_request: Request, error: GatewayError) -> Response:
        headers = {"x-should-retry": "true" if error.should_retry else "false"}
        if error.retry_after is not None:
            headers["retry-after"] = str(max(1, round(error.retry_after)))
        return answer(render_error(error), error.status, headers)

    @app.exception_handler(HTTPException)
    async def framework_error(request: Request, error: HTTPException) -> Response:
        found: GatewayError
        if error.status_code == 404:
            found = NotFound(f"there is nothing at {request.method} {_shown(request.url.path)}")
        elif error.status_code == 405:
            found = MethodNotAllowed(f"{_shown(request.url.path)} does not take {request.method}")
        elif error.status_code < 500:
            found = BadRequest("the request is not acceptable")
        else:
            found = Internal("an internal error")
        return answer(render_error(found), found.status, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, _error: RequestValidationError) -> Response:
        found = BadRequest("the request is not acceptable")
        return answer(render_error(found), found.status)

    @app.exception_handler(Exception)
    async def bug(_request: Request, _error: Exception) -> Response:
        found = Internal("an internal error")
        return answer(render_error(found), found.status)


def _shown(path: str) -> str:
    return path if len(path) <= 80 and path.isprintable() else "that path"


__all__ = ["ModelNotFound", "answer", "build_routes"]
