"""Whether anything was changed. Values are never edited in place: what is the same object is as it was."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_


def same(new: Sequence[object], old: Sequence[object]) -> bool:
    """Do both hold the same objects in the same order? Equal is not enough: what was made anew counts as changed."""
    return len(new) == len(old) and all(map(is_, new, old))
