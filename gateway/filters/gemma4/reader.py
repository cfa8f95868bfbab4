"""Gemma 4's output as it comes: text, thoughts, calls, and the forms that leak from servers.

Modes: `text` (an answer, or a thought while `_kind` is thinking), `call` (between a call's markers), `after` (a call
whose brackets closed, waiting for its end marker), `drop` (the turn is over).
"""

from __future__ import annotations

import re

from gateway.filters.gemma4 import grammar as g
from gateway.filters.gemma4.calls import Tools, bare_heads, is_call
from gateway.filters.gemma4.in_call import CallReader
from gateway.filters.markup.pieces import Kind, Said
from gateway.filters.markup.scan import INLINE_WINDOW, QUOTES, Verdict

_LINE = re.compile(r"\n(?=[c:<]|\Z)")
_LINE_HEAD = re.compile(r"\n[c:]")
_ANY_LINE = re.compile(r"\n")
_SPACE = re.compile(r"\s*")
_LABEL = ("thought\n", "thought\r\n")
_CLOSED_LABEL = "thought" + g.CHANNEL_CLOSE
_PUNCTUATION = ".,:;!?)]}/*"
_SENTENCE_ENDS = ("", ".", "!", "?", ";")
_MOST_SPACE = 64
_TURN_ENDS = (g.TURN_CLOSE, g.EOS)
_RESPONSE = "response:"
_HEADER = "model\n"


