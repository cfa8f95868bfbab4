"""Llama 3: `<|python_tag|>{"name": "f", "parameters": {...}}<|eom_id|>`, several with `;` between, and the same without
the marker when it is all that the answer begins with.

https://www.llama.com/docs/model-cards-and-prompt-formats/llama3_1/.
Without the marker a call needs a declared name, and
nothing but another call may follow: an answer in JSON stays an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from typing import ClassVar

from gateway.filters.markup.json_calls import decode_calls
from gateway.filters.markup.json_reader import JsonCallReader
from gateway.filters.markup.rewrite import MarkupFilter

TAG = "<|python_tag|>"
WINDOW = 256
"""Characters in which an answer in JSON must show that it may be a call."""

_KEYS = ("name", "type", "function", "parameters", "arguments")
_NAME = re.compile(r'\{\s*"name"\s*:\s*"([^"\\]*)"')
_KEY = re.compile(r'\{\s*"(?:type|function|parameters|arguments)"\s*:')
_BEGINNING = re.compile(r'\{\s*(?:"([a-z]*)(?:"\s*(?::\s*(?:"[^"\\]*)?)?)?)?')


class Llama3Reader(JsonCallReader):
    """Mode `after`: what follows tells whether a call without marker is one, and whether there are more."""

    TURN: ClassVar[tuple[str, ...]] = ("<|eom_id|>", "<|eot_id|>", "<|end_of_text|>", "<|start_header_id|>")
    MARKERS: ClassVar[tuple[str, ...]] = (TAG, *TURN, "<|end_header_id|>", "<|begin_of_text|>")

    def __init__(self, names: Container[str]) -> None:
        super().__init__()
        self._names = names
        self._tagged = False
        self._first = True
        """The answer may begin here."""

    def begin(self, kind: object) -> None:
        super().begin("thinking" if kind == "thinking" else "text")
        self._first = self._kind == "text"

    def _may_pass(self) -> bool:
        return super()._may_pass() and not self._first

    def _step(self, final: bool) -> bool:
        if self._mode == "after":
            return self._after(final)
        if self._mode == "text" and self._kind == "text" and self._first:
            begins = self._begins(final)
            if begins is None:
                return False
            self._first = False
            if begins:
                self._tagged = False
                self._begin_json(self._pos)
                return True
        return super()._step(final)

    def _begins(self, final: bool) -> bool | None:
        """A JSON object that may be a call stands at `_pos`; None: can't be told yet."""
        at = self._pos
        while at < len(self._buf) and self._buf[at].isspace():
            at += 1
        self._say_to(at)
        rest = self._buf[at : at + WINDOW]
        if not rest:
            return False if final else None
        if rest[0] != "{":
            return False
        named = _NAME.match(rest)
        if named is not None:
            return named.group(1) in self._names
        if _KEY.match(rest):
            return True
        beginning = _BEGINNING.fullmatch(rest)
        if final or len(rest) >= WINDOW or beginning is None:
            return False
        return None if any(k.startswith(beginning.group(1) or "") for k in _KEYS) else False

    def _marker(self, marker: str, final: bool) -> bool:
        if marker == TAG:
            return self._opens(final)
        if marker == "<|start_header_id|>" and self._opening:
            return self._header(final)
        if marker in self.TURN:
            self._turn_ends(marker)
        else:
            self._pos += len(marker)
            self._note("stray_marker")
        return True

    def _header(self, final: bool) -> bool:
        """The answer begins with the header that the prompt should have held."""
        header = "<|start_header_id|>assistant<|end_header_id|>"
        rest = self._buf[self._pos : self._pos + len(header)]
        if rest != header and header.startswith(rest) and not final:
            return False
        self._pos += len(header) if rest == header else len("<|start_header_id|>")
        self._note("stray_marker")
        self._first = True
        return True

    def _opens(self, final: bool) -> bool:
        start = self._pos
        self._pos += len(TAG)
        c = self._behind(final)
        if c is None:
            self._pos = start
            return False
        if c and c in "{[":
            self._skip_space()
            self._tagged = True
            self._begin_json(self._pos)
        else:
            self._note("stray_marker")  # code for a built-in tool: shown, there is no such tool here
        return True

    def _decide(self, raw: str) -> None:
        self._mode = "after"

    def _after(self, final: bool) -> bool:
        calls = decode_calls(self._raw)
        line = self._buf[self._pos : self._pos + WINDOW]
        text = line.lstrip()
        if not self._tagged:
            if not text and not final and len(line) < WINDOW:
                return False
            marker = text[:1] == "<" and not self._pattern.match(text)
            if marker and text in self._prefixes and not final:
                return False
            if calls is None or any(n not in self._names for n, _ in calls) or (text and text[0] not in ";<") or marker:
                self._mode = "text"
                self._say(self._raw)
                return True
        elif not text and not final and len(line) < WINDOW:
            return False
        if text[:1] == ";":
            more = self._more(line, text, final)
            if more is None:
                return False
        else:
            more = False
        self._mode = "text"
        if calls is None:
            self._show(self._raw)
        else:
            if not self._tagged:
                self._note("bare_call")
            self._emit(calls, self._raw)
        if more:
            self._begin_json(self._pos)
        return True

    def _more(self, line: str, text: str, final: bool) -> bool | None:
        """`;` and another call. Moves on to it."""
        rest = text[1:].lstrip()
        if not rest and not final and len(line) < WINDOW:
            return None
        if rest[:1] != "{":
            return False
        self._pos += len(line) - len(rest)
        return True


class Llama3Markup(MarkupFilter):
    """`names`: the declared tools. `new_id` makes the id of a call."""

    def __init__(self, names: Container[str], *, new_id: Callable[[], str]) -> None:
        super().__init__(lambda inside: Llama3Reader(names), new_id=new_id)
