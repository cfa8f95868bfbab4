"""What the gateway tells its operator: metrics and log lines.

Metric labels come from the configuration and from closed lists only: no name that a client made up, no key, no error
text. A request's log line is written as one encoded object: binding it through structlog costs a tenth of a request.
The lines of a moment leave in one write.
"""

from __future__ import annotations

import asyncio
import json
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
    others: int
    cache: float | None


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
        others = GaugeMetricFamily(
            "gateway_others", "Requests of others at a backend's busiest target, as it told last.", labels=["backend"]
        )
        cache = GaugeMetricFamily(
            "gateway_cache_used", "Share of a backend's cache in use, as it told last.", labels=["backend"]
        )
        counts: dict[str, dict[str, int]] = {}
        most: dict[str, int] = {}
        used: dict[str, float] = {}
        for t in self._view():
            row = counts.setdefault(t.backend, dict.fromkeys((*STATES, "in_flight", "queued", "ejected"), 0))
            row[t.state] += 1
            row["in_flight"] += t.in_flight
            row["queued"] += t.queued
            row["ejected"] += t.ejected
            most[t.backend] = max(t.others, most.get(t.backend, 0))
            if t.cache is not None:
                used[t.backend] = max(t.cache, used.get(t.backend, 0.0))
        for backend, row in counts.items():
            for name in STATES:
                state.add_metric([backend, name], row[name])
            flight.add_metric([backend], row["in_flight"])
            queued.add_metric([backend], row["queued"])
            ejected.add_metric([backend], row["ejected"])
            others.add_metric([backend], most[backend])
        for backend, share in used.items():
            cache.add_metric([backend], share)
        yield from (state, flight, queued, ejected, others, cache)


class Series:
    """The children of all metrics of a request with these labels. Each is made when it is first used: one that was made
    for nothing would be shown as 0."""

    __slots__ = ("_ends", "_first", "_gaps", "_labels", "_metrics", "_overhead", "_seconds", "_tokens")

    def __init__(self, metrics: Metrics, model: str, operation: str, dialect: str, backend: str) -> None:
        self._metrics = metrics
        self._labels = (model, operation, dialect, backend)
        self._seconds = metrics._seconds.labels(model, operation)
        self._ends: dict[tuple[int, str], Any] = {}
        self._overhead: Any = None
        self._first: Any = None
        self._gaps: Any = None
        self._tokens: dict[str, Any] = {}

    def end(self, status: int, code: str, seconds: float) -> None:
        child = self._ends.get((status, code))
        if child is None:
            child = self._ends[status, code] = self._metrics._requests.labels(*self._labels[:3], str(status), code)
        child.inc()
        self._seconds.observe(seconds)

    def overhead(self, seconds: float) -> None:
        if self._overhead is None:
            self._overhead = self._metrics._overhead.labels(self._labels[1])
        self._overhead.observe(seconds)

    def first_token(self, seconds: float) -> None:
        if self._first is None:
            self._first = self._metrics._first.labels(self._labels[0], self._labels[3])
        self._first.observe(seconds)

    def gap(self, seconds: float) -> None:
        if self._gaps is None:
            self._gaps = self._metrics._gaps.labels(self._labels[0], self._labels[3])
        self._gaps.observe(seconds)

    def tokens(self, kind: str, count: int) -> None:
        child = self._tokens.get(kind)
        if child is None:
            child = self._tokens[kind] = self._metrics._tokens.labels(self._labels[0], self._labels[3], kind)
        child.inc(count)


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
        self._repairs = Counter(
            "gateway_repairs",
            "What was wrong in servers' answers, by reason; with `repair: fix` it was put right.",
            ["backend", "reason"],
            registry=r,
        )
        self._runaways = Counter(
            "gateway_runaways", "Answers that ran away: repeats, same_call, long_thinking.", ["backend", "sign"],
            registry=r,
        )  # fmt: skip
        self._rail = Counter("gateway_privacy_refusals", "Requests that privacy kept here.", registry=r)
        self._ejections = Counter("gateway_ejections", "Targets taken out after failures.", ["backend"], registry=r)
        self._drift = Counter(
            "gateway_drift", "Facts of a target that changed between probes.", ["backend", "fact"], registry=r
        )
        self._reloads = Counter("gateway_config_reloads", "Reloads of the configuration.", ["result"], registry=r)
        self.config_ok = Gauge(
            "gateway_config_last_reload_successful", "1 if the newest configuration is in force.", registry=r
        )
        self.config_info = Gauge("gateway_config_info", "The configuration in force.", ["digest"], registry=r)
        self._body_octets = Gauge("gateway_body_octets", "Octets of request bodies held now.", registry=r)
        self._held: dict[tuple[Any, ...], Any] = {}
        self.before_render: Callable[[], None] = lambda: None
        """Brings in what waits to be counted."""
        self._series: dict[tuple[str, str, str, str], Series] = {}

    def bodies(self, held: Callable[[], int]) -> None:
        """Where to read how many octets of bodies are held."""
        self._body_octets.set_function(held)

    def _child(self, family: Any, *labels: str) -> Any:
        key = (id(family), *labels)
        child = self._held.get(key)
        if child is None:
            child = self._held[key] = family.labels(*labels)
        return child

    def series(self, model: str, operation: str, dialect: str, backend: str) -> Series:
        """What counts for one request: a single look-up."""
        key = (model, operation, dialect, backend)
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = Series(self, *key)
        return found

    def attempt(self, backend: str, outcome: str) -> None:
        self._child(self._attempts, backend, outcome).inc()

    def queue(self, backend: str, seconds: float) -> None:
        self._child(self._queue, backend).observe(seconds)

    def orphaned(self, backend: str, seconds: float) -> None:
        self._child(self._orphaned, backend).inc(seconds)

    def left(self, phase: str) -> None:
        self._child(self._left, phase).inc()

    def part(self, modality: str, fate: str, count: int = 1) -> None:
        self._child(self._parts, modality, fate).inc(count)

    def repair(self, backend: str, reason: str) -> None:
        self._child(self._repairs, backend, reason).inc()

    def runaway(self, backend: str, sign: str) -> None:
        self._child(self._runaways, backend, sign).inc()

    def privacy_refusal(self) -> None:
        self._rail.inc()

    def ejection(self, backend: str) -> None:
        self._child(self._ejections, backend).inc()

    def drift(self, backend: str, fact: str) -> None:
        self._child(self._drift, backend, fact).inc()

    def reload(self, result: str) -> None:
        self._child(self._reloads, result).inc()
        self.config_ok.set(1 if result == "applied" else 0)

    def configured(self, digest: str) -> None:
        self.config_info.clear()
        self.config_info.labels(digest).set(1)
        self.config_ok.set(1)

    def render(self) -> bytes:
        self.before_render()
        return generate_latest(self.registry)


