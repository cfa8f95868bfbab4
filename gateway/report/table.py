"""Rows of words as a table for a terminal. Nothing is drawn but spaces: it can be cut, grepped and pasted."""

from __future__ import annotations

from collections.abc import Sequence

COLOURS = {"ready": "32", "cold": "36", "loading": "33", "unprobed": "33", "down": "31", "mismatch": "31"}
"""States -> the terminal's code for a colour."""
_NARROWEST = 20


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int = 120, *, colour: bool = False) -> str:
    """The columns of `heads`, as wide as what stands in them; the last one is folded to fit into `width`. `colour`:
    states are coloured."""
    all_rows = [list(heads), *map(list, rows)]
    widths = [max(len(row[i]) for row in all_rows) for i in range(len(heads))]
    last = max(_NARROWEST, width - sum(widths[:-1]) - 2 * (len(heads) - 1))
    lines = []
    for number, row in enumerate(all_rows):
        for i, piece in enumerate(_folded(row[-1], last)):
            cells = [cell if i == 0 else "" for cell in row[:-1]] + [piece]
            padded = [cell.ljust(w) for cell, w in zip(cells[:-1], widths, strict=False)] + [piece]
            if colour and number:
                padded = [_coloured(cell, text) for cell, text in zip(padded, cells, strict=True)]
            lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _folded(text: str, width: int) -> list[str]:
    """The words of a text in lines of at most `width`; a longer word is a line of its own, whole."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


def _coloured(cell: str, text: str) -> str:
    code = COLOURS.get(text.partition(":")[0])
    return f"\033[{code}m{cell}\033[0m" if code else cell
