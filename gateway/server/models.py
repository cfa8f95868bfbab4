"""The list of models: one superset that OpenAI's and Anthropic's clients both read.

https://platform.openai.com/docs/api-reference/models/object and https://docs.claude.com/en/api/models-list
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.canonical.context import EVERYTHING, Rights
from gateway.canonical.facts import Facts
from gateway.engine.fleet import Fleet, Name
from gateway.engine.rights import shown
from gateway.engine.servers import Deployment
from gateway.routing.explain import facts_view

_ALWAYS = [
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "stream",
]


def cards(fleet: Fleet, started: int, rights: Rights = EVERYTHING) -> list[dict[str, Any]]:
    """One card per public name and per alias that a key may use; `started` (Unix seconds) is their `created`."""
    return [card(name, label, started) for name, label in shown(fleet, rights)]


def card(name: Name, model_id: str, started: int) -> dict[str, Any]:
    usable = [d for d in name.deployments if d.candidate.state in ("ready", "cold")] or name.deployments
    modalities = ["text", *(m for m in ("image", "audio", "video") if any(_has(d, m) for d in usable))]
    contexts = [c for d in usable if (c := d.candidate.facts.context)]
    context = max(contexts, default=None)
    kinds = sorted({d.candidate.target.kind for d in name.deployments})
    return {
        "id": model_id,
        "object": "model",
        "type": "model",
        "created": started,
        "created_at": datetime.fromtimestamp(started, UTC).isoformat().replace("+00:00", "Z"),
        "owned_by": ",".join(kinds) or "gateway",
        "display_name": name.public if model_id == name.public else f"{model_id} ({name.public})",
        "context_length": context,
        "max_model_len": context,
        "architecture": {
            "modality": f"{'+'.join(modalities)}->text",
            "input_modalities": modalities,
            "output_modalities": ["text"],
        },
        "supported_parameters": _parameters([d.candidate.facts for d in usable]),
        "gateway": {
            "public_name": name.public,
            "auto": name.auto,
            "ready": any(d.candidate.state in ("ready", "cold") for d in name.deployments),
            "targets": [_target(d) for d in name.deployments],
        },
    }


def _has(d: Deployment, modality: str) -> bool:
    return bool(getattr(d.candidate.facts, modality))


def _parameters(facts: list[Facts]) -> list[str]:
    out = list(_ALWAYS)
    if any(f.tools is not False for f in facts):
        out += ["tools", "tool_choice", "parallel_tool_calls"]
    if any(f.json_schema not in (None, "ignored") for f in facts):
        out += ["response_format", "structured_outputs"]
    if any(f.logprobs for f in facts):
        out += ["logprobs", "top_logprobs"]
    if any(f.thinking for f in facts):
        out += ["reasoning_effort", "include_reasoning"]
    return out


def _target(d: Deployment) -> dict[str, Any]:
    c = d.candidate
    return {
        "target": c.target.label,
        "kind": c.target.kind,
        "state": c.state,
        "detail": c.detail,
        "local": c.local,
        "weight": c.weight,
        "in_flight": c.in_flight,
        "queued": c.queued,
        "others": c.others,
        "cache": c.cache,
        "limit": c.limit,
        "rates": {"prompt": round(c.rate, 1) or None, "decode": round(c.decode_rate, 1) or None},
        "facts": facts_view(c.facts),
    }
