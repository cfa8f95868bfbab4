"""Which generation a GPU is of, by its maker's name for it: what decides whether FP4 is arithmetic or only storage."""

from __future__ import annotations

import re

_GENERATIONS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("blackwell", re.compile(r"(?i)blackwell|\bG?B[123]00\b|\bGB10\b|RTX\s*50\d0|\bB40\b")),
    ("hopper", re.compile(r"(?i)hopper|\bG?H[128]00\b|\bH20\b")),
    ("ada", re.compile(r"(?i)\bada\b|\bL4\b|\bL40S?\b|\bL20\b|RTX\s*40\d0")),
    ("ampere", re.compile(r"(?i)ampere|\bA100\b|\bA10G?\b|\bA30\b|\bA40\b|RTX\s*A\d000|RTX\s*30\d0")),
)
"""`RTX PRO 6000 Blackwell` and `RTX 6000 Ada` name theirs themselves."""


def generation(names: str) -> str | None:
    """`GPU 0: NVIDIA B200` -> blackwell. None for what is not known, or where the GPUs differ."""
    found = {_one(line) for line in names.splitlines() if line.strip()}
    return found.pop() if len(found) == 1 else None


def _one(name: str) -> str | None:
    return next((word for word, pattern in _GENERATIONS if pattern.search(name)), None)
