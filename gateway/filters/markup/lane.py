"""One choice of an answer whose text holds markup: pieces that a reader found, as events.

Parts are numbered anew from the first change on; what belongs to text that was not told yet is carried on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from gateway.canonical.events import (
    ChoiceEnd,
    Event,
    Finish,
    PartDelta,
    PartEnd,
    PartStart,
    join_logprobs,
    merge_extra,
)
from gateway.filters.markup.deltas import fitting, is_more, moved
from gateway.filters.markup.pieces import Call, Kind, Piece, Reader, Said

MakeReader = Callable[[bool], Reader]
"""Makes the reader of one choice; True: its text begins inside of a thought."""


class Lane:
    """What a client has been told of one choice, and what is held of it. `open`: the number of the part that goes on;
    -1: none does."""

    def __init__(
        self, choice: int, make: MakeReader, new_id: Callable[[], str], whole: bool, *, likely_inside: bool = False
    ) -> None:
        self._choice = choice
        self._make = make
        self._reader = make(False)
        self._new_id = new_id
        self._raw: list[str] | None = [] if whole else None
        self._likely_inside = likely_inside
        self._kinds: dict[int, Kind] = {}
        self._numbers: dict[int, int] = {}
        self._next = 0
        self.open = -1
        self._open_kind: Kind = "text"
        self._begun: PartStart | None = None
        """The server's part that began and has told nothing yet."""
        self._shut: PartEnd | None = None
        """The server's part that ended while something of it is held."""
        self._carry: PartDelta | None = None
        """What belongs to text that was not told yet: probabilities, a signature, fields of the dialect."""
        self._reading = False
        self._calls = 0
        self._told_calls = 0
        self._ended = False
        self._earlier: list[str] = []

    @property
    def repairs(self) -> list[str]:
        return self._earlier + self._reader.repairs

    def start(self, e: PartStart, out: list[Event]) -> None:
        if self._shut is not None:
            self._resolve(None, out)
        if e.kind == "text" or e.kind == "thinking":
            self._kinds[e.part] = e.kind
            self._reader.begin(e.kind)
            self._begun = e
            self._reading = False
            return
        self._numbers[e.part] = number = self._next
        self._next += 1
        if e.kind == "tool_call":
            self._calls += 1
        out.append(e if number == e.part else replace(e, part=number))

    def passed(self, text: str, lines: str) -> None:
        self._reader.passed(text, lines)

    @property
    def at_line(self) -> bool:
        return self._reader.at_line

    @property
    def line_head(self) -> re.Pattern[str] | None:
        return self._reader.line_head

    def delta(self, e: PartDelta, out: list[Event]) -> bool:
        """True: more text of this part goes on in `open` as it is, if nothing special is in it."""
        if e.part not in self._kinds:
            number = self._numbers.get(e.part, e.part)
            out.append(e if number == e.part else moved(e, number))
            return False
        if self._raw is not None:
            self._reading = self._reading or bool(e.text)
            self._raw.append(e.text)
            self._keep(e)
            return False
        if not e.text:
            held = self.open < 0 or self._carry is not None or not self._reader.idle
            if held or (self.mixed(e.part) and is_more(e)):
                self._keep(e)
            else:
                out.append(e if e.part == self.open else moved(e, self.open))
            return False
        self._reading = True
        self._tell(self._reader.feed(e.text), e, out)
        return self._reader.quick and self._carry is None and self.open >= 0

    def mixed(self, part: int) -> bool:
        """The server's part goes on in one of another kind."""
        return self._kinds[part] != self._open_kind

    def part_end(self, e: PartEnd, out: list[Event]) -> None:
        if e.part not in self._kinds:
            number = self._numbers.get(e.part, e.part)
            out.append(e if number == e.part else replace(e, part=number))
            return
        if self._raw is not None or not self._reader.idle:
            self._shut = e
        elif self.open >= 0:
            self._close(out, e)
        else:
            self._told_nothing(e, out)

    def choice_end(self, e: ChoiceEnd, out: list[Event]) -> None:
        self._resolve(e.finish, out)
        self._ended = True
        carry, self._carry = self._carry, None
        finish = e.finish
        if finish == "stop" and self._told_calls:
            finish = "tool_calls"
        elif finish == "tool_calls" and not self._calls:
            finish = "stop"
        if carry is not None:
            logprobs = join_logprobs(carry.logprobs, e.logprobs)
            out.append(replace(e, finish=finish, logprobs=logprobs, extra=merge_extra(carry.extra, e.extra)))
        else:
            out.append(e if finish == e.finish else replace(e, finish=finish))

    def cut(self, out: list[Event]) -> None:
        if not self._ended:
            self._resolve("length", out, cut=True)
            self._ended = True

    def _resolve(self, finish: Finish | None, out: list[Event], *, cut: bool = False) -> None:
        """The server's part is over: what is held is told. A text that was `cut` stays open: an end would say that it
        is complete."""
        self._tell(self._read_whole(finish) if self._raw is not None else self._reader.end(finish), None, out)
        shut, self._shut = self._shut, None
        if self.open < 0 and shut is not None:
            self._told_nothing(shut, out)
        self._tell_carry(out)
        if self.open >= 0 and (shut is not None or not cut):
            self._close(out, shut)

    def _told_nothing(self, e: PartEnd, out: list[Event]) -> None:
        """A part of the server's without any text stays one."""
        if self._begun is not None and not self._reading:
            self._open_part(self._kinds[e.part], out)
            self._tell_carry(out)
            self._close(out, e)

    def _tell_carry(self, out: list[Event]) -> None:
        """What no text was left for: probabilities may wait, the rest is told without text."""
        while self._carry is not None and is_more(self._carry):
            thinking = self._open_kind == "thinking" if self.open >= 0 else not fitting(self._carry, "text")[2]
            kind: Kind = "thinking" if thinking else "text"
            mine, self._carry, fits = fitting(self._carry, kind)
            if not fits and self._carry is not None:
                kind = "text" if thinking else "thinking"
                mine, self._carry, _ = fitting(self._carry, kind)
            out.append(replace(mine, part=self._open_part(kind, out)))

    def _read_whole(self, finish: Finish | None) -> list[Piece]:
        """A thought whose end is there and whose beginning is not: everything before was one. The same where the prompt
        began one and the answer was cut before anything else came."""
        assert self._raw is not None
        text = "".join(self._raw)
        self._raw = []
        reader, before = self._reader, len(self._reader.repairs)
        pieces = [*reader.feed(text), *reader.end(finish)] if text else reader.end(finish)
        cut = self._likely_inside and finish == "length" and self._only_text(pieces)
        if reader.late or cut:
            inside = self._make(True)
            inside.begin("text")
            pieces = [*inside.feed(text), *inside.end(finish)]
            self._earlier += [*reader.repairs[:before], "leaked_thought" if cut else "late_thought"]
            self._reader = inside
        return pieces

    def _only_text(self, pieces: list[Piece]) -> bool:
        """Neither thoughts nor calls in the whole choice."""
        if self._calls or "thinking" in self._kinds.values():
            return False
        return all(isinstance(piece, Said) and piece.kind == "text" for piece in pieces)

    def _tell(self, pieces: list[Piece], e: PartDelta | None, out: list[Event]) -> None:
        """Pieces as events. What `e` carries beside its text goes with the first piece that can hold it."""
        if e is not None and len(pieces) == 1 and self._carry is None:
            piece = pieces[0]
            if isinstance(piece, Said) and piece.text == e.text:
                fits = piece.kind == self._kinds[e.part] or not is_more(e)
                if fits and self._open_part(piece.kind, out) == e.part:
                    out.append(e)
                    return
        if e is not None:
            self._keep(e)
        for piece in pieces:
            if isinstance(piece, Said):
                part = self._open_part(piece.kind, out)
                if self._carry is None:
                    out.append(PartDelta(self._choice, part, piece.text))
                else:
                    mine, self._carry, _ = fitting(self._carry, piece.kind)
                    out.append(replace(mine, part=part, text=piece.text))
            else:
                self._tell_call(piece, out)

    def _tell_call(self, call: Call, out: list[Event]) -> None:
        if self.open >= 0:
            self._close(out, None)
        number = self._next
        self._next += 1
        self._calls += 1
        self._told_calls += 1
        out.append(PartStart(self._choice, number, "tool_call", self._new_id(), call.name))
        delta = PartDelta(self._choice, number, arguments=call.arguments)
        carry = self._carry
        if carry is not None:
            delta.logprobs, delta.extra = carry.logprobs, carry.extra
            self._carry = replace(carry, logprobs=None, extra=None) if is_more(carry) else None
        out.append(delta)
        out.append(PartEnd(self._choice, number))

    def _open_part(self, kind: Kind, out: list[Event]) -> int:
        if self.open >= 0:
            if self._open_kind == kind:
                return self.open
            self._close(out, None)
        number = self._next
        self._next += 1
        begun, self._begun = self._begun, None
        if begun is not None and begun.kind == kind and begun.part == number:
            out.append(begun)
        else:
            out.append(PartStart(self._choice, number, kind, extra=begun.extra if begun is not None else None))
        self.open, self._open_kind = number, kind
        return number

    def _close(self, out: list[Event], e: PartEnd | None) -> None:
        if e is not None and e.part == self.open:
            out.append(e)
        else:
            out.append(PartEnd(self._choice, self.open, e.extra if e is not None else None))
        self.open = -1

    def _keep(self, e: PartDelta) -> None:
        if e.logprobs is None and not e.extra and not is_more(e):
            return
        old = self._carry
        if old is None:
            self._carry = replace(e, text="")
            return
        self._carry = PartDelta(
            e.choice,
            e.part,
            signature=e.signature if e.signature is not None else old.signature,
            annotations=[*(old.annotations or ()), *(e.annotations or ())] or None,
            redacted=e.redacted if e.redacted is not None else old.redacted,
            summary=[*(old.summary or ()), *(e.summary or ())] or None,
            logprobs=join_logprobs(old.logprobs, e.logprobs),
            extra=merge_extra(old.extra, e.extra),
        )
