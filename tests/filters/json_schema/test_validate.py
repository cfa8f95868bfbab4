"""Which schemas may be used, what they say about values, and that neither takes long."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.filters.json_schema.judge import MOST_STEPS
from gateway.filters.json_schema.references import MOST_SCHEMAS
from gateway.filters.json_schema.validate import MOST_TEXT, check_schema, compiled


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "where", "why"),
    [
        ({"type": "STRING"}, ".type", "not valid"),
        ({"properties": {"a b": {"type": 3}}}, '.properties["a b"].type', "not valid"),
        ({"anyOf": []}, ".anyOf", "not valid"),
        ({"anyOf": [{"minLength": -1}]}, ".anyOf[0].minLength", "not valid"),
        ({"required": "a"}, ".required", "not valid"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:1/x"}}}, ".properties.a.$ref", "another document"),
        ({"anyOf": [{"$ref": "file:///etc/passwd"}]}, ".anyOf[0].$ref", "another document"),
        ({"$ref": "other.json#/a"}, ".$ref", "another document"),
        ({"items": {"$dynamicRef": "http://x.y"}}, ".items.$dynamicRef", "another document"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "https://x.y"}}}, ".$defs.a.$ref", "another document"),
        ({"$ref": "#/hidden", "hidden": {"$ref": "https://x.y"}}, ".hidden.$ref", "another document"),
        ({"$ref": "#/$defs/a"}, ".$ref", "refers to nothing"),
        ({"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}}, ".$ref", "refers to nothing"),
        ({"$ref": "#/required", "required": ["a"]}, ".$ref", "no schema"),
        ({"$ref": "#"}, "", "refers to itself"),
        ({"anyOf": [{"not": {"$ref": "#"}}, {}]}, "", "refers to itself"),
        ({"properties": {"a": {"$id": "http://x.y", "type": "string"}}}, ".properties.a.$id", "not supported"),
        ({"items": {"unevaluatedProperties": False}}, ".items.unevaluatedProperties", "not supported"),
        ({"$schema": "http://x.y"}, ".$schema", "is none of"),
        ({"$schema": 3}, ".$schema", "is none of"),
        ({"properties": {"a": {"pattern": "("}}}, ".properties.a.pattern", "regular expression"),
        ({"pattern": "^(?=a)"}, ".pattern", "regular expression"),
        ({"pattern": r"(a)\1"}, ".pattern", "regular expression"),
        ({"pattern": "((a{1,1000}){1,1000}){1,1000}"}, ".pattern", "regular expression"),
        (nested(200), "", "too deeply"),
        (nested(20_000), "", "no JSON"),
        ({"enum": ["a" * MOST_TEXT]}, "", "longer than"),
        ({"$defs": {str(n): {} for n in range(MOST_SCHEMAS)}}, ".$defs", "schemas of one"),
        ({"const": object()}, "", "no JSON"),
        ({"const": "\ud800"}, "", "no JSON"),
    ],
)
def test_refused(schema: dict[str, Any], where: str, why: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check_schema(schema, "tools[0].parameters")
    assert caught.value.param is not None
    assert caught.value.param.startswith("tools[0].parameters" + where)
    assert why in caught.value.message
    assert len(caught.value.message) < 600
    with pytest.raises(BadRequest):
        check_schema(schema, "")


STRICT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 2},
        "unit": {"enum": ["c", "f"]},
        "days": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "spots": {"type": "array", "items": {"$ref": "#/$defs/spot"}, "maxItems": 2},
        "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    },
    "required": ["city", "unit"],
    "additionalProperties": False,
    "$defs": {"spot": {"type": "object", "properties": {"x y": {"type": "number"}}, "required": ["x y"]}},
}
GOOD = {"city": "Rome", "unit": "c"}


@pytest.mark.parametrize(
    ("more", "path", "words"),
    [
        ({}, None, ""),
        ({"days": None, "spots": [{"x y": 1.5}], "next": GOOD}, None, ""),
        ({"city": "R"}, "city", "shorter than 2"),
        ({"city": 1}, "city", 'not of type "string"'),
        ({"unit": "k"}, "unit", 'not one of "c" or "f"'),
        ({"days": "1"}, "days", "none of the alternatives"),
        ({"spots": [{"x y": 1}, {"x y": "1"}]}, 'spots[1]["x y"]', 'not of type "number"'),
        ({"spots": [{}]}, "spots[0]", '"x y" is a required'),
        ({"spots": [{"x y": 1}] * 3}, "spots", "more than 2 items"),
        ({"other": "secret"}, "other", "not allowed"),
        ({"next": {**GOOD, "next": {**GOOD, "unit": 1}}}, "next.next.unit", 'not one of "c" or "f"'),
    ],
)
def test_strict_schemas(more: dict[str, Any], path: str | None, words: str) -> None:
    fault = compiled(STRICT).fault(GOOD | more)
    if path is None:
        assert fault is None
    else:
        assert fault is not None
        assert fault[0] == path
        assert words in fault[1]
        assert "secret" not in fault[1]


def test_a_missing_member_and_another_type() -> None:
    assert compiled(STRICT).fault({"unit": "c"}) == ("", '"city" is a required property')
    assert compiled(STRICT).fault([]) == ("", 'is not of type "object"')


def test_drafts() -> None:
    old = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "items": [{"type": "string"}],
        "additionalItems": False,
    }
    assert compiled(old).fault(["a"]) is None
    assert compiled(old).fault(["a", 1]) == ("[1]", "is not allowed")
    older = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True}
    assert compiled(older).fault(2) is None
    assert compiled(older).fault(1) is not None
    with pytest.raises(BadRequest):
        check_schema({"minimum": 1, "exclusiveMinimum": True}, "")
    beside = {"$ref": "#/definitions/a", "maxLength": 1, "definitions": {"a": {"type": "string"}}}
    assert compiled(beside).fault("ab") is not None
    assert compiled({**beside, "$schema": "http://json-schema.org/draft-07/schema"}).fault("ab") is None


def test_formats_are_not_held() -> None:
    assert compiled({"type": "string", "format": "email"}).fault("no address") is None


def test_the_alternative_that_was_meant_is_told() -> None:
    kinds = [
        {
            "type": "object",
            "properties": {"kind": {"const": kind}, "value": {"type": type_}},
            "required": ["kind", "value"],
        }
        for kind, type_ in (("a", "integer"), ("b", "string"))
    ]
    schema = compiled({"items": {"anyOf": kinds}})
    assert schema.fault([{"kind": "a", "value": 1}, {"kind": "b", "value": "x"}]) is None
    assert schema.fault([{"kind": "b", "value": 1}]) == ("[0].value", 'is not of type "string"')
    assert schema.fault([{"kind": "c", "value": 1}]) == ("[0]", "is none of the alternatives that the schema allows")


def test_alternatives_within_alternatives_take_no_time() -> None:
    fork = {"anyOf": [{"properties": {"a": {"$ref": "#"}}, "required": [name]} for name in ("x", "y")]}
    value: dict[str, Any] = {}
    for _ in range(30):
        value = {"a": value, "x": 1, "y": 1}
    assert compiled(fork).fault(value) is not None  # two to the thirtieth ways
    operators = [
        {
            "type": "object",
            "properties": {"op": {"const": op}, "left": {"$ref": "#"}, "right": {"$ref": "#"}},
            "required": ["op", "left", "right"],
            "additionalProperties": False,
        }
        for op in ("add", "sub", "mul", "div")
    ]
    expression: Any = 1
    for n in range(30):
        expression = {"op": ("add", "div")[n % 2], "left": expression, "right": 1}
    schema = compiled({"anyOf": [*operators, {"type": "number"}]})
    assert schema.fault(expression) is None
    expression["left"]["right"] = "1"
    assert schema.fault(expression) is not None
    chained: dict[str, Any] = {"$ref": "#/$defs/d0", "$defs": {"d40": {"type": "string"}}}
    for n in range(40):
        chained["$defs"][f"d{n}"] = {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
    assert compiled(chained).fault(1) is not None


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"items": {"$ref": "#"}}, None),
        ({"items": {"allOf": [{"minimum": -n} for n in range(100)]}}, list(range(MOST_STEPS // 100 + 1))),
        ({"pattern": "[ab]*a[ab]{500}[cd]"}, "ab" * 50_000),
        ({"patternProperties": {"[ab]{1000}": False}}, {"ab" * 50_000: 1}),
    ],
)
def test_what_can_not_be_checked_is_not_valid(schema: dict[str, Any], value: Any) -> None:
    if value is None:
        value = []
        for _ in range(100_000):
            value = [value]
    assert compiled(schema).fault(value) == ("", "is too large or too deep to be checked against the schema")


def test_a_path_and_words_stay_short() -> None:
    schema = {"properties": {"a" * 64: {"$ref": "#"}}, "maxProperties": 1, "additionalProperties": False}
    value: dict[str, Any] = {"b": 1}
    for _ in range(20):
        value = {"a" * 64: value}
    fault = compiled(schema).fault(value)
    assert fault is not None and len(fault[0]) < 300
    fault = compiled({"required": ["a" * 1000]}).fault({})
    assert fault is not None and len(fault[1]) < 300


def test_equal_schemas_are_prepared_once() -> None:
    assert compiled({"type": "integer"}) is compiled({"type": "integer"})
    assert compiled({"type": "integer"}) is not compiled({"type": "number"})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["#", "#/a", "string", "x"]),
        lambda v: (
            st.lists(v, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "anyOf", "properties", "$ref", "items", "enum", "$id", "pattern", "$defs"]), v
            )
        ),
        max_leaves=10,
    )
)
def test_nothing_but_bad_requests(schema: Any) -> None:
    try:
        compiled(schema if isinstance(schema, dict) else {"properties": schema}).fault({"a": [schema]})
    except BadRequest as e:
        assert e.status == 400
