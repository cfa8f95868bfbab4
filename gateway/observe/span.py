"""One request as a span: its place in a trace (https://www.w3.org/TR/trace-context/), and what is told of it.

Knows no library for traces: that is `trace.py`, which is imported only where `otel` is set.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

Attribute = str | int | float | bool | Sequence[str]

_TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


@dataclass(slots=True, frozen=True)
class Trace:
    """Where a request's span belongs. `parent` 0 = it is the first of its trace."""

    trace_id: int
    span_id: int
    parent: int
    sampled: bool

    @property
    def line(self) -> bytes:
        """The header that makes what a server does for this request a child of its span."""
        return b"traceparent: 00-%032x-%016x-%02x\r\n" % (self.trace_id, self.span_id, self.sampled)


@dataclass(slots=True, frozen=True)
class Span:
    """`start` and `end` in Unix seconds. `failed`: through a server's or the gateway's fault."""

    name: str
    start: float
    end: float
    failed: bool
    attributes: Mapping[str, Attribute]


def read_traceparent(value: bytes | None) -> tuple[int, int, bool] | None:
    """Trace, parent span and whether it is sampled, of a client's header; None for one that is not valid. What later
    versions put behind the fields of this one is passed over."""
    found = _TRACEPARENT.fullmatch(value) if value is not None else None
    if found is None or (found[1] == b"00" and found[5] is not None):
        return None
    return int(found[2], 16), int(found[3], 16), bool(int(found[4], 16) & _SAMPLED)


def begin(traceparent: bytes | None, sample: float) -> Trace:
    """A new span: of the client's trace, and sampled as that is, or else the first of a new trace, of which the share
    `sample` is sampled."""
    span_id = random.getrandbits(64) or 1
    given = read_traceparent(traceparent)
    if given is not None:
        return Trace(given[0], span_id, *given[1:])
    return Trace(random.getrandbits(128) or 1, span_id, 0, random.random() < sample)


def missing() -> str:
    """What has to be installed before spans can be sent, with the command to type; "" if nothing."""
    for module in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http"):
        try:
            found = find_spec(module)
        except ModuleNotFoundError:  # its parent is not there
            found = None
        if found is None:
            return f"needs {module}, which is not installed: pip install 'gemma-gateway[otel]'"
    return ""
