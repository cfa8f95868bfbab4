from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import Text, ToolCall
from gateway.canonical.custom import FIELD, as_function
from gateway.canonical.events import Answer, Choice, ChoiceEnd, Event, PartDelta, PartEnd, PartStart, fold, unfold
from gateway.canonical.requests import Tool
from gateway.filters.custom_tools import CustomTools

NAMES = frozenset({"patch"})


def through(*pieces: str) -> tuple[str, list[Event]]:
    """(the text of a call of `patch` whose arguments come in these pieces, all events)."""
    f = CustomTools(NAMES)
    start = PartStart(0, 0, "tool_call", "c", "patch")
    deltas = [PartDelta(0, 0, arguments=piece) for piece in pieces]
    out: list[Event] = []
    for e in [start, *deltas, PartEnd(0, 0), ChoiceEnd(0, "tool_calls")]:
        out += f.feed([e])
    (part,) = fold(out).choices[0].parts
    assert isinstance(part, ToolCall) and part.kind == "custom"
    return part.arguments, out


@given(st.text(), st.booleans(), st.lists(st.integers(0, 80), max_size=6))
def test_the_text_comes_back_however_it_was_cut(text: str, ascii_only: bool, cuts: list[int]) -> None:
    raw = json.dumps({FIELD: text}, ensure_ascii=ascii_only)
    at = sorted({min(c, len(raw)) for c in cuts} | {0, len(raw)})
    assert through(*(raw[a:b] for a, b in pairwise(at)))[0] == text


@pytest.mark.parametrize("text", ['a "b" \\ \n\té', "\U0001f600!", "x\ud83d".encode("utf-8", "replace").decode()])
def test_one_character_at_a_time(text: str) -> None:
    for ascii_only in (True, False):
        assert through(*json.dumps({FIELD: text}, ensure_ascii=ascii_only))[0] == text


def test_it_is_told_as_it_comes() -> None:
    _, events = through('{"inp', 'ut": "*** Beg', "in\\", "n+a\\u00", 'e9"', "}")
    assert [e.arguments for e in events if isinstance(e, PartDelta)] == ["*** Beg", "in", "\n+a", "é"]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("*** Begin Patch\n", "*** Begin Patch\n"),
        ('"quoted"', "quoted"),
        ('{"other": 1, "input": "x"}', "x"),
        ('{"text": "x"}', '{"text": "x"}'),
        ("{}", ""),
        ("", ""),
        ('{"input": 7}', '{"input": 7}'),
        ('{"input": "line\nbreak"}', "line\nbreak"),
        ('{"input": "half \\ud83d"}', "half \ufffd"),
        ('{"input": "cut', "cut"),
        ('{"input": "cut\\', "cut"),
        ('{"input": "a\\q"}', "a\\q"),
        ('{"input": "a\\u12xyz and more"}', "a\\u12xyz and more"),
        ("x" * 300, "x" * 300),
    ],
)
def test_what_models_write_instead(raw: str, text: str) -> None:
    assert through(raw)[0] == text
    assert through(*raw)[0] == text


def test_other_parts_are_left_alone() -> None:
    parts: list[Any] = [Text("a"), ToolCall("c", "f", '{"input": "x"}'), ToolCall("d", "patch", "free", "custom")]
    events = unfold(Answer(choices=[Choice(parts, "tool_calls")]))
    assert CustomTools(NAMES).feed(events) is events


def test_a_call_whose_end_was_not_told() -> None:
    f = CustomTools(NAMES)
    events: list[Event] = [PartStart(0, 0, "tool_call", "c", "patch"), PartDelta(0, 0, arguments="free text")]
    assert f.feed(events) == [PartStart(0, 0, "tool_call", "c", "patch", "custom")]
    assert f.feed([ChoiceEnd(0, "tool_calls")]) == [
        PartDelta(0, 0, arguments="free text"),
        ChoiceEnd(0, "tool_calls"),
    ]
    assert f.end() == []


def test_a_custom_tool_as_a_function() -> None:
    plain = as_function(Tool("patch", "p", kind="custom"))
    assert plain.kind == "function" and plain.parameters is not None and plain.parameters["required"] == [FIELD]
    lark = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
    for form in (lark, {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: WORD"}}):
        told = as_function(Tool("patch", kind="custom", format=form))
        assert told.parameters is not None and told.format is None
        about = told.parameters["properties"][FIELD]["description"]
        assert "lark" in about and "start: WORD" in about
    function = Tool("f", parameters={})
    assert as_function(function) is function
