"""Metrics: what the gateway counts and measures.

Labels come from the configuration and from closed lists only: no name that a client made up, no error text, of a key
nothing but its id.
What is counted rarely and has few labels is there from the start as 0: of a counter that appears as 1, Prometheus never
sees the first increase. docs/operations/metrics.md lists all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

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
    outcome_of,
    result_of,
)
from gateway.observe.fleet import FleetGauges, ServerView, TargetView
from gateway.observe.metric_families import MetricFamilies


class Series:
    """The children of all metrics of a request with these labels. Each is made when it is first used: one that was made
    for nothing would be shown as 0."""

    __slots__ = ("_ends", "_families", "_first", "_gaps", "_labels", "_overhead", "_seconds", "_tokens")

    def __init__(self, families: MetricFamilies, model: str, operation: str, dialect: str, backend: str) -> None:
        self._families = families
        self._labels = (model, operation, dialect, backend)
        self._seconds = families.seconds.labels(model, operation)
        self._ends: dict[tuple[int, str], Any] = {}
        self._overhead: Any = None
        self._first: dict[str, Any] = {}
        self._gaps: Any = None
        self._tokens: dict[str, Any] = {}

    def end(self, status: int, code: str, seconds: float) -> None:
        child = self._ends.get((status, code))
        if child is None:
            child = self._ends[status, code] = self._families.requests.labels(*self._labels[:3], str(status), code)
        child.inc()
        self._seconds.observe(seconds)

    def overhead(self, seconds: float) -> None:
        if self._overhead is None:
            self._overhead = self._families.overhead.labels(self._labels[1])
        self._overhead.observe(seconds)

    def first_token(self, modality: str, seconds: float) -> None:
        child = self._first.get(modality)
        if child is None:
            child = self._first[modality] = self._families.first.labels(self._labels[0], self._labels[3], modality)
        child.observe(seconds)

    def gap(self, seconds: float) -> None:
        if self._gaps is None:
            self._gaps = self._families.gaps.labels(self._labels[0], self._labels[3])
        self._gaps.observe(seconds)

    def tokens(self, kind: str, count: int) -> None:
        child = self._tokens.get(kind)
        if child is None:
            child = self._tokens[kind] = self._families.tokens.labels(self._labels[0], self._labels[3], kind)
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
        self._families = MetricFamilies(self.registry)
        self.catalogue = [*self._families.catalogue, *FLEET, *PROCESS]
        self.registry.register(FleetGauges(targets, servers))
        ProcessCollector(namespace="gateway", registry=self.registry)
        self._held: dict[tuple[Any, ...], Any] = {}
        self.before_render: Callable[[], None] = lambda: None
        """Brings in what waits to be counted."""
        self._series: dict[tuple[str, str, str, str], Series] = {}
        self._start()

    def _start(self) -> None:
        """What is there as 0 from the start."""
        self._outcome = {(m, o): self._families.outcomes.labels(m, o) for m in MODALITIES for o in OUTCOMES}
        self._fate = {(m, f): self._families.parts.labels(m, f) for m in (*MODALITIES, "other") for f in FATES}
        for family, *lists in (
            (self._families.left, PHASES),
            (self._families.reloads, ("applied", "rejected")),
            (self._families.fetches, RESULTS),
            (self._families.spans, ("sent", "dropped")),
        ):
            for label in lists[0]:
                self._child(family, label)
        for made in MADE:
            self._child(self._families.converting, made)
            for result in RESULTS:
                self._child(self._families.conversions, made, result)
        self._families.build.labels(__version__).set(1)

    def bodies(self, held: Callable[[], int]) -> None:
        """Where to read how many octets of bodies are held."""
        self._families.body_bytes.set_function(held)

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
            found = self._series[key] = Series(self._families, *key)
        return found

    def outcome(self, modality: str, status: int) -> None:
        self._outcome[modality, outcome_of(status)].inc()

    def key(self, name: str, status: int, read: int, written: int) -> None:
        """One request of a key, by its id. `read` and `written` in tokens, 0 if nobody counted them."""
        self._child(self._families.key_requests, "none" if status == 401 else name, outcome_of(status)).inc()
        if read or written:
            self._child(self._families.key_tokens, name, "input").inc(read)
            self._child(self._families.key_tokens, name, "output").inc(written)

    def left(self, phase: str) -> None:
        self._child(self._families.left, phase).inc()

    def bug(self) -> None:
        self._families.bugs.inc()

    # ---- calls to servers ----

    def attempt(self, backend: str, outcome: str) -> None:
        self._child(self._families.attempts, backend, outcome).inc()

    def queue(self, backend: str, seconds: float) -> None:
        self._child(self._families.queue, backend).observe(seconds)

    def orphaned(self, backend: str, seconds: float) -> None:
        self._child(self._families.orphaned, backend).inc(seconds)

    def ejection(self, backend: str) -> None:
        self._child(self._families.ejections, backend).inc()

    def drift(self, backend: str, fact: str) -> None:
        self._child(self._families.drift, backend, fact).inc()

    def repair(self, backend: str, reason: str) -> None:
        self._child(self._families.repairs, backend, reason).inc()

    def runaway(self, backend: str, sign: str) -> None:
        self._child(self._families.runaways, backend, sign).inc()

    # ---- media ----

    def part(self, modality: str, fate: str, count: int = 1) -> None:
        """`fate` = one of FATES; a modality that is none of MODALITIES counts as `other`."""
        self._fate[modality if modality in MODALITIES else "other", fate].inc(count)

    def converted(self, made: str, status: int, seconds: float) -> None:
        """`made` = one of MADE; `status`: 200, or the error's."""
        self._child(self._families.conversions, made, result_of(status)).inc()
        self._child(self._families.converting, made).observe(seconds)

    def fetched(self, status: int, seconds: float) -> None:
        self._child(self._families.fetches, result_of(status)).inc()
        self._families.fetching.observe(seconds)

    def privacy_refusal(self) -> None:
        self._families.rail.inc()

    # ---- the gateway itself ----

    def spans(self, result: str, number: int) -> None:
        """`result`: sent, dropped. May be called in any thread."""
        self._child(self._families.spans, result).inc(number)

    def reload(self, result: str) -> None:
        self._child(self._families.reloads, result).inc()
        self._families.config_ok.set(1 if result == "applied" else 0)

    def configured(self, digest: str, backends: Iterable[str] = ()) -> None:
        """A configuration with these backends is in force."""
        self._families.config_info.clear()
        self._families.config_info.labels(digest).set(1)
        self._families.config_ok.set(1)
        for name in backends:
            self._child(self._families.orphaned, name)
            self._child(self._families.queue, name)
            self._child(self._families.ejections, name)
            for outcome in USUAL:
                self._child(self._families.attempts, name, outcome)

    def render(self) -> bytes:
        self.before_render()
        return generate_latest(self.registry)
