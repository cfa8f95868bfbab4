"""Gemma 4: E2B, E4B, 12B, 26B-A4B and 31B. Sources: the model cards and https://ai.google.dev/gemma/docs/core.

All sizes read text, pictures and video (as frames); E2B, E4B and 12B hear, 26B-A4B and 31B do not (their
`audio_config` is null). All call tools and can think. Names come in any case, with many suffixes, and some that look
alike are other models: drafters (`-assistant`, `mtp-` files), bases without `-it`, translategemma, functiongemma,
embeddinggemma, Gemma 3 at 4B.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.canonical.facts import Facts


@dataclass(slots=True, frozen=True)
class Variant:
    """`size` in billions of parameters, all of them (the E sizes count 2.3 and 4.5 as effective)."""

    size: float
    audio: bool


VARIANTS: dict[str, Variant] = {
    "e2b": Variant(5.1, True),
    "e4b": Variant(8.0, True),
    "12b": Variant(11.95, True),
    "26b-a4b": Variant(25.2, False),
    "31b": Variant(30.7, False),
}

# not after a letter (`translategemma-4b`), and the 4 is a version, not a size (`gemma-4b`)
_NAME = re.compile(r"(?<![a-z])gemma[-_ ]?4(?![0-9b.])")
_SIZE = re.compile(r"(?<![a-z0-9])(?:(e?2b)|(e?4b)|(12b)|(26b(?:[-_]?a4b)?)|(31b))(?![a-z0-9])")
_SIZES = tuple(VARIANTS)
_TUNED = re.compile(r"(?<![a-z])(?:it|instruct)(?![a-z])")
_BASE = re.compile(r"(?<![a-z])pt(?![a-z])|google(?:/|--)gemma-4-(?:e2b|e4b|12b|26b-a4b|31b)(?:/|$)")
_DRAFTER = re.compile(r"(?:it|instruct|gemma[-_]?4|\db)[-_]assistant(?![a-z])|(?:^|/)mtp-")


def recognise(names: Sequence[str]) -> Facts | None:
    """What these names of one model tell if it is a Gemma 4, else None.

    A drafter answers nobody (`operations` is empty); a base completes text but has no chat template.
    """
    lowered = [n.lower() for n in names]
    ours = [(n, m.end()) for n in lowered if (m := _NAME.search(n))]
    if not ours:
        return None
    facts = Facts(family="gemma4", image=True, video=True, tools=True, thinking=True)
    variant = next((v for n, end in ours if (v := _variant(n[end:]))), None)
    if variant is not None:
        facts.variant, facts.size, facts.audio = variant, VARIANTS[variant].size, VARIANTS[variant].audio
    if any(_DRAFTER.search(n) for n, _ in ours):
        facts.operations = frozenset()
    elif any(_BASE.search(n) for n, _ in ours) and not any(_TUNED.search(n) for n in lowered):
        facts.operations = frozenset({"completion"})
        facts.tools = facts.thinking = False
    return facts


def _variant(rest: str) -> str | None:
    """The size in what follows the family's name: keras says `2b` for E2B, and some leave the `-A4B` out."""
    found = _SIZE.search(rest)
    return None if found is None else _SIZES[(found.lastindex or 1) - 1]
