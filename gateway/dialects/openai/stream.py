"""A stream of chat completion chunks -> events.

A chunk that only continues an open text or thought takes a short way: one strict typed decode, one event. Everything
else is decoded as plain JSON and read field by field, so that nothing a server adds is lost.
`ChatEncoder`, the way back, is in `encoder.py`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.canonical.content import Extra
from gateway.canonical.events import (
    ChoiceEnd,
    End,
    Event,
    Fault,
    PartDelta,
    PartStart,
    Progress,
    Start,
    merge_extra,
)
from gateway.dialects.fields import Json
from gateway.dialects.openai.answers import (
    CHOICE,
    FINISH,
    MESSAGE,
    TOP,
    layer,
    layers,
    parse_created,
    parse_finish,
    parse_usage,
)
from gateway.dialects.openai.chunks import UsualChunk, usual_chunk
from gateway.dialects.openai.encoder import ChatEncoder
from gateway.dialects.openai.errors import read_error
from gateway.dialects.openai.signatures import FIELD, take_signature
from gateway.dialects.openai.streamed import StreamedChoice
from gateway.errors import ProtocolFault, Truncated
from gateway.sse import EventTooLarge, Splitter

_TOP_FIELDS: Final = frozenset(("id", "object", "created", "model", "choices", "usage", "error", "prompt_progress"))
_DELTA_FIELDS: Final = frozenset(
    ("role", "content", "refusal", "annotations", "tool_calls", "function_call", "reasoning", "reasoning_content")
)
_MAX_CHOICES: Final = 4096
_PATIENCE: Final = 8
"""After so many unusual chunks in a row the short way is not tried any more: a server whose every chunk has something
more would pay for both ways."""


_text = msgspec.json.Decoder(str).decode
_any = msgspec.json.Decoder().decode


class ChatDecoder:
    """See `gateway.dialects.Decoder`. A stream is complete when at least one choice began, and all that did have ended.
    `expected_choices` is what was asked for: servers that know nothing of `n` answer fewer, which is fine if they say
    [DONE]."""

    def __init__(self, expected_choices: int = 1) -> None:
        self._expected = expected_choices
        self._splitter = Splitter()
        self._choices: dict[int, StreamedChoice] = {}
        self._started = False
        self._unusual = 0  # chunks in a row that the short way could not read
        self._over = False
        self._answer_id = ""
        self._fingerprint: str | None = None
        self._top: Json = {}
        self._frame: tuple[bytes, bytes, int] | None = None  # what stands around the text of the last usual chunk
        self._waiting: Extra | None = None  # fields of the answer that wait for its next event

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        if self._over:
            return out
        splitter = self._splitter
        try:
            payloads = splitter.feed(data)
        except EventTooLarge:
            # what came before it in the same read is lost with it: the answer can't be completed anyway
            return self._fault(ProtocolFault.code, "the server sent an event that is too large")
        if splitter.comments:
            self._comments(out)
        if self._frame is not None and payloads and (done := self._framed(payloads, out)):
            payloads = payloads[done:]
        for payload in payloads:
            # a failed strict decode costs as much as three that succeed
            if self._unusual < _PATIENCE and payload != b"[DONE]" and b'"choices":[]' not in payload:
                try:
                    chunk = usual_chunk(payload)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    self._unusual += 1
                else:
                    self._unusual = 0
                    if self._usual(chunk, out):
                        if chunk.choices[0].delta.content:
                            self._learn_frame(payload, chunk.choices[0].index)
                        continue
            self._payload(payload, out)
            if self._over:
                break
        return out

    def end(self) -> list[Event]:
        """The end of the bytes. An event that was not closed by a blank line still counts if it can be read."""
        out: list[Event] = []
        if self._over:
            return out
        left = self._splitter.rest()
        if left:
            try:
                if left.strip() != b"[DONE]":
                    _any(left)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass
            else:
                self._payload(left, out)
        if not self._over:
            self._close(out, announced=False)
        return out

    def _comments(self, out: list[Event]) -> None:
        for comment in self._splitter.comments:
            words = comment.split()
            done, _, total = words[-1].partition(b"/") if words else (b"", b"", b"")
            if len(words) == 2 and words[0] == b"keepalive" and done.isdigit() and total.isdigit():
                out.append(Progress(int(done), int(total)))
        self._splitter.comments.clear()

    def _payload(self, payload: bytes, out: list[Event]) -> None:
        if not payload or payload.isspace():
            return
        if payload.strip() == b"[DONE]":
            self._close(out, announced=True)
            return
        try:
            value = _any(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            out += self._fault(ProtocolFault.code, "the server sent an event that is not JSON")
            return
        if not isinstance(value, dict):
            out += self._fault(ProtocolFault.code, "the server sent an event that is not a JSON object")
            return
        self._chunk(value, out)

    def _framed(self, payloads: list[bytes], out: list[Event]) -> int:
        """The shortest way: a payload that is byte for byte like a chunk that was read before, but for its text.
        Returns how many were."""
        assert self._frame is not None
        before, after, index = self._frame
        choice = self._choices[index]
        if choice.open < 0 or choice.open_kind != "text" or choice.ended or choice.extra or self._waiting:
            return 0
        part, skip, least = choice.open, len(before), len(before) + len(after) + 2
        done = 0
        for payload in payloads:
            if len(payload) < least or not (payload.startswith(before) and payload.endswith(after)):
                break
            try:
                text = _text(payload[skip : -len(after)])
            except (msgspec.DecodeError, UnicodeDecodeError):
                break  # there is more between the two than one text
            if text:
                out.append(PartDelta(index, part, text))
            done += 1
        return done

    def _learn_frame(self, payload: bytes, index: int) -> None:
        start = payload.find(b'"content":"') + 10
        end = payload.find(b'"', start + 1) + 1
        if start >= 10 and end and b"\\" not in payload[start:end]:
            self._frame = (payload[:start], payload[end:], index)

    def _usual(self, chunk: UsualChunk, out: list[Event]) -> bool:
        """The short way. False, and nothing is changed, if it is not for this chunk."""
        item = chunk.choices[0]
        index, finish, delta = item.index, item.finish_reason, item.delta
        choice = self._choices.get(index)
        if self._waiting or (finish is not None and FINISH.get(finish) != finish):
            return False
        if choice is None:
            if not 0 <= index < _MAX_CHOICES:
                return False
        elif choice.ended or choice.extra:
            return False
        fingerprint = chunk.system_fingerprint
        thoughts = delta.reasoning_content or delta.reasoning
        if (thoughts and delta.content) or (
            self._started and fingerprint is not None and fingerprint != self._fingerprint
        ):
            return False
        if not self._started:
            self._begin(chunk, out)
        if choice is None:
            choice = self._choices[index] = StreamedChoice(index)
        text = thoughts or delta.content
        if text:
            choice.text("thinking" if thoughts else "text", text, out)
        if finish is not None:
            choice.end(self._answer_id, out)
            out.append(ChoiceEnd(index, FINISH[finish]))
        return True

    def _begin(self, chunk: UsualChunk, out: list[Event]) -> None:
        self._started = True
        self._answer_id = chunk.id
        self._fingerprint = fingerprint = chunk.system_fingerprint
        extra: Extra | None = None
        if fingerprint is not None:
            self._top["system_fingerprint"] = fingerprint
            extra = {TOP: {"system_fingerprint": fingerprint}}
        out.append(Start(chunk.id, chunk.model, parse_created(chunk.created), extra))

    def _chunk(self, value: Json, out: list[Event]) -> None:
        if value.get("error") or value.get("object") == "error":
            fault = read_error(value)
            if fault is not None:
                self._over = True
                out.append(fault)
                return
        first = not self._started
        extra = _changed(value, _TOP_FIELDS, self._top)
        if first:
            self._start(value, extra, out)
        elif extra:
            self._waiting = merge_extra(self._waiting, {TOP: extra})
        progress = value.get("prompt_progress")
        if isinstance(progress, dict):
            self._progress(progress, out)
        before = len(out)
        choices = value.get("choices")
        if choices is not None and not isinstance(choices, list):
            out += self._fault("upstream_protocol_error", "the server sent a chunk whose `choices` is no list")
            return
        if choices:
            for position, item in enumerate(choices):
                if not self._choice(item, position, out):
                    out += self._fault(ProtocolFault.code, "the server sent a choice that can't be read")
                    return
        usage = parse_usage(value.get("usage"))
        if usage is not None:
            out.append(usage)
        if self._waiting and len(out) > before:
            self._attach(out[-1])

    def _start(self, value: Json, extra: Json, out: list[Event]) -> None:
        self._started = True
        answer_id, model = value.get("id"), value.get("model")
        self._answer_id = answer_id if isinstance(answer_id, str) else ""
        fingerprint = value.get("system_fingerprint")
        self._fingerprint = fingerprint if isinstance(fingerprint, str) else None
        name = model if isinstance(model, str) else ""
        out.append(Start(self._answer_id, name, parse_created(value.get("created")), layer(TOP, extra)))

    def _progress(self, progress: Json, out: list[Event]) -> None:
        done, total = progress.get("processed"), progress.get("total")
        if isinstance(done, int) and isinstance(total, int):
            out.append(Progress(done, total))

    def _attach(self, event: Event) -> None:
        """Fields of the answer ride on an event of the chunk that brought them; the last of it, so that they are not
        repeated."""
        if not isinstance(event, Fault | Progress):
            event.extra = merge_extra(event.extra, self._waiting)
            self._waiting = None

    def _choice(self, item: Any, position: int, out: list[Event]) -> bool:
        """One choice of a chunk. False if it can't be read."""
        if not isinstance(item, dict):
            return False
        index = item.get("index", position)
        if not isinstance(index, int) or not 0 <= index < _MAX_CHOICES:
            return False
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = StreamedChoice(index)
        extra = _changed(item, self._choice_fields, choice.kept[CHOICE])
        delta = self._delta_of(item)
        if not isinstance(delta, dict):
            return False
        more = _changed(delta, _DELTA_FIELDS, choice.kept[MESSAGE])
        if choice.ended:
            # a few servers repeat their last chunk, or send a usage chunk with an empty choice in it
            return True
        before = len(out)
        self._delta(choice, delta, more, out)
        finish, stop_sequence = parse_finish(item.get("finish_reason"), extra)
        if extra or more:
            choice.extra = merge_extra(choice.extra, layers(CHOICE, extra, MESSAGE, more))
        logprobs = item.get("logprobs")
        if finish is not None:
            choice.end(self._answer_id, out)
            if logprobs is not None and _give_logprobs(out, before, logprobs):
                logprobs = None
            out.append(ChoiceEnd(index, finish, stop_sequence, logprobs, choice.extra))
            choice.extra = None
        elif len(out) > before:
            if logprobs is not None:
                _give_logprobs(out, before, logprobs)
            last = out[-1]
            if choice.extra and isinstance(last, PartDelta | PartStart):
                last.extra = merge_extra(last.extra, choice.extra)
                choice.extra = None
        elif logprobs is not None:
            # probabilities of a token without text (half a character): they belong to what is open, or begin a text
            if choice.open < 0:
                choice.begin("text", out)
            out.append(PartDelta(index, choice.open, logprobs=logprobs))
        return True

    _choice_fields = frozenset(("index", "delta", "finish_reason", "logprobs"))

    def _delta_of(self, item: Json) -> Any:
        return item.get("delta") or {}

    def _delta(self, choice: StreamedChoice, delta: Json, more: Json, out: list[Event]) -> None:
        thoughts = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thoughts, str) and thoughts:
            choice.text("thinking", thoughts, out)
        elif thoughts:
            more["reasoning"] = thoughts
        content = delta.get("content")
        if isinstance(content, str) and content:
            choice.text("text", content, out)
        elif isinstance(content, list):
            _content_parts(choice, content, more, out)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            choice.text("refusal", refusal, out)
        annotations = delta.get("annotations")
        if isinstance(annotations, list) and annotations:
            if choice.open >= 0 and choice.open_kind == "text":
                out.append(PartDelta(choice.index, choice.open, annotations=annotations))
            else:
                more["annotations"] = annotations
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            for call in calls:
                if isinstance(call, dict):
                    choice.call(call, self._answer_id, out)
        legacy = delta.get("function_call")
        if isinstance(legacy, dict):
            choice.call({"index": -1, "function": legacy}, self._answer_id, out)
        if FIELD in more and (signature := take_signature(more)) is not None:
            if choice.open < 0 or choice.open_kind != "text":
                choice.begin("text", out)
            out.append(PartDelta(choice.index, choice.open, signature=signature))

    def _close(self, out: list[Event], announced: bool) -> None:
        """[DONE] (`announced`), or the end of the bytes: then a choice that was asked for and never began may have been
        cut off."""
        enough = len(self._choices) >= (1 if announced else self._expected)
        if self._choices and enough and all(c.ended for c in self._choices.values()):
            self._over = True
            out.append(End(self._waiting))
        else:
            out += self._fault(Truncated.code, "the server ended the stream before the answer was complete")

    def _fault(self, code: str, message: str) -> list[Event]:
        self._over = True
        return [Fault(code, message)]


def _content_parts(choice: StreamedChoice, content: list[Any], more: Json, out: list[Event]) -> None:
    """A few servers stream the array form of the content."""
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("text", "output_text") and isinstance(part.get("text"), str):
            choice.text("text", part["text"], out)
        elif kind == "thinking" and isinstance(part.get("thinking"), str):
            choice.text("thinking", part["thinking"], out)
        else:
            more.setdefault("content_parts", []).append(part)


def _changed(value: Json, known: frozenset[str], seen: Json) -> Json:
    """The fields beyond the `known` ones that are new or differ from what was `seen` last."""
    out: Json = {}
    for key, entry in value.items():
        if key not in known and entry is not None and (key not in seen or seen[key] != entry):
            out[key] = seen[key] = entry
    return out


def _give_logprobs(out: list[Event], since: int, logprobs: Any) -> bool:
    """Puts the probabilities of a chunk on the last piece of text in it. False if there is none."""
    for event in reversed(out[since:]):
        if isinstance(event, PartDelta):
            event.logprobs = logprobs
            return True
    return False


__all__ = ["ChatDecoder", "ChatEncoder"]
