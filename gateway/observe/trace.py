"""Spans on their way to a collector: the only module that knows OpenTelemetry (extra `otel`).

They leave in batches from a thread of the SDK's. No request waits for that: the queue is bounded, and what does not
fit, or is not taken by the collector, is dropped and counted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import requests  # comes with the exporter, which is given a session of ours
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context
from opentelemetry.trace.status import Status, StatusCode

from gateway import __version__
from gateway.observe.span import Span, Trace, begin

MOST: Final = 2048
"""Spans that may wait."""
BATCH: Final = 512
EVERY: Final = 1.0
"""Seconds between two batches."""
PATIENCE: Final = 5.0
"""Seconds that one batch may take, with all that is tried again."""
FLUSH: Final = 2.0
"""Seconds that spans have to leave when the gateway stops."""

Told = Callable[[str], None]
Count = Callable[[str, int], None]
"""`sent` or `dropped`, and how many."""


class Tracer:
    """`endpoint`: the collector's address, without `/v1/traces`. `told` gets words for the operator when the collector
    begins to fail, in the SDK's thread; so is `count` called."""

    def __init__(
        self,
        endpoint: str,
        headers: Mapping[str, str],
        service_name: str,
        sample: float,
        count: Count,
        told: Told = lambda words: None,
    ) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)  # its lines are no JSON; `told` says it
        self._sample = sample
        self._ids = _Ids()
        self._exporter = _Counted(f"{endpoint.rstrip('/')}/v1/traces", headers, count, told)
        self._queue = _Bounded(self._exporter, count)
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # what is not sampled never comes here
            resource=Resource.create({"service.name": service_name, "service.version": __version__}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(self._queue)
        self._tracer = self._provider.get_tracer("gateway", __version__)

    def begin(self, traceparent: bytes | None) -> Trace:
        return begin(traceparent, self._sample)

    def end(self, trace: Trace, span: Span) -> None:
        """Takes the finished span of a sampled request. Never waits."""
        self._ids.trace_id, self._ids.span_id = trace.trace_id, trace.span_id
        context = None
        if trace.parent:
            above = SpanContext(
                trace.trace_id, trace.parent, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
            )
            context = set_span_in_context(NonRecordingSpan(above))
        told = self._tracer.start_span(
            _clean(span.name),
            context,
            SpanKind.SERVER,
            {name: _clean(value) for name, value in span.attributes.items()},
            start_time=int(span.start * 1e9),
        )
        if span.failed:
            told.set_status(Status(StatusCode.ERROR))
        told.end(int(span.end * 1e9))

    def close(self) -> None:
        """Sends what waits, for `FLUSH` seconds at most; the rest is dropped and counted. Waits: call it in a thread,
        or where nothing else runs."""
        ending = threading.Thread(target=self._queue.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(FLUSH)
        if ending.is_alive():
            self._exporter.shutdown()
        self._queue.give_up()


class _Ids(IdGenerator):
    """Ids that were given to the request at its head."""

    trace_id = span_id = 1

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class _Bounded(BatchSpanProcessor):
    """A full queue drops the new span: the SDK's own would drop the oldest without a word to the metrics."""

    def __init__(self, exporter: _Counted, count: Count) -> None:
        super().__init__(exporter, 2 * MOST, 1000 * EVERY, BATCH)
        self._held, self._count = exporter.held, count

    def on_end(self, span: ReadableSpan) -> None:
        if self._held.enter():
            super().on_end(span)
        else:
            self._count("dropped", 1)

    def give_up(self) -> None:
        left = self._held.close()
        if left:
            self._count("dropped", left)


class _Held:
    """How many spans wait or are on their way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._closed = False

    def enter(self) -> bool:
        with self._lock:
            fits = self._number < MOST and not self._closed
            self._number += fits
            return fits

    def leave(self, number: int) -> bool:
        """False if they were given up meanwhile."""
        with self._lock:
            self._number -= 0 if self._closed else number
            return not self._closed

    def close(self) -> int:
        """Nothing enters any more. Returns how many there were."""
        with self._lock:
            left, self._number, self._closed = self._number, 0, True
            return left


class _Counted(SpanExporter):
    """The exporter over OTLP/HTTP; what becomes of each batch is counted."""

    def __init__(self, url: str, headers: Mapping[str, str], count: Count, told: Told) -> None:
        session = requests.Session()
        session.trust_env = False  # no proxy and no password file of the environment
        session.hooks["response"].append(self._heard)
        self.held = _Held()
        self._otlp = OTLPSpanExporter(url, headers=dict(headers), timeout=PATIENCE, session=session)
        self._count, self._told = count, told
        self._status = 0
        self._failing = False

    def _heard(self, response: Any, *_: object, **__: object) -> None:
        self._status = int(response.status_code)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._status = 0
        result = self._otlp.export(spans)
        failed = result is not SpanExportResult.SUCCESS or self._status >= 300  # a redirect is success to the SDK
        if self.held.leave(len(spans)):
            self._count("dropped" if failed else "sent", len(spans))
        if failed and not self._failing:
            why = f"it answers {self._status}" if self._status else "it does not answer"
            self._told(f"the collector of `otel` takes no spans ({why}): they are dropped until it does")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        self._otlp.shutdown()  # type: ignore[no-untyped-call]


def _clean(value: Any) -> Any:
    """Text without half surrogate pairs, which can't be sent: one would lose its whole batch."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int | float):
        return value
    return tuple(map(_clean, value))
