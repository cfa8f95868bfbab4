"""Mistral's models: https://docs.mistral.ai/capabilities/function_calling/

Calls stand behind `[TOOL_CALLS]`, thoughts of the Magistral models between `[THINK]` and `[/THINK]`. Pixtral and the
Small and Medium models from 3.1 on read pictures; Voxtral hears.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.canonical.facts import Facts

_NAME = re.compile(r"(?<![a-z])(?:mistral|mixtral|ministral|magistral|devstral|codestral|pixtral|voxtral)(?![a-z])")
_SEES = re.compile(r"pixtral|mistral-(?:small|medium)-3\.[1-9]")
_HEARS = re.compile(r"voxtral")


def recognise(names: Sequence[str]) -> Facts | None:
    """What these names of one model tell if it is of this family, else None."""
    ours = [n for n in map(str.lower, names) if _NAME.search(n)]
    if not ours:
        return None
    sees = any(_SEES.search(n) for n in ours)
    return Facts(family="mistral", image=sees, video=False, audio=any(_HEARS.search(n) for n in ours))
