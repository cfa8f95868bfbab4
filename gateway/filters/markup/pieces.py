"""What a reader makes of text, and what the filter around it asks of a reader."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.canonical.events import Finish

Kind = Literal["text", "thinking"]


@dataclass(slots=True)
class Said:
    """Text or thinking, without markup."""

    kind: Kind
    text: str


@dataclass(slots=True)
class Call:
    """A complete call. `arguments` is the JSON text of an object; `raw` the call as it stood, without markers."""

    name: str
    arguments: str
    raw: str = ""


Piece = Said | Call


class Reader(Protocol):
    """Reads the text of one choice.

    `quick`: a text without backticks and characters that begin a marker would come back from `feed` as it is, but where
    `line_head` stands in it (a line break and what may begin something behind it). `passed` tells afterwards the last
    such text and, in `lines`, what matters of all of them for where lines begin: the last line break, if there was one,
    and an x if something stands behind it. `at_line`: nothing but white space is on the line so far. `idle`: nothing
    is held back. `late`: a thought ended that never began, after text was already told. `repairs`: short codes of
    everything that was altered beyond clean grammar, each once.
    """

    quick: bool
    late: bool
    repairs: list[str]

    @property
    def at_line(self) -> bool: ...
    @property
    def line_head(self) -> re.Pattern[str] | None: ...
    @property
    def idle(self) -> bool: ...
    def begin(self, kind: Kind) -> None: ...
    def passed(self, text: str, lines: str) -> None: ...
    def feed(self, text: str) -> list[Piece]: ...
    def end(self, finish: Finish | None) -> list[Piece]: ...


def joined(pieces: list[Piece]) -> list[Piece]:
    """The same pieces; neighbours of one kind in one."""
    if len(pieces) < 2:
        return pieces
    out: list[Piece] = []
    run: list[str] = []
    kind: Kind = "text"
    for piece in pieces:
        if isinstance(piece, Said):
            if run and kind != piece.kind:
                out.append(Said(kind, "".join(run)))
                run = []
            kind = piece.kind
            run.append(piece.text)
        else:
            if run:
                out.append(Said(kind, "".join(run)))
                run = []
            out.append(piece)
    if run:
        out.append(Said(kind, "".join(run)))
    return out
