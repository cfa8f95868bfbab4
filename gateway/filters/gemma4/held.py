"""What is held until it is known what it is: a thought or an answer, a call or words about one."""

from __future__ import annotations

from typing import ClassVar, Literal

from gateway.filters.gemma4.grammar import MARKERS
from gateway.filters.markup.pieces import Call, Kind, Piece, Said
from gateway.filters.markup.scan import TagReader

HELD_LIMIT = 1 << 18
"""Characters that are held while it is open whether they are a thought."""

Held = Literal["", "leak", "quote", "closed"]
"""leak: `thought` without its marker began the answer. quote: a call inside of a thought, which may only be talked
about. closed: the thought ended right behind that call."""


class HoldingReader(TagReader):
    """While `_why` is set, pieces wait in `_held`."""

    MARKERS: ClassVar[tuple[str, ...]] = MARKERS

    def __init__(self) -> None:
        super().__init__()
        self._why: Held = ""
        self._held: list[Piece] = []
        self._held_size = 0
        self._fresh = True
        """At a place where a call without its marker may stand."""
        self._label = False
        """The first line of a thought is awaited."""
        self._thought = False
        self._called = False
        self._served = False
        """The open thought began with a part of the server's."""
        self._marked = False
        """The open thought began with a marker."""

    @property
    def idle(self) -> bool:
        return super().idle and not self._why

    def _may_pass(self) -> bool:
        if self._pos < len(self._buf) or self._blank or self._why or self._mode != "text":
            return False
        if self._label or self._fresh or self._ghost[self._kind]:
            return False
        return self._kind == "thinking" or self._code.settled

    def _hold(self, why: Held) -> None:
        self._why = why
        self._held_size = 0

    def _put(self, piece: Piece) -> None:
        if self._why == "closed":
            self._release(real=False)
        if not self._why:
            self._called = self._called or isinstance(piece, Call)
            super()._put(piece)
            return
        self._held.append(piece)
        if isinstance(piece, Call):
            self._held_size += len(piece.raw)

    def _overflow(self) -> None:
        """What is held ends at its limit, wherever the text was cut: it counts as a thought."""
        self._say_to(self._pos + max(0, HELD_LIMIT - self._held_size))
        self._release(real=False, thinking=True)
        self._kind = "thinking"

    def _too_much(self, end: int) -> bool:
        """Saying the text up to `end` would hold more than may be held."""
        return self._why in ("leak", "quote") and self._held_size + end - self._pos > HELD_LIMIT

    def _release(self, *, real: bool, thinking: bool = False) -> None:
        """Lets go what was held. `real`: its calls are meant. `thinking`: its text was a thought."""
        why, self._why = self._why, ""
        pieces, self._held = self._held, []
        self._held_size = 0
        if why:
            self._thought = True
        for piece in pieces:
            if isinstance(piece, Call):
                super()._put(piece if real else Said("thinking", piece.raw))
            else:
                super()._put(Said("thinking", piece.text) if thinking or not real else piece)
        if why in ("quote", "closed"):
            self._note("unclosed_thought" if real else "call_in_thought")

    def _settle(self) -> None:
        """The turn is over: what is held is decided."""
        cut = self._finish == "length"
        if self._why == "leak":
            self._release(real=True, thinking=cut)
        elif self._why:
            goes_on = self._finish is None and self._served  # the server told that the thought ended
            self._release(real=not goes_on and not (cut and isinstance(self._held[-1], Said)))

    def _finished(self) -> None:
        if self._kind == "thinking" and self._marked and self._finish != "length" and self._mode == "text":
            self._note("unclosed_thought")
        self._settle()

    def _boundary(self, kind: Kind) -> None:
        super()._boundary(kind)
        self._fresh = True
        self._label = False

    def _say(self, text: str) -> None:
        if text and not text.isspace():
            self._fresh = False
        if self._why:
            self._held_size += len(text)
        super()._say(text)
