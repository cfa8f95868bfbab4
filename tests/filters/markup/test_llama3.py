from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.filters.markup.llama3 import Llama3Markup
from tests.filters.markup.families import Row, check, check_cut
from tests.filters.reading import ids, read

F = '{"name": "f", "parameters": {"a": 1}}'
G = F.replace('"f"', '"g"')
CALL, OTHER = ("f", {"a": 1}), ("g", {"a": 1})
ROWS: list[Row] = [
    (f"<|python_tag|>{F}<|eom_id|>", "", "", [CALL], []),
    (f"<|python_tag|>{F};{G}<|eot_id|>", "", "", [CALL, OTHER], []),
    (F.replace('"f"', '"f", "x": 1'), "", "", [CALL], ["bare_call"]),
    (F, "", "", [CALL], ["bare_call"]),
    (f"  {F}<|eot_id|>x", "", "", [CALL], ["bare_call", "eot_text_dropped"]),
    (f"{F}; {G}", "", "", [CALL, OTHER], ["bare_call"]),
    ('{"type": "function", "name": "f", "parameters": {}}', "", "", [("f", {})], ["bare_call"]),
    (f"<|start_header_id|>assistant<|end_header_id|>\n\n{F}", "", "", [CALL], ["stray_marker", "bare_call"]),
    ("<|python_tag|>print(1)", "print(1)", "", [], ["stray_marker"]),
    ("<|python_tag|>{broken}", "{broken}", "", [], ["malformed_call"]),
    (f"{F} is a call", f"{F} is a call", "", [], []),
    (f"{F}\n\nis a call", f"{F}\n\nis a call", "", [], []),
    (F.replace('"f"', '"zz"'), F.replace('"f"', '"zz"'), "", [], []),
    ('{"answer": 42}', '{"answer": 42}', "", [], []),
    ('{"name": "Bob", "age": 3}', '{"name": "Bob", "age": 3}', "", [], []),
    ('{"type": "x"}', '{"type": "x"}', "", [], []),
    (f"Text {F}", f"Text {F}", "", [], []),
    ('{"na', '{"na', "", [], []),
    ("{", "{", "", [], []),
]


def make() -> Llama3Markup:
    return Llama3Markup({"f", "g"}, new_id=ids())


@pytest.mark.parametrize("row", ROWS, ids=[r[0][:50] for r in ROWS])
def test_rows(row: Row) -> None:
    check(make, row)


def test_an_answer_in_json_is_not_held() -> None:
    """As soon as it can't be a call: here at its first key."""
    f = make()
    got = read(f, ['{"answer"', ": 42}"])
    assert got.order == ["Text"]


@pytest.mark.parametrize("raw", [F[:-3], f"<|python_tag|>{F[:9]}", "<|python_t"])
def test_cut_by_max_tokens(raw: str) -> None:
    got = read(make(), [raw], "length")
    assert not got and got.finish == "length" and got.repairs


WORDS = [
    "<|python_tag|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    F,
    G,
    '{"name"',
    "{",
    "}",
    '"',
    ";",
    "x",
    " ",
    "\n",
    "`",
    "<|",
]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(WORDS), max_size=12).map("".join),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.sampled_from(["stop", "length"]),
)
def test_streamed_is_whole(text: str, sizes: list[int], finish: Any) -> None:
    check_cut(make, text, sizes, finish)
