"""One choice of a streamed answer: what is open in it, and the events that open and end its parts."""

from __future__ import annotations

from typing import Literal

from gateway.canonical.content import Extra
from gateway.canonical.events import Event, PartDelta, PartEnd, PartKind, PartStart
from gateway.dialects.fields import Json, rest
from gateway.dialects.openai.answers import CHOICE, MESSAGE, PART, json_text, layer, unique_id
from gateway.dialects.openai.calls import OpenCall, OpenCalls
from gateway.dialects.openai.signatures import take_signature


class StreamedChoice:
    """`open` is the number of its open text, thinking or refusal part, -1 if none. `kept`: fields that no event has a
    place for, as they were last told."""

    __slots__ = ("calls", "ended", "extra", "index", "kept", "open", "open_kind", "parts", "taken")

    def __init__(self, index: int) -> None:
        self.index = index
        self.parts = 0
        self.open = -1
        self.open_kind: PartKind = "text"
        self.calls = OpenCalls()
        self.taken: set[str] = set()
        self.ended = False
        self.extra: Extra | None = None  # waits for the next event of the choice
        self.kept: dict[str, Json] = {CHOICE: {}, MESSAGE: {}}

    def text(self, kind: PartKind, text: str, out: list[Event]) -> None:
        """One more piece of a text, thought or refusal."""
        if self.open < 0 or self.open_kind != kind:
            self.begin(kind, out)
        out.append(PartDelta(self.index, self.open, text))

    def begin(self, kind: PartKind, out: list[Event]) -> None:
        self._shut(out)
        self.open, self.open_kind = self.parts, kind
        self.parts += 1
        out.append(PartStart(self.index, self.open, kind))

    def call(self, delta: Json, answer_id: str, out: list[Event]) -> None:
        """A piece of a call, which begins when its name is known. An id that the server did not give has `answer_id` in
        it."""
        kind: Literal["function", "custom"] = "custom" if isinstance(delta.get("custom"), dict) else "function"
        inner = delta.get(kind)
        inner = inner if isinstance(inner, dict) else {}
        name = inner.get("name")
        name = name if isinstance(name, str) else ""
        arguments = json_text(inner.get("input" if kind == "custom" else "arguments"))
        call = self.calls.of(delta, name)
        extra = rest(delta, ("id", "type", "index", "function", "custom")) or {}
        signature = take_signature(extra) if extra else None
        if call.part < 0:
            call.kind = kind
            call.signature = signature or call.signature
            call.name = name or call.name
            call.extra |= extra
            call.arguments.append(arguments)
            if call.name:
                self._begin_call(call, answer_id, out)
            return
        if arguments or extra or signature is not None:
            call.arguments.append(arguments)
            more = layer(PART, extra)
            out.append(PartDelta(self.index, call.part, arguments=arguments, signature=signature, extra=more))

    def end(self, answer_id: str, out: list[Event]) -> None:
        """Ends what is open."""
        for call in self.calls.all:
            if call.part < 0:  # its name never came; the arguments are not lost
                self._begin_call(call, answer_id, out)
        ends = [call.part for call in self.calls.all]
        if self.open >= 0:
            ends.append(self.open)
            self.open = -1
        out += [PartEnd(self.index, part) for part in sorted(ends)]
        self.ended = True

    def _begin_call(self, call: OpenCall, answer_id: str, out: list[Event]) -> None:
        self._shut(out)
        call.part = self.parts
        self.parts += 1
        made = unique_id(call.given, self.taken, answer_id)
        more = layer(PART, call.extra)
        out.append(PartStart(self.index, call.part, "tool_call", made, call.name, call.kind, extra=more))
        arguments = "".join(call.arguments)
        if arguments or call.signature is not None:
            out.append(PartDelta(self.index, call.part, arguments=arguments, signature=call.signature))

    def _shut(self, out: list[Event]) -> None:
        if self.open >= 0:
            out.append(PartEnd(self.index, self.open))
            self.open = -1
