from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.filters.markup.mistral import MistralMarkup
from tests.filters.markup.families import Row, check, check_cut
from tests.filters.reading import ids, read

ROWS: list[Row] = [
    ('[TOOL_CALLS][{"name":"f","arguments":{"a":1}},{"name":"g","arguments":{}}]</s>', "", "",
     [("f", {"a": 1}), ("g", {})], []),
    ('Hi [TOOL_CALLS] [{"name":"f","arguments":{"a":1},"id":"abcdefghi"}]', "Hi", "", [("f", {"a": 1})], []),
    ('[TOOL_CALLS]f[ARGS]{"a":1}', "", "", [("f", {"a": 1})], []),
    ('[TOOL_CALLS]f.x-y[CALL_ID]abcd[ARGS]{"a":1}[TOOL_CALLS]g[ARGS]{}</s>', "", "",
     [("f.x-y", {"a": 1}), ("g", {})], []),
    ('[TOOL_CALLS]f{"a":["]"]}ok', "ok", "", [("f", {"a": ["]"]})], []),
    ("[TOOL_CALLS][{broken}]", "[{broken}]", "", [], ["malformed_call"]),
    ("[TOOL_CALLS]f[ARGS]{broken}", "f{broken}", "", [], ["malformed_call"]),
    ("[TOOL_CALLS]", "", "", [], ["stray_marker"]),
    ("The [TOOL_CALLS] token.", "The [TOOL_CALLS] token.", "", [], []),
    ("usage [OPTIONS] [a]", "usage [OPTIONS] [a]", "", [], []),
    ("[1, 2] and <s>", "[1, 2] and <s>", "", [], []),
    ("Bye</s>", "Bye", "", [], []),
    ('[TOOL_CALLS][TOOL_CALLS][{"name":"f","arguments":{"a":1}}]', "", "", [("f", {"a": 1})], ["stray_marker"]),
    ("[TOOL_CALLS] [TOOL_CALLS]f[ARGS]{}", "", "", [("f", {})], ["stray_marker"]),
    ('[TOOL_CALLS][{"name":"f","arguments":{"a":1}}', "", "", [("f", {"a": 1})], ["missing_bracket"]),
    ('[TOOL_CALLS]f[ARGS]{"a":{"b":1}', "", "", [("f", {"a": {"b": 1}})], ["missing_bracket"]),
    ('[TOOL_CALLS]f[ARGS]{"a":"x}', 'f{"a":"x}', "", [], ["malformed_call"]),
]  # fmt: skip


def make() -> MistralMarkup:
    return MistralMarkup(new_id=ids())


@pytest.mark.parametrize("row", ROWS, ids=[r[0][:50] for r in ROWS])
def test_rows(row: Row) -> None:
    check(make, row)


@pytest.mark.parametrize(
    "raw", ["[TOOL_CALLS]", "[TOOL_C", '[TOOL_CALLS][{"name"', '[TOOL_CALLS]f[ARGS]{"a":1', "[TOOL_CALLS]f[AR"]
)
def test_cut_by_max_tokens(raw: str) -> None:
    got = read(make(), [raw], "length")
    assert not got and got.finish == "length" and got.repairs


WORDS = [
    "[TOOL_CALLS]",
    "[ARGS]",
    "[CALL_ID]",
    "</s>",
    '[{"name":"f"}]',
    "{}",
    "{",
    "}",
    "[",
    "]",
    '"',
    "f",
    " ",
    "\n",
    "`",
    "<",
]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(WORDS), max_size=14).map("".join),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.sampled_from(["stop", "length"]),
)
def test_streamed_is_whole(text: str, sizes: list[int], finish: Any) -> None:
    check_cut(make, text, sizes, finish)
