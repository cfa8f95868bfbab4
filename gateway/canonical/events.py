"""An answer as it happens, and as a whole.

Whole answers and streams take the same way through the gateway: a whole answer is unfolded into events, filtered, and
folded again. `fold(unfold(a)) == a`, and folding does not depend on how the deltas were cut.

Events are slotted dataclasses that are *not frozen* (creating a frozen one costs 2.5 times as much) and by convention
never changed after they were handed on: a filter that alters one makes a new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from gateway.canonical.content import Extra, Opaque, Part, Refusal, Text, Thinking, ToolCall

Finish = Literal["stop", "length", "tool_calls", "content_filter", "error"]
PartKind = Literal["text", "thinking", "refusal", "tool_call", "opaque"]


@dataclass(slots=True)
class Start:
    """The server began an answer. `created` in Unix seconds, None where the server does not say."""

    id: str = ""
    model: str = ""
    created: int | None = None
    extra: Extra | None = None


@dataclass(slots=True)
class PartStart:
    """A part begins. `part` counts up from 0 within its choice. The tool fields are for kind `tool_call` only."""

    choice: int
    part: int
    kind: PartKind
    id: str = ""
    name: str = ""
    tool_kind: Literal["function", "custom"] = "function"
    opaque: Opaque | None = None
    extra: Extra | None = None


@dataclass(slots=True)
class PartDelta:
    """More of a part. `text` for text, thinking and refusal; `arguments` for a tool call."""

    choice: int
    part: int
    text: str = ""
    arguments: str = ""
    signature: str | None = None
    annotations: list[Any] | None = None
    redacted: str | None = None
    summary: list[str] | None = None
    logprobs: Any = None
    extra: Extra | None = None


@dataclass(slots=True)
class PartEnd:
    choice: int
    part: int
    extra: Extra | None = None


@dataclass(slots=True)
class ChoiceEnd:
    """A choice is complete. Without one for every choice, an answer was cut. `native` is the server's own word for how
    it ended, where that says more than `finish`; `note` what it adds in words."""

    choice: int
    finish: Finish
    stop_sequence: str | None = None
    logprobs: Any = None
    extra: Extra | None = None
    native: str | None = None
    note: str | None = None


@dataclass(slots=True)
class Usage:
    """Tokens. May come at any time; the last one wins. None = the server did not say. `audio` are those of `input` that
    are sound."""

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    extra: Extra | None = None
    audio: int | None = None


@dataclass(slots=True)
class Progress:
    """The server says how far it has read the prompt: a sign of life, never content."""

    done: int
    total: int


@dataclass(slots=True)
class End:
    """The answer is complete."""

    extra: Extra | None = None


@dataclass(slots=True)
class Fault:
    """The answer can't be completed. `code` is one of `gateway.errors`; `status` what it would have been as a reply."""

    code: str
    message: str
    status: int = 502
    param: str | None = None
    extra: Extra | None = None


Event = Start | PartStart | PartDelta | PartEnd | ChoiceEnd | Usage | Progress | End | Fault


@dataclass(slots=True)
class Choice:
    parts: list[Part] = field(default_factory=list)
    finish: Finish | None = None
    stop_sequence: str | None = None
    logprobs: Any = None
    extra: Extra | None = None
    native: str | None = None
    note: str | None = None


@dataclass(slots=True)
class Answer:
    """A whole answer. `choices` by their index."""

    id: str = ""
    model: str = ""
    created: int | None = None
    choices: list[Choice] = field(default_factory=list)
    usage: Usage | None = None
    extra: Extra | None = None


def merge_extra(into: Extra | None, more: Extra | None) -> Extra | None:
    """`into` with the fields of `more` on top. Neither argument is changed."""
    if not more:
        return into
    if not into:
        return more
    out = {dialect: dict(fields) for dialect, fields in into.items()}
    for dialect, fields in more.items():
        out.setdefault(dialect, {}).update(fields)
    return out


def join_logprobs(a: Any, b: Any) -> Any:
    """Two stretches of token probabilities, one after the other: lists of tokens, or objects that hold such lists."""
    return _join_all([a, b])


