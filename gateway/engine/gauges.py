"""The fleet as the metrics show it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.engine.fleet import Fleet


@dataclass(slots=True)
class TargetRow:
    """One target for the gauges."""

    backend: str
    state: str
    in_flight: int
    queued: int
    ejected: bool
    others: int
    cache: float | None


def target_rows(fleet: Fleet, now: float) -> list[TargetRow]:
    """`now` in seconds of the monotonic clock. What targets share a gate for is counted at one of them."""
    rows = []
    for d in fleet.deployments():
        c = d.candidate
        in_flight, queued = (c.in_flight, c.queued) if d.gate.candidate is c else (0, 0)
        rows.append(TargetRow(c.target.backend, c.state, in_flight, queued, c.ejected_until > now, c.others, c.cache))
    return rows
