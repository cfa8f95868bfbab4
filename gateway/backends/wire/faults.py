"""A stream's errors, read as the kind's server means them and fit for a client to see."""

from __future__ import annotations

from typing import Any

from gateway.backends.wire.refusal import Said, Signs, error_for
from gateway.canonical.events import Event, Fault
from gateway.dialects import Decoder
from gateway.errors import BadResponse, Overloaded, ProtocolFault, Truncated, UpstreamRefused

_OWN = (Truncated.code, ProtocolFault.code, BadResponse.code)
"""Faults that the decoder found itself: their words are ours."""

_STATUS = {UpstreamRefused.code: 400, Overloaded.code: 503}


class FaultReader:
    """A decoder whose faults carry no address, path or key, and the class that the server's words stand for."""

    __slots__ = ("_decoder", "_signs")

    def __init__(self, decoder: Decoder, signs: Signs) -> None:
        self._decoder = decoder
        self._signs = signs

    def feed(self, data: bytes) -> list[Event]:
        events = self._decoder.feed(data)
        return self._read(events) if events and type(events[-1]) is Fault else events

    def end(self) -> list[Event]:
        events = self._decoder.end()
        return self._read(events) if events and type(events[-1]) is Fault else events

    def _read(self, events: list[Event]) -> list[Event]:
        return [self._fault(e) if isinstance(e, Fault) and e.code not in _OWN else e for e in events]

    def _fault(self, fault: Fault) -> Fault:
        told: dict[str, Any] = (fault.extra or {}).get("openai") or {}
        kind, code = told.get("type"), told.get("code")
        status = code if isinstance(code, int) and 400 <= code <= 599 else _STATUS.get(fault.code, 500)
        said = Said(
            fault.message, kind if isinstance(kind, str) else "", code if isinstance(code, str) else "", fault.param
        )
        error = error_for(status, {}, said, self._signs)
        numbers = {k: v for k, v in told.items() if isinstance(v, int | float)}
        return Fault(error.code, error.message, error.status, error.param, {"openai": numbers} if numbers else None)
