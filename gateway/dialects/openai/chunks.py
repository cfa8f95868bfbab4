"""The usual chunks of a stream (its first, text, thoughts, its finish), decoded strictly: that costs half of what plain
JSON does and proves that nothing else is in them."""

from __future__ import annotations

import msgspec


class _Delta(msgspec.Struct, forbid_unknown_fields=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    role: str | None = None
    refusal: None = None
    tool_calls: None = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True):
    delta: _Delta
    index: int = 0
    finish_reason: str | None = None
    logprobs: None = None
    token_ids: None = None


class UsualChunk(msgspec.Struct, forbid_unknown_fields=True):
    """The usual chunk. One that has anything more does not decode as this."""

    choices: tuple[_Choice]
    id: str = ""
    object: str = ""
    created: int = 0
    model: str = ""
    system_fingerprint: str | None = None
    usage: None = None


usual_chunk = msgspec.json.Decoder(UsualChunk).decode
"""Raises msgspec.DecodeError for a chunk that has anything more."""
