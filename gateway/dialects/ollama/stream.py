"""Streams, both ways: one JSON object a line, the last one `done`. Calls come whole.

An error is a line `{"error": ...}`, and nothing after it. Source: https://docs.ollama.com/api/streaming
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.canonical.content import ToolCall
from gateway.canonical.events import (
    ChoiceEnd,
    End,
    Event,
    Fault,
    PartDelta,
    PartEnd,
    PartKind,
    PartStart,
    Progress,
    Start,
    Usage,
)
from gateway.dialects.fields import Json
from gateway.dialects.lines import encode_line
from gateway.dialects.ollama.answers import (
    BROKEN_OFF,
    done_reason,
    ending,
    finish_of,
    foreign,
    logprobs_of,
    message_of,
    own_fields,
    read_call,
    said,
    timestamp,
    unix_seconds,
    usage_of,
)
from gateway.dialects.ollama.errors import read_error, render_error, render_fault
from gateway.dialects.ollama.messages import render_call
from gateway.dialects.ollama.options import DIALECT
from gateway.dialects.ollama.requests import Remembered
from gateway.errors import BadResponse, GatewayError, ProtocolFault, Truncated

MAX_LINE: Final = 1 << 20
"""Octets of one line. A server that sends more without ending it is broken."""


class ChatDecoder:
    """See `gateway.dialects.Decoder`. Reads the streams of both endpoints."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._size = 0
        self._over = False
        self._started = False
        self._parts = 0
        self._calls = 0
        self._open = -1
        self._open_kind: PartKind = "text"

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        if self._over:
            return out
        first, *lines = data.split(b"\n")
        if lines:
            self._rest.append(first)
            self._line(b"".join(self._rest), out)
            self._rest.clear()
            self._size = 0
            for line in lines[:-1]:
                self._line(line, out)
            first = lines[-1]
        self._rest.append(first)
        self._size += len(first)
        if self._size > MAX_LINE and not self._over:
            self._fault(ProtocolFault.code, "the server sent a line that is too long", out)
        return out

    def end(self) -> list[Event]:
        """The end of the bytes. A last line without its end still counts if it can be read."""
        out: list[Event] = []
        left = b"".join(self._rest)
        self._rest.clear()
        try:
            msgspec.json.decode(left)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            self._line(left, out)
        if not self._over:
            self._fault(Truncated.code, "the server ended the stream before the answer was complete", out)
        return out

    def _fault(self, code: str, message: str, out: list[Event]) -> None:
        self._over = True
        out.append(Fault(code, message))

    def _line(self, line: bytes, out: list[Event]) -> None:
        if self._over or not line.strip():
            return
        try:
            body = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._fault(ProtocolFault.code, "the server sent a line that is not JSON", out)
            return
        if not isinstance(body, dict):
            self._fault(ProtocolFault.code, "the server sent a line that is not a JSON object", out)
            return
        fault = read_error(body)
        if fault is not None:
            self._over = True
            out.append(fault)
            return
        try:
            self._body(body, out)
        except BadResponse as e:
            self._fault(ProtocolFault.code, e.message, out)

    def _body(self, body: Json, out: list[Event]) -> None:
        if not self._started:
            self._started = True
            model = body.get("model")
            out.append(Start("", model if isinstance(model, str) else "", unix_seconds(body.get("created_at"))))
        message = message_of(body) or {}
        tokens = body.get("logprobs")
        logprobs = {"content": tokens} if tokens else None
        thoughts, text = message.get("thinking"), message.get("content")
        if isinstance(thoughts, str) and thoughts:
            self._delta("thinking", thoughts, None if text else logprobs, out)
        if (isinstance(text, str) and text) or (logprobs and not thoughts):
            self._delta("text", text if isinstance(text, str) else "", logprobs, out)
        for value in message.get("tool_calls") or ():
            self._call(read_call(value, self._calls), out)
        if body.get("done"):
            self._done(body, out)

    def _delta(self, kind: PartKind, text: str, logprobs: Any, out: list[Event]) -> None:
        if self._open < 0 or self._open_kind != kind:
            self._shut(out)
            self._open, self._open_kind = self._parts, kind
            self._parts += 1
            out.append(PartStart(0, self._open, kind))
        out.append(PartDelta(0, self._open, text, logprobs=logprobs))

    def _shut(self, out: list[Event]) -> None:
        if self._open >= 0:
            out.append(PartEnd(0, self._open))
            self._open = -1

    def _call(self, call: ToolCall, out: list[Event]) -> None:
        self._shut(out)
        part, self._parts = self._parts, self._parts + 1
        self._calls += 1
        out += [
            PartStart(0, part, "tool_call", call.id, call.name),
            PartDelta(0, part, arguments=call.arguments),
            PartEnd(0, part),
        ]

    def _done(self, body: Json, out: list[Event]) -> None:
        self._over = True
        self._shut(out)
        finish = finish_of(body, self._calls > 0)
        assert finish is not None
        out.append(ChoiceEnd(0, finish))
        usage = usage_of(body)
        if usage is not None:
            out.append(usage)
        own = own_fields(body)
        out.append(End({DIALECT: own} if own else None))