def _join_all(stretches: list[Any]) -> Any:
    """`join_logprobs` over many stretches at once, in linear time."""
    stretches = [s for s in stretches if s is not None]
    if len(stretches) < 2:
        return stretches[0] if stretches else None
    if all(isinstance(s, list) for s in stretches):
        return [token for s in stretches for token in s]
    if all(isinstance(s, dict) for s in stretches):
        keys = dict.fromkeys(k for s in stretches for k in s)
        return {k: _join_all([s.get(k) for s in stretches]) for k in keys}
    return stretches[-1]


class Folder:
    """Builds an `Answer` out of events, as they come. `fault` holds the first Fault; `ended` is True after End.

    Pieces of text are joined when the answer is looked at, so that an answer of many deltas costs linear time."""

    __slots__ = ("_answer", "_logprobs", "_open", "_pieces", "ended", "fault")

    def __init__(self) -> None:
        self._answer = Answer()
        self.fault: Fault | None = None
        self.ended = False
        self._open: dict[tuple[int, int], Any] = {}
        self._pieces: dict[tuple[int, int], list[str]] = {}
        self._logprobs: dict[int, list[Any]] = {}

    @property
    def answer(self) -> Answer:
        """The answer so far."""
        for key, pieces in self._pieces.items():
            if not pieces:
                continue
            if len(pieces) > 1:
                pieces[:] = ["".join(pieces)]
            part = self._open[key]
            if isinstance(part, ToolCall):
                part.arguments = pieces[0]
            else:
                part.text = pieces[0]
        for index, stretches in self._logprobs.items():
            stretches[:] = [_join_all(stretches)]
            self._choice(index).logprobs = stretches[0]
        return self._answer

    def feed(self, events: Iterable[Event]) -> None:
        answer = self._answer
        for e in events:
            kind = type(e)
            if kind is PartDelta:
                assert isinstance(e, PartDelta)
                piece = e.text or e.arguments
                if piece:
                    self._pieces[(e.choice, e.part)].append(piece)
                if (
                    e.logprobs is not None
                    or e.extra
                    or e.signature is not None
                    or e.annotations
                    or e.redacted is not None
                    or e.summary
                ):
                    self._more(e)
            elif kind is PartStart:
                self._start(e)  # type: ignore[arg-type]
            elif kind is PartEnd:
                assert isinstance(e, PartEnd)
                if e.extra:
                    part = self._open[(e.choice, e.part)]
                    part.extra = merge_extra(part.extra, e.extra)
            elif isinstance(e, ChoiceEnd):
                choice = self._choice(e.choice)
                choice.finish = e.finish
                choice.stop_sequence = e.stop_sequence
                choice.native, choice.note = e.native, e.note
                if e.logprobs is not None:
                    self._logprobs.setdefault(e.choice, []).append(e.logprobs)
                self._keep(choice, e.extra)
            elif isinstance(e, Usage):
                self._usage(e)
            elif isinstance(e, Start):
                answer.id, answer.model, answer.created = e.id, e.model, e.created
                answer.extra = merge_extra(answer.extra, e.extra)
            elif isinstance(e, End):
                self.ended = True
                answer.extra = merge_extra(answer.extra, e.extra)
            elif isinstance(e, Fault) and self.fault is None:
                self.fault = e

    def _usage(self, e: Usage) -> None:
        answer = self._answer
        answer.usage = e
        if e.extra:
            own, top = _split_extra(e.extra, ".usage")
            answer.usage = Usage(e.input, e.output, e.cached, e.reasoning, own, e.audio)
            answer.extra = merge_extra(answer.extra, top)

    def _choice(self, index: int) -> Choice:
        choices = self._answer.choices
        while len(choices) <= index:
            choices.append(Choice())
        return choices[index]

    def _keep(self, choice: Choice, extra: Extra | None) -> None:
        if extra:
            top, inner = _split_extra(extra, "")
            self._answer.extra = merge_extra(self._answer.extra, top)
            choice.extra = merge_extra(choice.extra, inner)

    def _start(self, e: PartStart) -> None:
        part: Any
        if e.kind == "text":
            part = Text("")
        elif e.kind == "thinking":
            part = Thinking("")
        elif e.kind == "refusal":
            part = Refusal("")
        elif e.kind == "tool_call":
            part = ToolCall(e.id, e.name, "", e.tool_kind)
        else:
            assert e.opaque is not None
            part = replace(e.opaque)
        choice = self._choice(e.choice)
        choice.parts.append(part)
        key = (e.choice, e.part)
        self._open[key] = part
        self._pieces[key] = []
        if e.extra:
            part.extra, rest = _part_extra(e.extra)
            self._keep(choice, rest)

    def _more(self, e: PartDelta) -> None:
        """What a delta has beside its piece of text."""
        part = self._open[(e.choice, e.part)]
        if e.signature is not None:
            part.signature = e.signature
        if e.annotations:
            part.annotations = (part.annotations or []) + e.annotations
        if e.redacted is not None:
            part.redacted = e.redacted
        if e.summary:
            part.summary = (part.summary or []) + e.summary
        if e.logprobs is not None or e.extra:
            choice = self._choice(e.choice)
            if e.logprobs is not None:
                self._logprobs.setdefault(e.choice, []).append(e.logprobs)
            if e.extra:
                own, rest = _part_extra(e.extra)
                part.extra = merge_extra(part.extra, own)
                self._keep(choice, rest)


