"""Chunks of an answer -> events.

`finishReason` is held to the end of the stream: some servers repeat it on every chunk. Usage is the sum so far; the
last one counts.
"""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

from gateway.canonical.content import Extra, Opaque
from gateway.canonical.events import (
    ChoiceEnd,
    End,
    Event,
    Fault,
    PartDelta,
    PartEnd,
    PartKind,
    PartStart,
    Start,
    join_logprobs,
)
from gateway.dialects.fields import Json
from gateway.dialects.gemini.answers import (
    CHOICE,
    PART,
    TOP,
    UNUSABLE,
    malformed,
    parse_logprobs,
    parse_usage,
    read_finish,
)
from gateway.dialects.gemini.calls import bare_name
from gateway.dialects.gemini.errors import read_fault
from gateway.dialects.gemini.fields import DIALECT, is_base64, json_text
from gateway.dialects.gemini.partial import PartialCall
from gateway.dialects.gemini.parts import DATA
from gateway.errors import ProtocolFault, Truncated

_TOP_FIELDS: Final = frozenset(("candidates", "usageMetadata", "responseId", "modelVersion", "error"))
_CANDIDATE_FIELDS: Final = frozenset(("content", "finishReason", "finishMessage", "index", "logprobsResult"))
_BESIDE: Final = frozenset((*DATA, "thought", "thoughtSignature"))
_MAX_CHOICES: Final = 4096
_STANDARD = str.maketrans("-_", "+/")


class _Choice:
    """Where one candidate stands. `open` is the number of its open text or thought, -1 if none."""

    __slots__ = ("calls", "extra", "finish", "kind", "logprobs", "note", "open", "partial", "parts", "taken")

    def __init__(self) -> None:
        self.parts = 0
        self.open = -1
        self.kind: PartKind = "text"
        self.calls = 0
        self.partial: PartialCall | None = None
        self.finish = ""
        self.note: str | None = None
        self.extra: Json = {}
        self.logprobs: Any = None  # of tokens without text, for the next piece
        self.taken: set[str] = set()


