from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.filters.loops.prose import Prose
from tests.filters.reading import cut_by

CASES = [
    ("one\ntwo", "one\ntwo"),
    ("a\n```py\ncode\n```\nb", "a\nb"),
    ("~~~\ncode\n```\n~~~\nb", "b"),
    ("````\n```\ncode\n````\nb", "b"),
    ("```\ncode", ""),
    ("  ```\ncode\n  ```\nb", "b"),
    ("```inline``` text\nb", "b"),  # its own line is lost, what follows is not
    ("``inline`` text\n`b`\n", "``inline`` text\n`b`\n"),
    ("a | b\n| 1 | 2 |\n  | 3 | 4 |\nc", "a | b\nc"),
    ("\n\n  \nx", "\n\n  \nx"),
    ("```\n\n```\nx", "x"),
]


@pytest.mark.parametrize(("text", "prose"), CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_prose(text: str, prose: str, size: int) -> None:
    reader = Prose()
    assert "".join(map(reader.feed, cut_by(text, [size]))) == prose


@given(st.text("ab \n", max_size=200), st.lists(st.integers(1, 9), min_size=1))
def test_all_of_plain_text_is_prose(text: str, sizes: list[int]) -> None:
    reader = Prose()
    end = "." if text.rpartition("\n")[2].isspace() else ""
    assert "".join(map(reader.feed, cut_by(text + end, sizes))) == text + end


def test_a_line_of_blanks_is_not_held_for_ever() -> None:
    reader = Prose()
    assert sum(len(reader.feed(" " * 10)) for _ in range(100)) > 900
