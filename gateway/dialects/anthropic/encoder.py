"""Events -> the event stream of this dialect.

The order is `message_start`, for each block `content_block_start`, deltas and `content_block_stop`, then
`message_delta` with the stop reason and the usage, `message_stop`; or `error`, and nothing after it. Blocks stand one
behind the other, so a part that begins while another is open waits for its end.
Source: https://docs.claude.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

from typing import Final

import msgspec

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
from gateway.dialects.anthropic.answers import BROKEN_OFF, foreign, message_id, render_usage, stop_reason
from gateway.dialects.anthropic.blocks import DIALECT, UNSIGNED
from gateway.dialects.anthropic.errors import render_error, render_fault
from gateway.dialects.fields import Json
from gateway.errors import BadResponse, GatewayError, Truncated

_encode = msgspec.json.Encoder().encode
_PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
_TEXT_TAIL: Final = b"}}\n\n"


class _Block:
    """The part that is open. `begun` = its `content_block_start` is out: a thought waits until it is known whether it
    can be read. `pieces` = a call's arguments so far."""

    __slots__ = ("begun", "part", "pieces", "redacted", "signature", "start")

    def __init__(self, start: PartStart) -> None:
        self.start = start
        self.part = start.part
        self.begun = False
        self.pieces: list[str] = []
        self.signature = ""
        self.redacted: str | None = None


