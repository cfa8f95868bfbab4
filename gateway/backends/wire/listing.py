"""What the replies to a probe's first calls say about whoever answers there."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.backends import Discovery, Model, Reply
from gateway.backends.wire import refusal
from gateway.backends.wire.scrub import scrub
from gateway.canonical.facts import Facts, Finding, State


def json_of(reply: Reply) -> Any:
    """The decoded body of a reply with status 200, or None."""
    if reply.status != 200:
        return None
    try:
        return msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def cards(reply: Reply) -> list[dict[str, Any]] | None:
    """The models of a reply to GET /v1/models; None if it is no list of models."""
    body = json_of(reply)
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list):
        return None
    return [c for c in data if isinstance(c, dict) and isinstance(c.get("id"), str) and c["id"]]


def by_root(found: list[dict[str, Any]]) -> list[Model]:
    """The models of cards that tell a `root`, a `parent` and a `max_model_len`: one per root, whose other served names
    are aliases. An adapter is a model of its own, with its parent's root and room."""
    models: dict[str, Model] = {}
    for card in found:
        name: str = card["id"]
        told = card.get("root")
        root = told if isinstance(told, str) and told else name
        length = card.get("max_model_len")
        context = length if isinstance(length, int) and length > 0 else None
        base = card.get("parent")
        if base is not None:
            parent = next((m for m in models.values() if base in (m.id, m.root, *m.aliases)), None)
            if parent is not None:
                root, context = parent.root, context or parent.facts.context
            models[name] = Model(name, [], Facts(context=context), root=root)
        elif root in models:
            models[root].aliases.append(name)
        else:
            models[root] = Model(name, [], Facts(context=context), root=root)
    return list(models.values())


def trouble(reply: Reply, path: str = "/v1/models") -> Discovery:
    """What a reply to GET `path`, which should list models and does not, means, in words for the operator."""
    status = reply.status
    if status == 0:
        return Discovery("down", detail=reply.error or "nobody answers")
    if cards(reply) == []:
        return wrong("no-models", "it lists no models", "load or pull one there: GET /v1/models has to list it")
    if 300 <= status < 400:
        text = f"it redirects (status {status}), which is not followed"
        return wrong("redirect", text, "set `url` to where the API itself is")
    if status in (401, 403):
        return wrong("no-key", "it wants an API key", "name a variable that holds it in `api_key_env`")
    said = refusal.read(reply.body)
    words = scrub(said.message)[:200]
    if status == 503 and not said.html:
        return Discovery("loading", detail=words or "it says that it is not ready")
    if status == 429:
        return Discovery("down", detail="it is rate limiting the probe")
    if said.html:
        return wrong("web-page", "a web page answers there, not an API", "check `url` and its port and path")
    if status == 404:
        text = f"it has no {path}: it is another API"
        return wrong("other-api", text, "is `url` the address without /v1, and `kind` right?")
    if status == 200:
        what = "a list of models" if path == "/v1/models" else "what this kind of server answers"
        text = f"its GET {path} is not {what}: it is another API"
        return wrong("other-api", text, "correct `kind`, or leave it out to have it detected")
    return Discovery("down", detail=f"GET {path} gave status {status}" + (f": {words}" if words else ""))


def wrong(code: str, text: str, fix: str = "") -> Discovery:
    """A server that is not what the configuration takes it for."""
    return Discovery("down", detail=f"{text}: {fix}" if fix else text, findings=[Finding(code, text, fix)])


def alive_state(reply: Reply, unready: State) -> State:
    """Liveness from a cheap GET: any answer that is not an error is life. `unready` = what a 503 means there."""
    if reply.status == 503:
        return unready
    return "ready" if 200 <= reply.status < 300 or reply.status == 429 else "down"
