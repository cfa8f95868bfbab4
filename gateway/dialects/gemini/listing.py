"""Lists of models. Source: https://ai.google.dev/api/models."""

from __future__ import annotations

from typing import Any, Final

from gateway.canonical.facts import Facts
from gateway.dialects.fields import Json
from gateway.errors import BadRequest

_MOST: Final = 1000
_USUAL: Final = 50


def card(name: str, display: str, facts: Facts) -> Json:
    """One model. `facts` = what some target of it can do. A limit that is not known is left out."""
    methods: list[str] = []
    operations = facts.operations
    if operations is None or "chat" in operations:
        methods += ["generateContent", "streamGenerateContent"]
    if facts.counts or (operations is not None and "count_tokens" in operations):
        methods.append("countTokens")
    if operations is not None and "embedding" in operations:
        methods += ["embedContent", "batchEmbedContents"]
    out: Json = {
        "name": f"models/{name}",
        "displayName": display,
        "description": "",
        "version": facts.version or "",
        "supportedGenerationMethods": methods,
        "thinking": bool(facts.thinking),
    }
    if facts.context is not None:
        out["inputTokenLimit"] = out["outputTokenLimit"] = facts.context
    return out


def page(cards: list[Json], size: Any, token: Any, key: str = "models") -> Json:
    """The cards of one page. Raises BadRequest for a size or token that is none."""
    count = _number(size, "pageSize", _USUAL) or _USUAL
    start = _number(token, "pageToken", 0)
    end = start + min(count, _MOST)
    out: Json = {key: cards[start:end]}
    if end < len(cards):
        out["nextPageToken"] = str(end)
    return out


def _number(value: Any, name: str, usual: int) -> int:
    if value is None or value == "":
        return usual
    if not isinstance(value, str) or not value.isascii() or not value.isdecimal() or len(value) > 9:
        raise BadRequest(f"`{name}` is not valid", param=name)
    return int(value)
