"""What a probe found that is not as it was: for the log and the metrics."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from gateway.canonical.facts import Facts, changes


class News(NamedTuple):
    """`fact` = the name of the fact that drifted, "" for everything else. `words` hold no path of a machine."""

    event: Literal["drift", "mismatch"]
    words: str
    fact: str = ""


def drift(label: str, before: Facts, after: Facts) -> list[News]:
    """What the target of that label was found to do otherwise than at the last look."""
    return [
        News("drift", f"{label}: {name} {_shown(old)} -> {_shown(new)}", name)
        for name, (old, new) in changes(before, after).items()
    ]


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "+".join(sorted(value)) or "nothing" if isinstance(value, frozenset) else str(value)
