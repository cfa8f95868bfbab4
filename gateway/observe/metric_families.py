"""What is counted and measured: the names of the metrics, what they mean, their labels and buckets."""

from __future__ import annotations

from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from gateway.observe.catalogue import Entry

LONG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
GAPS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10)
OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 5)
WORK = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

M = TypeVar("M", bound=MetricWrapperBase)


class MetricFamilies:
    """All that a gateway counts itself, each in an attribute of its own. `catalogue`: the same as a list."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.catalogue: list[Entry] = []
        self._requests_and_tokens()
        self._calls()
        self._media()
        self._own()

    def _add(self, kind: type[M], name: str, about: str, labels: str = "", **more: Any) -> M:
        """`labels`: their names, with a space between."""
        names = labels.split()
        unit = "_total" if kind is Counter else ""
        self.catalogue.append(Entry(name + unit, kind.__name__.lower(), tuple(names), about))
        return kind(name, about, names, registry=self._registry, **more)

    def _requests_and_tokens(self) -> None:
        add = self._add
        self.requests = add(
            Counter,
            "gateway_requests",
            "Requests by how they ended: HTTP status and the error's code, `ok` without one.",
            "model operation dialect status code",
        )
        self.outcomes = add(
            Counter,
            "gateway_outcomes",
            "Requests by the heaviest kind of content in them and their outcome: ok, refused (4xx: the request's own"
            " fault), failed (5xx: a server's or the gateway's), left (its client did).",
            "modality outcome",
        )
        self.seconds = add(
            Histogram, "gateway_request_seconds", "From a request's head to its end.", "model operation", buckets=LONG
        )
        self.first = add(
            Histogram,
            "gateway_time_to_first_token_seconds",
            "From a request's head to the first content of its answer, by the heaviest kind of content in the request;"
            " of answers that the server streamed.",
            "model backend modality",
            buckets=LONG,
        )
        self.gaps = add(
            Histogram,
            "gateway_time_between_tokens_seconds",
            "Mean time between two tokens of one answer.",
            "model backend",
            buckets=GAPS,
        )
        self.overhead = add(
            Histogram,
            "gateway_overhead_seconds",
            "From a request that is here whole to the first call that went out for it, without the time in a queue:"
            " what the gateway itself adds, conversions included.",
            "operation",
            buckets=OVERHEAD,
        )
        self.tokens = add(
            Counter,
            "gateway_tokens",
            "Tokens as servers counted them: input, output, and of these cached and reasoning.",
            "model backend kind",
        )
        self.key_requests = add(
            Counter,
            "gateway_key_requests",
            "Requests by the id of the client's key and their outcome. `local` without keys, `none` with a wrong one.",
            "key outcome",
        )
        self.key_tokens = add(
            Counter, "gateway_key_tokens", "Tokens by the id of the client's key: input, output.", "key kind"
        )
        self.left = add(
            Counter,
            "gateway_client_disconnects",
            "Clients that left before their answer was complete, by where it was.",
            "phase",
        )

    def _calls(self) -> None:
        add = self._add
        self.attempts = add(
            Counter,
            "gateway_attempts",
            "Calls to servers by what came of them: `ok`, `cancelled` (the client left) or the error's code."
            " More attempts than requests: something was tried again elsewhere.",
            "backend outcome",
        )
        self.queue = add(
            Histogram,
            "gateway_queue_seconds",
            "How long requests waited for a place at a target, of those that had to wait.",
            "backend",
            buckets=LONG,
        )
        self.orphaned = add(
            Counter,
            "gateway_orphaned_seconds",
            "Seconds that servers went on for clients that had left, until the call to them was closed.",
            "backend",
        )
        self.ejections = add(
            Counter,
            "gateway_ejections",
            "How often a target was left alone for a while after failures in a row.",
            "backend",
        )
        self.drift = add(
            Counter, "gateway_drift", "Facts of a target that were other ones at the next look at it.", "backend fact"
        )
        self.repairs = add(
            Counter,
            "gateway_repairs",
            "What was wrong in servers' answers, by reason; with `repair: fix` it was put right.",
            "backend reason",
        )
        self.runaways = add(
            Counter,
            "gateway_runaways",
            "Answers that ran away: repeats, same_call, long_thinking.",
            "backend sign",
        )

    def _media(self) -> None:
        add = self._add
        self.parts = add(
            Counter,
            "gateway_parts",
            "Content parts by what became of them: delivered as they came, transformed for the target, dropped (a"
            " video's sound that the target does not hear), refused.",
            "modality fate",
        )
        self.conversions = add(
            Counter, "gateway_media_conversions", "Media converted for a target, by what was made.", "made result"
        )
        self.converting = add(
            Histogram,
            "gateway_media_conversion_seconds",
            "How long a conversion took, with the wait for a free worker.",
            "made",
            buckets=WORK,
        )
        self.fetches = add(
            Counter, "gateway_media_fetches", "Media fetched by their URL, or still kept here.", "result"
        )
        self.fetching = add(Histogram, "gateway_media_fetch_seconds", "How long a fetch took.", buckets=WORK)
        self.rail = add(
            Counter, "gateway_privacy_refusals", "Requests that no server got because `privacy` keeps them here."
        )

    def _own(self) -> None:
        add = self._add
        self.reloads = add(
            Counter, "gateway_config_reloads", "Reloads of the configuration: applied, rejected.", "result"
        )
        self.config_ok = add(
            Gauge, "gateway_config_last_reload_successful", "1 if the newest configuration is in force, else 0."
        )
        self.config_info = add(Gauge, "gateway_config_info", "1; the digest is of what is in force.", "digest")
        self.build = add(Gauge, "gateway_build_info", "1; the version of the gateway that runs.", "version")
        self.bugs = add(
            Counter, "gateway_bugs", "Errors of the gateway's own, each with a line `bug` in the log. Should stay 0."
        )
        self.spans = add(
            Counter,
            "gateway_spans",
            "Spans of requests, where `otel` is set: sent to the collector, or dropped because it did not take them.",
            "result",
        )
        self.body_bytes = add(
            Gauge, "gateway_body_bytes", "Request bodies, and media fetched or converted for them, held in memory now."
        )
