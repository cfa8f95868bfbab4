"""The text of a call as it comes, and the places where it may end.

A delimited text may hold anything, also what looks like the end of the call. And the model may forget the second
delimiter. So an end inside of a text is only a candidate: the call ends there if what follows can't be its rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from gateway.filters.gemma4.grammar import (
    CALL_CLOSE,
    DELIM,
    EOS,
    MARKERS,
    RESPONSE_OPEN,
    TURN_CLOSE,
)

LIMIT = 1 << 20
"""Characters of the longest call that is waited for."""

_TOKEN = re.compile("|".join([*(re.escape(m) for m in sorted(MARKERS, key=len, reverse=True)), r"[{}\[\]()]"]))
_PREFIXES = frozenset(m[:n] for m in MARKERS for n in range(1, len(m)))
_LONGEST = max(map(len, MARKERS))
_WORD = re.compile(r"\S")
_ENDS = (CALL_CLOSE, TURN_CLOSE, EOS, RESPONSE_OPEN)


@dataclass(slots=True)
class Stop:
    """`start` and `end`: where the marker stands in the text so far.

    marker: outside of any text. balanced: the brackets of the arguments closed. candidate: an end inside of a text.
    mismatch: what was taken for the end of the text was none, so the candidate holds. full: too long."""

    kind: Literal["marker", "balanced", "candidate", "mismatch", "full"]
    start: int
    end: int
    marker: str = ""


class Block:
    """`next` returns one stop after the other. `text` is what was looked at, `rest` what was not."""

    __slots__ = ("_check", "_depth", "_pieces", "_round", "_seen_end", "_tail", "candidate", "quoted", "size")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._tail: list[str] = []
        self.size = 0
        self.quoted = False
        self.candidate: Stop | None = None
        self._check = False
        self._depth = 0
        self._seen_end = False
        self._round: bool | None = None
        """The arguments stand in (): then those count, otherwise they are text."""

    @property
    def text(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @property
    def rest(self) -> str:
        return "".join(self._tail)

    def feed(self, text: str) -> None:
        self._tail.append(text)

    def next(self) -> Stop | None:
        data = self.rest
        self._tail = [data]
        room = LIMIT - self.size
        pos = 0
        while True:
            if self._check:
                found = _WORD.search(data, pos, room)
                if found is None:
                    break
                self._check = False
                if found.group() not in ",:}])<":
                    return self._stop("mismatch", data, pos, pos)
            found = _TOKEN.search(data, pos)
            if found is None or found.start() >= room:
                break
            pos = found.end()
            stop = self._token(found, data)
            if stop is not None:
                return stop
        at = data.rfind("<", max(pos, len(data) - _LONGEST + 1))
        end = at if at >= 0 and data[at:] in _PREFIXES else len(data)
        if end >= room:
            return self._stop("full", data, room, room)
        self._keep(data, end)
        return None

    def _token(self, found: re.Match[str], data: str) -> Stop | None:
        token = found.group()
        if token == DELIM:
            self.quoted = not self.quoted
            self._check = not self.quoted and self.candidate is not None
            return None
        if len(token) == 1:
            return self._bracket(found, data)
        if not self.quoted:
            return self._stop("marker", data, found.start(), found.end())
        if self.candidate is None and token in _ENDS:
            self.candidate = self._stop("candidate", data, found.start(), found.end())
            return self.candidate
        return None

    def _bracket(self, found: re.Match[str], data: str) -> Stop | None:
        token = found.group()
        if self.quoted or self._seen_end:
            return None
        if self._round is None:
            self._round = token == "("
        if token in "()" and not self._round:
            return None
        if token in "{[(":
            self._depth += 1
            return None
        self._depth -= 1
        if self._depth > 0:
            return None
        self._seen_end = True
        return self._stop("balanced", data, found.start(), found.end())

    def again(self) -> None:
        """The brackets did not close where they seemed to: the next closing one may be the end."""
        self._seen_end = False
        self._depth = 1

    def _stop(
        self, kind: Literal["marker", "balanced", "candidate", "mismatch", "full"], data: str, a: int, b: int
    ) -> Stop:
        stop = Stop(kind, self.size + a, self.size + b, data[a:b])
        self._keep(data, b)
        return stop

    def _keep(self, data: str, end: int) -> None:
        if end:
            self._pieces.append(data[:end])
            self.size += end
        self._tail = [data[end:]] if end < len(data) else []
