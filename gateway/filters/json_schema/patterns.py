"""What a regular expression can cost. The engine takes linear time; by how much, its states say."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

MOST: Final = 20_000_000
"""States times characters of one value's texts; at 30 ns each."""
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?P<least>\d+)(?:,(?P<most>\d*))?\}|.", re.DOTALL)


@lru_cache(256)
def states(pattern: str) -> int:
    """About how many states it has: one for each thing in it, counted repetitions written out."""
    outer: list[int] = []
    total = last = 0
    for token in _TOKEN.finditer(pattern):
        if token["least"]:
            times = max(1, int((token["most"] or token["least"])[:6]))
            total += last * (times - 1)
            last *= times
        elif token.group() == "(":
            outer.append(total)
            total = 0
        elif token.group() == ")" and outer:
            last = total
            total += outer.pop()
        else:
            total += 1
            last = 1
    return 1 + total + sum(outer)
