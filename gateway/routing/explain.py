"""A decision, readable: what serving's log keeps of it and what `POST /v1/route/explain` answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.canonical.facts import FACT_NAMES, Facts
from gateway.canonical.needs import Needs
from gateway.errors import GatewayError
from gateway.routing.candidate import Candidate, Verdict
from gateway.routing.conversion import seconds_of
from gateway.routing.fit import likely, weight_only
from gateway.routing.policy import Decision, refusal
from gateway.routing.refusal import view


def explain(
    decision: Decision,
    needs: Needs,
    *,
    model: str,
    chosen: Candidate | None,
    auto: bool = False,
    dialect: str = "",
    parts: Sequence[str] = (),
    dropped: Sequence[str] = (),
    error: GatewayError | None = None,
) -> dict[str, Any]:
    """JSON-ready. `chosen`: whom serving would ask, or wait for, first. `parts` and `dropped`: what would become of the
    content parts and which fields would not be sent, as its backend says. `error`: what serving would answer, if it is
    something else than the refusal that follows from the decision. Candidates: in the order in which serving tries
    them; the rest by label.
    """
    rank = {id(c): i for i, c in enumerate(decision.order)}
    verdicts = sorted(decision.verdicts, key=lambda v: (rank.get(id(v.candidate), len(rank)), v.candidate.target.label))
    if error is None and chosen is None:
        error = refusal(decision, needs, model)
    return {
        "model": model,
        "auto": auto,
        "dialect": dialect,
        "needs": needs_view(needs, decision.tokens),
        "rules": list(decision.rules),
        "candidates": [_candidate_view(v, chosen, needs) for v in verdicts],
        "chosen": None if chosen is None else chosen.target.label,
        "parts": list(parts),
        "dropped": list(dropped),
        "error": None if error is None else error_view(error),
    }


_FLAGS = ["tools", "forced_tool", "json_schema", "logprobs", "seed", "thinking", "prefill", "audio_out", "timestamps"]
"""Needs that are there or not."""


def needs_view(needs: Needs, tokens: tuple[int, int]) -> dict[str, Any]:
    """What the request needs; what it does not need is left out."""
    out: dict[str, Any] = {"operation": needs.operation, "tokens": {"at_least": tokens[0], "at_most": tokens[1]}}
    if needs.media:
        out["modalities"] = sorted(needs.modalities)
        out["media"] = [
            {
                "path": m.path,
                "modality": m.modality,
                "mime": m.mime,
                "form": m.form,
                "size": m.size,
                **{k: v for k in ("seconds", "frames", "sound") if (v := getattr(m, k)) is not None},
                **({"width": m.width, "height": m.height} if m.width else {}),
            }
            for m in needs.media
        ]
    for name in _FLAGS:
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
    for name in ("strict_parts", "strict_parameters"):
        if getattr(needs.options, name):
            out[name] = True
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


def _candidate_view(verdict: Verdict, chosen: Candidate | None, needs: Needs) -> dict[str, Any]:
    c = verdict.candidate
    out = view(verdict)
    out["verdict"] = _standing(verdict, chosen)
    if as_storage := weight_only(c):
        out["quantization"] = as_storage
    out |= {
        "local": c.local,
        "tier": c.tier,
        "limits": {
            "in_flight": c.in_flight,
            "limit": c.limit,
            "queued": c.queued,
            "queue_limit": c.queue_limit,
            "weight": c.weight,
            "others": c.others,
            "cache": c.cache,
        },
        "expected": _expected(verdict, needs),
        "facts": facts_view(c.facts),
    }
    if verdict.ways:
        out["media"] = [{"path": w.medium.path, "becomes": w.words() or "as it is"} for w in verdict.ways if not w.lack]
    return out


def _expected(verdict: Verdict, needs: Needs) -> dict[str, Any]:
    """About how many tokens the prompt has there; the seconds to convert its media, and to read it where the server's
    speed is known; how many requests are ahead of it for each slot, and how long it would wait if the server only had
    to read them and they were as long: what they answer takes its own time."""
    c = verdict.candidate
    tokens = likely(needs, verdict.ways)
    rate = c.rate or c.facts.prompt_rate or 0.0
    ahead = max(0, c.in_flight + c.queued + c.others - c.limit + 1) / max(c.limit, 1)
    out: dict[str, Any] = {"tokens": tokens, "ahead": round(ahead, 2)}
    if rate > 0:
        out["prefill_seconds"] = round(tokens / rate, 2)
    if rate > 0 or not ahead:
        out["wait_seconds"] = round(ahead * tokens / rate, 2) if ahead else 0.0
    if needs.media:
        out["conversion_seconds"] = round(seconds_of(verdict.ways), 2)
    return out


def _standing(verdict: Verdict, chosen: Candidate | None) -> str:
    """chosen (serving would send to it) | busy (serving would have to wait for it, and does if it is the one that is
    chosen) | fits (it could take the request, too) | refused."""
    kinds = {x.kind for x in verdict.lacks}
    if kinds - {"busy"}:
        return "refused"
    if kinds:
        return "busy"
    return "chosen" if verdict.candidate is chosen else "fits"
