"""The model's maker's signature of a part, as its OpenAI-compatible endpoint writes it: `extra_content.google.
thought_signature`, on the call that it signs, or on the message for its text. Clients that keep unknown fields send it
back. Source: https://ai.google.dev/gemini-api/docs/thought-signatures#openai
"""

from __future__ import annotations

from typing import Any, Final

from gateway.dialects.fields import Json

FIELD: Final = "extra_content"
_MAKER: Final = "google"
_NAME: Final = "thought_signature"


def take_signature(extra: Json) -> str | None:
    """The signature among a part's further fields, and out of them; what stands beside it stays."""
    held = extra.get(FIELD)
    inner = held.get(_MAKER) if isinstance(held, dict) else None
    if not isinstance(held, dict) or not isinstance(inner, dict) or not isinstance(inner.get(_NAME), str):
        return None
    rest: Json = {**held, _MAKER: {k: v for k, v in inner.items() if k != _NAME}}
    if not rest[_MAKER]:
        del rest[_MAKER]
    del extra[FIELD]
    if rest:
        extra[FIELD] = rest
    return str(inner[_NAME])


def put_signature(out: Json, signature: str | None) -> None:
    if signature is None:
        return
    held: Any = out.get(FIELD) or {}
    out[FIELD] = {**held, _MAKER: {**(held.get(_MAKER) or {}), _NAME: signature}}