class MessagesEncoder:
    """See `gateway.dialects.Encoder`. `model` is the name that the client is told. `closing` goes out as the `gateway`
    field of `message_stop`. Only the first choice is told: a request of this dialect has one."""

    media_type = "text/event-stream"

    def __init__(self, model: str) -> None:
        self.closing: Json = {}
        self._model = model
        self._begun = False
        self._over = False
        self._index = 0
        self._open: _Block | None = None
        self._waiting: dict[int, list[Event]] = {}
        self._head = b""  # what stands before the text of a delta of the open text block
        self._seen: set[int] = set()
        self._finish: ChoiceEnd | None = None
        self._usage: Usage | None = None
        self._id = ""

    def encode(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        for e in events if not self._over else ():
            if type(e) is PartDelta:
                if self._head and e.text and self._open is not None and e.part == self._open.part and not e.choice:
                    out.append(self._head + _encode(e.text) + _TEXT_TAIL)
                else:
                    self._part(e, out)
            elif isinstance(e, PartDelta | PartStart | PartEnd):
                self._part(e, out)
            else:
                self._other(e, out)
            if self._over:
                break
        return out[0] if len(out) == 1 else b"".join(out)

    def life_sign(self, done: int, total: int) -> bytes:
        return b"" if self._over else _PING

    def fault(self, error: GatewayError) -> bytes:
        if self._over:
            return b""
        self._over = True
        return _event("error", render_error(error))

    # ---- the message ----

    def _other(self, e: Start | ChoiceEnd | Usage | Progress | End | Fault, out: list[bytes]) -> None:
        if isinstance(e, ChoiceEnd):
            if e.choice == 0 and self._finish is None:
                self._close_all(out)
                self._finish = e
        elif isinstance(e, Usage):
            self._usage = e
        elif isinstance(e, Start):
            self._id = self._id or e.id
        elif isinstance(e, End):
            self._end(out)
        elif isinstance(e, Fault):
            self._over = True
            out.append(_event("error", render_fault(e)))
        else:
            assert isinstance(e, Progress)  # shown by `life_sign`, as often as the engine likes

    def _begin(self, out: list[bytes]) -> None:
        if self._begun:
            return
        self._begun = True
        message: Json = {
            "id": message_id(self._id),
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": render_usage(self._usage),
        }
        out.append(_event("message_start", {"type": "message_start", "message": message}))

    def _end(self, out: list[bytes]) -> None:
        self._over = True
        self._close_all(out)
        finish = self._finish
        if finish is None:
            out.append(_event("error", render_error(Truncated("the answer ended before it was complete"))))
            return
        reason = stop_reason(finish.finish, finish.stop_sequence)
        if reason is None:
            out.append(_event("error", render_error(BadResponse(BROKEN_OFF))))
            return
        self._begin(out)
        delta: Json = {"stop_reason": reason, "stop_sequence": finish.stop_sequence}
        usage = render_usage(self._usage)
        out.append(_event("message_delta", {"type": "message_delta", "delta": delta, "usage": usage}))
        stop: Json = {"type": "message_stop"}
        if self.closing:
            stop["gateway"] = self.closing
        out.append(_event("message_stop", stop))

    # ---- its blocks ----

    def _part(self, e: PartStart | PartDelta | PartEnd, out: list[bytes]) -> None:
        if e.choice != 0 or self._finish is not None:
            return
        block = self._open
        if isinstance(e, PartStart):
            if e.part in self._seen:
                return
            self._seen.add(e.part)
            self._waiting[e.part] = [e]
            if block is not None and self._is_whole(block):
                self._close(out)
            self._next(out)
        elif block is not None and e.part == block.part:
            if isinstance(e, PartDelta):
                self._delta(block, e, out)
            else:
                self._close(out)
                self._next(out)
        elif e.part in self._waiting:
            self._waiting[e.part].append(e)

    def _is_whole(self, block: _Block) -> bool:
        """Can nothing more come of the open block? Servers say the end of their calls all at once, at the very end,
        and a second call should not wait for that."""
        if block.start.kind != "tool_call" or block.start.tool_kind == "custom":
            return False
        try:
            return isinstance(msgspec.json.decode("".join(block.pieces)), dict)
        except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
            return False

    def _next(self, out: list[bytes]) -> None:
        """Tells the parts that waited, up to one that is not complete yet: that one is open now."""
        while self._waiting and self._open is None and not self._over:
            part = next(iter(self._waiting))
            start, *rest = self._waiting.pop(part)
            assert isinstance(start, PartStart)
            self._start(start, out)
            for e in rest:
                block = self._open
                if block is None:
                    break
                if isinstance(e, PartDelta):
                    self._delta(block, e, out)
                else:
                    self._close(out)

    def _close_all(self, out: list[bytes]) -> None:
        self._close(out)
        while self._waiting and not self._over:
            self._next(out)
            self._close(out)

    def _start(self, e: PartStart, out: list[bytes]) -> None:
        self._begin(out)
        if e.kind == "opaque":
            self._opaque(e, out)
            return
        block = self._open = _Block(e)
        if e.kind == "tool_call":
            self._begin_block(block, {"type": "tool_use", "id": e.id, "name": e.name, "input": {}}, out)
        elif e.kind != "thinking":
            self._begin_block(block, {"type": "text", "text": ""}, out)
            self._head = (
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
                b'"delta":{"type":"text_delta","text":' % self._index
            )

    def _opaque(self, e: PartStart, out: list[bytes]) -> None:
        if e.opaque is None or e.opaque.dialect != DIALECT:
            self._over = True
            out.append(_event("error", render_error(BadResponse(foreign(e.opaque)))))
            return
        block = self._open = _Block(e)
        self._begin_block(block, e.opaque.raw, out)

    def _delta(self, block: _Block, e: PartDelta, out: list[bytes]) -> None:
        kind = block.start.kind
        if kind == "tool_call":
            if e.arguments:
                block.pieces.append(e.arguments)
                if block.start.tool_kind == "function":
                    self._deltas({"type": "input_json_delta", "partial_json": e.arguments}, out)
        elif kind == "thinking":
            block.signature = e.signature or block.signature
            block.redacted = block.redacted if e.redacted is None else e.redacted
            words = e.text or "\n\n".join(e.summary or ())
            if words:
                self._think(block, out)
                self._deltas({"type": "thinking_delta", "thinking": words}, out)
        elif kind != "opaque" and e.text:
            self._deltas({"type": "text_delta", "text": e.text}, out)

    def _think(self, block: _Block, out: list[bytes]) -> None:
        if not block.begun:
            self._begin_block(block, {"type": "thinking", "thinking": "", "signature": ""}, out)

    def _close(self, out: list[bytes]) -> None:
        block, self._open, self._head = self._open, None, b""
        if block is None:
            return
        start = block.start
        if start.kind == "thinking" and (block.begun or block.redacted is None):
            self._think(block, out)
            self._deltas({"type": "signature_delta", "signature": block.signature or UNSIGNED}, out)
        elif start.tool_kind == "custom" and start.kind == "tool_call":
            text = _encode({"input": "".join(block.pieces)}).decode()
            self._deltas({"type": "input_json_delta", "partial_json": text}, out)
        if block.begun:
            self._stop_block(out)
        if block.redacted is not None:
            self._begin_block(_Block(start), {"type": "redacted_thinking", "data": block.redacted}, out)
            self._stop_block(out)

    def _begin_block(self, block: _Block, content: Json, out: list[bytes]) -> None:
        block.begun = True
        start = {"type": "content_block_start", "index": self._index, "content_block": content}
        out.append(_event("content_block_start", start))

    def _deltas(self, delta: Json, out: list[bytes]) -> None:
        out.append(_event("content_block_delta", {"type": "content_block_delta", "index": self._index, "delta": delta}))

    def _stop_block(self, out: list[bytes]) -> None:
        out.append(_event("content_block_stop", {"type": "content_block_stop", "index": self._index}))
        self._index += 1


def _event(name: str, data: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(data))
