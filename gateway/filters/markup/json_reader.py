"""What the readers of calls in JSON share: waiting for the end of a JSON value, and what becomes of it."""

from __future__ import annotations

import re
from itertools import islice
from typing import ClassVar

from gateway.filters.markup.json_calls import JsonEnd, decode_calls
from gateway.filters.markup.pieces import Call
from gateway.filters.markup.scan import TagReader

LIMIT = 1 << 20
"""Characters of the longest call that is waited for."""
MOST_SPACE = 64
"""White space between a marker and what belongs to it."""
_SLICE = 4096
MOST_BACKS = 16
"""Times that an answer is read again from the end of a call that never ended."""
LOST = ("}", "]", "}}", "}]", "}}]", "}}}")
"""Brackets that may be missing at the end of a call."""
_BRACKETS = frozenset("}] \t\r\n")


class JsonCallReader(TagReader):
    """Mode `json`: between the brackets of a value. A subclass goes on in `_decide`.

    `CLOSE`: the marker behind a call, if the family has one. `TURN`: markers that end the turn. Thoughts are not read:
    what stands in them is not meant."""

    CLOSE: ClassVar[str] = ""
    TURN: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self._json = JsonEnd()
        self._pieces: list[str] = []
        self._raw = ""
        self._backs = 0

    @property
    def idle(self) -> bool:
        return super().idle and self._mode in ("text", "drop")

    def _step(self, final: bool) -> bool:
        if self._mode == "json":
            return self._in_json(final)
        if self._kind == "thinking" and self._mode == "text":
            self._say_to(len(self._buf))
            return False
        return super()._step(final)

    def _may_pass(self) -> bool:
        if self._kind == "thinking":
            return self._mode == "text" and self._pos >= len(self._buf) and not self._blank
        return super()._may_pass()

    def _begin_json(self, at: int) -> None:
        """A value begins at `at`."""
        self._pos = at
        self._json = JsonEnd()
        self._pieces = []
        self._mode = "json"

    def _in_json(self, final: bool) -> bool:
        while self._pos < len(self._buf):
            room = LIMIT - self._json.size
            piece = self._buf[self._pos : self._pos + min(_SLICE, room)]
            end = self._json.feed(piece)
            self._pieces.append(piece if end is None else piece[:end])
            self._pos += len(self._pieces[-1])
            if end is not None or self._json.size >= LIMIT:
                self._raw = "".join(self._pieces)
                self._mode = "text"
                if end is None:
                    self._note("oversized_call")
                    self._show(self._raw)
                else:
                    self._decide(self._raw)
                return True
        return final and self._never_ends()

    def _decide(self, raw: str) -> None:
        """The value is complete."""
        raise NotImplementedError

    def _never_ends(self) -> bool:
        """The answer ended inside of a value: cut off, or with a quote too many or too few."""
        raw = "".join(self._pieces)
        self._mode = "text"
        if self._finish == "length":
            self._note("cut_call")
            return True
        ends: list[int] = []
        if self.CLOSE and self._backs < MOST_BACKS:
            self._backs += 1
            ends = [found.start() for found in islice(re.finditer(re.escape(self.CLOSE), raw), 4)]
        for at in (*ends, len(raw)):
            calls = self._mend(raw[:at].rstrip())
            if calls is not None:
                self._note("missing_bracket")
                self._buf, self._pos = raw[at + len(self.CLOSE) :], 0
                self._emit(calls, raw[:at])
                return True
        if ends:
            self._buf, self._pos, raw = raw[ends[0] + len(self.CLOSE) :], 0, raw[: ends[0]]
        self._show(raw)
        return True

    def _mend(self, raw: str) -> list[tuple[str, str]] | None:
        """The calls of a value that lost its last brackets, if it can be read so: there is one reading at most."""
        return None

    def _show(self, raw: str) -> None:
        """A call that can't be believed: told, not made."""
        self._note("malformed_call")
        self._say(self._pattern.sub("", raw))

    def _emit(self, calls: list[tuple[str, str]], raw: str) -> None:
        for name, arguments in calls:
            self._put(Call(name, arguments, raw))
        self._boundary("text")

    def _emit_or_show(self, raw: str) -> None:
        calls = decode_calls(raw)
        if calls is None:
            self._show(raw)
        else:
            self._emit(calls, raw)

    def _behind(self, final: bool) -> str | None:
        """The first character behind white space from `_pos` on, "" if there is none; None: can't be told yet."""
        for at in range(self._pos, min(len(self._buf), self._pos + MOST_SPACE)):
            if not self._buf[at].isspace():
                return self._buf[at]
        return "" if final or len(self._buf) - self._pos >= MOST_SPACE else None

    def _skip_space(self) -> None:
        while self._pos < len(self._buf) and self._buf[self._pos].isspace():
            self._pos += 1

    def _turn_ends(self, marker: str) -> None:
        self._pos += len(marker)
        if self._opening:
            self._note("stray_marker")
            return
        self._boundary("text")
        self._mode = "drop"

    def _swallow_close(self, final: bool) -> bool | None:
        """The end marker of a call, with brackets too many before it: True if it was there; None: can't be told yet."""
        at, end = self._pos, len(self._buf)
        while at < end and at - self._pos < MOST_SPACE and self._buf[at] in _BRACKETS:
            at += 1
        if self._buf.startswith(self.CLOSE, at):
            if self._buf[self._pos : at].strip():
                self._note("junk_in_call")
            self._pos = at + len(self.CLOSE)
            return True
        if not final and at - self._pos < MOST_SPACE and self.CLOSE.startswith(self._buf[at : at + len(self.CLOSE)]):
            return None
        return False
