"""What the gateway tells its operator: metrics and log lines.

Metric labels come from the configuration and from closed lists only: no name that a client made up, no key, no error
text. A request's log line is written as one encoded object: binding it through structlog costs a tenth of a request.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TextIO

import msgspec
import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
GAPS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10)
OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5)


class TargetView(Protocol):
    """What the gauges need to know of one target."""

    backend: str
    state: str
    in_flight: int
    queued: int
    ejected: bool


STATES = ("unprobed", "down", "loading", "cold", "ready", "mismatch")


class _Targets(Collector):
    """Gauges that are read from the fleet when they are asked for, instead of being moved by every request."""

    def __init__(self, view: Callable[[], Iterable[TargetView]]) -> None:
        self._view = view

    def collect(self) -> Iterator[GaugeMetricFamily]:
        state = GaugeMetricFamily(
            "gateway_target_state", "Targets of a backend in a state.", labels=["backend", "state"]
        )
        flight = GaugeMetricFamily("gateway_in_flight", "Requests at a backend now.", labels=["backend"])
        queued = GaugeMetricFamily("gateway_queued", "Requests that wait for a backend now.", labels=["backend"])
        ejected = GaugeMetricFamily("gateway_ejected", "Targets of a backend that are ejected.", labels=["backend"])
        counts: dict[str, dict[str, int]] = {}
        for t in self._view():
            row = counts.setdefault(t.backend, dict.fromkeys((*STATES, "in_flight", "queued", "ejected"), 0))
            row[t.state] += 1
            row["in_flight"] += t.in_flight
            row["queued"] += t.queued
            row["ejected"] += t.ejected
        for backend, row in counts.items():
            for name in STATES:
                state.add_metric([backend, name], row[name])
            flight.add_metric([backend], row["in_flight"])
            queued.add_metric([backend], row["queued"])
            ejected.add_metric([backend], row["ejected"])
        yield from (state, flight, queued, ejected)


class Metrics:
    """All metrics of one gateway. Children are resolved once and held: `labels()` on the spot costs four times more."""

    def __init__(self, targets: Callable[[], Iterable[TargetView]] = lambda: ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter that nobody reads
        r = self.registry = CollectorRegistry()
        r.register(_Targets(targets))
        self._requests = Counter(
            "gateway_requests",
            "Requests by their end.",
            ["model", "operation", "dialect", "status", "code"],
            registry=r,
        )
        self._seconds = Histogram(
            "gateway_request_seconds", "From the request's head to its end.", ["model", "operation"], buckets=FAST,
            registry=r,
        )  # fmt: skip
        self._attempts = Counter("gateway_attempts", "Calls to servers by outcome.", ["backend", "outcome"], registry=r)
        self._tokens = Counter("gateway_tokens", "Tokens.", ["model", "backend", "kind"], registry=r)
        self._first = Histogram(
            "gateway_time_to_first_token_seconds", "From the request's head to its first content.",
            ["model", "backend"], buckets=FAST, registry=r,
        )  # fmt: skip
        self._gaps = Histogram(
            "gateway_time_between_tokens_seconds", "Mean gap between tokens of one answer.", ["model", "backend"],
            buckets=GAPS, registry=r,
        )  # fmt: skip
        self._overhead = Histogram(
            "gateway_overhead_seconds", "From a complete request to the call that went out for it, without the queue.",
            ["operation"], buckets=OVERHEAD, registry=r,
        )  # fmt: skip
        self._queue = Histogram(
            "gateway_queue_seconds", "Waiting for a place at a target.", ["backend"], buckets=FAST, registry=r
        )
        self._orphaned = Counter(
            "gateway_orphaned_seconds",
            "Time that servers worked on for clients that had left.",
            ["backend"],
            registry=r,
        )
        self._left = Counter("gateway_client_disconnects", "Clients that left.", ["phase"], registry=r)
        self._parts = Counter(
            "gateway_parts", "Content parts by what became of them.", ["modality", "fate"], registry=r
        )
        self._rail = Counter("gateway_privacy_refusals", "Requests that privacy kept here.", registry=r)
        self._ejections = Counter("gateway_ejections", "Targets taken out after failures.", ["backend"], registry=r)
        self._drift = Counter(
            "gateway_drift", "Facts of a target that changed between probes.", ["backend"], registry=r
        )
        self._reloads = Counter("gateway_config_reloads", "Reloads of the configuration.", ["result"], registry=r)
        self.config_ok = Gauge(
            "gateway_config_last_reload_successful", "1 if the newest configuration is in force.", registry=r
        )
        self.config_info = Gauge("gateway_config_info", "The configuration in force.", ["digest"], registry=r)
        self.body_octets = Gauge("gateway_body_octets", "Octets of request bodies held now.", registry=r)
        self._held: dict[tuple[Any, ...], Any] = {}

    def _child(self, family: Any, *labels: str) -> Any:
        key = (id(family), *labels)
        child = self._held.get(key)
        if child is None:
            child = self._held[key] = family.labels(*labels)
        return child

    def request(self, model: str, operation: str, dialect: str, status: int, code: str, seconds: float) -> None:
        self._child(self._requests, model, operation, dialect, str(status), code).inc()
        self._child(self._seconds, model, operation).observe(seconds)

    def attempt(self, backend: str, outcome: str) -> None:
        self._child(self._attempts, backend, outcome).inc()

    def tokens(self, model: str, backend: str, kind: str, count: int) -> None:
        self._child(self._tokens, model, backend, kind).inc(count)

    def first_token(self, model: str, backend: str, seconds: float) -> None:
        self._child(self._first, model, backend).observe(seconds)

    def gap(self, model: str, backend: str, seconds: float) -> None:
        self._child(self._gaps, model, backend).observe(seconds)

    def overhead(self, operation: str, seconds: float) -> None:
        self._child(self._overhead, operation).observe(seconds)

    def queue(self, backend: str, seconds: float) -> None:
        self._child(self._queue, backend).observe(seconds)

    def orphaned(self, backend: str, seconds: float) -> None:
        self._child(self._orphaned, backend).inc(seconds)

    def left(self, phase: str) -> None:
        self._child(self._left, phase).inc()

    def part(self, modality: str, fate: str) -> None:
        self._child(self._parts, modality, fate).inc()

    def privacy_refusal(self) -> None:
        self._rail.inc()

    def ejection(self, backend: str) -> None:
        self._child(self._ejections, backend).inc()

    def drift(self, backend: str) -> None:
        self._child(self._drift, backend).inc()

    def reload(self, result: str) -> None:
        self._child(self._reloads, result).inc()
        self.config_ok.set(1 if result == "applied" else 0)

    def configured(self, digest: str) -> None:
        self.config_info.clear()
        self.config_info.labels(digest).set(1)
        self.config_ok.set(1)

    def render(self) -> bytes:
        return generate_latest(self.registry)


class Log:
    """Log lines as JSON objects, one a line. `request` writes the line of one finished request directly."""

    def __init__(self, stream: TextIO | None = None, level: str = "info") -> None:
        self._stream = stream or sys.stderr
        self._encode = msgspec.json.Encoder(enc_hook=str).encode
        self._quiet = logging.getLevelNamesMapping().get(level.upper(), 20) > logging.INFO
        self.events: Any = structlog.wrap_logger(
            structlog.PrintLogger(self._stream),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=lambda obj, **_: self._encode(obj).decode()),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping().get(level.upper(), 20)),
        )

    def request(self, fields: dict[str, Any]) -> None:
        if self._quiet:
            return
        try:
            self._stream.write(self._encode(fields).decode() + "\n")
        except (OSError, ValueError):
            return  # nobody reads the log any more: requests go on
