"""Hermes and Qwen: `<tool_call>{"name": "f", "arguments": {...}}</tool_call>`, one pair of markers per call.

https://github.com/NousResearch/Hermes-Function-Calling. The chat markers are those of ChatML.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from gateway.filters.markup.json_calls import decode_calls
from gateway.filters.markup.json_reader import LOST, MOST_SPACE, JsonCallReader
from gateway.filters.markup.rewrite import MarkupFilter

OPEN, CLOSE = "<tool_call>", "</tool_call>"


class HermesReader(JsonCallReader):
    """Mode `after`: the call is complete, its end marker is awaited."""

    CLOSE: ClassVar[str] = CLOSE
    TURN: ClassVar[tuple[str, ...]] = ("<|im_end|>", "<|im_start|>", "<|endoftext|>")
    MARKERS: ClassVar[tuple[str, ...]] = (OPEN, CLOSE, *TURN)

    def _step(self, final: bool) -> bool:
        return self._after(final) if self._mode == "after" else super()._step(final)

    def _marker(self, marker: str, final: bool) -> bool:
        if marker in self.TURN:
            self._turn_ends(marker)
        elif marker == CLOSE:
            if self._mentioned:
                self._say_to(self._pos + len(marker))
            else:
                self._pos += len(marker)
                self._note("stray_marker")
        else:
            return self._opens(final)
        return True

    def _opens(self, final: bool) -> bool:
        start = self._pos
        self._pos += len(OPEN)
        c = self._behind(final)
        if c and c in "{[":
            self._skip_space()
            self._begin_json(self._pos)
            return True
        doubled = self._doubled(final) if c == "<" else False
        if doubled:
            self._note("stray_marker")
            self._skip_space()
            return True
        closed = self._swallow_close(final) if c == "<" else False
        if c is None or closed is None or doubled is None:
            self._pos = start
            return False
        if closed:
            self._note("empty_call")
        elif not c and final:
            self._note("cut_call" if self._finish == "length" else "stray_marker")
        elif not self._prev and c and not self._buf[self._pos].isspace():
            self._note("stray_marker")  # a call was begun and words came: nobody writes about it so
        else:
            self._pos = start
            self._mentioned = True
            self._say_to(start + len(OPEN))
        return True

    def _doubled(self, final: bool) -> bool | None:
        """The same marker once more; None: can't be told yet."""
        rest = self._buf[self._pos : self._pos + MOST_SPACE + len(OPEN)].lstrip()
        if rest.startswith(OPEN):
            return True
        return None if not final and OPEN.startswith(rest) else False

    def _mend(self, raw: str) -> list[tuple[str, str]] | None:
        return next((calls for lost in LOST if (calls := decode_calls(raw + lost)) is not None), None)

    def _decide(self, raw: str) -> None:
        self._mode = "after"

    def _after(self, final: bool) -> bool:
        closed = self._swallow_close(final)
        if closed is None:
            return False
        behind = "" if closed else self._behind(final)
        if behind is None:
            return False
        self._mode = "text"
        if not closed:
            self._note("unclosed_call")
            if final and self._buf[self._pos :].strip() in self._prefixes:
                self._pos = len(self._buf)
        calls = decode_calls(self._raw)
        if calls is None:
            self._show(self._raw)
        else:
            self._emit(calls, self._raw)
            if behind == "{":  # one pair of markers around several calls
                self._skip_space()
                self._begin_json(self._pos)
        return True


class HermesMarkup(MarkupFilter):
    """`new_id` makes the id of a call."""

    def __init__(self, *, new_id: Callable[[], str]) -> None:
        super().__init__(lambda inside: HermesReader(), new_id=new_id)
