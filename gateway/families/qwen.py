"""Qwen and what is built on it (QwQ, Hermes tunes): https://qwen.readthedocs.io/en/latest/framework/function_call.html

Calls are written as Hermes does, one JSON object between `<tool_call>` and `</tool_call>`; thoughts stand between
`<think>` and `</think>`. `-VL` reads pictures and video, `-Omni` hears as well; a plain name reads text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.canonical.facts import Facts

_NAME = re.compile(r"(?<![a-z])(?:qwen|qwq|qvq|hermes)(?![a-z])")
_SEES = re.compile(r"(?<![a-z])(?:vl|qvq|omni)(?![a-z])")
_HEARS = re.compile(r"(?<![a-z])omni(?![a-z])")


def recognise(names: Sequence[str]) -> Facts | None:
    """What these names of one model tell if it is of this family, else None."""
    ours = [n for n in map(str.lower, names) if _NAME.search(n)]
    if not ours:
        return None
    sees = any(_SEES.search(n) for n in ours)
    return Facts(family="qwen", image=sees, video=sees, audio=any(_HEARS.search(n) for n in ours))
