"""What one deployment can do, and how that is known."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, Literal

Source = Literal["probed", "family", "operator", "assumed"]
"""probed: measured on the running server. family: the table of the model's family. operator: `facts:` in the config.
assumed: what servers of this kind do unless something says otherwise."""

Grip = Literal["enforced", "verified", "ignored"]
"""How far a constraint holds: the server enforces it | the gateway verifies it | the server ignores it."""

State = Literal["unprobed", "down", "loading", "cold", "ready", "mismatch"]
"""unprobed: never reached since start. cold: serves, but must load the model first. mismatch: serves another model."""


@dataclass(slots=True)
class Facts:
    """None = unknown. `context` in tokens for one request, prompt and answer together. `size` in billions of
    parameters. `*_formats` are MIME types that the server decodes itself. `*_limit` = how many in one request.
    `media_knobs` = it lets a request say how its media are looked at (frames, soft tokens). `video_sound` = the sound
    of a video reaches the model with it. `splits_sound` = it divides a sound that is longer than the model hears at
    once. `cuts` = it takes out the piece of a medium that is asked for. `own_uris` = beginnings of URIs that it reads
    itself.
    `slots` = requests it works on at once. `counts` = it can count a prompt's tokens without generating.
    `prompt_rate` in tokens per second. `fixture` = it answers, but what it says means nothing (a test stand-in).
    `thinking_levels` = the efforts that it tells apart; `thinking_budget` = it takes a number of tokens for it.
    `call_ids` = past calls and their results carry ids; `call_signatures` = it refuses a past call that lost its
    signature. `schema_form`: json_schema or openapi. `runtime` = the program that runs the model, behind a service.
    `sources` tells for each known fact where it comes from."""

    operations: frozenset[str] | None = None
    image: bool | None = None
    audio: bool | None = None
    video: bool | None = None
    document: bool | None = None
    image_formats: frozenset[str] | None = None
    audio_formats: frozenset[str] | None = None
    video_formats: frozenset[str] | None = None
    image_limit: int | None = None
    audio_limit: int | None = None
    video_limit: int | None = None
    media_knobs: bool | None = None
    video_sound: bool | None = None
    splits_sound: bool | None = None
    cuts: bool | None = None
    own_uris: frozenset[str] | None = None
    tools: bool | None = None
    forced_tool: Grip | None = None
    call_ids: bool | None = None
    call_signatures: bool | None = None
    schema_form: str | None = None
    json_schema: Grip | None = None
    logprobs: bool | None = None
    choices: int | None = None
    seed: bool | None = None
    thinking: bool | None = None
    thinking_levels: frozenset[str] | None = None
    thinking_budget: bool | None = None
    prefill: bool | None = None
    audio_out: bool | None = None
    context: int | None = None
    counts: bool | None = None
    slots: int | None = None
    family: str | None = None
    variant: str | None = None
    size: float | None = None
    quantization: str | None = None
    hardware: str | None = None
    version: str | None = None
    runtime: str | None = None
    prompt_rate: float | None = None
    fixture: bool | None = None
    sources: dict[str, Source] = field(default_factory=dict, compare=False)


FACT_NAMES: tuple[str, ...] = tuple(f.name for f in fields(Facts) if f.name != "sources")


def layer(*layers: tuple[Source, Facts]) -> Facts:
    """One sheet out of several; the first that knows a fact wins: `layer(("operator", a), ("probed", b), ...)`."""
    out = Facts()
    for source, facts in layers:
        for name in FACT_NAMES:
            value = getattr(facts, name)
            if value is not None and getattr(out, name) is None:
                setattr(out, name, value)
                out.sources[name] = source
    return out


def changes(old: Facts, new: Facts) -> dict[str, tuple[Any, Any]]:
    """Facts that differ: name -> (old, new)."""
    return {n: (getattr(old, n), getattr(new, n)) for n in FACT_NAMES if getattr(old, n) != getattr(new, n)}


@dataclass(slots=True, frozen=True)
class Finding:
    """Something about a server that its operator should know. `code` never changes its meaning; `fix` is what to type
    or change. `model` = the server's own id of the one that it is about, "" = the server."""

    code: str
    text: str
    fix: str = ""
    model: str = ""


@dataclass(slots=True, frozen=True)
class Target:
    """One model at one server: the backend's name in the config, its kind, and the server's own id of the model."""

    backend: str
    kind: str
    model: str

    @property
    def label(self) -> str:
        """What a client may see: `<backend>/<model>`; of a path only the last component."""
        return _label(self.backend, self.model)


@lru_cache(1024)
def _label(backend: str, model: str) -> str:
    return f"{backend}/{shown_model(model)}"


def shown_model(model: str) -> str:
    """A server's id of a model as others may see it: of a path only the last component."""
    if _is_path(model):
        return model.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return model


def _is_path(model: str) -> bool:
    return model.startswith(("/", "./", "../", "~")) or "\\" in model or model.lower().endswith(".gguf")
