"""Llama 3 and 4: https://www.llama.com/docs/model-cards-and-prompt-formats/llama3_1/

Calls are a JSON object `{"name": ..., "parameters": ...}`, alone or behind `<|python_tag|>`. `-Vision` and the 4 series
read pictures; none hears.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.canonical.facts import Facts

_NAME = re.compile(r"(?<![a-z])llama[-_ ]?(?:v?3(?:\.[1-3])?|4)(?![0-9b])")
_SEES = re.compile(r"vision|llama[-_ ]?4")


def recognise(names: Sequence[str]) -> Facts | None:
    """What these names of one model tell if it is of this family, else None."""
    ours = [n for n in map(str.lower, names) if _NAME.search(n)]
    if not ours:
        return None
    return Facts(family="llama", image=any(_SEES.search(n) for n in ours), video=False, audio=False)
