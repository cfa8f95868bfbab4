"""Text that repeats itself, word for word, over and over.

Every STEP characters the last few are looked for a little earlier; where they stood, the text is compared with itself
from there on. That costs a search of two thousand characters per five hundred, and holds no more than them.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 1000
"""Characters of the longest period."""
STEP: Final = 509
"""A prime: at every step another place of the period is looked at."""
TIMES: Final = 10
"""Repetitions that are no chance and no style: a refrain comes less often, and not without a verse between."""
WORDS: Final = 2000
"""Characters of words that repeat: some 500 tokens that say nothing."""
WORD: Final = 8000
"""Characters without any space: a cry, a rule, a filler in base64."""
DATA: Final = 24_000
"""Characters of numbers, signs and blanks, or of what looks like base64: rows of zeros are meant."""

_NEEDLE: Final = 32
_TRIES: Final = 4
_WINDOW: Final = 2 * (LONGEST + STEP)
_LITERALS = re.compile(r"\b(?:true|false|null|none|nan)\b", re.IGNORECASE)
_EDGES = re.compile(r"^\w+|\w+$")
"""Words that may be cut."""
_LETTERS = re.compile(r"[^\W\d_]{2}")
_CLASSES = tuple(map(re.compile, ("[a-z]", "[A-Z]", "[0-9]")))


class Periods:
    """`feed` with text as it comes, in pieces of at most STEP characters. True: it has gone in circles for too long."""

    __slots__ = ("_length", "_period", "_window")

    def __init__(self) -> None:
        self._window = ""
        self._period = 0
        self._length = 0
        """Characters that repeat with the period, up to the end."""

    def feed(self, text: str) -> bool:
        if not text:
            return False
        self._window = (self._window + text)[-_WINDOW:]
        if self._period and self._repeats(self._period, len(text)):
            self._length += len(text)
        else:
            self._find()
        return bool(self._period) and self._length >= self._allowed()

    def _repeats(self, period: int, length: int) -> bool:
        """The last `length` characters are those of one period earlier."""
        window = self._window
        end = len(window)
        return length + period <= end and window[end - length :] == window[end - length - period : end - period]

    def _find(self) -> None:
        window = self._window
        needle = window[-_NEEDLE:]
        end = len(window)
        self._period = self._length = 0
        at = end - _NEEDLE
        for _ in range(_TRIES):
            at = window.rfind(needle, 0, at + _NEEDLE - 1)
            period = end - _NEEDLE - at
            if at < 0 or period > LONGEST:
                return
            if self._repeats(period, STEP):
                self._period, self._length = period, STEP + period
                return

    def _allowed(self) -> int:
        """How long it may go on."""
        unit = self._window[-self._period :]
        return max(TIMES * self._period, _patience(3 * unit))


def _patience(text: str) -> int:
    """Characters that may be like this."""
    words = _EDGES.sub("", text) or text
    if not _LETTERS.search(_LITERALS.sub("", words)):
        return DATA
    if any(c.isspace() or (c.isalpha() and c > "\u2e7f") for c in text):
        return WORDS
    return DATA if all(kind.search(text) for kind in _CLASSES) else WORD
