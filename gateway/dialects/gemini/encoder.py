"""Events -> a stream of answers, in server-sent events or as one JSON array.

Clients' SDKs set narrow limits (measured on five versions of two): an event is one `data: ` line and a blank line,
nothing else; a comment, an `event:` line or `[DONE]` breaks them, and the only sign of life that they bear is a blank
line. A chunk without parts costs the conversation its last two turns, so that thoughts that are not shown, roles and
usage never make a chunk of their own, and the last one has an empty text. Calls come whole. Clients of the first major
version that answer calls by themselves look for them in the last chunk alone: there `calls_last`.
"""

from __future__ import annotations

from typing import Any

from gateway.canonical.content import Extra, Opaque
from gateway.canonical.events import (
    ChoiceEnd,
    End,
    Event,
    Fault,
    Finish,
    PartDelta,
    PartEnd,
    PartStart,
    Progress,
    Start,
    Usage,
    join_logprobs,
    merge_extra,
)
from gateway.dialects.fields import Json
from gateway.dialects.gemini.answers import (
    CHOICE,
    MALFORMED,
    PART,
    TOP,
    call_arguments,
    malformed,
    render_logprobs,
    render_usage,
    write_finish,
)
from gateway.dialects.gemini.errors import render_error, render_fault
from gateway.dialects.gemini.fields import DIALECT
from gateway.dialects.gemini.parts import sign
from gateway.dialects.lines import encode_line
from gateway.errors import GatewayError


class _Part:
    """What is open: its kind, its own fields until they are written, and of a call what has come of it."""

    __slots__ = ("arguments", "extra", "id", "kind", "name", "signature", "tool_kind")

    def __init__(self, e: PartStart) -> None:
        self.kind = e.kind
        self.id, self.name, self.tool_kind = e.id, e.name, e.tool_kind
        self.arguments: list[str] = []
        self.signature: str | None = None
        own = (e.extra or {}).get(PART)
        self.extra: Extra | None = {PART: own} if own else None


class _Choice:
    __slots__ = ("calls", "end", "extra", "logprobs", "malformed", "refused")

    def __init__(self) -> None:
        self.calls: list[Json] = []  # that wait for the end
        self.end: ChoiceEnd | None = None
        self.extra: Extra | None = None
        self.logprobs: Any = None  # of calls: they go out with the end
        self.malformed: str | None = None
        self.refused = False