class LinesEncoder:
    """See `gateway.dialects.Encoder`. `model` is the name that the client is told. `closing` goes out as the `gateway`
    field of the last line. Only the first choice is told: a request of this dialect has one."""

    media_type = "application/x-ndjson"

    def __init__(self, model: str, memory: Remembered) -> None:
        self.closing: Json = {}
        self._model = model
        self._memory = memory
        self._created: float = memory.created
        self._over = False
        self._first = 0
        self._head = self._tail = b""  # what stands around the text of a line
        self._kinds: dict[int, PartStart] = {}
        self._arguments: dict[int, list[str]] = {}
        self._calls = 0
        self._finish: ChoiceEnd | None = None
        self._usage: Usage | None = None
        self._told: Json = {}

    def encode(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        for e in events:
            if self._over:
                break
            if isinstance(e, PartStart | PartDelta | PartEnd):
                if e.choice == 0 and self._finish is None:
                    self._part(e, out)
            else:
                self._other(e, out)
        return b"".join(out)

    def life_sign(self, done: int, total: int) -> bytes:
        """A line that says nothing: clients parse every line, so it can't be empty."""
        return b"" if self._over else self._line(said(self._memory.form, ""))

    def fault(self, error: GatewayError) -> bytes:
        if self._over:
            return b""
        self._over = True
        return encode_line(render_error(error)) + b"\n"

    def _line(self, what: Json) -> bytes:
        head: Json = {"model": self._model, "created_at": timestamp(self._created)}
        return encode_line({**head, **what, "done": what.get("done", False)}) + b"\n"

    def _text_line(self, text: str) -> bytes:
        """A line of text only, through a template: most lines are."""
        if not self._head:
            line = self._line(said(self._memory.form, ""))
            at = line.rindex(b'""')
            self._head, self._tail = line[:at], line[at + 2 :]
        return self._head + encode_line(text) + self._tail

    def _other(self, e: Start | ChoiceEnd | Usage | Progress | End | Fault, out: list[bytes]) -> None:
        if isinstance(e, ChoiceEnd):
            if e.choice == 0 and self._finish is None:
                for part in sorted(self._arguments):
                    self._call(part, out)
                self._finish = e
        elif isinstance(e, Usage):
            self._usage = e
            self._told |= (e.extra or {}).get(DIALECT) or {}
        elif isinstance(e, Start):
            self._created = e.created or self._created
            self._head = b""
        elif isinstance(e, End):
            self._told |= (e.extra or {}).get(DIALECT) or {}
            self._end(out)
        elif isinstance(e, Fault):
            self._over = True
            out.append(encode_line(render_fault(e)) + b"\n")
        else:
            assert isinstance(e, Progress)  # shown by `life_sign`, as often as the engine likes

    def _end(self, out: list[bytes]) -> None:
        reason = done_reason(self._finish.finish) if self._finish is not None else None
        if reason is None:
            cut = self._finish is None
            error = Truncated("the answer ended before it was complete") if cut else BadResponse(BROKEN_OFF)
            out.append(self.fault(error))
            return
        self._over = True
        memory = self._memory
        last = said(memory.form, "") | ending(reason, self._usage, self._told, memory, self._first)
        if self.closing:
            last["gateway"] = self.closing
        out.append(self._line(last))

    def _part(self, e: PartStart | PartDelta | PartEnd, out: list[bytes]) -> None:
        if isinstance(e, PartStart):
            self._start(e, out)
            return
        start = self._kinds.get(e.part)
        if start is None:
            return
        if isinstance(e, PartEnd):
            if e.part in self._arguments:
                self._call(e.part, out)
        elif start.kind == "tool_call":
            if e.part in self._arguments:
                self._arguments[e.part].append(e.arguments)
        else:
            self._delta(start.kind, e, out)

    def _start(self, e: PartStart, out: list[bytes]) -> None:
        if e.part in self._kinds:
            return
        if not self._first and self._memory.clock is not None:
            self._first = self._memory.clock()
        if e.kind == "opaque":
            out.append(self.fault(BadResponse(foreign(e.opaque))))
            return
        self._kinds[e.part] = e
        if e.kind == "tool_call":
            self._arguments[e.part] = []

    def _delta(self, kind: str, e: PartDelta, out: list[bytes]) -> None:
        tokens = logprobs_of(e.logprobs)
        if e.text and not tokens and kind != "thinking":
            out.append(self._text_line(e.text))
            return
        if not e.text and not tokens:
            return
        what = said(self._memory.form, *(("", e.text) if kind == "thinking" else (e.text,)))
        if tokens:
            what["logprobs"] = tokens
        out.append(self._line(what))

    def _call(self, part: int, out: list[bytes]) -> None:
        start = self._kinds[part]
        call = ToolCall(start.id, start.name, "".join(self._arguments.pop(part)), start.tool_kind)
        out.append(self._line(said(self._memory.form, "", "", [render_call(call, self._calls)])))
        self._calls += 1
