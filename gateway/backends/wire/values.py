"""Single values of what servers tell about themselves: each of the type that it should be, else nothing."""

from __future__ import annotations

from typing import Any


def as_object(value: Any) -> dict[str, Any]:
    """A JSON object; {} for anything else."""
    return value if isinstance(value, dict) else {}


def as_text(value: Any) -> str:
    """A text; "" for anything else."""
    return value if isinstance(value, str) else ""


def as_count(value: Any) -> int | None:
    """A whole number of at least 1, of tokens, slots or requests; None for anything else, `true` and 0 among it."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
