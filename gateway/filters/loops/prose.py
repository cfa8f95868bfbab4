"""The text of an answer without its fenced code and its tables, which repeat by nature.

Enough of https://spec.commonmark.org/0.31.2/#fenced-code-blocks: a line that begins with a fence opens code, the next
one that begins with the same fence closes it. A line that begins with `|` is a table's.
"""

from __future__ import annotations

from typing import Final, Literal

_LONGEST_START: Final = 64
"""Characters of a line that are waited for to know what it is."""


class Prose:
    """`feed` gives what of a text is neither code nor table, in order; the beginning of a line may come later."""

    __slots__ = ("_fence", "_line", "_opening", "_start")

    def __init__(self) -> None:
        self._fence = ""
        self._opening = False
        """The line that opened the fence is still going on."""
        self._line: Literal["start", "prose", "other"] = "start"
        self._start = ""

    def feed(self, text: str) -> str:
        first, *others = text.split("\n")
        out = [self._more(first)] if first else []
        for line in others:
            out.append(self._newline())
            if line:
                out.append(self._more(line))
        return "".join(out)

    def _newline(self) -> str:
        line, start = self._line, self._start
        self._line, self._start, self._opening = "start", "", False
        if line == "start" and not self._fence:
            fence = start.strip()
            if len(fence) < 3 or fence[0] not in "`~":
                return start + "\n"
            self._fence = fence
        return "\n" if line == "prose" else ""

    def _more(self, text: str) -> str:
        if self._line == "prose":
            return text
        if self._line == "other":
            if self._opening and self._fence[0] == "`" in text:
                self._fence, self._opening = "", False  # inline code
            return ""
        self._start += text
        begun = self._start.lstrip()
        if len(self._start) <= _LONGEST_START and self._undecided(begun):
            return ""
        out, self._start = self._start, ""
        self._line = "other" if self._fence or begun.startswith(("|", "```", "~~~")) else "prose"
        if self._line == "prose":
            return out
        if self._fence:
            if begun.startswith(self._fence):
                self._fence = ""
        elif begun[0] != "|":
            rest = begun.lstrip(begun[0])
            if not begun[0] == "`" in rest:
                self._fence = begun[: len(begun) - len(rest)]
                self._opening = True
        return ""

    def _undecided(self, begun: str) -> bool:
        if self._fence:
            return self._fence.startswith(begun) and begun != self._fence
        return not begun or (begun[0] in "`~" and not begun.strip(begun[0]))