class Gemma4Reader(CallReader):
    """`tools`: declared name -> JSON schema or None. `open_reasoning`: the text begins inside of a thought."""

    def __init__(self, tools: Tools, *, open_reasoning: bool = False) -> None:
        super().__init__(tools)
        self._heads = bare_heads(tools)
        self._longest_head = max(map(len, self._heads), default=0)
        self._open_reasoning = open_reasoning

    def begin(self, kind: Kind) -> None:
        thinking = kind == "thinking" or (self._open_reasoning and self._opening)
        self._open_reasoning = False
        super().begin("thinking" if thinking else "text")
        self._label = thinking
        self._thought = self._thought or thinking
        self._served = kind == "thinking"
        self._marked = False

    @property
    def line_head(self) -> re.Pattern[str] | None:
        """Where a call without its marker may begin."""
        return _LINE_HEAD if self._heads and self._kind == "text" else None

    # the machine

    def _step(self, final: bool) -> bool:
        mode = self._mode
        if mode == "call":
            return self._in_call(final)
        if mode == "after":
            return self._after_call(final)
        if mode == "drop":
            return self._drop(final)
        return self._in_thought(final) if self._kind == "thinking" else self._in_text(final)

    def _in_text(self, final: bool) -> bool:
        if self._fresh or self._prev == "\n":
            bare = self._bare_form(final)
            if bare is not False:
                return bool(bare)
        found = g.MARKER.search(self._buf, self._pos) if self._buf.find("<", self._pos) >= 0 else None
        end = found.start() if found is not None else len(self._buf) if final else self._partial()
        line = None
        if self._heads:
            # in a code block every line, since any may end it
            line = (_ANY_LINE if self._code.fence else _LINE).search(self._buf, self._pos, end)
            end = line.end() if line is not None else end
        if self._too_much(end):
            self._overflow()
            return True
        if found is not None and line is None:
            self._say_to(end)
            return self._meet(found.group(), final)
        if line is not None:
            self._say_to(end)
            return True
        self._rest(final)
        return False

    def _in_thought(self, final: bool) -> bool:
        if self._label and not self._drop_label(final):
            return False
        found = g.MARKER.search(self._buf, self._pos)
        if found is None:
            self._rest(final)
            return False
        self._say_to(found.start())
        return self._meet(found.group(), final)

    def _drop_label(self, final: bool) -> bool:
        """The first line of a thought says `thought`. False: more text is needed."""
        start = self._pos
        rest = self._buf[start : start + _MOST_SPACE + 32]
        text = rest.lstrip()
        space = len(rest) - len(text)
        if space > _MOST_SPACE:
            self._label = False
            return True
        label = next((x for x in _LABEL if text.startswith(x)), None)
        if label is None and text.startswith("thought<"):
            marker = text[7:]
            if g.MARKER.match(marker):
                label = "thought"
            elif marker in self._prefixes and not final:
                return False
        elif label is None and any(x.startswith(text) for x in _LABEL):
            if not final:
                return False
            label = text if text == "thought" else None
        self._label = False
        if label is not None:
            self._pos += space + len(label)
            if not self._marked:
                self._note("leaked_thought")
        return True

    # forms without markers

    def _bare_form(self, final: bool) -> bool | None:
        """A call or a thought that lost its marker stands at `_pos`: True; False: no; None: can't be told yet."""
        if self._fresh and self._buf[self._pos : self._pos + 1].isspace():
            space = _SPACE.match(self._buf, self._pos)
            assert space is not None
            self._say_to(space.end())
        buf, pos = self._buf, self._pos
        if pos >= len(buf):
            return False if final else None
        c = buf[pos]
        if c == "t" and self._opening and not self._why:
            return self._bare_thought(final)
        if c not in "c:<" or self._code.fence:
            return False
        for head in self._heads:
            if buf.startswith(head, pos):
                self._note("bare_call")
                self._open_block(bare=True)
                return True
        if not final and len(buf) - pos < self._longest_head:
            rest = buf[pos:]
            if any(head.startswith(rest) for head in self._heads):
                return None
        return False

    def _bare_thought(self, final: bool) -> bool | None:
        rest = self._buf[self._pos : self._pos + 24]
        for label in (*_LABEL, _CLOSED_LABEL):
            if rest.startswith(label):
                self._pos += len(label.removesuffix(g.CHANNEL_CLOSE))
                self._note("leaked_thought")
                self._hold("leak")
                return True
        return None if not final and any(label.startswith(rest) for label in (*_LABEL, _CLOSED_LABEL)) else False

    # markers

    def _literal(self, marker: str, final: bool) -> Verdict:
        verdict = super()._literal(marker, final)
        if verdict != 0 or marker != g.CALL_OPEN or self._prev not in QUOTES:
            return verdict
        # a whole call directly in quotes
        close, end = QUOTES[self._prev], self._pos + len(marker)
        window = min(len(self._buf), end + INLINE_WINDOW)
        at = self._buf.find(g.CALL_CLOSE, end, window)
        line = self._buf.find("\n", end, window)
        if at < 0 or 0 <= line < at:
            return 0 if final or line >= 0 or window == end + INLINE_WINDOW else None
        at += len(g.CALL_CLOSE)
        if at >= len(self._buf):
            return 0 if final else None
        return at if self._buf[at] == close else 0

    def _marker(self, marker: str, final: bool) -> bool:
        end = self._pos + len(marker)
        if marker == g.CALL_OPEN:
            return self._call_marker(end, final)
        if marker == g.CHANNEL_OPEN:
            return self._channel_marker(end, final)
        if marker == g.CHANNEL_CLOSE:
            self._pos = end
            self._thought_ends()
        elif marker in _TURN_ENDS:
            self._pos = end
            self._turn_ends()
        elif marker == g.RESPONSE_OPEN:
            return self._response_marker(end, final)
        elif marker == g.TURN_OPEN:
            return self._turn_marker(end, final)
        elif marker == g.CALL_CLOSE and self._mentioned:
            self._say_to(end)
        else:
            self._pos = end
            self._note("stray_marker")
        return True

    def _call_marker(self, end: int, final: bool) -> bool:
        verdict = is_call(self._buf, end, final, self._tools)
        if verdict is None:
            return False
        if verdict == "mention" and not self._unspoken(end):
            self._mentioned = True
            self._say_to(end)
        elif verdict == "cut" and self._finish == "length":
            self._pos = len(self._buf)
            self._note("cut_call")
        elif verdict != "call":
            self._pos = end
            self._note("stray_marker")
        else:
            self._pos = end
            self._open_block(bare=False)
        return True

    def _unspoken(self, end: int) -> bool:
        """No sentence has the marker in it: it begins the text, follows an end of a sentence without a space, or begins
        a line with a word right behind it. The model began a call and went on with something else."""
        before, after = self._prev, self._buf[end]
        if before == "\n":
            return not after.isspace() and after not in _PUNCTUATION
        return before in _SENTENCE_ENDS

    def _channel_marker(self, end: int, final: bool) -> bool:
        if self._kind == "thinking":
            self._note("repeated_thought")
        else:
            talk = self._is_mention(end, final)
            if talk is None:
                return False
            if talk:
                self._mentioned = True
                self._say_to(end)
                return True
            self._release(real=self._why != "closed", thinking=self._why == "leak")
            self._boundary("thinking")
        self._pos = end
        self._thought = self._label = self._marked = True
        return True

    def _is_mention(self, end: int, final: bool) -> bool | None:
        """`The marker <|channel> opens a thought`: words before it on its line, and no label but words behind it."""
        if not self._prev or not self._prev.isspace() or self._prev == "\n":
            return False
        rest = self._buf[end : end + 16]
        if not rest or (rest[0] == " " and len(rest) < 2):
            return False if final else None
        if rest[0] not in " .,;:)?!":
            return False
        word = rest.lstrip(" ")
        if any(label.startswith(word) for label in _LABEL) and not final:
            return None if len(rest) < 16 else True
        return not word.startswith(_LABEL)

    def _thought_ends(self) -> None:
        if self._kind == "thinking":
            self._boundary("text")
            return
        if self._why == "leak":
            self._release(real=True, thinking=True)
            self._boundary("text")
        elif self._why == "quote":
            if any(isinstance(p, Said) for p in self._held):
                self._release(real=False)
            else:
                self._why = "closed"
            self._boundary("text")
        else:
            self._stray_end = not (self._thought or self._opening or self._called)
            self._note("stray_marker")
            self._fresh = True

    def _turn_ends(self) -> None:
        """A turn that ends before anything was said did not: some servers leave an old end marker in."""
        if self._opening and not self._why and not self._thought:
            self._note("stray_marker")
            return
        if self._kind == "thinking":
            self._note("unclosed_thought")
        self._over()

    def _over(self) -> None:
        """Nothing that follows belongs to the answer."""
        self._settle()
        self._boundary("text")
        self._mode = "drop"

    def _response_marker(self, end: int, final: bool) -> bool:
        """The model stops here, to read the tool's answer. A server that does not stop makes it invent one."""
        rest = self._buf[end : end + 32].lstrip()[: len(_RESPONSE)]
        if not final and _RESPONSE.startswith(rest) and rest != _RESPONSE and len(self._buf) - end < 32:
            return False
        self._pos = end
        if rest == _RESPONSE or (final and _RESPONSE.startswith(rest)):
            self._turn_ends()
        else:
            self._note("stray_marker")
            self._fresh = True
        return True

    def _turn_marker(self, end: int, final: bool) -> bool:
        rest = self._buf[end : end + len(_HEADER)]
        if self._opening and not self._why:
            if not final and rest != _HEADER and _HEADER.startswith(rest):
                return False
            if rest == _HEADER:
                self._note("stray_marker")
                self._pos = end + len(_HEADER)
                return True
        self._pos = end
        self._over()
        return True
