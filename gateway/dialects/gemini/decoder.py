"""An answer -> events: a whole one, or a stream of them in server-sent events or as one JSON array (`reader` reads each
chunk)."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.canonical.events import (
    Answer,
    End,
    Event,
    Fault,
    PartStart,
    fold,
)
from gateway.dialects.gemini.answers import (
    TOP,
)
from gateway.dialects.gemini.errors import error_of, read_fault
from gateway.dialects.gemini.json_array import ArraySplitter
from gateway.dialects.gemini.reader import Reader
from gateway.errors import BadResponse, ProtocolFault
from gateway.sse import MAX_EVENT, EventTooLarge, Splitter

_any = msgspec.json.Decoder().decode


def parse_answer(body: Any, declared: frozenset[str] = frozenset()) -> Answer:
    """A whole answer. Raises the error that stands in it, or BadResponse if it is none."""
    reader = Reader(declared, whole=True)
    events = reader.chunk(body)
    found = next((e for e in events if isinstance(e, Fault)), None)
    if found is not None:
        raise error_of(found) if read_fault(body) is not None else BadResponse(found.message)
    if not any(isinstance(e, PartStart) for e in events) and not _candidates(body):
        raise BadResponse("the server's answer has no candidates")
    end = End({TOP: reader.top} if reader.top else None)
    return fold([*events, *reader.ends(), end])


def _candidates(body: Any) -> bool:
    body = body[0] if isinstance(body, list) and body else body
    return isinstance(body, dict) and bool(body.get("candidates"))


class StreamDecoder:
    """See `gateway.dialects.Decoder`: server-sent events, or a JSON array where the first octet says so. Errors are
    read as an event and as a bare JSON object in place of events, or behind them."""

    def __init__(self, declared: frozenset[str] = frozenset(), expected_choices: int = 1) -> None:
        self._reader = Reader(declared, expected_choices)
        self._events = Splitter()
        self._array: ArraySplitter | None = None
        self._sniffed = False
        self._bare: list[bytes] = []

    def feed(self, data: bytes) -> list[Event]:
        if self._reader.over:
            return []
        if not self._sniffed:
            data = b"".join(self._bare) + data
            self._bare = []
            start = data.lstrip(b"\xef\xbb\xbf \t\r\n")
            if not start:
                self._bare = [data]
                return []
            self._sniffed = True
            if start[:1] in (b"[", b"{"):
                self._array = ArraySplitter()
        try:
            payloads = self._events.feed(data) if self._array is None else self._array.feed(data)
        except (EventTooLarge, ValueError):
            return self._reader.fault(ProtocolFault.code, f"the server sent an event of more than {MAX_EVENT} octets")
        self._events.comments.clear()
        out: list[Event] = []
        for payload in payloads:
            if self._reader.over:
                break
            out += self._payload(payload)
        return out + self._bare_error() if self._events.strays else out

    def _bare_error(self) -> list[Event]:
        """The error that stands between events as plain JSON, once it is whole."""
        strays = self._events.strays
        if self._reader.over or strays[-1].rstrip()[-1:] not in (b"}", b"]"):
            return []
        try:
            value = _any(b"\n".join(strays))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []
        strays.clear()
        return self._reader.chunk(value) if read_fault(value) is not None else []

    def end(self) -> list[Event]:
        out: list[Event] = []
        if self._reader.over:
            return []
        left = self._events.rest() if self._array is None else None
        if left:
            try:
                value = _any(left)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass  # the rest of an event that was cut
            else:
                out += self._reader.chunk(value)
        if self._events.strays:
            out += self._bare_error()
        return out + self._reader.close()

    def _payload(self, payload: bytes) -> list[Event]:
        if not payload or payload.isspace() or payload.strip() == b"[DONE]":
            return []
        try:
            value = _any(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._reader.fault(ProtocolFault.code, "the server sent an event that is not JSON")
        return self._reader.chunk(value)
