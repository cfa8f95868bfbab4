"""Code blocks and inline code, however the text is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.filters.markup.code import CodeSpans
from tests.filters.reading import cut_by


def state(chunks: list[str]) -> tuple[int, int, bool]:
    code = CodeSpans()
    for chunk in chunks:
        code.feed(chunk)
    code.settle()
    return code.fence, code.inline, code.line_start


@pytest.mark.parametrize(
    ("text", "fence", "inline"),
    [
        ("plain", 0, 0),
        ("a `b", 0, 1),
        ("a `b` c", 0, 0),
        ("a ``b` c", 0, 2),
        ("a `b\nc", 0, 0),
        ("```py\nx", 3, 0),
        ("```py\nx\n```\n", 0, 0),
        ("````\n```\n", 4, 0),
        ("text ```", 0, 3),
        ("  ```\n", 3, 0),
        ("```\n`a\n", 3, 0),
    ],
)
def test_spans(text: str, fence: int, inline: int) -> None:
    assert state([text])[:2] == (fence, inline)


@given(st.text(alphabet="`\n a", max_size=30), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_the_cut_does_not_matter(text: str, sizes: list[int]) -> None:
    assert state(cut_by(text, sizes)) == state([text])
