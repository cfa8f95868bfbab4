"""Strings become what the schema says that they are, where it leaves no doubt; everything else stays, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.canonical.content import ToolCall
from gateway.canonical.events import ChoiceEnd, Event, PartDelta, PartEnd, PartStart, fold
from gateway.filters.arguments import MOST, TypedArguments, typed
from tests.filters.batches import fed
from tests.filters.reading import cut_by

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "x": {"type": "NUMBER"},
        "s": {"type": "string"},
        "b": {"type": "boolean"},
        "z": {"type": "null"},
        "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "either": {"type": ["integer", "string"]},
        "any": {},
        "one": {"anyOf": [{}, {"type": "integer"}]},
        "level": {"enum": [1, 2]},
        "odd": {"type": "integer", "enum": ["1"]},
        "list": {"type": "array", "items": {"type": "integer"}},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "boolean"}]},
        "deep": {"$ref": "#/$defs/deep"},
        "shape": {"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]},
        "both": {"allOf": [{"properties": {"p": {"type": "integer"}}}, {"properties": {"q": {"type": "boolean"}}}]},
        "lost": {"$ref": "#/$defs/nothing"},
        "no-types": {"properties": {"p": {}}},
    },
    "$defs": {
        "deep": {"type": "object", "properties": {"x": {"type": "number"}, "deep": {"$ref": "#/$defs/deep"}}},
        "a": {"type": "object", "properties": {"v": {"type": "integer"}, "w": {"type": "integer"}}},
        "b": {"type": "object", "properties": {"v": {"type": "integer"}, "w": {"type": "string"}}},
    },
}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"n": "42"}', '{"n": 42}'),
        ('{"n":"-7" , "x":"1.50e3"}', '{"n":-7 , "x":1.50e3}'),
        ('{"x":"42"}', '{"x":42}'),
        ('{"b":"true","z":"null"}', '{"b":true,"z":null}'),
        ('{"maybe":"null"}', '{"maybe":null}'),
        ('{"maybe":"0.5"}', '{"maybe":0.5}'),
        ('{"level":"1"}', '{"level":1}'),
        ('{"list":["1","2",3]}', '{"list":[1,2,3]}'),
        ('{"list":"[1,2]"}', '{"list":[1,2]}'),
        ('{"list":"[\\"1\\", 2]"}', '{"list":[1, 2]}'),
        ('{"pair":["1","true"]}', '{"pair":["1",true]}'),
        ('{"deep":{"x":"1","deep":{"deep":{"x":"2"}}}}', '{"deep":{"x":1,"deep":{"deep":{"x":2}}}}'),
        ('{"deep":"{\\"x\\":\\"1\\"}"}', '{"deep":{"x":1}}'),
        ('{"shape":{"v":"1","w":"1"}}', '{"shape":{"v":1,"w":"1"}}'),
        ('{"both":{"p":"1","q":"true"}}', '{"both":{"p":1,"q":true}}'),
        ('{"\\u006e":"\\u0034\\u0032"}', '{"\\u006e":42}'),
        ('{"n":"1","n":"2"}', '{"n":1,"n":2}'),
        (' {"n":"42"}\n', ' {"n":42}\n'),
    ],
)
def test_typed(before: str, after: str) -> None:
    assert typed(before, SCHEMA) == after
    assert typed(after, SCHEMA) == after


@pytest.mark.parametrize(
    "arguments",
    [
        '{"s":"42"}',
        '{"either":"42"}',
        '{"any":"42"}',
        '{"one":"42"}',
        '{"odd":"1"}',
        '{"unknown":"42"}',
        '{"lost":"42"}',
        '{"no-types":"{}"}',
        '{"n":"42.0"}',
        '{"n":" 42"}',
        '{"n":"042"}',
        '{"n":"+1"}',
        '{"n":"1_000"}',
        '{"n":""}',
        '{"n":"\\"1\\""}',
        '{"b":"True"}',
        '{"b":"1"}',
        '{"x":"NaN"}',
        '{"x":"1e999"}',
        '{"z":"None"}',
        '{"maybe":"none"}',
        '{"list":"1,2"}',
        '{"list":"{}"}',
        '{"deep":"[]"}',
        '{ "n" : 42 , "s" : "x" }',
        '{"n":"42"',
        '["1"]',
        '"{}"',
        "42",
        "",
        '{"n":"\ud800"}',
        "[" * 2000,
    ],
)
def test_left(arguments: str) -> None:
    assert typed(arguments, SCHEMA) == arguments
    for f in (TypedArguments({"f": {}}), TypedArguments({"f": None}), TypedArguments({})):
        events = call(arguments, [3])
        assert f.feed(events) is events
        assert f.repairs == []


def call(arguments: str, sizes: list[int], part: int = 0) -> list[Event]:
    deltas: list[Event] = [PartDelta(0, part, arguments=a) for a in cut_by(arguments, sizes)]
    return [PartStart(0, part, "tool_call", f"id{part}", "f"), *deltas, PartEnd(0, part)]


def arguments_of(events: list[Event]) -> list[str]:
    return [p.arguments for p in fold(events).choices[0].parts if isinstance(p, ToolCall)]


types = st.sampled_from(["integer", "number", "boolean", "null", "string"])
names = st.sampled_from(["a", "b", 'c"', "ü"])
schemas: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.builds(lambda t: {"type": t}, types),
    lambda s: (
        st.builds(lambda i: {"type": "array", "items": i}, s)
        | st.builds(lambda p: {"type": "object", "properties": p}, st.dictionaries(names, s, max_size=3))
    ),
    max_leaves=6,
)
objects = st.builds(lambda p: {"type": "object", "properties": p}, st.dictionaries(names, schemas, max_size=3))
NUMBERS = st.integers(-1000, 1000) | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x % 1 != 0)


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "integer": st.integers(),
        "number": NUMBERS,
        "boolean": st.booleans(),
        "null": st.none(),
        "string": st.text(max_size=4) | st.sampled_from(["1", "true", "null", "{}"]),
    }
    if schema["type"] == "array":
        return st.lists(values(schema["items"]), max_size=3)
    if schema["type"] == "object":
        return st.fixed_dictionaries({}, optional={k: values(s) for k, s in schema["properties"].items()})
    return kinds[schema["type"]]


def stringly(value: Any) -> Any:
    """As a server tells it that does not know the types."""
    if isinstance(value, dict):
        return {k: stringly(v) for k, v in value.items()}
    if isinstance(value, list):
        return [stringly(v) for v in value]
    return value if isinstance(value, str) else json.dumps(value)


@settings(max_examples=60)
@given(st.data(), objects, st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(1, 3))
def test_what_was_meant_comes_back_however_it_is_cut(
    data: st.DataObject, schema: dict[str, Any], sizes: list[int], together: int
) -> None:
    value = data.draw(values(schema))
    told = json.dumps(stringly(value), ensure_ascii=data.draw(st.booleans()))
    f = TypedArguments({"f": schema})
    (arguments,) = arguments_of(fed(f, call(told, sizes), [together]))
    assert json.loads(arguments) == value
    assert f.repairs == (["argument_type"] if arguments != told else [])


@settings(max_examples=60)
@given(st.data(), objects, st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_what_is_right_is_the_same_list(data: st.DataObject, schema: dict[str, Any], sizes: list[int]) -> None:
    events = call(json.dumps(data.draw(values(schema))), sizes)
    assert TypedArguments({"f": schema}).feed(events) is events


@given(st.text('{}[]",:\\n1 true', max_size=20))
def test_nothing_raises(arguments: str) -> None:
    typed(arguments, SCHEMA)
    typed('{"n":' + arguments + "}", {"properties": 3, "$ref": 4, "anyOf": [1], "allOf": {}})


def test_strings_stream_and_what_is_typed_waits() -> None:
    f = TypedArguments({"f": SCHEMA, "g": {"type": "object", "properties": {"text": {"type": "string"}}}})
    start, delta, last, end = call('{"n":"1"}', [5])
    assert f.feed([start, delta]) == [start]
    assert f.feed([last]) == []
    assert f.feed([end]) == [PartDelta(0, 0, arguments='{"n":1}'), end]
    text: list[Event] = [PartStart(0, 1, "tool_call", "id", "g"), PartDelta(0, 1, arguments='{"text":"1')]
    assert f.feed(text) is text


def test_parallel_calls_may_interleave() -> None:
    one, two = call('{"n":"1"}', [3], 0), call('{"n":"2"}', [3], 1)
    mixed = [e for pair in zip(one, two, strict=True) for e in pair]
    assert arguments_of(fed(TypedArguments({"f": SCHEMA}), mixed, [2])) == ['{"n":1}', '{"n":2}']


def test_a_cut_call_stays_as_it_came() -> None:
    begun = call('{"n":"1"}', [3])[:-1]
    for rest in ([], [ChoiceEnd(0, "length")]):
        f = TypedArguments({"f": SCHEMA})
        assert fed(f, [*begun, *rest]) == [*begun, *rest]
        assert f.repairs == []


def test_a_call_without_end_is_not_held() -> None:
    f = TypedArguments({"f": SCHEMA})
    piece = PartDelta(0, 0, arguments='"' + "a" * 9998 + '"')
    f.feed([PartStart(0, 0, "tool_call", "id", "f")])
    held = [f.feed([piece]) for _ in range(MOST // 10_000 + 2)]
    assert sum(map(len, held)) == len(held)
    assert held[-1] == [piece]


def test_custom_tools_take_text() -> None:
    events: list[Event] = [
        PartStart(0, 0, "tool_call", "id", "f", "custom"),
        PartDelta(0, 0, arguments='{"n":"1"}'),
        PartEnd(0, 0),
    ]
    assert TypedArguments({"f": SCHEMA}).feed(events) is events


def test_what_a_delta_tells_beside_arguments_is_kept() -> None:
    events: list[Event] = [
        PartStart(0, 0, "tool_call", "id", "f"),
        PartDelta(0, 0, arguments='{"n":', signature="a"),
        PartDelta(0, 0, arguments='"1"', logprobs=[1]),
        PartDelta(0, 0, arguments="}"),
        PartEnd(0, 0),
    ]
    assert TypedArguments({"f": SCHEMA}).feed(events) == [
        events[0],
        PartDelta(0, 0, arguments='{"n":1}', signature="a"),
        PartDelta(0, 0, logprobs=[1]),
        events[-1],
    ]
