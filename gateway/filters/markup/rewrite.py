"""Events of an answer whose text holds markup, and the same events with the markup read.

Text that passes untouched keeps its event object, and a list in which nothing changed is returned as it is. Parts are
numbered anew from the first change on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.canonical.content import Part
from gateway.canonical.events import (
    ChoiceEnd,
    Event,
    Finish,
    Folder,
    PartDelta,
    PartEnd,
    PartStart,
    join_logprobs,
    merge_extra,
)
from gateway.canonical.identity import same
from gateway.filters.markup.deltas import fitting, is_more, moved
from gateway.filters.markup.pieces import Call, Kind, Piece, Reader, Said

MakeReader = Callable[[bool], Reader]
"""Makes the reader of one choice; True: its text begins inside of a thought."""


class MarkupFilter:
    """A filter (gateway.filters) around one reader per choice."""

    def __init__(self, make: MakeReader, *, new_id: Callable[[], str], lead: str = "", whole: bool = False) -> None:
        """`lead`: a character beside `<` with which the family's markers begin. `whole`: nothing is shown before the
        answer is complete, so its text is read as a whole."""
        self._make = make
        self._lead = lead
        self._new_id = new_id
        self._whole = whole
        self._lanes: dict[int, _Lane] = {}
        self._hot: _Lane | None = None
        self._hot_choice = self._hot_part = self._hot_out = -1
        self._hot_mixed = self._hot_line = False
        self._passed = ""
        self._plain = False  # text of the part at hand goes on as it is, and not at the beginning of a line

    @property
    def repairs(self) -> list[str]:
        """What was altered beyond clean grammar: short codes, each once, in the order of their first time."""
        return list(dict.fromkeys(code for lane in self._lanes.values() for code in lane.repairs))

    def feed(self, events: list[Event]) -> list[Event]:
        if self._plain and len(events) == 1:
            e = events[0]  # the usual case: one more word of a text
            if type(e) is PartDelta and e.part == self._hot_part and e.choice == self._hot_choice:
                text = e.text
                if text and not ("<" in text or "\n" in text or "`" in text or (self._lead and self._lead in text)):
                    self._passed = text
                    return events
        if self._hot is not None and self._hot_out == self._hot_part and not self._hot_mixed:
            more = self._more(events)
            if more is not None and self._passes(more):
                return events
        out: list[Event] = []
        for e in events:
            if (
                type(e) is PartDelta
                and e.part == self._hot_part
                and e.choice == self._hot_choice
                and not (self._hot_mixed and is_more(e))
                and self._passes(e.text)
            ):
                out.append(e if self._hot_out == e.part else moved(e, self._hot_out))
            else:
                self._cool()
                self._one(e, out)
        if same(out, events):
            return events
        return out

    def _more(self, events: list[Event]) -> str | None:
        """The text of events that only go on with the part at hand; None if there are others."""
        part, choice = self._hot_part, self._hot_choice
        if len(events) == 1:
            e = events[0]
            return e.text if type(e) is PartDelta and e.part == part and e.choice == choice else None
        texts = []
        for e in events:
            if type(e) is not PartDelta or e.part != part or e.choice != choice:
                return None
            texts.append(e.text)
        return "".join(texts)

    def _passes(self, text: str) -> bool:
        """Nothing special is in the text: the reader need not see it."""
        if "<" in text or "`" in text or (self._lead and self._lead in text):
            return False
        if (self._hot_line or "\n" in text) and not self._line(text):
            return False
        if text:
            self._passed = text
        return True

    def _line(self, text: str) -> bool:
        """Of line breaks the reader must hear. False: it must look."""
        hot = self._hot
        if text and hot is not None:
            if not hot.line(self._passed, text):
                return False
            self._hot_line = hot.at_line
            self._note_plain()
        return True

    def _note_plain(self) -> None:
        self._plain = not (self._hot_line or self._hot_mixed) and self._hot_out == self._hot_part >= 0

    def _cool(self) -> None:
        """The slow way: the reader hears what passed it by."""
        hot, self._hot = self._hot, None
        self._plain = False
        if hot is not None:
            self._hot_choice = self._hot_part = -1
            if self._passed:
                hot.passed(self._passed)
                self._passed = ""

    def _one(self, e: Event, out: list[Event]) -> None:
        if isinstance(e, PartDelta):
            lane = self._lane(e.choice)
            self._hot = lane if lane.delta(e, out) else None
            if self._hot is not None:
                self._hot_choice, self._hot_part, self._hot_out = e.choice, e.part, lane.open
                self._hot_mixed, self._hot_line = lane.mixed(e.part), lane.at_line
                self._note_plain()
            else:
                self._hot_part = -1
                self._plain = False
        elif isinstance(e, PartStart | PartEnd | ChoiceEnd):
            self._cool()
            lane = self._lane(e.choice)
            if isinstance(e, PartStart):
                lane.start(e, out)
            elif isinstance(e, PartEnd):
                lane.part_end(e, out)
            else:
                lane.choice_end(e, out)
        else:
            out.append(e)

    def end(self) -> list[Event]:
        """What is still held of choices that did not end: the answer was cut."""
        self._cool()
        out: list[Event] = []
        for lane in self._lanes.values():
            lane.cut(out)
        return out

    def _lane(self, choice: int) -> _Lane:
        lane = self._lanes.get(choice)
        if lane is None:
            lane = self._lanes[choice] = _Lane(choice, self._make, self._new_id, self._whole)
        return lane


class _Lane:
    """One choice."""

    def __init__(self, choice: int, make: MakeReader, new_id: Callable[[], str], whole: bool) -> None:
        self._choice = choice
        self._make = make
        self._reader = make(False)
        self._new_id = new_id
        self._raw: list[str] | None = [] if whole else None
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

    def passed(self, text: str) -> None:
        self._reader.passed(text)

    @property
    def at_line(self) -> bool:
        return self._reader.at_line

    def line(self, passed: str, text: str) -> bool:
        self._reader.passed(passed)
        return self._reader.line(text)

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
            self._resolve("length", out)
            self._ended = True

    def _resolve(self, finish: Finish | None, out: list[Event]) -> None:
        """The server's part is over: what is held is told."""
        self._tell(self._read_whole(finish) if self._raw is not None else self._reader.end(finish), None, out)
        shut, self._shut = self._shut, None
        if self.open < 0 and shut is not None:
            self._told_nothing(shut, out)
        self._tell_carry(out)
        if self.open >= 0:
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
        """A thought whose end is there and whose beginning is not: everything before was one."""
        assert self._raw is not None
        text = "".join(self._raw)
        self._raw = []
        reader, before = self._reader, len(self._reader.repairs)
        pieces = [*reader.feed(text), *reader.end(finish)] if text else reader.end(finish)
        if reader.late:
            inside = self._make(True)
            inside.begin("text")
            pieces = [*inside.feed(text), *inside.end(finish)]
            self._earlier += [*reader.repairs[:before], "late_thought"]
            self._reader = inside
        return pieces

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


@dataclass(slots=True)
class Parsed:
    """A whole answer: its parts, the finish that fits them, and what was repaired."""

    parts: list[Part]
    finish: Finish
    repairs: list[str]


def parse_with(markup: MarkupFilter, text: str, finish: Finish) -> Parsed:
    """The parts of `text`, read by the same code that reads a stream."""
    events: list[Event] = [PartStart(0, 0, "text"), PartDelta(0, 0, text), PartEnd(0, 0), ChoiceEnd(0, finish)]
    folder = Folder()
    folder.feed(markup.feed(events))
    choice = folder.answer.choices[0]
    return Parsed(choice.parts, choice.finish or finish, markup.repairs)
