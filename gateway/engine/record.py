"""What is kept of a request for its log line and the metrics: never a body, never a key."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gateway.canonical.events import Usage
from gateway.canonical.facts import Target
from gateway.engine.quota import Ticket
from gateway.engine.receipt import fold_receipt
from gateway.engine.spans import span_of
from gateway.errors import ClientGone
from gateway.observe import Log, Metrics, Soon
from gateway.observe.span import Trace

if TYPE_CHECKING:
    from gateway.observe.trace import Tracer  # needs an extra


@dataclass(slots=True)
class Record:
    """One request from its head to its end. Times in seconds of the loop's clock; `model` is the public name."""

    request_id: str
    dialect: str
    operation: str
    started: float
    key: str = "local"
    """The id of its client's key."""
    ticket: Ticket | None = None
    """Where that key is limited."""
    trace: Trace | None = None
    """Its place in a trace, where there are any."""
    model: str = "other"
    stream: bool = False
    target: Target | None = None
    attempts: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    modality: str = "text"
    """The heaviest kind of content in the request."""
    refused: tuple[str, ...] = ()
    """Modalities of the parts that were refused with it."""
    dropped: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    """What was wrong in the server's answer, a code each."""
    runaway: list[str] = field(default_factory=list)
    received: float = 0.0
    queued: float = 0.0
    sent: float = 0.0
    first: float = 0.0
    last: float = 0.0
    deltas: int = 0
    usage: Usage | None = None
    wasted: int = 0
    """Tokens of attempts after which another target was tried."""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """What the answer says about the target, also when it is an error."""
    status: int = 200
    code: str = "ok"

    def begin_attempt(self) -> None:
        """Nothing of the last attempt is the answer's; what its server did is done all the same. What it may have read
        of the prompt without saying so is not counted."""
        usage = self.usage
        self.wasted += (usage.input or 0) + (usage.output or 0) if usage is not None else self.deltas
        self.usage, self.deltas, self.first = None, 0, 0.0

    @property
    def used(self) -> int:
        """Tokens; where no server counted them, those that were expected and those that were seen."""
        if self.ticket is None or self.operation == "count_tokens":
            return 0
        usage = self.usage
        if usage is not None and usage.input is not None:
            return self.wasted + usage.input + (usage.output or 0)
        worked = self.first or (self.sent and self.status in (200, ClientGone.status))
        return self.wasted + (self.ticket.reserved + self.deltas if worked else 0)

    @property
    def backend(self) -> str:
        return self.target.backend if self.target is not None else ""


class Recorder:
    """Writes finished requests to the log, the metrics and the traces: some at a time, a moment later. The same code
    run for many requests in a row costs half of what it costs cold, between the answers."""

    MOST = 256
    """Finished requests that may wait. A scrape does not wait."""

    def __init__(self, metrics: Metrics, log: Log, tracer: Tracer | None = None) -> None:
        self.metrics = metrics
        self.log = log
        self.tracer = tracer
        self._finished: list[tuple[Record, float, float]] = []
        self._soon = Soon(self.flush)
        metrics.before_render = self.flush

    def finish(self, r: Record, now: float, wall: float) -> None:
        """`now` on the loop's clock, `wall` in Unix seconds. Called exactly once for every request, which is not
        changed afterwards."""
        self._finished.append((r, now, wall))
        if len(self._finished) >= self.MOST:
            self.flush()
        else:
            self._soon.ask()

    def flush(self) -> None:
        """Writes all that wait."""
        self._soon.done()
        finished, self._finished = self._finished, []
        for r, now, wall in finished:
            self._write(r, now, wall)

    def _write(self, r: Record, now: float, wall: float) -> None:
        self._count(r, now)
        self.log.request(_line(r, now, wall))
        if self.tracer is not None and r.trace is not None and r.trace.sampled:
            self.tracer.end(r.trace, span_of(r, now, wall))

    def _count(self, r: Record, now: float) -> None:
        series = self.metrics.series(r.model, r.operation, r.dialect, r.backend)
        series.end(r.status, r.code, now - r.started)
        self.metrics.outcome(r.modality, r.status)
        if r.sent:
            series.overhead(max(0.0, r.sent - r.received - r.queued))
        if r.first:
            series.first_token(r.modality, r.first - r.started)
            if r.deltas > 1:
                series.gap((r.last - r.first) / (r.deltas - 1))
        usage = r.usage
        self.metrics.key(r.key, r.status, (usage and usage.input) or 0, (usage and usage.output) or 0)
        if usage is not None:
            if usage.input:
                series.tokens("input", usage.input)
            if usage.output:
                series.tokens("output", usage.output)
            if usage.cached:
                series.tokens("cached", usage.cached)
            if usage.reasoning:
                series.tokens("reasoning", usage.reasoning)
        for modality in r.refused:
            self.metrics.part(modality, "refused")
        if not r.refused:
            for word in dict.fromkeys(r.parts):
                for modality, fate in fates_in(word):
                    self.metrics.part(modality, fate, r.parts.count(word))
        for reason in r.repaired:
            self.metrics.repair(r.backend, reason)
        for sign in r.runaway:
            self.metrics.runaway(r.backend, sign)


def _line(r: Record, now: float, wall: float) -> dict[str, Any]:
    """The log line of a request."""
    line: dict[str, Any] = {
        "event": "request",
        "time": round(wall, 3),
        "request_id": r.request_id,
        "operation": r.operation,
        "dialect": r.dialect,
        "model": r.model,
        "stream": r.stream,
        "status": r.status,
        "code": r.code,
        "seconds": round(now - r.started, 4),
        "target": r.target.label if r.target is not None else None,
        "attempts": r.attempts,
        "parts": fold_receipt(r.parts, None) if r.parts else "",
    }
    if r.key != "local":
        line["key"] = r.key
    if r.dropped:
        line["dropped"] = r.dropped
    if r.repaired:
        line["repaired"] = r.repaired
    if r.runaway:
        line["runaway"] = r.runaway
    if r.queued:
        line["queued"] = round(r.queued, 4)
    if r.first:
        line["first"] = round(r.first - r.started, 4)
    if r.usage is not None:
        line["input_tokens"], line["output_tokens"] = r.usage.input, r.usage.output
    return line


@lru_cache(1024)
def fates_in(word: str) -> tuple[tuple[str, str], ...]:
    """What a word of the receipt says: `video>frames:8,sound=dropped` -> (video, transformed), (audio, dropped)."""
    what, *notes = word.split(",")
    modality, _, changed = what.partition(">")
    out = [(modality, "transformed" if changed else "delivered")]
    for note in notes:
        name, _, said = note.partition("=")
        if name == "sound" and said != "unknown":  # whether there is one at all is not known
            out.append(("audio", "dropped" if said == "dropped" else "transformed"))
    return tuple(out)
