"""Tables fit, nothing is cut, and colours are only there where they are asked for."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.report.table import COLOURS, table

WORD = st.text(alphabet="abcdefg,:", min_size=1, max_size=8)
CELL = st.lists(WORD, min_size=1, max_size=6).map(" ".join)


def test_columns() -> None:
    drawn = table(["A", "STATE"], [["long name", "ready"], ["x", "down: it wants a key"]], 24)
    assert drawn == "A          STATE\nlong name  ready\nx          down: it wants a key"
    folded = table(["A", "STATE"], [["x", "down: it wants a key and more"]], 22)
    assert folded == "A  STATE\nx  down: it wants a key\n   and more", "no narrower than 20"


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=4), st.integers(10, 90))
def test_every_word_is_there_and_only_what_can_t_be_folded_is_wider(rows: list[list[str]], width: int) -> None:
    drawn = table(["ONE", "TWO", "THREE"], rows, width)
    expected = sorted(" ".join(cell for row in rows for cell in row).split())
    assert sorted(" ".join(drawn.splitlines()[1:]).split()) == expected
    columns = sum(max(len(h), *(len(r[i]) for r in rows), 0) + 2 for i, h in enumerate(["ONE", "TWO"])) if rows else 10
    assert all(len(line) <= max(width, columns + 20) for line in drawn.splitlines())


def test_colours_change_nothing_but_colours() -> None:
    rows = [["a", state] for state in COLOURS] + [["b", "down: gone"]]
    coloured = table(["NAME", "STATE"], rows, colour=True)
    assert coloured.count("\033[0m") == len(rows)
    assert re.sub(r"\033\[\d+m", "", coloured) == table(["NAME", "STATE"], rows)
