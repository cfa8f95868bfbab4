"""The fleet as the metrics show it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.engine.fleet import Fleet
from gateway.engine.probe import STEADY


@dataclass(slots=True)
class TargetRow:
    """One target for the gauges."""

    backend: str
    state: str
    in_flight: int
    limit: int
    queued: int
    ejected: bool
    others: int
    cache: float | None


@dataclass(slots=True)
class ServerRow:
    """One server for the gauges."""

    backend: str
    up: bool


def server_rows(fleet: Fleet) -> list[ServerRow]:
    return [ServerRow(s.name, s.state in STEADY) for s in fleet.servers.values()]


def target_rows(fleet: Fleet, now: float) -> list[TargetRow]:
    """`now` in seconds of the monotonic clock. What targets share a gate for is counted at one of them."""
    rows = []
    for d in fleet.deployments():
        c = d.candidate
        in_flight, limit, queued = (c.in_flight, c.limit, c.queued) if d.gate.candidate is c else (0, 0, 0)
        ejected = c.ejected_until > now
        rows.append(TargetRow(c.target.backend, c.state, in_flight, limit, queued, ejected, c.others, c.cache))
    return rows