class Soon:
    """Does something a moment after it was first asked for, once for all who asked meanwhile; at once where no loop
    runs: before the start, after the end."""

    PAUSE = 0.05
    """Seconds."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._timer: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        if self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(self.PAUSE, self._act)
            except RuntimeError:
                self._act()

    def done(self) -> None:
        """It is being done now: whoever asks from here on asks anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Lines:
    """The end of the log: lines are collected, and written in one go a moment later or when they are many. Never
    raises: when nobody reads the log any more, requests go on."""

    MOST = 64 * 1024
    """Octets that may wait."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._held: list[bytes] = []
        self._size = 0
        self._soon = Soon(self.flush)

    def add(self, line: bytes) -> None:
        self._held.append(line)
        self._size += len(line)
        if self._size > self.MOST:
            self.flush()
        else:
            self._soon.ask()

    def flush(self) -> None:
        self._soon.done()
        if not self._held:
            return
        self._held.append(b"")
        text = b"\n".join(self._held).decode()
        self._held.clear()
        self._size = 0
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            return

    def msg(self, message: str) -> None:
        """An event, for structlog: behind the lines that came before it, and at once."""
        self._held.append(message.encode("utf-8", "backslashreplace"))
        self.flush()

    debug = info = warning = error = critical = exception = msg


class Log:
    """Log lines as JSON objects, one a line. `request` takes the line of one finished request; `events` is for
    everything else."""

    def __init__(self, stream: TextIO | None = None, level: str = "info") -> None:
        self._lines = _Lines(stream or sys.stderr)
        self._encoder = msgspec.json.Encoder(enc_hook=str)
        self.events: Any
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """From now on: debug, info, warning or error."""
        number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        self._quiet = number > logging.INFO
        self.events = structlog.wrap_logger(
            self._lines,
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=lambda obj, **_: self._encode(obj).decode()),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(number),
        )

    def _encode(self, fields: dict[str, Any]) -> bytes:
        try:
            return self._encoder.encode(fields)
        except ValueError:  # half a surrogate pair, which is no text
            return json.dumps(fields, default=str).encode()

    def request(self, fields: dict[str, Any]) -> None:
        if not self._quiet:
            self._lines.add(self._encode(fields))

    def flush(self) -> None:
        """Writes what still waits."""
        self._lines.flush()
