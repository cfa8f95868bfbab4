"""What a trace is told of a request: OpenTelemetry's names for generative AI where it has one
(https://opentelemetry.io/docs/specs/semconv/gen-ai/), `gateway.` before the others. Never a body, a key or an address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway import backends
from gateway.canonical.facts import shown_model
from gateway.engine.receipt import fold_receipt
from gateway.observe.catalogue import outcome_of
from gateway.observe.span import Attribute, Span

if TYPE_CHECKING:
    from gateway.engine.record import Record

_OPERATIONS: Final = {"completion": "text_completion", "embedding": "embeddings"}
"""Ours -> theirs, where they differ."""
_MOST: Final = 64
"""Entries of a list."""


def span_of(r: Record, now: float, wall: float) -> Span:
    """The span of a request that ended at `now` on the loop's clock, which is `wall` in Unix seconds."""
    operation = _OPERATIONS.get(r.operation, r.operation)
    out: dict[str, Attribute] = {
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": r.model,
        "http.response.status_code": r.status,
        "gateway.request_id": r.request_id,
        "gateway.dialect": r.dialect,
        "gateway.stream": r.stream,
    }
    if r.code != "ok":
        out["error.type"] = r.code
    if r.target is not None:
        out["gen_ai.provider.name"] = backends.provider(r.target.kind)
        out["gen_ai.response.model"] = shown_model(r.target.model)
        out["gateway.target"] = r.target.label
    if r.usage is not None:
        for name, count in (("input", r.usage.input), ("output", r.usage.output)):
            if count is not None:
                out[f"gen_ai.usage.{name}_tokens"] = count
    lists = {"attempts": r.attempts, "dropped": r.dropped, "repaired": r.repaired, "runaway": r.runaway}
    out |= {f"gateway.{name}": tuple(said[:_MOST]) for name, said in lists.items() if said}
    if r.parts:
        out["gateway.parts"] = fold_receipt(r.parts)
    if r.queued:
        out["gateway.queue_seconds"] = round(r.queued, 6)
    if r.first:
        out["gateway.first_token_seconds"] = round(r.first - r.started, 6)
    return Span(f"{operation} {r.model}", wall - (now - r.started), wall, outcome_of(r.status) == "failed", out)