def _split_extra(extra: Extra | None, suffix: str) -> tuple[Extra | None, Extra | None]:
    """(the keys that end in `suffix`, the others); with suffix "": (keys without a dot, keys with one)."""
    if not extra:
        return None, None
    if len(extra) == 1:
        (key,) = extra
        return (extra, None) if (key.endswith(suffix) if suffix else "." not in key) else (None, extra)
    mine = {k: v for k, v in extra.items() if (k.endswith(suffix) if suffix else "." not in k)}
    rest = {k: v for k, v in extra.items() if k not in mine}
    return mine or None, rest or None


def _part_extra(extra: Extra) -> tuple[Extra | None, Extra | None]:
    """(what belongs to the part itself: keys `<dialect>.part`, what belongs to its choice or answer)."""
    return _split_extra(extra, ".part")


def fold(events: Iterable[Event]) -> Answer:
    """The answer that the events tell. Raises ValueError on a Fault: a cut answer is not an answer."""
    folder = Folder()
    folder.feed(events)
    if folder.fault is not None:
        raise ValueError(folder.fault.message)
    return folder.answer


def unfold(answer: Answer) -> list[Event]:
    """The events of a whole answer, every part in one delta."""
    out: list[Event] = [Start(answer.id, answer.model, answer.created, answer.extra)]
    for index, choice in enumerate(answer.choices):
        for number, part in enumerate(choice.parts):
            out += _unfold_part(index, number, part)
        if choice.finish is not None:
            end = ChoiceEnd(index, choice.finish, choice.stop_sequence, choice.logprobs, choice.extra)
            end.native, end.note = choice.native, choice.note
            out.append(end)
    if answer.usage is not None:
        out.append(answer.usage)
    out.append(End())
    return out


def _unfold_part(index: int, number: int, part: Part) -> list[Event]:
    extra = part.extra
    if isinstance(part, ToolCall):
        start = PartStart(index, number, "tool_call", part.id, part.name, part.kind, extra=extra)
        delta = PartDelta(index, number, arguments=part.arguments, signature=part.signature)
    elif isinstance(part, Thinking):
        start = PartStart(index, number, "thinking", extra=extra)
        delta = PartDelta(
            index, number, part.text, signature=part.signature, redacted=part.redacted, summary=part.summary
        )
    elif isinstance(part, Text):
        start = PartStart(index, number, "text", extra=extra)
        delta = PartDelta(index, number, part.text, signature=part.signature, annotations=part.annotations)
    elif isinstance(part, Refusal):
        start = PartStart(index, number, "refusal", extra=extra)
        delta = PartDelta(index, number, part.text, signature=part.signature)
    elif isinstance(part, Opaque):
        return [PartStart(index, number, "opaque", opaque=part), PartEnd(index, number)]
    else:
        raise ValueError(f"an answer has no {type(part).__name__} part")
    return [start, delta, PartEnd(index, number)]
