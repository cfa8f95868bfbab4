"""Metrics: what the gateway counts and measures.

Labels come from the configuration and from closed lists only: no name that a client made up, no error text, of a key
nothing but its id.
What is counted rarely and has few labels is there from the start as 0: of a counter that appears as 1, Prometheus never
sees the first increase. docs/operations/metrics.md lists all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase

from gateway import __version__
from gateway.observe.catalogue import (
    FATES,
    FLEET,
    MADE,
    MODALITIES,
    OUTCOMES,
    PHASES,
    PROCESS,
    RESULTS,
    USUAL,
    Entry,
    outcome_of,
    result_of,
)
from gateway.observe.fleet import FleetGauges, ServerView, TargetView

LONG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
GAPS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10)
OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5)
WORK = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

M = TypeVar("M", bound=MetricWrapperBase)


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
        self._first: dict[str, Any] = {}
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

    def first_token(self, modality: str, seconds: float) -> None:
        child = self._first.get(modality)
        if child is None:
            child = self._first[modality] = self._metrics._first.labels(self._labels[0], self._labels[3], modality)
        child.observe(seconds)

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
    """All metrics of one gateway. Children are resolved once and held: `labels()` on the spot costs four times more.

    `catalogue`: what there is, also of what has not been counted yet."""

    def __init__(
        self,
        targets: Callable[[], Iterable[TargetView]] = lambda: (),
        servers: Callable[[], Iterable[ServerView]] = lambda: (),
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter that nobody reads
        self.registry = CollectorRegistry()
        self.catalogue: list[Entry] = []
        self._requests_and_tokens()
        self._calls()
        self._media()
        self._own()
        self.catalogue += [*FLEET, *PROCESS]
        self.registry.register(FleetGauges(targets, servers))
        ProcessCollector(namespace="gateway", registry=self.registry)
        self._held: dict[tuple[Any, ...], Any] = {}
        self.before_render: Callable[[], None] = lambda: None
        """Brings in what waits to be counted."""
        self._series: dict[tuple[str, str, str, str], Series] = {}
        self._start()

    def _add(self, kind: type[M], name: str, about: str, labels: str = "", **more: Any) -> M:
        """`labels`: their names, with a space between."""
        names = labels.split()
        unit = "_total" if kind is Counter else ""
        self.catalogue.append(Entry(name + unit, kind.__name__.lower(), tuple(names), about))
        return kind(name, about, names, registry=self.registry, **more)

    def _requests_and_tokens(self) -> None:
        add = self._add
        self._requests = add(
            Counter,
            "gateway_requests",
            "Requests by how they ended: HTTP status and the error's code, `ok` without one.",
            "model operation dialect status code",
        )
        self._outcomes = add(
            Counter,
            "gateway_outcomes",
            "Requests by the heaviest kind of content in them and their outcome: ok, refused (4xx: the request's own"
            " fault), failed (5xx: a server's or the gateway's), left (its client did).",
            "modality outcome",
        )
        self._seconds = add(
            Histogram, "gateway_request_seconds", "From a request's head to its end.", "model operation", buckets=LONG
        )
        self._first = add(
            Histogram,
            "gateway_time_to_first_token_seconds",
            "From a request's head to the first content of its answer, by the heaviest kind of content in the request;"
            " of answers that the server streamed.",
            "model backend modality",
            buckets=LONG,
        )
        self._gaps = add(
            Histogram,
            "gateway_time_between_tokens_seconds",
            "Mean time between two tokens of one answer.",
            "model backend",
            buckets=GAPS,
        )
        self._overhead = add(
            Histogram,
            "gateway_overhead_seconds",
            "From a request that is here whole to the first call that went out for it, without the time in a queue:"
            " what the gateway itself adds, conversions included.",
            "operation",
            buckets=OVERHEAD,
        )
        self._tokens = add(
            Counter,
            "gateway_tokens",
            "Tokens as servers counted them: input, output, and of these cached and reasoning.",
            "model backend kind",
        )
        self._key_requests = add(
            Counter,
            "gateway_key_requests",
            "Requests by the id of the client's key and their outcome. `local` without keys, `none` with a wrong one.",
            "key outcome",
        )
        self._key_tokens = add(
            Counter, "gateway_key_tokens", "Tokens by the id of the client's key: input, output.", "key kind"
        )
        self._left = add(
            Counter,
            "gateway_client_disconnects",
            "Clients that left before their answer was complete, by where it was.",
            "phase",
        )

    def _calls(self) -> None:
        add = self._add
        self._attempts = add(
            Counter,
            "gateway_attempts",
            "Calls to servers by what came of them: `ok`, `cancelled` (the client left) or the error's code."
            " More attempts than requests: something was tried again elsewhere.",
            "backend outcome",
        )
        self._queue = add(
            Histogram,
            "gateway_queue_seconds",
            "How long requests waited for a place at a target, of those that had to wait.",
            "backend",
            buckets=LONG,
        )
        self._orphaned = add(
            Counter,
            "gateway_orphaned_seconds",
            "Seconds that servers went on for clients that had left, until the call to them was closed.",
            "backend",
        )
        self._ejections = add(
            Counter,
            "gateway_ejections",
            "How often a target was left alone for a while after failures in a row.",
            "backend",
        )
        self._drift = add(
            Counter, "gateway_drift", "Facts of a target that were other ones at the next look at it.", "backend fact"
        )
        self._repairs = add(
            Counter,
            "gateway_repairs",
            "What was wrong in servers' answers, by reason; with `repair: fix` it was put right.",
            "backend reason",
        )
        self._runaways = add(
            Counter,
            "gateway_runaways",
            "Answers that ran away: repeats, same_call, long_thinking.",
            "backend sign",
        )

    def _media(self) -> None:
        add = self._add
        self._parts = add(
            Counter,
            "gateway_parts",
            "Content parts by what became of them: delivered as they came, transformed for the target, dropped (a"
            " video's sound that the target does not hear), refused.",
            "modality fate",
        )
        self._conversions = add(
            Counter, "gateway_media_conversions", "Media converted for a target, by what was made.", "made result"
        )
        self._converting = add(
            Histogram,
            "gateway_media_conversion_seconds",
            "How long a conversion took, with the wait for a free worker.",
            "made",
            buckets=WORK,
        )
        self._fetches = add(
            Counter, "gateway_media_fetches", "Media fetched by their URL, or still kept here.", "result"
        )
        self._fetching = add(Histogram, "gateway_media_fetch_seconds", "How long a fetch took.", buckets=WORK)
        self._rail = add(
            Counter, "gateway_privacy_refusals", "Requests that no server got because `privacy` keeps them here."
        )

    def _own(self) -> None:
        add = self._add
        self._reloads = add(
            Counter, "gateway_config_reloads", "Reloads of the configuration: applied, rejected.", "result"
        )
        self.config_ok = add(
            Gauge, "gateway_config_last_reload_successful", "1 if the newest configuration is in force, else 0."
        )
        self.config_info = add(Gauge, "gateway_config_info", "1; the digest is of what is in force.", "digest")
        self._build = add(Gauge, "gateway_build_info", "1; the version of the gateway that runs.", "version")
        self._bugs = add(
            Counter, "gateway_bugs", "Errors of the gateway's own, each with a line `bug` in the log. Should stay 0."
        )
        self._spans = add(
            Counter,
            "gateway_spans",
            "Spans of requests, where `otel` is set: sent to the collector, or dropped because it did not take them.",
            "result",
        )
        self._body_bytes = add(
            Gauge, "gateway_body_bytes", "Request bodies, and media fetched or converted for them, held in memory now."
        )

    def _start(self) -> None:
        """What is there as 0 from the start."""
        self._outcome = {(m, o): self._outcomes.labels(m, o) for m in MODALITIES for o in OUTCOMES}
        self._fate = {(m, f): self._parts.labels(m, f) for m in (*MODALITIES, "other") for f in FATES}
        for family, *lists in (
            (self._left, PHASES),
            (self._reloads, ("applied", "rejected")),
            (self._fetches, RESULTS),
            (self._spans, ("sent", "dropped")),
        ):
            for label in lists[0]:
                self._child(family, label)
        for made in MADE:
            self._child(self._converting, made)
            for result in RESULTS:
                self._child(self._conversions, made, result)
        self._build.labels(__version__).set(1)

    def bodies(self, held: Callable[[], int]) -> None:
        """Where to read how many octets of bodies are held."""
        self._body_bytes.set_function(held)

    def _child(self, family: Any, *labels: str) -> Any:
        key = (id(family), *labels)
        child = self._held.get(key)
        if child is None:
            child = self._held[key] = family.labels(*labels)
        return child

    # ---- requests ----

    def series(self, model: str, operation: str, dialect: str, backend: str) -> Series:
        """What counts for one request: a single look-up."""
        key = (model, operation, dialect, backend)
        found = self._series.get(key)
        if found is None:
            found = self._series[key] = Series(self, *key)
        return found

    def outcome(self, modality: str, status: int) -> None:
        self._outcome[modality, outcome_of(status)].inc()

    def key(self, name: str, status: int, read: int, written: int) -> None:
        """One request of a key, by its id. `read` and `written` in tokens, 0 if nobody counted them."""
        self._child(self._key_requests, "none" if status == 401 else name, outcome_of(status)).inc()
        if read or written:
            self._child(self._key_tokens, name, "input").inc(read)
            self._child(self._key_tokens, name, "output").inc(written)

    def left(self, phase: str) -> None:
        self._child(self._left, phase).inc()

    def bug(self) -> None:
        self._bugs.inc()

    # ---- calls to servers ----

    def attempt(self, backend: str, outcome: str) -> None:
        self._child(self._attempts, backend, outcome).inc()

    def queue(self, backend: str, seconds: float) -> None:
        self._child(self._queue, backend).observe(seconds)

    def orphaned(self, backend: str, seconds: float) -> None:
        self._child(self._orphaned, backend).inc(seconds)

    def ejection(self, backend: str) -> None:
        self._child(self._ejections, backend).inc()

    def drift(self, backend: str, fact: str) -> None:
        self._child(self._drift, backend, fact).inc()

    def repair(self, backend: str, reason: str) -> None:
        self._child(self._repairs, backend, reason).inc()

    def runaway(self, backend: str, sign: str) -> None:
        self._child(self._runaways, backend, sign).inc()

    # ---- media ----

    def part(self, modality: str, fate: str, count: int = 1) -> None:
        """`fate` = one of FATES; a modality that is none of MODALITIES counts as `other`."""
        self._fate[modality if modality in MODALITIES else "other", fate].inc(count)

    def converted(self, made: str, status: int, seconds: float) -> None:
        """`made` = one of MADE; `status`: 200, or the error's."""
        self._child(self._conversions, made, result_of(status)).inc()
        self._child(self._converting, made).observe(seconds)

    def fetched(self, status: int, seconds: float) -> None:
        self._child(self._fetches, result_of(status)).inc()
        self._fetching.observe(seconds)

    def privacy_refusal(self) -> None:
        self._rail.inc()

    # ---- the gateway itself ----

    def spans(self, result: str, number: int) -> None:
        """`result`: sent, dropped. May be called in any thread."""
        self._child(self._spans, result).inc(number)

    def reload(self, result: str) -> None:
        self._child(self._reloads, result).inc()
        self.config_ok.set(1 if result == "applied" else 0)

    def configured(self, digest: str, backends: Iterable[str] = ()) -> None:
        """A configuration with these backends is in force."""
        self.config_info.clear()
        self.config_info.labels(digest).set(1)
        self.config_ok.set(1)
        for name in backends:
            self._child(self._orphaned, name)
            self._child(self._queue, name)
            self._child(self._ejections, name)
            for outcome in USUAL:
                self._child(self._attempts, name, outcome)

    def render(self) -> bytes:
        self.before_render()
        return generate_latest(self.registry)
