"""From tokens to text as they come: a character may need several tokens."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SILENT = frozenset(("<bos>", "<eos>", "<pad>", "<unk>", "<mask>"))
_SPACE = "\u2581"
"""How SentencePiece writes a space."""


class Speller:
    """`piece_of`: a token's id -> its SentencePiece piece. Control tokens of the markup are spelled out, so that the
    filter behind can read them."""

    def __init__(self, piece_of: Callable[[int], str]) -> None:
        self._piece_of = piece_of
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """What is now complete of the text; "" in the middle of a character."""
        piece = self._piece_of(token)
        byte = _BYTE.fullmatch(piece)
        if byte is not None:
            return self._utf8.decode(bytes([int(byte[1], 16)]))
        return self.end() + ("" if piece in _SILENT else piece.replace(_SPACE, " "))

    def end(self) -> str:
        """The replacement character for a character that was cut, "" if none was."""
        text = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return text
