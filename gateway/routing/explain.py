"""A decision, readable: what serving's log keeps of it and what `POST /v1/route/explain` answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.canonical.facts import FACT_NAMES, Facts
from gateway.canonical.needs import Needs
from gateway.errors import GatewayError
from gateway.routing.candidate import Verdict
from gateway.routing.policy import Decision, refusal
from gateway.routing.refusal import view


def explain(
    decision: Decision,
    needs: Needs,
    *,
    model: str,
    auto: bool = False,
    dialect: str = "",
    parts: Sequence[str] = (),
    dropped: Sequence[str] = (),
    error: GatewayError | None = None,
) -> dict[str, Any]:
    """JSON-ready. `parts` and `dropped`: what would become of the content parts and which fields would not be sent, as
    the chosen target's backend says. `error`: what serving would answer, if it is something else than the refusal that
    follows from the decision. Candidates: those that may be sent to, best first; those to wait for; the rest by label.
    """
    rank = {id(c): i for i, c in enumerate([*decision.order, *decision.busy])}
    verdicts = sorted(decision.verdicts, key=lambda v: (rank.get(id(v.candidate), len(rank)), v.candidate.target.label))
    if error is None and not rank:
        error = refusal(decision, needs, model)
    return {
        "model": model,
        "auto": auto,
        "dialect": dialect,
        "needs": needs_view(needs, decision.tokens),
        "rules": list(decision.rules),
        "candidates": [_candidate_view(v, rank.get(id(v.candidate)), len(decision.order)) for v in verdicts],
        "parts": list(parts),
        "dropped": list(dropped),
        "error": None if error is None else error_view(error),
    }


def needs_view(needs: Needs, tokens: tuple[int, int]) -> dict[str, Any]:
    """What the request needs; what it does not need is left out."""
    out: dict[str, Any] = {"operation": needs.operation, "tokens": {"at_least": tokens[0], "at_most": tokens[1]}}
    if needs.media:
        out["modalities"] = sorted(needs.modalities)
        out["media"] = [
            {"path": m.path, "modality": m.modality, "mime": m.mime, "form": m.form, "size": m.size}
            for m in needs.media
        ]
    for name in ("tools", "forced_tool", "json_schema", "logprobs", "seed", "thinking", "prefill", "audio_out"):
        if getattr(needs, name):
            out[name] = True
    if needs.choices > 1:
        out["choices"] = needs.choices
    if needs.opaque:
        out["opaque"] = [{"path": path, "dialect": dialect, "type": kind} for path, dialect, kind in needs.opaque]
    if needs.options.require:
        out["require"] = {name: list(values) for name, values in needs.options.require.items()}
    if needs.options.prefer:
        out["prefer"] = [{name: list(values) for name, values in wish.items()} for wish in needs.options.prefer]
    return out


def facts_view(facts: Facts) -> dict[str, Any]:
    """The known facts, each with its source: `{"image": {"value": true, "source": "probed"}}`."""
    out: dict[str, Any] = {}
    for name in FACT_NAMES:
        value = getattr(facts, name)
        if value is not None:
            plain = sorted(value) if isinstance(value, frozenset) else value
            out[name] = {"value": plain, "source": facts.sources.get(name, "assumed")}
    return out


def error_view(error: GatewayError) -> dict[str, Any]:
    out: dict[str, Any] = {"status": error.status, "code": error.code, "message": error.message, "param": error.param}
    if error.retry_after is not None:
        out["retry_after"] = error.retry_after
    return out


def _candidate_view(verdict: Verdict, rank: int | None, ready: int) -> dict[str, Any]:
    c = verdict.candidate
    out = view(verdict)
    out["verdict"] = _standing(rank, ready)
    out |= {
        "local": c.local,
        "tier": c.tier,
        "limits": {
            "in_flight": c.in_flight,
            "limit": c.limit,
            "queued": c.queued,
            "queue_limit": c.queue_limit,
            "weight": c.weight,
        },
        "facts": facts_view(c.facts),
    }
    return out


def _standing(rank: int | None, ready: int) -> str:
    """chosen (serving would send to it) | fits (it is tried if those before fail) | busy (serving would wait for the
    first of them if nothing is chosen) | refused."""
    if rank is None:
        return "refused"
    if rank >= ready:
        return "busy"
    return "fits" if rank else "chosen"