class StreamEncoder:
    """See `gateway.dialects.Encoder`. `model` is the name that the client is told. `closing`, set before the last
    events are encoded, goes out as the field `gateway` of the last chunk."""

    media_type = "text/event-stream"

    def __init__(self, model: str, *, calls_last: bool = False) -> None:
        self.closing: Json = {}
        self._calls_last = calls_last
        self._tail: Json = {"modelVersion": model} if model else {}
        self._texts: dict[int, tuple[bytes, bytes]] = {}
        self._parts: dict[tuple[int, int], _Part] = {}
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None
        self._top: Json = {}

    def encode(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        for e in events:
            if type(e) is PartDelta:
                part = self._parts.get((e.choice, e.part))
                plain = part is not None and part.kind == "text" and part.extra is None
                if plain and e.text and not (e.extra or e.logprobs or e.signature):
                    before, after = self._texts.get(e.choice) or self._frame(e.choice)
                    out.append(before + encode_line(e.text) + after)
                else:
                    self._delta(e, part, out)
            else:
                self._other(e, out)
        return out[0] if len(out) == 1 else b"".join(out)

    def life_sign(self, done: int, total: int) -> bytes:
        """A blank line: between events it ends none."""
        return b"\n"

    def fault(self, error: GatewayError) -> bytes:
        return self._framed(encode_line(render_error(error))) + self._last()

    # --- the frame of one chunk

    def _framed(self, payload: bytes) -> bytes:
        return b"data: %b\r\n\r\n" % payload

    def _last(self) -> bytes:
        return b""

    def _frame(self, choice: int) -> tuple[bytes, bytes]:
        """What stands around the text of a plain text chunk: made once."""
        marker = "\x00"
        item = {"content": {"parts": [{"text": marker}], "role": "model"}, "index": choice}
        whole = self._framed(encode_line({"candidates": [item], **self._tail}))
        before, after = whole.split(b'"\\u0000"', 1)
        self._texts[choice] = (before, after)
        return before, after

    def _chunk(self, choice: int, part: Json, out: list[bytes], logprobs: Any = None) -> None:
        item: Json = {"content": {"parts": [part], "role": "model"}, "index": choice}
        rendered = render_logprobs(logprobs)
        if rendered is not None:
            item["logprobsResult"] = rendered
        out.append(self._framed(encode_line({"candidates": [item], **self._tail})))

    # --- events

    def _other(self, e: Event, out: list[bytes]) -> None:
        if isinstance(e, PartStart):
            self._start_part(e, out)
        elif isinstance(e, PartEnd):
            self._end_part(e, out)
        elif isinstance(e, ChoiceEnd):
            self._choice(e.choice).end = e
        elif isinstance(e, Usage):
            self._usage = e
        elif isinstance(e, Start):
            if e.id:
                self._tail["responseId"] = e.id
                self._texts.clear()
            self._top |= (e.extra or {}).get(TOP) or {}
        elif isinstance(e, End):
            self._top |= (e.extra or {}).get(TOP) or {}
            self._end(out)
        elif isinstance(e, Fault):
            out.append(self._framed(encode_line(render_fault(e))) + self._last())
        elif isinstance(e, PartDelta):
            self._delta(e, self._parts.get((e.choice, e.part)), out)
        else:
            assert isinstance(e, Progress)  # shown by `life_sign`

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
        return choice

    def _start_part(self, e: PartStart, out: list[bytes]) -> None:
        self._parts[(e.choice, e.part)] = _Part(e)
        if e.kind == "refusal":
            self._choice(e.choice).refused = True
        elif e.kind == "opaque" and e.opaque is not None:
            self._opaque(e, e.opaque, out)
        self._keep(e.choice, e.extra)

    def _opaque(self, e: PartStart, opaque: Opaque, out: list[bytes]) -> None:
        part: Json = {opaque.type: opaque.raw, **((e.extra or {}).get(PART) or {})}
        if opaque.dialect != DIALECT:
            # no part of another dialect can stand here; a field that clients skip keeps it
            raw = {"dialect": opaque.dialect, "type": opaque.type, "raw": opaque.raw}
            part = {"text": "", "gateway": {"opaque_parts": [raw]}}
        sign(part, opaque.signature)
        self._chunk(e.choice, part, out)

    def _delta(self, e: PartDelta, part: _Part | None, out: list[bytes]) -> None:
        self._keep(e.choice, e.extra)
        if part is None or part.kind == "opaque":
            return
        if part.kind == "tool_call":
            if e.arguments:
                part.arguments.append(e.arguments)
            part.signature = e.signature or part.signature
            part.extra = merge_extra(part.extra, e.extra)
            if e.logprobs is not None:
                choice = self._choice(e.choice)
                choice.logprobs = join_logprobs(choice.logprobs, e.logprobs)
            return
        part.signature = e.signature or part.signature  # goes out with the end of what it is about
        chunk: Json = {"text": e.text, "thought": True} if part.kind == "thinking" else {"text": e.text}
        chunk |= (merge_extra(part.extra, e.extra) or {}).get(PART) or {}
        part.extra = None
        if e.text or e.logprobs is not None or len(chunk) > (2 if part.kind == "thinking" else 1):
            self._chunk(e.choice, chunk, out, e.logprobs)

    def _end_part(self, e: PartEnd, out: list[bytes]) -> None:
        self._keep(e.choice, e.extra)
        part = self._parts.get((e.choice, e.part))
        if part is None or part.kind != "tool_call":
            if e.extra and PART in e.extra:
                self._delta(PartDelta(e.choice, e.part, extra=e.extra), part, out)
            if part is not None and part.signature is not None and part.kind in ("text", "thinking"):
                last: Json = {"text": "", "thought": True} if part.kind == "thinking" else {"text": ""}
                sign(last, part.signature)
                self._chunk(e.choice, last, out)
            return
        text = "".join(part.arguments)
        arguments = call_arguments(text, part.tool_kind)
        if arguments is None:
            self._choice(e.choice).malformed = malformed(part.name, text)
            return
        more: Json = dict((part.extra or {}).get(PART) or {})
        inner: Json = {"id": part.id, "name": part.name, "args": arguments, **(more.pop("functionCall", None) or {})}
        chunk: Json = {"functionCall": inner, **more}
        sign(chunk, part.signature)
        if self._calls_last:
            self._choice(e.choice).calls.append(chunk)
        else:
            self._chunk(e.choice, chunk, out)

    def _keep(self, choice: int, extra: Extra | None) -> None:
        """Fields of a candidate wait for its end."""
        if extra and CHOICE in extra:
            held = self._choice(choice)
            held.extra = merge_extra(held.extra, {CHOICE: extra[CHOICE]})

    # --- the end

    def _end(self, out: list[bytes]) -> None:
        """The ends of all choices in one chunk, with the usage."""
        last: Json = {"candidates": [self._last_of(i, c) for i, c in sorted(self._choices.items()) if c.end]}
        if self._usage is not None:
            last["usageMetadata"] = render_usage(self._usage)
        last |= self._tail
        last |= {k: v for k, v in self._top.items() if k not in last}
        if self.closing:
            last["gateway"] = self.closing
        if last["candidates"] or self._usage is not None or self.closing:
            out.append(self._framed(encode_line(last)))
        out.append(self._last())

    def _last_of(self, index: int, choice: _Choice) -> Json:
        end = choice.end
        assert end is not None
        finish: Finish = "content_filter" if choice.refused and end.finish == "stop" else end.finish
        reason, note = write_finish(finish, end.native), end.note
        if choice.malformed is not None and finish != "length":
            reason, note = MALFORMED, choice.malformed
        parts: list[Json] = choice.calls or ([] if finish == "content_filter" else [{"text": ""}])
        out: Json = {"content": {"role": "model", "parts": parts}, "index": index, "finishReason": reason}
        if note is not None:
            out["finishMessage"] = note
        logprobs = render_logprobs(join_logprobs(choice.logprobs, end.logprobs))
        if logprobs is not None:
            out["logprobsResult"] = logprobs
        extra = merge_extra(choice.extra, end.extra)
        return {**((extra or {}).get(CHOICE) or {}), **out}


class ArrayEncoder(StreamEncoder):
    """The same as one JSON array, for clients that did not ask for events. A line break between its elements is a sign
    of life."""

    media_type = "application/json"

    def __init__(self, model: str, *, calls_last: bool = False) -> None:
        super().__init__(model, calls_last=calls_last)
        self._begun = False
        self._closed = False

    def _framed(self, payload: bytes) -> bytes:
        before = b",\n" if self._begun else b"["
        self._begun = True
        return before + payload

    def _frame(self, choice: int) -> tuple[bytes, bytes]:
        begun = self._begun
        before, after = super()._frame(choice)
        if not begun:
            del self._texts[choice]  # the first of all is the only one behind the bracket
        return before, after

    def _last(self) -> bytes:
        if self._closed:
            return b""
        self._closed = True
        return b"]" if self._begun else b"[]"
