"""Events -> the typed event stream of the Responses API.

`response.created`, `response.in_progress`, then for each output item `response.output_item.added`, its deltas and
their `.done`, `response.output_item.done`; at the end `response.completed`, `response.incomplete`, or
`response.failed` with an `error` event behind it, which the SDKs raise. Every event has a `sequence_number`.
Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.canonical.content import Refusal, Text, Thinking, ToolCall
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
from gateway.dialects.openai.errors import render_error, render_fault
from gateway.dialects.openai.responses.answers import (
    BROKEN_OFF,
    error_object,
    flat,
    foreign,
    item_of,
    logprobs_of,
    outcome,
    render_usage,
    response_id,
    shell,
    stem_of,
)
from gateway.dialects.openai.responses.items import OPAQUE
from gateway.dialects.openai.responses.remembered import Remembered
from gateway.errors import BadResponse, GatewayError, Truncated

_encode = msgspec.json.Encoder().encode


class _Item:
    """An output item under way. `head`: what stands before the text of a delta. `shown`: how a thought is told, once
    it is known."""

    __slots__ = (
        "annotations",
        "head",
        "id",
        "index",
        "number",
        "pieces",
        "redacted",
        "shown",
        "start",
        "summary",
        "tokens",
    )

    def __init__(self, start: PartStart, index: int, number: str) -> None:
        self.start = start
        self.index = index
        self.number = number
        self.id = ""
        self.head = b""
        self.pieces: list[str] = []
        self.tokens: list[Json] = []
        self.annotations: list[Any] = []
        self.summary: list[str] = []
        self.redacted: str | None = None
        self.shown = ""


class ResponsesEncoder:
    """See `gateway.dialects.Encoder`. `model` is the name that the client is told. `closing` goes out as the `gateway`
    field of the last event. `whole` is the answer as a whole once it is complete: what a store has to keep."""

    media_type = "text/event-stream"

    def __init__(self, model: str, memory: Remembered) -> None:
        self.closing: Json = {}
        self.over = False
        self.whole: Json | None = None
        self._model = model
        self._memory = memory
        self._shell: Json | None = None
        self._answer_id = ""
        self._created = memory.created
        self._items: list[_Item] = []
        self._open: dict[int, _Item] = {}
        self._done: dict[int, Json] = {}
        self._seen: set[int] = set()
        self._finish: ChoiceEnd | None = None
        self._usage: Usage | None = None

    @property
    def output(self) -> list[Json]:
        return [self._done[i] for i in sorted(self._done)]

    def encode(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        for e in events:
            if self.over:
                break
            if type(e) is PartDelta:
                item = self._open.get(e.part)
                if item is None or e.choice:
                    continue
                if item.head and e.text and e.logprobs is None and not e.annotations:
                    item.pieces.append(e.text)
                    out.append(
                        item.head + b'%b,"logprobs":[],"sequence_number":%d}\n\n' % (_encode(e.text), self._next())
                    )
                else:
                    self._delta(item, e, out)
            else:
                self._other(e, out)
        return out[0] if len(out) == 1 else b"".join(out)

    def life_sign(self, done: int, total: int) -> bytes:
        """An event, since agents of this API do not count comments; the first one must be that the answer exists."""
        if self.over:
            return b""
        out: list[bytes] = []
        if self._shell is not None:
            self._event(out, "response.in_progress", response=self._shell)
        else:
            self._begin(out)
        return b"".join(out)

    def fault(self, error: GatewayError) -> bytes:
        out: list[bytes] = []
        if not self.over:
            self._fail(out, error_object(error), render_error(error)["error"])
        return b"".join(out)

    # ---- the answer ----

    def _next(self) -> int:
        number = self._memory.sequence
        self._memory.sequence = number + 1
        return number

    def _event(self, out: list[bytes], name: str, /, **fields: Any) -> None:
        data = {"type": name, **fields, "sequence_number": self._next()}
        out.append(b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(data)))

    def _other(self, e: Event, out: list[bytes]) -> None:
        if isinstance(e, PartStart):
            if e.choice == 0 and e.part not in self._seen and self._finish is None:
                self._start(e, out)
        elif isinstance(e, PartEnd):
            item = self._open.pop(e.part, None) if e.choice == 0 else None
            if item is not None:
                self._close(item, "completed", out)
        elif isinstance(e, ChoiceEnd):
            if e.choice == 0 and self._finish is None:
                self._end_choice(e, out)
        elif isinstance(e, Usage):
            self._usage = e
        elif isinstance(e, Start):
            self._answer_id = self._answer_id or e.id
            self._created = self._created or e.created or 0
        elif isinstance(e, End):
            self._end(out)
        elif isinstance(e, Fault):
            self._fail(out, error_object(e), render_fault(e)["error"])
        elif isinstance(e, PartDelta):
            if e.choice == 0 and e.part in self._open:
                self._delta(self._open[e.part], e, out)
        else:
            assert isinstance(e, Progress)  # shown by `life_sign`, as often as the engine likes

    def _begin(self, out: list[bytes]) -> Json:
        memory = self._memory
        if self._shell is None:
            memory.response_id = response_id(memory, self._answer_id)
            self._shell = shell(memory, self._model, memory.response_id, self._created)
            if not memory.sequence:  # else an earlier attempt at this request has said so
                self._event(out, "response.created", response=self._shell)
            self._event(out, "response.in_progress", response=self._shell)
        return self._shell

    def _end_choice(self, e: ChoiceEnd, out: list[bytes]) -> None:
        self._finish = e
        status = "incomplete" if e.finish == "error" else outcome(e.finish)[0]
        for part in sorted(self._open):
            self._close(self._open[part], status, out)
        self._open.clear()

    def _end(self, out: list[bytes]) -> None:
        finish = self._finish
        error: GatewayError | None = None
        if finish is None:
            error = Truncated("the answer ended before it was complete")
        elif finish.finish == "error":
            error = BadResponse(BROKEN_OFF)
        if error is not None or finish is None:
            assert error is not None
            self._fail(out, error_object(error), render_error(error)["error"])
            return
        begun = self._begin(out)
        status, incomplete = outcome(finish.finish)
        self.whole = {
            **begun,
            "status": status,
            "incomplete_details": incomplete,
            "output": self.output,
            "usage": render_usage(self._usage),
        }
        self._last(out, f"response.{status}", response=self.whole)
        self.over = True

    def _last(self, out: list[bytes], name: str, /, **fields: Any) -> None:
        self._event(out, name, **fields, **({"gateway": self.closing} if self.closing else {}))

    def _fail(self, out: list[bytes], told: Json, error: Json) -> None:
        """Agents read `response.failed`, SDKs raise on an event that has an `error`."""
        whole = {**self._begin(out), "status": "failed", "error": told, "output": self.output}
        self._event(out, "response.failed", response=whole)
        words = {"code": error["code"], "message": error["message"], "param": error["param"]}
        self._last(out, "error", **words, error=error)
        self.over = True

    # ---- its items ----

    def _start(self, e: PartStart, out: list[bytes]) -> None:
        begun = self._begin(out)
        self._seen.add(e.part)
        if e.kind == "opaque" and (e.opaque is None or e.opaque.dialect != OPAQUE):
            error = BadResponse(foreign(e.opaque))
            self._fail(out, error_object(error), render_error(error)["error"])
            return
        index = len(self._items)
        item = _Item(e, index, f"{stem_of(begun['id'])}_{index}")
        self._items.append(item)
        self._open[e.part] = item
        if e.kind == "thinking":
            item.id = f"rs_{item.number}"
            added: Json = {"id": item.id, "type": "reasoning", "summary": [], "status": "in_progress"}
        else:
            added = self._item(item, "in_progress")
            item.id = added.get("id") or item.number
        if e.kind in ("text", "refusal"):
            content, added["content"] = added["content"], []
        self._event(out, "response.output_item.added", output_index=index, item=added)
        if e.kind in ("text", "refusal"):
            self._event(out, "response.content_part.added", **self._place(item, "content_index"), part=content[0])
        if e.kind == "text":
            self._head(item, "response.output_text.delta", "content_index")

    def _head(self, item: _Item, name: str, key: str) -> None:
        start = {"type": name, **self._place(item, key)}
        item.head = b'event: %b\ndata: %b,"delta":' % (name.encode(), _encode(start)[:-1])

    def _place(self, item: _Item, key: str = "") -> Json:
        out: Json = {"item_id": item.id, "output_index": item.index}
        if key:
            out[key] = 0
        return out

    def _item(self, item: _Item, status: str) -> Json:
        """The item as it stands."""
        e, words = item.start, "".join(item.pieces)
        if e.kind == "text":
            out = item_of(Text(words, item.annotations), item.number, status, self._memory)
            out["content"][0]["logprobs"] = item.tokens
            return out
        if e.kind == "refusal":
            return item_of(Refusal(words), item.number, status, self._memory)
        if e.kind == "tool_call":
            return item_of(ToolCall(e.id, e.name, words, e.tool_kind), item.number, status, self._memory)
        if e.kind == "thinking":
            part = Thinking(words, item.summary or None, item.redacted)
            return item_of(part, item.number, status, self._memory)
        assert e.opaque is not None
        return item_of(e.opaque, item.number, status, self._memory)

    def _delta(self, item: _Item, e: PartDelta, out: list[bytes]) -> None:
        kind = item.start.kind
        if kind == "tool_call":
            if e.arguments:
                item.pieces.append(e.arguments)
                self._event(out, f"{_call_event(item)}.delta", **self._place(item), delta=e.arguments)
            return
        if kind == "thinking":
            self._think(item, e, out)
            return
        tokens = logprobs_of(e.logprobs)
        item.tokens += tokens
        for a in flat(e.annotations):
            where = {**self._place(item, "content_index"), "annotation_index": len(item.annotations)}
            item.annotations.append(a)
            self._event(out, "response.output_text.annotation.added", **where, annotation=a)
        if kind == "refusal" and e.text:
            item.pieces.append(e.text)
            self._event(out, "response.refusal.delta", **self._place(item, "content_index"), delta=e.text)
        elif kind == "text" and (e.text or tokens):
            item.pieces.append(e.text)
            place = self._place(item, "content_index")
            self._event(out, "response.output_text.delta", **place, delta=e.text, logprobs=tokens)

    def _think(self, item: _Item, e: PartDelta, out: list[bytes]) -> None:
        if e.redacted is not None:
            item.redacted = e.redacted
        if item.shown != "summary":
            item.summary += e.summary or ()
        if not e.text:
            return
        item.pieces.append(e.text)
        if not item.shown:
            item.shown = "summary" if self._memory.summaries and not item.summary else "content"
            self._open_thought(item, out)
        place = self._place(item, f"{item.shown}_index")
        self._event(out, f"{_thought_event(item)}.delta", **place, delta=e.text)

    def _open_thought(self, item: _Item, out: list[bytes]) -> None:
        place = self._place(item, f"{item.shown}_index")
        if item.shown == "summary":
            part = {"type": "summary_text", "text": ""}
            self._event(out, "response.reasoning_summary_part.added", **place, part=part)
        else:
            part = {"type": "reasoning_text", "text": ""}
            self._event(out, "response.content_part.added", **place, part=part)

    def _close(self, item: _Item, status: str, out: list[bytes]) -> None:
        whole = self._done[item.index] = self._item(item, status)
        kind = item.start.kind
        place = self._place(item)
        words = "".join(item.pieces)
        if kind == "text":
            place = self._place(item, "content_index")
            self._event(out, "response.output_text.done", **place, text=words, logprobs=item.tokens)
            self._event(out, "response.content_part.done", **place, part=whole["content"][0])
        elif kind == "refusal":
            place = self._place(item, "content_index")
            self._event(out, "response.refusal.done", **place, refusal=words)
            self._event(out, "response.content_part.done", **place, part=whole["content"][0])
        elif kind == "tool_call":
            key = "input" if item.start.tool_kind == "custom" else "arguments"
            self._event(out, f"{_call_event(item)}.done", **place, name=whole["name"], **{key: words})
        elif kind == "thinking" and item.shown:
            place = self._place(item, f"{item.shown}_index")
            self._event(out, f"{_thought_event(item)}.done", **place, text=words)
            if item.shown == "summary":
                part = {"type": "summary_text", "text": words}
                self._event(out, "response.reasoning_summary_part.done", **place, part=part)
            else:
                part = {"type": "reasoning_text", "text": words}
                self._event(out, "response.content_part.done", **place, part=part)
        self._event(out, "response.output_item.done", output_index=item.index, item=whole)


def _call_event(item: _Item) -> str:
    custom = item.start.tool_kind == "custom"
    return "response.custom_tool_call_input" if custom else "response.function_call_arguments"


def _thought_event(item: _Item) -> str:
    return "response.reasoning_summary_text" if item.shown == "summary" else "response.reasoning_text"
