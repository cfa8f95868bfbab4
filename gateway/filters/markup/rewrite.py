"""Events of an answer whose text holds markup, and the same events with the markup read.

Text that passes untouched keeps its event object, and a list in which nothing changed is returned as it is. Parts are
numbered anew from the first change on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from gateway.canonical.content import Part
from gateway.canonical.events import (
    ChoiceEnd,
    Event,
    Finish,
    Folder,
    PartDelta,
    PartEnd,
    PartStart,
)
from gateway.canonical.identity import same
from gateway.filters.markup.deltas import is_more, moved
from gateway.filters.markup.lane import Lane, MakeReader


class MarkupFilter:
    """A filter (gateway.filters) around one reader per choice."""

    def __init__(
        self,
        make: MakeReader,
        *,
        new_id: Callable[[], str],
        lead: str = "",
        whole: bool = False,
        likely_inside: bool = False,
    ) -> None:
        """`lead`: a character beside `<` with which the family's markers begin. `whole`: nothing is shown before the
        answer is complete, so its text is read as a whole. `likely_inside`: one that was cut, with no sign of anything
        else, is a thought."""
        self._make = make
        self._lead = lead
        self._new_id = new_id
        self._whole = whole
        self._likely_inside = likely_inside
        self._lanes: dict[int, Lane] = {}
        self._hot: Lane | None = None
        self._hot_choice = self._hot_part = self._hot_out = -1
        self._hot_mixed = self._hot_line = False
        self._hot_head: re.Pattern[str] | None = None
        self._passed = ""
        self._lines = ""  # what passed, as far as it matters for where lines begin
        self._plain = False  # text of the part at hand goes on as it is

    @property
    def repairs(self) -> list[str]:
        """What was altered beyond clean grammar: short codes, each once, in the order of their first time."""
        return list(dict.fromkeys(code for lane in self._lanes.values() for code in lane.repairs))

    def feed(self, events: list[Event]) -> list[Event]:
        if self._plain:
            if len(events) == 1:
                e = events[0]  # the usual case: one more word of a text
                if type(e) is PartDelta and e.part == self._hot_part and e.choice == self._hot_choice:
                    text = e.text
                    if not ("<" in text or "`" in text or (self._lead and self._lead in text)) and (
                        not (self._hot_line or "\n" in text) or self._line(text)
                    ):
                        if text:
                            self._passed = text
                        return events
            else:
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
        """A text with line breaks, or at the beginning of a line. False: the reader must look at it."""
        head = self._hot_head
        if head is not None:
            before = "\n" if self._hot_line and (not self._passed or self._passed[-1] == "\n") else ""
            if head.search(before + text):
                return False
        at = text.rfind("\n")
        if at >= 0:
            rest = text[at + 1 :]
            self._hot_line = not rest or rest.isspace()
            self._lines = "\n" if self._hot_line else "\nx"
        elif text and not text.isspace():
            self._hot_line = False
            self._lines += "x"
        return True

    def _cool(self) -> None:
        """The slow way: the reader hears what passed it by."""
        hot, self._hot = self._hot, None
        self._plain = False
        if hot is not None:
            self._hot_choice = self._hot_part = -1
            if self._passed:
                hot.passed(self._passed, self._lines)
                self._passed = self._lines = ""

    def _one(self, e: Event, out: list[Event]) -> None:
        if isinstance(e, PartDelta):
            lane = self._lane(e.choice)
            self._hot = lane if lane.delta(e, out) else None
            if self._hot is not None:
                self._hot_choice, self._hot_part, self._hot_out = e.choice, e.part, lane.open
                self._hot_mixed, self._hot_line, self._hot_head = lane.mixed(e.part), lane.at_line, lane.line_head
                self._plain = not self._hot_mixed and self._hot_out == self._hot_part >= 0
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

    def _lane(self, choice: int) -> Lane:
        lane = self._lanes.get(choice)
        if lane is None:
            lane = self._lanes[choice] = Lane(
                choice, self._make, self._new_id, self._whole, likely_inside=self._likely_inside
            )
        return lane


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