class Reader:
    """Chunks -> events. `declared`: the names of the request's functions. `whole`: there is one chunk only. `chunk` and
    `close` never raise on what a server sends; after a Fault or the End nothing more comes."""

    def __init__(self, declared: frozenset[str] = frozenset(), expected: int = 1, *, whole: bool = False) -> None:
        self._declared = declared
        self._expected = expected
        self._unsaid = "" if whole else "FINISH_REASON_UNSPECIFIED"  # in a stream: not yet
        self._choices: dict[int, _Choice] = {}
        self._started = False
        self._id = ""
        self.top: Json = {}
        self.over = False

    def chunk(self, value: Any) -> list[Event]:
        if self.over:
            return []
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        fault = read_fault(value)
        if fault is not None:
            self.over = True
            return [fault]
        if not isinstance(value, dict):
            return self.fault(ProtocolFault.code, "the server sent an event that is not a JSON object")
        out: list[Event] = []
        self._start(value, out)
        candidates = value.get("candidates")
        if candidates is not None and not isinstance(candidates, list):
            return out + self.fault(ProtocolFault.code, "the server sent `candidates` that are no list")
        for position, item in enumerate(candidates or ()):
            if not self._candidate(item, position, out):
                return out + self.fault(ProtocolFault.code, "the server sent a candidate that can't be read")
        feedback = value.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason") and not self._choices:
            self._blocked(feedback, out)
        usage = parse_usage(value.get("usageMetadata"))
        if usage is not None:
            out.append(usage)
        return out

    def close(self) -> list[Event]:
        """The end of the bytes."""
        if self.over:
            return []
        self.over = True
        if not self._choices:
            return [Fault(Truncated.code, "the server's answer holds no candidates")]
        if len(self._choices) < self._expected or not all(c.finish for c in self._choices.values()):
            return [Fault(Truncated.code, "the server ended the stream before the answer was complete")]
        return [*self.ends(), End({TOP: self.top} if self.top else None)]

    def ends(self) -> list[Event]:
        """The ends of all candidates, of those that say how they ended."""
        out: list[Event] = []
        for index, choice in sorted(self._choices.items()):
            self._end_partial(index, choice, out)
            self._shut(index, choice, out)
            if choice.finish:
                finish, native = read_finish(choice.finish, choice.calls > 0)
                extra = {CHOICE: choice.extra} if choice.extra else None
                end = ChoiceEnd(index, finish, None, choice.logprobs, extra)
                end.native, end.note = native, choice.note
                out.append(end)
        return out

    def fault(self, code: str, message: str) -> list[Event]:
        self.over = True
        return [Fault(code, message)]

    def _start(self, value: Json, out: list[Event]) -> None:
        """The first chunk begins the answer. What later ones say of the answer comes with its end."""
        for key, entry in value.items():
            if key not in _TOP_FIELDS and entry is not None:
                self.top[key] = entry
        if not self._started:
            self._started = True
            self._id, model = _string(value.get("responseId")), _string(value.get("modelVersion"))
            out.append(Start(self._id, model))

    def _blocked(self, feedback: Json, out: list[Event]) -> None:
        """The prompt was refused before anything was generated."""
        reason = _string(feedback.get("blockReason"))
        choice = self._choices[0] = _Choice()
        choice.finish = reason if read_finish(reason, False)[0] == "content_filter" else "SAFETY"
        words = _string(feedback.get("blockReasonMessage")) or f"the prompt was blocked: {reason}"
        out += [PartStart(0, 0, "refusal"), PartDelta(0, 0, words), PartEnd(0, 0)]
        choice.parts = 1

    def _candidate(self, item: Any, position: int, out: list[Event]) -> bool:
        """One candidate of a chunk. False if it can't be read."""
        if not isinstance(item, dict):
            return False
        index = item.get("index", position)
        if index is None:
            index = position
        if not isinstance(index, int) or not 0 <= index < _MAX_CHOICES:
            return False
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
        choice.extra |= {k: v for k, v in item.items() if k not in _CANDIDATE_FIELDS and v is not None}
        logprobs = parse_logprobs(item.get("logprobsResult"))
        if logprobs is not None:
            choice.logprobs = join_logprobs(choice.logprobs, logprobs)
        finish = item.get("finishReason")
        finish = finish.upper() if isinstance(finish, str) else ""
        content = item.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, dict):
                return False
            if finish in UNUSABLE and isinstance(part.get("functionCall"), dict):
                choice.note = choice.note or _said(part["functionCall"])
                continue  # the model meant another call than this one: nobody may run it
            self._part(index, choice, part, out)
        if choice.logprobs is not None and choice.open >= 0:
            out.append(PartDelta(index, choice.open, logprobs=choice.logprobs))
            choice.logprobs = None
        if finish and finish != self._unsaid:
            choice.finish = finish
        if isinstance(item.get("finishMessage"), str):
            choice.note = item["finishMessage"]
        return True

    def _part(self, index: int, choice: _Choice, part: Json, out: list[Event]) -> None:
        signed = _string(part.get("thoughtSignature")).translate(_STANDARD) or None
        if signed is not None:
            signed = signed.rstrip("=")
            signed += "=" * (-len(signed) % 4)
            signed = signed if is_base64(signed) else None
        more = {k: v for k, v in part.items() if k not in _BESIDE and v is not None}
        call = part.get("functionCall")
        if isinstance(call, dict):
            self._call(index, choice, call, signed, more, out)
            return
        self._end_partial(index, choice, out)
        kind = next((k for k in DATA if part.get(k) is not None), None)
        if kind == "text" or (kind is None and not more):
            self._text(index, choice, part, signed, more, out)
            return
        if kind is None:
            kind = next(iter(more))  # a kind of part that is not known here yet
            raw = more.pop(kind)
        else:
            raw = part[kind]
        self._shut(index, choice, out)
        held = raw if isinstance(raw, dict) else {"value": raw}
        opaque = Opaque(DIALECT, kind, held, signature=signed)
        out += [
            PartStart(index, choice.parts, "opaque", opaque=opaque, extra={PART: more} if more else None),
            PartEnd(index, choice.parts),
        ]
        choice.parts += 1

    def _text(self, index: int, choice: _Choice, part: Json, signed: str | None, more: Json, out: list[Event]) -> None:
        kind: PartKind = "thinking" if part.get("thought") is True else "text"
        words = _string(part.get("text"))
        if not words and signed is None and not more:
            return
        if choice.open < 0 or choice.kind != kind or more:
            if not words and choice.open >= 0 and not more:
                kind = choice.kind  # a signature alone is about what came before it
            else:
                self._open(index, choice, kind, {PART: more} if more else None, out)
        out.append(PartDelta(index, choice.open, words, signature=signed, logprobs=choice.logprobs))
        choice.logprobs = None
        if signed is not None:
            self._shut(index, choice, out)  # what follows is not what was signed

    def _open(self, index: int, choice: _Choice, kind: PartKind, extra: Extra | None, out: list[Event]) -> None:
        self._shut(index, choice, out)
        choice.open, choice.kind = choice.parts, kind
        choice.parts += 1
        out.append(PartStart(index, choice.open, kind, extra=extra))

    def _shut(self, index: int, choice: _Choice, out: list[Event]) -> None:
        if choice.open >= 0:
            out.append(PartEnd(index, choice.open))
            choice.open = -1

    def _call(self, index: int, choice: _Choice, call: Json, signed: str | None, more: Json, out: list[Event]) -> None:
        """A call comes whole, but for servers that send its arguments piece by piece."""
        partial = choice.partial
        pieces = call.get("partialArgs")
        if partial is None and (isinstance(pieces, list) or call.get("willContinue") is True):
            partial = choice.partial = PartialCall(_string(call.get("id")), _string(call.get("name")))
        if partial is not None:
            partial.add(pieces if isinstance(pieces, list) else [], call.get("args"), signed)
            if call.get("willContinue") is not True:
                self._end_partial(index, choice, out)
            return
        arguments = call.get("args")
        text = arguments if isinstance(arguments, str) else json_text({} if arguments is None else arguments)
        others = {k: v for k, v in call.items() if k not in ("id", "name", "args", "willContinue") and v is not None}
        if others:
            more = {**more, "functionCall": others}
        self._whole_call(index, choice, _string(call.get("id")), _string(call.get("name")), text, signed, more, out)

    def _whole_call(
        self,
        index: int,
        choice: _Choice,
        given: str,
        name: str,
        arguments: str,
        signed: str | None,
        more: Json,
        out: list[Event],
    ) -> None:
        self._shut(index, choice, out)
        name = bare_name(name, self._declared)
        made = self._call_id(choice, given, name, arguments)
        choice.calls += 1
        part = choice.parts
        choice.parts += 1
        out += [
            PartStart(index, part, "tool_call", made, name, extra={PART: more} if more else None),
            PartDelta(index, part, arguments=arguments, signature=signed),
            PartEnd(index, part),
        ]

    def _end_partial(self, index: int, choice: _Choice, out: list[Event]) -> None:
        partial, choice.partial = choice.partial, None
        if partial is not None:
            arguments = json_text(partial.arguments)
            self._whole_call(index, choice, partial.id, partial.name, arguments, partial.signature, {}, out)

    def _call_id(self, choice: _Choice, given: str, name: str, arguments: str) -> str:
        """The call's own id, or one made of the answer's; where that has none either, of what the call says."""
        made, taken, number = given, choice.taken, choice.calls
        if not made or made in taken:
            stem = self._id or f"{crc32(f'{name} {arguments}'.encode('utf-8', 'surrogatepass')):08x}"
            made = f"call_{stem}_{number}"
            while made in taken:
                number += 1
                made = f"call_{stem}_{number}"
        taken.add(made)
        return made


def _said(call: Json) -> str:
    return malformed(_string(call.get("name")), json_text(call.get("args")))


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""
