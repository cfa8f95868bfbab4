"""What a delta carries beside its text, and which part can hold it."""

from __future__ import annotations

from dataclasses import replace

from gateway.canonical.events import PartDelta
from gateway.filters.markup.pieces import Kind


def is_more(e: PartDelta) -> bool:
    return e.signature is not None or bool(e.annotations) or e.redacted is not None or bool(e.summary)


def moved(e: PartDelta, part: int) -> PartDelta:
    """The same delta of another part (`replace` costs three times as much)."""
    return PartDelta(
        e.choice,
        part,
        e.text,
        e.arguments,
        e.signature,
        e.annotations,
        e.redacted,
        e.summary,
        e.logprobs,
        e.extra,
    )


def fitting(carry: PartDelta, kind: Kind) -> tuple[PartDelta, PartDelta | None, bool]:
    """(what a part of this kind can hold, the rest, whether the first is more than what may wait)."""
    if kind == "thinking":
        mine = replace(carry, annotations=None)
        rest = PartDelta(carry.choice, carry.part, annotations=carry.annotations)
    else:
        mine = replace(carry, redacted=None, summary=None)
        rest = PartDelta(carry.choice, carry.part, redacted=carry.redacted, summary=carry.summary)
    return mine, rest if is_more(rest) else None, is_more(mine)
