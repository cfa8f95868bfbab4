"""Gauges that are read from the fleet when they are asked for, instead of being moved by every request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.observe.catalogue import FLEET, STATES


class TargetView(Protocol):
    """What the gauges need to know of one target."""

    backend: str
    state: str
    in_flight: int
    limit: int
    queued: int
    ejected: bool
    others: int
    cache: float | None


class ServerView(Protocol):
    """And of one server, which may have no target yet."""

    backend: str
    up: bool


class FleetGauges(Collector):
    def __init__(
        self, targets: Callable[[], Iterable[TargetView]], servers: Callable[[], Iterable[ServerView]]
    ) -> None:
        self._targets = targets
        self._servers = servers

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = {e.name: GaugeMetricFamily(e.name, e.about, labels=e.labels) for e in FLEET}
        rows: dict[str, list[TargetView]] = {}
        for server in self._servers():
            rows[server.backend] = []
            family["gateway_backend_up"].add_metric([server.backend], int(server.up))
        for t in self._targets():
            rows.setdefault(t.backend, []).append(t)
        for backend, found in rows.items():
            for state in STATES:
                count = sum(t.state == state for t in found)
                family["gateway_target_state"].add_metric([backend, state], count)
            for name, value in (
                ("gateway_in_flight", sum(t.in_flight for t in found)),
                ("gateway_in_flight_limit", sum(t.limit for t in found)),
                ("gateway_queued", sum(t.queued for t in found)),
                ("gateway_ejected", sum(t.ejected for t in found)),
                ("gateway_others", max((t.others for t in found), default=0)),
            ):
                family[name].add_metric([backend], value)
            told = [t.cache for t in found if t.cache is not None]
            if told:
                family["gateway_cache_used_ratio"].add_metric([backend], max(told))
        yield from family.values()
