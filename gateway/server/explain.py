"""POST /v1/route/explain: what serving would do with this request, without generating. The same code decides."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import Request

from gateway.canonical.context import Context
from gateway.canonical.requests import Chat
from gateway.dialects.openai import chat_codec
from gateway.engine.admission import Memory
from gateway.engine.deadlines import Sweep, Watch
from gateway.engine.dispatch import Dispatcher
from gateway.engine.receipt import fates_of
from gateway.errors import InvalidJson
from gateway.routing.explain import explain
from gateway.server.body import Held, check_media_type, read_json
from gateway.server.handlers import affinity
from gateway.settings import Settings


async def explain_body(
    request: Request, dispatcher: Dispatcher, settings: Settings, memory: Memory, sweep: Sweep
) -> dict[str, Any]:
    """The body is a chat request as it would be sent to /v1/chat/completions."""
    headers: dict[bytes, bytes] = dict(request.scope["headers"])
    check_media_type(headers)
    held = Held(memory)
    now = asyncio.get_running_loop().time()
    try:
        with Watch(sweep, now + settings.timeouts.client_body, now + settings.timeouts.total, "body") as watch:
            body = await read_json(
                request.receive, headers, settings.limits.body, held, watch, settings.timeouts.client_body
            )
        if not isinstance(body, dict):
            raise InvalidJson("the body must be a JSON object")
        options = headers.get(b"x-gateway-options")
        chat = chat_codec.parse_request(body, options.decode("utf-8", "replace") if options is not None else None)
        context = Context(
            request.scope["gateway.request_id"],
            "openai",
            request.scope.get("gateway.key", ""),
            settings,
            time.monotonic(),
            now + settings.timeouts.total,
            affinity=affinity(chat),
            options=chat.options,
        )
        return await explain_chat(chat, context, dispatcher)
    finally:
        held.release()


async def explain_chat(chat: Chat, context: Context, dispatcher: Dispatcher) -> dict[str, Any]:
    """Raises ModelNotFound; any other error that serving would give stands in the answer's `error`."""
    route = dispatcher.route(context, chat)
    error = None
    parts: list[str] = []
    dropped: list[str] = []
    chosen = None
    for candidate in route.candidates:
        call = await dispatcher.prepare(route, chat, candidate)
        if call is None:
            continue
        chosen = candidate.target.label
        parts, dropped = fates_of(chat, call.fates), call.dropped
        break
    if chosen is None:
        error = dispatcher.refused(route)
    out = explain(
        route.decision,
        route.needs,
        model=route.name.public,
        auto=route.name.auto,
        dialect=context.dialect,
        parts=parts,
        dropped=dropped,
        error=error,
    )
    out["chosen"] = chosen
    out["too_long_for"] = [
        {"target": c.target.label, "reason": lack.reason, "hint": lack.hint} for c, lack in route.short
    ]
    return out
