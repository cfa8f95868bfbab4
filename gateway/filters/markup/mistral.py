"""Mistral: `[TOOL_CALLS][{"name": "f", "arguments": {...}}, ...]`, and since its tokenizer v11
`[TOOL_CALLS]f[CALL_ID]abc[ARGS]{...}`, once per call.

https://github.com/mistralai/mistral-common.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

import msgspec

from gateway.filters.markup.json_calls import decode_calls
from gateway.filters.markup.json_reader import LOST, JsonCallReader
from gateway.filters.markup.rewrite import MarkupFilter

OPEN = "[TOOL_CALLS]"
WINDOW = 256
"""Characters of a name and an id."""

_NAMED = re.compile(r"\s*(?P<name>[\w.:/-]{1,128})(?:\[CALL_ID\]\s*[\w-]*)?(?:\[ARGS\])?\s*(?=\{)")
_NAMED_SO_FAR = re.compile(r"\s*[\w.:/-]{0,128}(?:\[[\w\[\]-]*)?\s*")


class MistralReader(JsonCallReader):
    LEAD: ClassVar[str] = "[<"
    TURN: ClassVar[tuple[str, ...]] = ("</s>",)
    MARKERS: ClassVar[tuple[str, ...]] = (OPEN, *TURN)

    def __init__(self) -> None:
        super().__init__()
        self._name = ""

    def _marker(self, marker: str, final: bool) -> bool:
        if marker in self.TURN:
            self._turn_ends(marker)
            return True
        return self._opens(final)

    def _opens(self, final: bool) -> bool:
        after = self._pos + len(OPEN)
        self._name = ""
        rest = self._buf[after : after + WINDOW]
        text = rest.lstrip()
        if text.startswith(OPEN):
            self._note("stray_marker")
            self._pos = after + len(rest) - len(text)
            return True
        if text and not final and OPEN.startswith(text):
            return False
        if text[:1] in ("[", "{"):
            self._begin_json(after + len(rest) - len(text))
            return True
        named = _NAMED.match(rest)
        if named is not None:
            self._name = named["name"]
            self._begin_json(after + named.end())
            return True
        if not final and len(rest) < WINDOW and _NAMED_SO_FAR.fullmatch(rest):
            return False
        if not text or (final and rest[0] == text[0] and _NAMED_SO_FAR.fullmatch(rest)):
            cut = self._finish == "length"
            self._note("cut_call" if cut else "stray_marker")
            self._pos = len(self._buf) if cut else after
        else:
            self._say_to(after)
        return True

    def _decide(self, raw: str) -> None:
        if not self._name:
            self._emit_or_show(raw)
            return
        if self._is_object(raw):
            self._emit([(self._name, raw)], raw)
        else:
            self._show(raw)

    def _mend(self, raw: str) -> list[tuple[str, str]] | None:
        if self._name:
            whole = next((raw + lost for lost in LOST if self._is_object(raw + lost)), None)
            return None if whole is None else [(self._name, whole)]
        return next((calls for lost in LOST if (calls := decode_calls(raw + lost)) is not None), None)

    @staticmethod
    def _is_object(raw: str) -> bool:
        try:
            return isinstance(msgspec.json.decode(raw.encode()), dict)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return False

    def _show(self, raw: str) -> None:
        super()._show(self._name + raw)


class MistralMarkup(MarkupFilter):
    """`new_id` makes the id of a call."""

    def __init__(self, *, new_id: Callable[[], str]) -> None:
        super().__init__(lambda inside: MistralReader(), new_id=new_id, lead="[")
