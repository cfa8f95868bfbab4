"""What stands around a JSON value is taken off, the value never; where the text was cut does not matter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.canonical.content import Text
from gateway.canonical.events import ChoiceEnd, End, Event, PartDelta, PartEnd, PartStart, fold
from gateway.filters.json_output import JsonOutput
from tests.filters.batches import fed
from tests.filters.reading import cut_by, well_formed

SPACE = " \n\t\r"


def run(text: str, sizes: list[int], together: int = 1) -> tuple[str, list[str]]:
    deltas = [PartDelta(0, 0, chunk) for chunk in cut_by(text, sizes)]
    events: list[Event] = [PartStart(0, 0, "text"), *deltas, PartEnd(0, 0), ChoiceEnd(0, "stop"), End()]
    f = JsonOutput()
    out = fed(f, events, [together])
    well_formed([e for e in out if not isinstance(e, PartDelta) or e.text])
    return "".join(p.text for p in fold(out).choices[0].parts if isinstance(p, Text)), f.repairs


FENCED = [
    ('```json\n{"a": 1}\n```', '{"a": 1}'),
    ('```json\n{"a": 1}\n```\n', '{"a": 1}'),
    ('\n\n```json\n{"a": 1}\n```', '{"a": 1}'),
    ("```\n[1, 2]\n```", "[1, 2]"),
    ('```JSON\r\n{"a": "```"}\r\n```', '{"a": "```"}'),
    ('~~~json\n{"a": 1}\n~~~', '{"a": 1}'),
    ('````json\n{"a": "\\n```\\n"}\n````', '{"a": "\\n```\\n"}'),
    ('```json{"a":{"b":"}"}}```', '{"a":{"b":"}"}}'),
    ("```json 42```", "42"),
    ('``` json\n"text"\n```', '"text"'),
    ('```json\n"a \\" ` b"\n```', '"a \\" ` b"'),
    ('```json\n{"a": 1}', '{"a": 1}'),  # cut, or never closed
    ('```json\n{"a": 1}\n``', '{"a": 1}'),
    ('```json\n{"a": [1,', '{"a": [1,'),
    ('{"a": 1}\n```', '{"a": 1}'),  # the server began the fence in the prompt
    ("```\ntrue\n```", "true"),
]
BLANK = [
    ('\n {"a": 1}', '{"a": 1}'),
    ('{"a": 1}\n\n', '{"a": 1}'),
    (" null\n", "null"),
]
LEFT = [
    "",
    "  ",
    '{"a": 1}',
    '"a ``` b"',
    "12.5e3",
    "Here it is:\n```json\n{}\n```",
    "```python\nprint()\n```",
    "```json\n",
    "```",
    "`{}`",
    "``{}``",
    '{"a": 1} and more',
    '{"a": 1}\n``',
    '{"a": 1} {"b": 2}',
    "true or false",
    "  hello  ",
]


@pytest.mark.parametrize(("text", "value"), FENCED)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_fences_come_off(text: str, value: str, size: int) -> None:
    assert run(text, [size]) == (value, ["json_fence"])
    assert run(text, [size], together=100) == (value, ["json_fence"])


@pytest.mark.parametrize(("text", "value"), BLANK)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_blank_text_comes_off(text: str, value: str, size: int) -> None:
    assert run(text, [size]) == (value, [])


@pytest.mark.parametrize("text", LEFT)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_anything_else_is_left_alone(text: str, size: int) -> None:
    assert run(text, [size]) == (text, [])


def test_text_behind_a_fence_shows_what_is_wrong() -> None:
    said, repairs = run("```json\n{}\n```\nI hope this helps.", [3])
    assert said == "{}\n```\nI hope this helps."
    assert repairs == ["json_fence"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.text('`~"\\ {}\n', max_size=6),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text('a`"', max_size=3), v, max_size=3),
    max_leaves=6,
)
cuts = st.lists(st.integers(1, 9), min_size=1, max_size=4)
spaces = st.text(SPACE, max_size=4)
languages = st.sampled_from(["", "json", "JSON"])


@given(json_values, spaces, spaces, st.sampled_from(["```", "````", "~~~"]), languages, st.booleans(), cuts)
def test_the_value_is_never_touched(
    value: Any, before: str, after: str, fence: str, language: str, fenced: bool, sizes: list[int]
) -> None:
    body = json.dumps(value, ensure_ascii=False)
    whole = f"{before}{fence}{language}\n{body}\n{fence}{after}" if fenced else before + body + after
    assert run(whole, sizes) == (body, ["json_fence"] if fenced else [])


@given(st.text('`~{}[]"\\ \njson1t', max_size=24), cuts, st.integers(1, 5))
@example("```json" + " " * 2000 + "{}", [1], 1)
@example(" " * 1024 + "{}", [1], 1)
@example(" " * 1025 + "{}", [1], 1)
@example("{}" + " " * 1024 + "x", [1], 1)
@example("{}" + " " * 1025, [1], 1)
@example("```" + "a" * 70 + "\n{}", [1], 1)
def test_the_cut_does_not_matter(text: str, sizes: list[int], together: int) -> None:
    assert run(text, sizes, together) == run(text, [10_000])


@given(json_values)
def test_a_bare_value_is_the_same_list(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    events: list[Event] = [PartStart(0, 0, "text"), *(PartDelta(0, 0, c) for c in cut_by(text, [5])), PartEnd(0, 0)]
    assert JsonOutput().feed(events) is events


def test_the_value_streams() -> None:
    f = JsonOutput()
    f.feed([PartStart(0, 0, "text")])
    assert f.feed([PartDelta(0, 0, "```json\n")]) == []
    assert f.feed([PartDelta(0, 0, '{"a": ')]) == [PartDelta(0, 0, '{"a": ')]
    assert f.feed([PartDelta(0, 0, "1}\n``")]) == [PartDelta(0, 0, "1}")]
    assert f.feed([PartDelta(0, 0, "`"), PartEnd(0, 0)]) == [PartEnd(0, 0)]


def test_what_a_delta_tells_beside_text_is_kept() -> None:
    f = JsonOutput()
    f.feed([PartStart(0, 0, "text")])
    f.feed([PartDelta(0, 0, "```json\n", logprobs=[1])])
    assert f.feed([PartDelta(0, 0, "{}")]) == [PartDelta(0, 0, "", logprobs=[1]), PartDelta(0, 0, "{}")]
    assert f.feed([PartDelta(0, 0, "\n```", logprobs=[2])]) == []
    assert f.feed([PartEnd(0, 0)]) == [PartDelta(0, 0, "", logprobs=[2]), PartEnd(0, 0)]


def test_thoughts_and_calls_are_left_alone_and_choices_are_kept_apart() -> None:
    events: list[Event] = [
        PartStart(0, 0, "thinking"),
        PartStart(1, 0, "text"),
        PartDelta(0, 0, " ```json {} "),
        PartDelta(1, 0, " [1"),
        PartStart(0, 1, "tool_call", "id", "f"),
        PartDelta(0, 1, arguments=" {} "),
        PartDelta(1, 0, "] "),
    ]
    out = fed(JsonOutput(), events)
    assert out == [*events[:3], PartDelta(1, 0, "[1"), *events[4:6], PartDelta(1, 0, "]")]


def test_a_cut_answer_gives_what_was_held() -> None:
    f = JsonOutput()
    f.feed([PartStart(0, 0, "text"), PartDelta(0, 0, "``")])
    assert f.end() == [PartDelta(0, 0, "``")]
    assert f.end() == []
