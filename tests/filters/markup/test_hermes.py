from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.canonical.events import ChoiceEnd, PartDelta, PartEnd, PartStart
from gateway.filters.markup.hermes import HermesMarkup
from tests.filters.markup.families import Row, check, check_cut
from tests.filters.markup.test_json_calls import OBJECTS
from tests.filters.reading import cut_by, ids, pieces, read

F = '{"name": "f", "arguments": {"a": 1.5, "s": "x</tool_call>\\"{"}}'
CALL = ("f", {"a": 1.5, "s": 'x</tool_call>"{'})
ROWS: list[Row] = [
    (f"<tool_call>\n{F}\n</tool_call>", "", "", [CALL], []),
    (f"Hi.\n<tool_call>{F}</tool_call>\n<tool_call>{F}</tool_call><|im_end|>\n", "Hi.", "", [CALL, CALL], []),
    (f"<tool_call>{F}</tool_call>Done", "Done", "", [CALL], []),
    (f"<tool_call>[{F},{F}]</tool_call>", "", "", [CALL, CALL], []),
    (f"<tool_call>{F}", "", "", [CALL], ["unclosed_call"]),
    (f"<tool_call>{F}</tool_c", "", "", [CALL], ["unclosed_call"]),
    (f"<tool_call>{F}}}</tool_call>ok", "ok", "", [CALL], ["junk_in_call"]),
    ('<tool_call>{"name": f}</tool_call>ok', '{"name": f}ok', "", [], ["malformed_call"]),
    ('<tool_call>{"name":"f","arguments":{"a":"x}</tool_call>ok', '{"name":"f","arguments":{"a":"x}ok', "", [],
     ["malformed_call"]),
    ("<tool_call></tool_call>", "", "", [], ["empty_call"]),
    ("a </tool_call>b", "a b", "", [], ["stray_marker"]),
    ("Bye<|im_end|>\n<|im_start|>user\nhi", "Bye", "", [], ["eot_text_dropped"]),
    ("The <tool_call> tag and </tool_call>.", "The <tool_call> tag and </tool_call>.", "", [], []),
    (f"`<tool_call>{F}</tool_call>`", f"`<tool_call>{F}</tool_call>`", "", [], []),
    (f"```\n<tool_call>{F}</tool_call>\n```", f"```\n<tool_call>{F}</tool_call>\n```", "", [], []),
    ("a <b> {c}", "a <b> {c}", "", [], []),
    (f"<tool_call><tool_call>{F}</tool_call>", "", "", [CALL], ["stray_marker"]),
    (f"<tool_call>\n<tool_call>\n{F}</tool_call>", "", "", [CALL], ["stray_marker"]),
    (f"<tool_call>{F}\n{F}</tool_call>", "", "", [CALL, CALL], ["unclosed_call"]),
    (f"<tool_call>\n{F}\n{F}\n{{x</tool_call>ok", "{xok", "", [CALL, CALL], ["unclosed_call", "malformed_call"]),
    (f"<tool_call>{F[:-1]}</tool_call>ok", "ok", "", [CALL], ["missing_bracket"]),
    (f"<tool_call>\n{F[:-2]}\n</tool_call>", "", "", [CALL], ["missing_bracket"]),
    (f"<tool_call>[{F},{F}</tool_call>", "", "", [CALL, CALL], ["missing_bracket"]),
    (f"<tool_call>{F[:-1]}", "", "", [CALL], ["missing_bracket"]),
    ("<tool_call>junk</tool_call>", "junk", "", [], ["stray_marker"]),
]  # fmt: skip


def make() -> HermesMarkup:
    return HermesMarkup(new_id=ids())


@pytest.mark.parametrize("row", ROWS, ids=[r[0][:50] for r in ROWS])
def test_rows(row: Row) -> None:
    check(make, row)


@pytest.mark.parametrize("raw", ["<tool_call>", "<tool_c", f"<tool_call>{F[:20]}"])
def test_cut_by_max_tokens(raw: str) -> None:
    got = read(make(), [raw], "length")
    assert not got and got.finish == "length" and got.repairs


@settings(max_examples=60, deadline=None)
@given(st.lists(OBJECTS, min_size=1, max_size=3), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_what_is_rendered_is_read(arguments: list[dict[str, Any]], sizes: list[int]) -> None:
    raw = "\n".join(f"<tool_call>\n{json.dumps({'name': 'f', 'arguments': a})}\n</tool_call>" for a in arguments)
    got = read(make(), cut_by(raw, sizes))
    assert got.calls == [("f", a) for a in arguments] and got.content == "" and got.repairs == []


WORDS = [
    "<tool_call>",
    "</tool_call>",
    "<|im_end|>",
    "{",
    "}",
    '"',
    "\\",
    '{"name":"f"}',
    "x",
    " ",
    "\n",
    "`",
    "```\n",
    "<",
    "[",
]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(WORDS), max_size=16).map("".join),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.sampled_from(["stop", "length"]),
)
def test_streamed_is_whole(text: str, sizes: list[int], finish: Any) -> None:
    check_cut(make, text, sizes, finish)


def test_bounded_work() -> None:
    """Little processor time where every call is broken: not each is read to the end."""
    for unit in ('<tool_call>{"a</tool_call>', '<tool_call>{"a":1</tool_call>'):
        began = time.process_time()
        got = read(make(), pieces(unit * 5_000, 4096))
        assert time.process_time() - began < 4
        assert "malformed_call" in got.repairs and "tool_call>" not in got.content


def test_thoughts_are_left_alone() -> None:
    f = make()
    events = [
        PartStart(0, 0, "thinking"),
        PartDelta(0, 0, f"<tool_call>{F}</tool_call>"),
        PartEnd(0, 0),
        ChoiceEnd(0, "stop"),
    ]
    assert f.feed(events) is events  # type: ignore[arg-type]
