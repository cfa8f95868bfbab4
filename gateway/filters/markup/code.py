"""Where in a Markdown text we are: in a fenced code block, in inline code, at the beginning of a line.

Enough of https://spec.commonmark.org/0.31.2/ to know whether markup is talked about: fences of backticks, inline code
that ends on its line.
"""

from __future__ import annotations

import re

_RUN = re.compile(r"\n|`+|[^`\n]+")


class CodeSpans:
    """`fence` and `inline` are the number of backticks that opened what is open, 0 if nothing is."""

    __slots__ = ("_at_line", "_run", "fence", "inline", "line_start")

    def __init__(self) -> None:
        self.fence = 0
        self.inline = 0
        self.line_start = True
        self._run = 0
        self._at_line = False

    @property
    def settled(self) -> bool:
        """False while a run of backticks may go on."""
        return not self._run

    def feed(self, text: str) -> None:
        if not self._run and "`" not in text:
            at = text.rfind("\n")
            if at >= 0:
                self.inline = 0
                self.line_start = True
            if self.line_start and at + 1 < len(text) and not text[at + 1 :].isspace():
                self.line_start = False
            return
        for found in _RUN.finditer(text):
            run = found.group()
            if run[0] == "`":
                if not self._run:
                    self._at_line = self.line_start
                self._run += len(run)
                self.line_start = False
                continue
            self.settle()
            if run == "\n":
                self.inline = 0
                self.line_start = True
            elif self.line_start and not run.isspace():
                self.line_start = False

    def settle(self) -> None:
        """What follows is no backtick."""
        run, self._run = self._run, 0
        if not run:
            return
        if self.fence:
            if self._at_line and run >= self.fence:
                self.fence = 0
        elif run >= 3 and self._at_line:
            self.fence, self.inline = run, 0
        elif not self.inline:
            self.inline = run
        elif self.inline == run:
            self.inline = 0
