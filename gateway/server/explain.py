"""POST /v1/route/explain: what serving would do with this request, without generating. The same code decides."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.canonical.context import Context
from gateway.canonical.requests import Chat, Request
from gateway.engine.receipt import fates_of
from gateway.engine.record import Record
from gateway.engine.route import Router
from gateway.errors import GatewayError
from gateway.routing.explain import explain
from gateway.server.handlers import ModelEndpoint
from gateway.server.outlet import AsgiOutlet
from gateway.settings import Settings


class ExplainEndpoint(ModelEndpoint):
    """The body is a chat request as it would be sent to the endpoint of this codec: read, parsed and watched alike."""

    async def _answer(self, request: Request, context: Context[Settings], outlet: AsgiOutlet, record: Record) -> None:
        assert isinstance(request, Chat)
        value = await explain_chat(request, context, self._dispatcher.router)
        record.model = value["model"]
        await outlet.whole(200, [], msgspec.json.encode(value))


async def explain_chat(chat: Chat, context: Context[Settings], router: Router) -> dict[str, Any]:
    """Raises ModelNotFound; any other error that serving would give stands in the answer's `error`."""
    route = router.route(context, chat)
    foreseen = await router.foresee(route, chat)
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
        parts=[] if call is None else fates_of(chat, call.fates),
        dropped=[] if call is None else call.dropped,
        error=error,
    )
    out["too_long_for"] = [
        {"target": c.target.label, "reason": lack.reason, "hint": lack.hint} for c, lack in route.short
    ]
    return out
