"""What a prompt is made of, and how it is cut for the tokenizer.

Gemma's tokenizer turns `<turn|>` into the control token wherever it stands, also in a user's text: whoever can write
into a prompt could end the turn and begin a system's. So markup and words are kept apart until they are tokens: a
control string in words is cut behind its first character, and both pieces are tokenized on their own. Nothing is taken
out: the model reads the same characters, none of them a control token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.canonical.content import Audio, Image, Video

CONTROL = re.compile(
    r'<\|[A-Za-z_"]{1,24}\|?>|<[A-Za-z_"]{1,24}\|>'
    r"|<(?:bos|eos|pad|unk|mask|unused\d{1,4}|(?:start|end)_of_(?:turn|image|audio))>"
)
"""Strings that the tokenizer reads as one control token."""

Medium = Image | Audio | Video


@dataclass(slots=True, frozen=True)
class Marks:
    """Markup: its control strings are meant."""

    text: str


@dataclass(slots=True, frozen=True)
class Words:
    """What somebody wrote: a control string in it is a string of characters."""

    text: str


Piece = Marks | Words | Medium


class Pieces:
    """A prompt in the making."""

    def __init__(self) -> None:
        self.all: list[Piece] = []

    def marks(self, text: str) -> None:
        if text:
            self.all.append(Marks(text))

    def words(self, text: str) -> None:
        if text:
            self.all.append(Words(text))

    def medium(self, part: Medium) -> None:
        self.all.append(part)


def runs(pieces: Sequence[Piece]) -> list[str | Medium]:
    """The prompt as texts that are tokenized one by one, and the media between them. Text without control strings in
    its words stays in one piece with the markup around it, so that it gives the tokens that the model was trained on.
    """
    out: list[str | Medium] = []
    text = words = ""

    def close_words() -> None:
        nonlocal text, words
        first, *rest = cut(words)
        text += first
        for more in rest:
            out.append(text)
            text = more
        words = ""

    for piece in pieces:
        if isinstance(piece, Words):
            words += piece.text  # neighbours may make a control string together
            continue
        close_words()
        if isinstance(piece, Marks):
            text += piece.text
        else:
            if text:
                out.append(text)
            out.append(piece)
            text = ""
    close_words()
    if text:
        out.append(text)
    return out


def cut(words: str) -> list[str]:
    """`words`, cut behind the first character of each control string. At least one piece, possibly empty."""
    out = []
    start = 0
    for found in CONTROL.finditer(words):
        out.append(words[start : found.start() + 1])
        start = found.start() + 1
    out.append(words[start:])
    return out
