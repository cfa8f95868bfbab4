"""The part that all readers share: a buffer, what was said last, and what is held back."""

from __future__ import annotations

import re
from typing import ClassVar

from gateway.canonical.events import Finish
from gateway.filters.markup.code import CodeSpans
from gateway.filters.markup.pieces import Kind, Piece, Said, joined

FENCE_WINDOW = 4096
"""Characters after a marker in a code block within which the block must end to count as one."""
INLINE_WINDOW = 512
"""The same for inline code and quotes."""

_FENCE_END = re.compile(r"\n[ \t]*`{3,}")
_TICKS = re.compile(r"`+|\n")
QUOTES = {"`": "`", '"': '"', "'": "'", "“": "”", "‘": "’", "«": "»"}

Verdict = int | None
"""Where literal text ends; 0: the marker means something; None: more text is needed to tell."""


class TagReader:
    """Looks for `MARKERS`, which all begin with a character of `LEAD` and hold none of them further on. A subclass says
    what a marker does (`_marker`), and adds modes (`_step`). Positions are in `_buf`; what is before `_pos` is done."""

    MARKERS: ClassVar[tuple[str, ...]] = ()
    LEAD: ClassVar[str] = "<"
    _pattern: ClassVar[re.Pattern[str]]
    _prefixes: ClassVar[frozenset[str]]
    _longest: ClassVar[int]

    def __init_subclass__(cls) -> None:
        cls._pattern = re.compile("|".join(re.escape(m) for m in sorted(cls.MARKERS, key=len, reverse=True)))
        cls._prefixes = frozenset(m[:n] for m in cls.MARKERS for n in range(1, len(m)))
        cls._longest = max(map(len, cls.MARKERS), default=0)

    def __init__(self) -> None:
        self.quick = False
        self.late = False
        self.repairs: list[str] = []
        self._buf = ""
        self._pos = 0
        self._mode = "text"
        self._kind: Kind = "text"
        self._out: list[Piece] = []
        self._finish: Finish | None = None
        self._code = CodeSpans()
        self._prev = ""
        self._blank = True
        self._space: list[str] = []
        self._opening = True
        """Nothing was told yet, no part of any kind."""
        self._mentioned = False
        self._stray_end = False
        """A thought ended that never began; if anything follows, what was told before was one."""
        self._tail: dict[Kind, str] = {"text": "", "thinking": ""}
        self._ghost: dict[Kind, str] = {"text": "", "thinking": ""}
        """The beginning of a marker at the end of what was told, with a marker taken out behind it: what follows must
        not complete it."""

    # what the filter calls

    @property
    def idle(self) -> bool:
        return self._pos >= len(self._buf) and not self._space and self._mode in ("text", "drop")

    def begin(self, kind: Kind) -> None:
        """A new part of the server's begins: everything before it has ended."""
        if self._mode != "drop":
            self._mode = "text"
        self._boundary(kind)
        self.quick = False

    def passed(self, text: str, lines: str) -> None:
        if lines:
            self._code.feed(lines)
        self._prev = text[-1]
        self._tail[self._kind] = ""

    @property
    def at_line(self) -> bool:
        return self._code.line_start and self._kind == "text"

    @property
    def line_head(self) -> re.Pattern[str] | None:
        return None

    def feed(self, text: str) -> list[Piece]:
        self._buf = self._buf[self._pos :] + text if self._pos < len(self._buf) else text
        self._pos = 0
        self._work(final=False)
        return self._take()

    def end(self, finish: Finish | None) -> list[Piece]:
        self._finish = finish
        self._work(final=True)
        self._finished()
        if self._space and self._opening:
            self._put(Said(self._kind, "".join(self._space)))  # an answer of white space is one
        self._space = []
        self._buf, self._pos = "", 0
        return self._take()

    def _take(self) -> list[Piece]:
        out, self._out = self._out, []
        self.quick = self._may_pass()
        return joined(out) if len(out) > 1 else out

    def _may_pass(self) -> bool:
        code = self._code
        return (
            self._pos >= len(self._buf)
            and not self._blank
            and self._mode == "text"
            and not self._ghost[self._kind]
            and code.settled
        )

    # what a subclass fills in

    def _work(self, final: bool) -> None:
        while self._step(final):
            pass

    def _step(self, final: bool) -> bool:
        """Goes on by one marker. False: more text is needed, or there is none."""
        if self._mode == "drop":
            return self._drop(final)
        found = self._pattern.search(self._buf, self._pos)
        if found is None:
            self._rest(final)
            return False
        self._say_to(found.start())
        return self._meet(found.group(), final)

    def _meet(self, marker: str, final: bool) -> bool:
        """A marker stands at `_pos`: talked about, or meant."""
        literal = self._literal(marker, final)
        if literal is None:
            return False
        if literal:
            self._say_to(literal)
            return True
        self._haunt()
        return self._marker(marker, final)

    def _marker(self, marker: str, final: bool) -> bool:
        raise NotImplementedError

    def _finished(self) -> None:
        """After the last step of `end`."""

    # telling

    def _note(self, code: str) -> None:
        if code not in self.repairs:
            self.repairs.append(code)

    def _put(self, piece: Piece) -> None:
        self._opening = False
        self.late = self.late or self._stray_end
        self._out.append(piece)

    def _say(self, text: str) -> None:
        """White space right after a boundary is held: before a call or a thought it is layout."""
        if not text:
            return
        if self._ghost[self._kind]:
            text = self._exorcised(text)
            if not text:
                return
        self._code.feed(text)
        self._prev = text[-1:]
        self._tail[self._kind] = (self._tail[self._kind] + text[-self._longest :])[-self._longest :]
        if self._blank:
            if text.isspace():
                self._space.append(text)
                return
            if self._space:
                text = "".join(self._space) + text
                self._space = []
            self._blank = False
        self._put(Said(self._kind, text))

    def _haunt(self) -> None:
        """A marker is about to be taken out of what is told."""
        tail = self._tail[self._kind]
        at = max(tail.rfind(lead) for lead in self.LEAD)
        if at >= 0 and tail[at:] in self._prefixes:
            self._ghost[self._kind] = tail[at:]

    def _exorcised(self, text: str) -> str:
        """`text` without the last character of a marker that it would complete."""
        ghost = self._ghost[self._kind]
        whole = ghost + text[: self._longest]
        for marker in self.MARKERS:
            if whole.startswith(marker):
                self._ghost[self._kind] = ""
                self._note("stray_marker")
                cut = len(marker) - len(ghost)
                return text[: cut - 1] + text[cut:]
        self._ghost[self._kind] = whole if whole in self._prefixes else ""
        return text

    def _say_to(self, end: int) -> None:
        text = self._buf[self._pos : end]
        self._pos = end
        self._say(text)

    def _boundary(self, kind: Kind) -> None:
        """Another part may begin here."""
        self._kind = kind
        self._blank = True
        self._space = []
        self._prev = ""
        self._code = CodeSpans()

    def _rest(self, final: bool) -> None:
        """No marker is left in the buffer: says it, but for the beginning of a marker at its end."""
        end = len(self._buf) if final else self._partial()
        if final and self._cut_marker(self._partial()):
            end = self._partial()
            self._note("cut_marker")
        self._say_to(end)
        if final:
            self._pos = len(self._buf)

    def _partial(self) -> int:
        """Where the beginning of a marker stands at the buffer's end; its end if there is none."""
        buf = self._buf
        since = max(self._pos, len(buf) - self._longest + 1)
        at = buf.rfind(self.LEAD[0], since)
        if len(self.LEAD) > 1:
            at = max(at, buf.rfind(self.LEAD[1], since))
        return at if at >= 0 and buf[at:] in self._prefixes else len(buf)

    def _cut_marker(self, at: int) -> bool:
        """At `at` the answer ends with enough of a marker that it can be nothing else: it was cut off, or a call or a
        thought came right before."""
        text = self._buf[at:]
        return (len(text) > 4 or (len(text) > 2 and text[1] == "|")) and (
            self._finish == "length" or (self._blank and not self._opening and at == self._pos)
        )

    def _drop(self, final: bool) -> bool:
        """The turn is over: nothing that follows belongs to the answer."""
        end = len(self._buf) if final else self._partial()
        if self._pattern.sub("", self._buf[self._pos : end]).strip():
            self._note("eot_text_dropped")
        self._pos = end
        return False

    # talk about markup

    def _literal(self, marker: str, final: bool) -> Verdict:
        end = self._pos + len(marker)
        code = self._code
        code.settle()
        if self._kind == "text":
            if code.fence:
                return self._in_fence(end, final)
            if code.inline:
                found = self._in_line(end, final, code.inline)
                if found != 0:
                    return found
        close = QUOTES.get(self._prev)
        if close is None:
            return 0
        if end >= len(self._buf):
            return 0 if final else None
        return end if self._buf[end] == close else 0

    def _in_fence(self, end: int, final: bool) -> Verdict:
        """Literal up to the fence that closes the block. A block that nothing closes is no block: the model forgot it
        and went on. One that is too long to wait for counts."""
        window = min(len(self._buf), end + FENCE_WINDOW)
        found = _FENCE_END.search(self._buf, end, window)
        if found is not None:
            return found.start() + 1
        if window == end + FENCE_WINDOW:
            return end
        return 0 if final else None

    def _in_line(self, end: int, final: bool, ticks: int) -> Verdict:
        window = min(len(self._buf), end + INLINE_WINDOW)
        for found in _TICKS.finditer(self._buf, end, window):
            if found.group() == "\n":
                return 0
            if found.end() == len(self._buf) and not final:
                return None
            if len(found.group()) == ticks:
                return found.start()
        return 0 if final or window == end + INLINE_WINDOW else None
