"""Numbers out of a server's Prometheus metrics."""

from __future__ import annotations

import math
import re

from gateway.backends import Reply

_LINE = re.compile(rb"^([a-zA-Z_:][\w:]*)(\{[^\n]*\})?[ \t]+(\S+)", re.MULTILINE)


def gauge(reply: Reply, *names: str) -> float | None:
    """The sum of a metric over all its labels, by the first of its `names` that is there; None if none is."""
    values = _values(reply, names)
    return math.fsum(values) if values else None


def average(reply: Reply, *names: str) -> float | None:
    """The same, its mean: for shares, of which each engine has its own."""
    values = _values(reply, names)
    return math.fsum(values) / len(values) if values else None


def _values(reply: Reply, names: tuple[str, ...]) -> list[float]:
    if reply.status != 200:
        return []
    found: dict[bytes, list[float]] = {name.encode(): [] for name in names}
    for line in _LINE.finditer(reply.body):
        if line[1] in found:
            try:
                value = float(line[3])
            except ValueError:
                continue
            if math.isfinite(value):
                found[line[1]].append(value)
    return next((values for values in found.values() if values), [])
