"""Events -> a stream of chat completion chunks.

A piece of text goes through a template: the head of the chunk is built once per stream and choice. Everything else is
built as a dict. What must come at the end of a stream (`closing`) rides on the last chunk, so the chunk with the last
finish is held until the event after it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.canonical.content import Extra
from gateway.canonical.events import (
    ChoiceEnd,
    End,
    Event,
    Fault,
    PartDelta,
    PartEnd,
    PartStart,
    Progress,
    Start,
    Usage,
)
from gateway.dialects.fields import Json
from gateway.dialects.openai.answers import (
    CHOICE,
    MESSAGE,
    PART,
    TOP,
    put_back,
    put_native,
    reasoning_fields,
    render_usage,
)
from gateway.dialects.openai.errors import render_error, render_fault
from gateway.dialects.openai.messages import ReasoningField
from gateway.dialects.openai.signatures import put_signature
from gateway.errors import GatewayError

_encode = msgspec.json.Encoder().encode
_REPEATED = ("system_fingerprint", "service_tier")
"""Fields of the answer that every chunk carries; others are written where they came."""


class _Part:
    """What is open: its kind, and for a tool call its index among the calls of its choice."""

    __slots__ = ("call", "kind", "tool_kind")

    def __init__(self, kind: str, call: int = -1, tool_kind: str = "function") -> None:
        self.kind = kind
        self.call = call
        self.tool_kind = tool_kind


def _all_of(events: list[Event], at: int) -> PartDelta | None:
    """The one piece of a call that starts at `at` and came whole; None if it did not, or the piece says more than one
    chunk can."""
    following = events[at + 1 : at + 3]
    if len(following) < 2 or type(following[1]) is not PartEnd:
        return None
    delta = following[0]
    alone = type(delta) is PartDelta and not (delta.extra or delta.logprobs or delta.annotations or following[1].extra)
    return delta if alone and isinstance(delta, PartDelta) else None


class ChatEncoder:
    """See `gateway.dialects.Encoder`. `model` is the name that the client is told. `created` (Unix seconds) is used
    where the server does not say. `closing`, set before the last events are encoded, goes out as the `gateway` field of
    the last chunk."""

    media_type = "text/event-stream"
    object_name = "chat.completion.chunk"

    def __init__(
        self,
        model: str,
        include_usage: bool = False,
        reasoning_field: ReasoningField = "reasoning_content",
        created: int = 0,
    ) -> None:
        self.closing: Json = {}
        self._usage_wanted = include_usage
        self._reasoning_field = reasoning_field
        self._head: Json = {"id": "", "object": self.object_name, "created": created, "model": model}
        self._prefix = b""
        self._texts: dict[int, bytes] = {}  # choice -> everything before the text of a plain text chunk
        self._parts: dict[tuple[int, int], _Part] = {}
        self._calls: dict[int, int] = {}
        self._begun: set[int] = set()
        self._once: Json = {}  # fields of the answer for the next chunk only
        self._with_usage: Json = {}
        self._held: Json | None = None
        self._usage: Usage | None = None

    def encode(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        tail = self._text_tail
        choice = number = -1  # of the last delta, whose `head` the next one most often shares
        head: bytes | None = None
        said: PartDelta | None = None  # went out with the start of its call
        for at, e in enumerate(events):
            if type(e) is PartDelta:
                if e is said:
                    continue
                if e.part != number or e.choice != choice:
                    choice, number = e.choice, e.part
                    part = self._parts.get((choice, number))
                    head = self._texts.get(choice) if part is not None and part.kind == "text" else None
                if (
                    head is not None
                    and e.text
                    and not (e.extra or e.annotations or e.logprobs or e.signature or self._held)
                ):
                    out.append(head + _encode(e.text) + tail)
                else:
                    self._delta(e, self._parts.get((choice, number)), out)
                    choice = -1  # what it began may have a head now
            else:
                if type(e) is PartStart and e.kind == "tool_call":
                    said = _all_of(events, at)
                    self._start_call(e, said, out)
                else:
                    self._other(e, out)
                choice = -1
        return out[0] if len(out) == 1 else b"".join(out)

    def life_sign(self, done: int, total: int) -> bytes:
        """A comment: every SDK of this dialect skips it."""
        if total > 0:
            return b": prefill %d %%\n\n" % min(100, max(0, done) * 100 // total)
        return b": waiting\n\n"

    def fault(self, error: GatewayError) -> bytes:
        out: list[bytes] = []
        self._flush(out)
        out.append(b"data: %b\n\n" % _encode(render_error(error)))
        return b"".join(out)

    _text_tail = b'},"finish_reason":null}]}\n\n'

    def _text_head(self, choice: int) -> bytes:
        return b'%b,"choices":[{"index":%d,"delta":{"content":' % (self._prefix, choice)

    def _other(self, e: Event, out: list[bytes]) -> None:
        if isinstance(e, PartStart):
            if e.kind == "tool_call":
                self._start_call(e, None, out)
            else:
                self._start_part(e, out)
        elif isinstance(e, PartEnd):
            if e.extra:
                self._delta(PartDelta(e.choice, e.part, extra=e.extra), self._parts.get((e.choice, e.part)), out)
        elif isinstance(e, ChoiceEnd):
            self._end_choice(e, out)
        elif isinstance(e, Usage):
            self._usage = e
            self._keep((e.extra or {}).get(TOP) or {})
        elif isinstance(e, Start):
            self._start(e)
        elif isinstance(e, End):
            self._end(e, out)
        elif isinstance(e, Fault):
            self._flush(out)
            out.append(b"data: %b\n\n" % _encode(render_fault(e)))
        elif isinstance(e, PartDelta):
            self._delta(e, self._parts.get((e.choice, e.part)), out)
        else:
            assert isinstance(e, Progress)  # shown by `life_sign`, as often as the engine likes

    def _start(self, e: Start) -> None:
        head = self._head
        head["id"] = e.id or head["id"]
        head["created"] = e.created or head["created"]
        for key, value in ((e.extra or {}).get(TOP) or {}).items():
            if key in _REPEATED:
                head[key] = value
            else:
                self._once[key] = value
        self._set_prefix()

    def _set_prefix(self) -> None:
        self._prefix = b"data: " + _encode(self._head)[:-1]
        self._texts = {choice: self._text_head(choice) for choice in self._texts}

    def _keep(self, fields: Json) -> None:
        """Fields of the answer that came with the usage: they go where the usage goes, or on the last chunk before."""
        if self._usage_wanted:
            self._with_usage |= fields
        elif self._held is not None:
            self._held |= fields
        else:
            self._once |= fields

    def _start_call(self, e: PartStart, whole: PartDelta | None, out: list[bytes]) -> None:
        """The start of a call, with all that there is of it where that is known already."""
        number = self._calls.get(e.choice, 0)
        self._calls[e.choice] = number + 1
        self._parts[(e.choice, e.part)] = _Part("tool_call", number, e.tool_kind)
        key = "input" if e.tool_kind == "custom" else "arguments"
        inner = {"name": e.name, key: "" if whole is None else whole.arguments}
        call: Json = {"index": number, "id": e.id, "type": e.tool_kind, e.tool_kind: inner}
        if whole is not None:
            put_signature(call, whole.signature)
        self._choice_chunk(e.choice, {"tool_calls": [put_back(call, e.extra, PART)]}, e.extra, None, out)

    def _start_part(self, e: PartStart, out: list[bytes]) -> None:
        self._parts[(e.choice, e.part)] = _Part(e.kind)
        if e.kind == "opaque" and e.opaque is not None:
            raw = e.opaque
            delta: Json = {"opaque_parts": [{"dialect": raw.dialect, "type": raw.type, "raw": raw.raw}]}
            self._choice_chunk(e.choice, delta, e.extra, None, out)
        elif e.extra:
            self._choice_chunk(e.choice, {}, e.extra, None, out)

    def _delta(self, e: PartDelta, part: _Part | None, out: list[bytes]) -> None:
        kind = part.kind if part is not None else "text"
        delta: Json = {}
        if part is not None and kind == "tool_call":
            if e.arguments or e.signature or (e.extra and e.extra.get(PART)):
                key = "input" if part.tool_kind == "custom" else "arguments"
                call: Json = {"index": part.call, part.tool_kind: {key: e.arguments}}
                put_signature(call, e.signature)
                delta["tool_calls"] = [put_back(call, e.extra, PART)]
        elif e.text:
            if kind == "thinking":
                delta = reasoning_fields(e.text, self._reasoning_field)
            else:
                delta["refusal" if kind == "refusal" else "content"] = e.text
        if e.signature is not None and kind == "text":
            put_signature(delta, e.signature)
        if e.annotations:
            delta["annotations"] = e.annotations
        if delta or e.extra or e.logprobs is not None:
            self._choice_chunk(e.choice, delta, e.extra, e.logprobs, out)

    def _end_choice(self, e: ChoiceEnd, out: list[bytes]) -> None:
        self._flush(out)
        item = self._item(e.choice, {}, e.logprobs, e.finish)
        if e.stop_sequence is not None:
            item["stop_reason"] = e.stop_sequence
        put_native(item, e.native, e.note)
        self._held = self._whole(item, e.extra)

    def _end(self, e: End, out: list[bytes]) -> None:
        last = self._held
        if self._usage_wanted and self._usage is not None:
            self._flush(out)
            last = {**self._head, "choices": [], "usage": render_usage(self._usage), **self._once, **self._with_usage}
        elif last is None and (self._once or self.closing or e.extra):
            last = {**self._head, "choices": [], **self._once}
        if last is not None:
            put_back(last, e.extra, TOP)
            if self.closing:
                last["gateway"] = self.closing
            out.append(b"data: %b\n\n" % _encode(last))
        self._held = None
        out.append(b"data: [DONE]\n\n")

    def _flush(self, out: list[bytes]) -> None:
        if self._held is not None:
            out.append(b"data: %b\n\n" % _encode(self._held))
            self._held = None

    def _choice_chunk(self, choice: int, delta: Json, extra: Extra | None, logprobs: Any, out: list[bytes]) -> None:
        self._flush(out)
        item = self._item(choice, delta, logprobs, None)
        out.append(b"data: %b\n\n" % _encode(self._whole(item, extra)))

    def _item(self, choice: int, delta: Json, logprobs: Any, finish: str | None) -> Json:
        """A choice of a chunk. The first delta of each says the role."""
        if choice not in self._begun:
            self._begin(choice)
            delta = {"role": "assistant", **delta} if delta else {"role": "assistant", "content": ""}
        out: Json = {"index": choice, "delta": delta, "finish_reason": finish}
        if logprobs is not None:
            out["logprobs"] = logprobs
        return out

    def _begin(self, choice: int) -> None:
        self._begun.add(choice)
        if not self._prefix:
            self._set_prefix()
        self._texts[choice] = self._text_head(choice)

    def _whole(self, item: Json, extra: Extra | None) -> Json:
        if extra:
            if MESSAGE in extra and "delta" in item:
                put_back(item["delta"], extra, MESSAGE)
            put_back(item, extra, CHOICE)
        out: Json = {**self._head, "choices": [item]}
        if self._once:
            out |= self._once
            self._once = {}
        return put_back(out, extra, TOP)
