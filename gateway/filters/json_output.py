"""Takes what stands around the JSON value off an answer that must be JSON: a code fence (some models write one under
any grammar, and a server that begins one in the prompt leaves its end), and blank text.

Only the beginning and the end of a text are held, until it is known what they are. Nothing inside the value is touched,
and a text that is anything but one value in at most one fence stays as it is: that is for the check to judge.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, Literal

from gateway.canonical.events import ChoiceEnd, Event, PartDelta, PartEnd, PartStart
from gateway.canonical.identity import same
from gateway.filters.markup.deltas import is_more
from gateway.filters.markup.json_calls import JsonEnd

_MOST: Final = 1024
"""Characters around the value that are held; more is no mere frame."""
_LONGEST_LINE: Final = 64
_LANGUAGES: Final = frozenset(("", "json", "jsonc", "json5", "javascript", "js"))
_BEGINS: Final = frozenset('{["-0123456789tfn')
_BRACKETED: Final = frozenset('{["')
_INFO = re.compile(r"[ \t]*([\w+.-]*)([ \t]*)", re.ASCII)
_FRAME = re.compile(r"\s*(?:`{0,2}|~{0,2}|`{3,}\s*|~{3,}\s*)")
_IN_STRING = re.compile(r'\\.|"', re.DOTALL)
_SCALAR_ENDS = re.compile(r"[\s`~]")


class JsonOutput:
    """Codes in `repairs`: json_fence."""

    __slots__ = ("_open", "repairs")

    def __init__(self) -> None:
        self._open: dict[tuple[int, int], _Value] = {}
        self.repairs: list[str] = []

    def feed(self, events: list[Event]) -> list[Event]:
        out: list[Event] = []
        if len(events) == 1 and type(events[0]) is PartDelta:  # as most are
            out += self._delta(events[0])
            return events if len(out) == 1 and out[0] is events[0] else out
        for e in events:
            if isinstance(e, PartDelta):
                out += self._delta(e)
                continue
            if isinstance(e, PartStart) and e.kind == "text":
                self._open[(e.choice, e.part)] = _Value()
            elif isinstance(e, PartEnd):
                out += self._close((e.choice, e.part))
            elif isinstance(e, ChoiceEnd):
                for place in [p for p in self._open if p[0] == e.choice]:
                    out += self._close(place)
            out.append(e)
        if same(out, events):
            return events
        return out

    def end(self) -> list[Event]:
        return [e for place in list(self._open) for e in self._close(place)]

    def _delta(self, e: PartDelta) -> list[PartDelta]:
        value = self._open.get((e.choice, e.part))
        return [e] if value is None else value.feed(e)

    def _close(self, place: tuple[int, int]) -> list[PartDelta]:
        value = self._open.pop(place, None)
        if value is None:
            return []
        out = value.end()
        if value.fenced and not self.repairs:
            self.repairs.append("json_fence")
        return out


class _Value:
    """One text. head: its value has not begun. tail: it ended. raw: the text is something else."""

    __slots__ = ("_at_end", "_held", "_mode", "_opened", "_text", "fenced")

    def __init__(self) -> None:
        self._mode: Literal["head", "value", "tail", "raw"] = "head"
        self._held: list[PartDelta] = []
        self._text = ""
        self._at_end = _ValueEnd()
        self._opened = False
        self.fenced = False
        """A fence, or the end of one, was taken off."""

    def feed(self, e: PartDelta) -> list[PartDelta]:
        if self._mode == "value":
            return self._in_value(e)
        if self._mode == "raw":
            return [e]
        if not e.text and not self._held:
            return [e]
        self._held.append(e)
        self._text += e.text
        return self._in_head() if self._mode == "head" else self._in_tail()

    def end(self) -> list[PartDelta]:
        if self._mode != "tail":
            return self._release()
        frame = self._text.strip()
        if len(frame) < 3 and frame and not self._opened:
            return self._release()
        self.fenced = self.fenced or bool(frame)
        return self._without(len(self._text))

    def _in_head(self) -> list[PartDelta]:
        at = _value_at(self._text)
        if at is None:
            return [] if len(self._text) <= _MOST else self._release()
        if not 0 <= at <= _MOST:
            return self._release()
        self._opened = self.fenced = not self._text[:at].isspace() and at > 0
        deltas = self._without(at)
        self._mode = "value"
        return [d for delta in deltas for d in self.feed(delta)]

    def _in_value(self, e: PartDelta) -> list[PartDelta]:
        end = self._at_end.feed(e.text)
        if end is None:
            return [e]
        self._mode = "tail"
        if end == len(e.text):
            return [e]
        more = self.feed(PartDelta(e.choice, e.part, e.text[end:]))
        if end or _tells(e):
            return [replace(e, text=e.text[:end]), *more]
        return more

    def _in_tail(self) -> list[PartDelta]:
        if len(self._text) <= _MOST and _FRAME.fullmatch(self._text):
            return []
        return self._release()

    def _release(self) -> list[PartDelta]:
        self._mode = "raw"
        held, self._held, self._text = self._held, [], ""
        return held

    def _without(self, n: int) -> list[PartDelta]:
        """The held deltas without their first `n` characters; what they tell beside text is kept."""
        out: list[PartDelta] = []
        for delta in self._held:
            gone = min(n, len(delta.text))
            n -= gone
            if not gone:
                out.append(delta)
            elif gone < len(delta.text) or _tells(delta):
                out.append(replace(delta, text=delta.text[gone:]))
        self._held, self._text = [], ""
        return out


def _tells(e: PartDelta) -> bool:
    return e.logprobs is not None or bool(e.extra) or is_more(e)


def _value_at(text: str) -> int | None:
    """Where the value begins; None: can't be told yet; -1: this is something else."""
    body = text.lstrip()
    if not body:
        return None
    if body[0] in _BEGINS:
        return len(text) - len(body)
    if body[0] not in "`~":
        return -1
    rest = body.lstrip(body[0])
    if not rest:
        return None
    if len(body) - len(rest) < 3:
        return -1
    info = _INFO.match(rest)
    assert info is not None
    after = rest[info.end() :]
    if info.end() > _LONGEST_LINE:
        return -1
    value = after.lstrip()
    if not value:
        return None
    if after[0] in "\r\n":
        return len(text) - len(value) if value[0] in _BEGINS else -1
    begins = value[0] in (_BEGINS if info[2] else _BRACKETED)
    return len(text) - len(value) if begins and info[1].lower() in _LANGUAGES else -1


class _ValueEnd:
    """Finds where a JSON value ends, as it comes: `feed` as in JsonEnd, for scalars too."""

    __slots__ = ("_escaped", "_kind", "_nested")

    def __init__(self) -> None:
        self._kind = ""
        self._nested = JsonEnd()
        self._escaped = False

    def feed(self, text: str) -> int | None:
        if not text:
            return None
        at = 0
        if not self._kind:
            self._kind = text[0]
            at = 1
        if self._kind in "{[":
            return self._nested.feed(text)
        if self._kind != '"':
            end = _SCALAR_ENDS.search(text)
            return None if end is None else end.start()
        if self._escaped and at < len(text):
            at, self._escaped = at + 1, False
        while (found := _IN_STRING.search(text, at)) is not None:
            at = found.end()
            if found.group() == '"':
                return at
        self._escaped = text.endswith("\\") and at < len(text)
        return None
