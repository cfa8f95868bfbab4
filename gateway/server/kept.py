"""What may be asked about an answer of `/v1/responses` that is kept."""

from __future__ import annotations

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import Response

from gateway.backends.wire.body import encode_body
from gateway.canonical.content import Segments
from gateway.dialects.fields import Json
from gateway.dialects.openai.responses.listing import page
from gateway.engine.admission import Memory
from gateway.errors import BadRequest, NotFound, UnsupportedParameter
from gateway.server.body import Held
from gateway.server.responses import Answers


def add_kept(app: FastAPI, answers: Answers, memory: Memory) -> None:
    @app.get("/v1/responses/{name}")
    async def get(request: Request, name: str) -> Response:
        if request.query_params.get("stream", "").lower() in ("true", "1"):
            raise UnsupportedParameter("an answer that is complete is not streamed again", param="stream")
        found = await answers.turn(_key(request), name)
        if found is None:
            raise _missing(name)
        return _json(found[0]["response"])

    @app.get("/v1/responses/{name}/input_items")
    async def input_items(request: Request, name: str) -> Response:
        """All that the model read before its answer: turns before it, too."""
        held = Held(memory)
        try:
            found = await answers.input_of(_key(request), name, held)
            if found is None:
                raise _missing(name)
            get = request.query_params.get
            return _json(page(found, get("order"), get("after"), get("limit")))
        finally:
            held.release()

    @app.delete("/v1/responses/{name}")
    async def delete(request: Request, name: str) -> Response:
        if not answers.remove(_key(request), name):
            raise _missing(name)
        return _json({"id": name, "object": "response", "deleted": True})

    @app.post("/v1/responses/{name}/cancel")
    async def cancel(request: Request, name: str) -> Response:
        if await answers.turn(_key(request), name) is None:
            raise _missing(name)
        raise BadRequest("only an answer that is made in the background can be cancelled, and this one is complete")


def _key(request: Request) -> str:
    key: str = request.scope["gateway.key"]
    return key


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no answer {name[:80]!r}", code="response_not_found")


def _json(value: Json) -> Response:
    try:
        text = msgspec.json.encode(value)
    except TypeError:  # long media in it came in pieces
        text = b"".join(b"".join(p) if isinstance(p, Segments) else p for p in encode_body(value))
    return Response(text, media_type="application/json")
