"""What the gateway has, in the words of this dialect: `/api/tags`, `/api/show`, `/api/ps`, `/api/version`.

Sizes of files and the weights' digest are nobody's business here: a size is 0, a digest is one of the model's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from gateway.canonical.facts import Facts
from gateway.dialects.fields import Json, text
from gateway.dialects.ollama.answers import timestamp
from gateway.errors import BadRequest

API_VERSION: Final = "0.12.6"
"""The version of the API that is spoken here. Clients refuse to work with an old one (VS Code wants 0.6.4)."""

_FOREVER: Final = "9999-12-31T23:59:59Z"


@dataclass(slots=True)
class Model:
    """A model as clients may name it. `facts`: what the best of its targets can do; `since` in Unix seconds."""

    name: str
    facts: Facts
    ready: bool = False
    since: float = 0


def tags(models: list[Model]) -> Json:
    return {"models": [_card(m) | {"modified_at": timestamp(m.since)} for m in models]}


def running(models: list[Model]) -> Json:
    """The models that can answer at once."""
    out = []
    for m in models:
        if m.ready:
            card: Json = _card(m) | {"expires_at": _FOREVER, "size_vram": 0}
            if m.facts.context is not None:
                card["context_length"] = m.facts.context
            out.append(card)
    return {"models": out}


def show(model: Model) -> Json:
    facts = model.facts
    family = facts.family or "unknown"
    info: Json = {"general.architecture": family, "general.basename": model.name}
    if facts.size is not None:
        info["general.parameter_count"] = round(facts.size * 1e9)
    if facts.context is not None:
        info[f"{family}.context_length"] = facts.context
    return {
        "license": "",
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": _details(facts),
        "model_info": info,
        "capabilities": capabilities(facts),
        "modified_at": timestamp(model.since),
    }


def shown_name(body: Json) -> str:
    """The model that `/api/show` is asked for. Raises BadRequest."""
    name = body.get("model")
    if name is None:
        name = body.get("name")
    if name == "":
        raise BadRequest("the model has no name", param="model")
    return text(name, "model")


def capabilities(facts: Facts) -> list[str]:
    """The dialect's words for what a model can do. What is not known to be missing is not left out for text and tools:
    clients hide models without them."""
    operations = facts.operations
    out = []
    if operations is None or "chat" in operations:
        out.append("completion")
        if facts.tools is not False:
            out.append("tools")
    if facts.image:
        out.append("vision")
    if facts.audio:
        out.append("audio")
    if facts.thinking:
        out.append("thinking")
    if operations is not None and "embedding" in operations:
        out.append("embedding")
    return out


def version() -> Json:
    return {"version": API_VERSION}


def loaded(model: str, form: str, reason: str, seconds: float) -> Json:
    """The reply to a request that only wants the model in memory, or out of it: the gateway's servers see to that
    themselves. `seconds`: Unix time."""
    what: Json = {"response": ""} if form == "generate" else {"message": {"role": "assistant", "content": ""}}
    return {"model": model, "created_at": timestamp(seconds), **what, "done": True, "done_reason": reason}


def _card(model: Model) -> Json:
    return {
        "name": model.name,
        "model": model.name,
        "size": 0,
        "digest": sha256(model.name.encode()).hexdigest(),
        "details": _details(model.facts),
    }


def _details(facts: Facts) -> Json:
    return {
        "parent_model": "",
        "format": "",
        "family": facts.family or "",
        "families": [facts.family] if facts.family else [],
        "parameter_size": f"{facts.size:g}B" if facts.size is not None else "",
        "quantization_level": facts.quantization or "",
    }
