"""What the tests of every small reader ask: the table at every chunk size, and that the cut does not matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.canonical.events import Finish
from gateway.filters.markup.rewrite import MarkupFilter
from tests.filters.reading import cut_by, pieces, read

Make = Callable[[], MarkupFilter]
Row = tuple[str, str, str, list[tuple[str, Any]], list[str]]
"""Text, content, reasoning, calls, repairs."""


def check(make: Make, row: Row, finish: Finish = "stop") -> None:
    raw, content, reasoning, calls, repairs = row
    for size in (1, 2, 3, 7, max(1, len(raw))):
        got = read(make(), pieces(raw, size), finish)
        assert (got.content.strip(), got.reasoning.strip(), got.calls) == (content, reasoning, calls)
        assert got.repairs == repairs
        if finish == "stop":
            assert got.finish == ("tool_calls" if calls else "stop")


def check_cut(make: Make, text: str, sizes: list[int], finish: Finish) -> None:
    assert read(make(), cut_by(text, sizes), finish) == read(make(), [text], finish)
