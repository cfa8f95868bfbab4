"""NVIDIA NIM for language models, 1.x and 2.x. Read in its documentation, not run.

- Each image embeds an engine (vLLM, newer ones also SGLang) behind management routes, and is treated as the engine
  that it has: the same probes, which go by what works and not by names. It is vLLM where /tokenize is vLLM's; rules
  about vLLM then hold for it. An SGLang inside has none: then nothing is counted there, and what it sees has to be said
  in `facts:`.
- /v1/health/live is 200 as soon as the container runs, /v1/health/ready when the model is there: the latter counts.
- /v1/metadata names the model's own repository and the profile that was selected, whose words tell quantization and
  hardware.
- /v1/metrics instead of /metrics; 1.x without the prefix `vllm:`.
- Flags go in NIM_PASSTHROUGH_ARGS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from gateway.backends import Busyness, Call, Load, Model, Probe, Reply
from gateway.backends.vllm import Backend as Engine
from gateway.backends.wire.gauges import average, gauge
from gateway.backends.wire.listing import cards, json_of
from gateway.families.default import quantization


class Backend(Engine):
    kind = "nim"
    tier = 0
    hints: ClassVar[Mapping[str, str]] = {
        need: f"{hint} (in NIM_PASSTHROUGH_ARGS)" if "--" in hint else hint for need, hint in Engine.hints.items()
    }
    health = "/v1/health/ready"
    witness = "/v1/metadata"
    unready = "loading"

    def claims(self, models: Reply) -> bool:
        """1.x owns its models as `system`. 2.x lists them as its engine does."""
        return any(c.get("owned_by") == "system" for c in cards(models) or ())

    def admits(self, reply: Reply) -> bool:
        told = json_of(reply)
        return isinstance(told, dict) and isinstance(told.get("modelInfo"), list)

    def probe(self) -> Probe:
        found = yield from super().probe()
        if found.state != "ready":
            return found
        for model in found.models:
            if model.facts.counts:
                model.facts = replace(model.facts, runtime=Engine.kind)
        told = json_of((yield Call("GET", "/v1/metadata")))
        if not isinstance(told, dict):
            return found
        release = told.get("version")
        names = _names(told)
        for model in found.models:
            _add(model, names)
            if isinstance(release, str) and release:
                model.facts = replace(model.facts, version=f"NIM {release}")
        return replace(found, version=f"NIM {release}" if isinstance(release, str) and release else found.version)

    def busy(self, model: str) -> Busyness:
        reply = yield Call("GET", "/v1/metrics")
        running = gauge(reply, "vllm:num_requests_running", "num_requests_running", "sglang:num_running_reqs")
        waiting = gauge(reply, "vllm:num_requests_waiting", "num_requests_waiting", "sglang:num_queue_reqs")
        cache = average(
            reply, "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "gpu_cache_usage_perc", "sglang:token_usage"
        )
        if running is None and waiting is None:
            return None
        return Load(None if running is None else int(running), None if waiting is None else int(waiting), cache)


def _names(told: dict[str, Any]) -> list[str]:
    """What /v1/metadata calls the model and its profile."""
    rows = told.get("modelInfo")
    first = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    return [x for x in (first.get("shortName"), first.get("modelUrl"), told.get("selectedModelProfileId")) if x]


def _add(model: Model, names: list[str]) -> None:
    if model.facts.quantization is None:
        model.facts = replace(model.facts, quantization=quantization(model.root, model.id, *map(str, names)))
    if model.root in ("", model.id) and names:
        model.root = str(names[0])
