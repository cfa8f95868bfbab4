"""Schemas, both ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.gemini.openapi import is_empty, tidy, to_openapi
from gateway.dialects.gemini.schema import to_json_schema
from gateway.errors import BadRequest


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "TYPE_UNSPECIFIED"}, {}),
        ({"type": ["STRING", "NULL"]}, {"type": ["string", "null"]}),
        ({"type": "STRING", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "STRING", "nullable": False}, {"type": "string"}),
        ({"type": "NULL", "nullable": True}, {"type": "null"}),
        (
            {"type": "STRING", "nullable": True, "enum": ["a"]},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"any_of": [{"type": "STRING"}, {"type": "INTEGER"}], "nullable": True},
            {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        ),
        ({"type": "ARRAY", "minItems": "3", "max_items": 5.0}, {"type": "array", "minItems": 3, "maxItems": 5}),
        ({"type": "NUMBER", "minimum": 0.5, "maximum": 5.0}, {"type": "number", "minimum": 0.5, "maximum": 5}),
        ({"type": "STRING", "example": "x"}, {"type": "string", "examples": ["x"]}),
        (
            {"ref": "#/defs/P", "defs": {"P": {"type": "OBJECT"}}},
            {"$ref": "#/$defs/P", "$defs": {"P": {"type": "object"}}},
        ),
        (
            {"type": "OBJECT", "additional_properties": {"type": "STRING"}},
            {"type": "object", "additionalProperties": {"type": "string"}},
        ),
        ({"type": "OBJECT", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
        ({"type": "STRING", "default": None, "title": None}, {"type": "string", "default": None}),
        # names of properties are the user's own, whatever they look like
        (
            {"type": "OBJECT", "properties": {"any_of": {"type": "STRING"}, "nullable": {"type": "BOOLEAN"}}},
            {"type": "object", "properties": {"any_of": {"type": "string"}, "nullable": {"type": "boolean"}}},
        ),
        # JSON Schema in the place of the other form
        (
            {"type": "object", "properties": {"a": {"oneOf": [{"const": 1}, True]}}, "$schema": "s"},
            {"type": "object", "properties": {"a": {"oneOf": [{"const": 1}, True]}}, "$schema": "s"},
        ),
    ],
)
def test_to_json_schema(given: Any, expected: Any) -> None:
    assert to_json_schema(given, "p") == expected


def test_the_order_of_properties() -> None:
    schema = {"type": "OBJECT", "properties": {"a": {}, "b": {}, "c": {}}, "property_ordering": ["c", "zz", "a"]}
    out = to_json_schema(schema, "p")
    assert list(out["properties"]) == ["c", "a", "b"] and "propertyOrdering" not in out


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        (3, "p"),
        ({"properties": []}, "p.properties"),
        ({"properties": {"a": 3}}, "p.properties.a"),
        ({"items": "x"}, "p.items"),
        ({"anyOf": {}}, "p.anyOf"),
        ({"anyOf": [3]}, "p.anyOf[0]"),
        ({"type": 3}, "p.type"),
        ({"minItems": "x"}, "p.minItems"),
    ],
)
def test_what_is_no_schema(schema: Any, path: str) -> None:
    with pytest.raises(BadRequest) as caught:
        to_json_schema(schema, "p")
    assert caught.value.param == path


def test_tidy() -> None:
    schema = {
        "$schema": "s",
        "strict": True,
        "type": "object",
        "properties": {
            "strict": {"$ref": "#/$defs/K", "description": "gone"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/K", "title": "gone"}},
        },
        "$defs": {"K": {"type": "string"}},
    }
    assert tidy(schema) == {
        "type": "object",
        "properties": {
            "strict": {"$ref": "#/$defs/K"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/K"}},
        },
        "$defs": {"K": {"type": "string"}},
    }


def test_functions_without_parameters() -> None:
    for schema in (None, {}, {"type": "object"}, {"type": "object", "properties": {}, "required": []}):
        assert is_empty(schema)
    for schema in ({"properties": {"a": {}}}, {"$ref": "#/$defs/A"}, {"anyOf": [{}]}):
        assert not is_empty(schema)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "string", "pattern": "a"}, {"type": "STRING", "pattern": "a"}),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}),
        (
            {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}], "type": "x", "title": "t"},
            {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}], "title": "t", "nullable": True},
        ),
        ({"oneOf": [{"type": "string"}]}, {"type": "STRING"}),
        ({"enum": ["a", None, ""]}, {"type": "STRING", "nullable": True, "enum": ["a"]}),
        ({"enum": [True, False]}, {"type": "BOOLEAN", "description": "(one of: true, false)"}),
        ({"const": 1.5, "description": "d"}, {"type": "NUMBER", "description": "d (one of: 1.5)"}),
        (
            {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
            {"type": "ARRAY", "items": {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}},
        ),
        ({"format": "uuid", "type": "string"}, {"type": "STRING"}),
        ({"format": "date-time", "type": "string"}, {"type": "STRING", "format": "date-time"}),
        (
            {"properties": {"a": {}}, "required": ["a", "b"]},
            {"type": "OBJECT", "properties": {"a": {}}, "required": ["a"]},
        ),
        ({"$ref": "#/nowhere"}, {"type": "OBJECT"}),
        (
            {"type": "object", "properties": {"not": {"type": "string", "not": {}}}},
            {"type": "OBJECT", "properties": {"not": {"type": "STRING"}}},
        ),
        (True, {"type": "OBJECT"}),
    ],
)
def test_to_openapi(given: Any, expected: Any) -> None:
    assert to_openapi(given) == expected


def test_recursion_ends() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}, "all": {"allOf": [{"$ref": "#"}]}}}
    out = to_openapi(tree)
    assert out["properties"]["next"]["properties"]["next"] == {"type": "OBJECT"}
    loop = {"$defs": {"A": {"allOf": [{"$ref": "#/$defs/A"}]}}, "$ref": "#/$defs/A"}
    assert to_openapi(loop) in ({}, {"type": "OBJECT"})
    wide = {f"p{i}": {"$ref": "#/$defs/N"} for i in range(20)}
    many = {"$defs": {"N": {"type": "object", "properties": {k: {"$ref": f"#/$defs/{k}"} for k in wide}}}}
    many["$defs"] |= {k: {"type": "object", "properties": wide} for k in wide}
    assert to_openapi({**many, "type": "object", "properties": wide})["type"] == "OBJECT"


def test_an_answers_schema_says_its_order() -> None:
    schema = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "string"}}}
    assert to_openapi(schema, ordered=True)["propertyOrdering"] == ["b", "a"]
    assert "propertyOrdering" not in to_openapi(schema)


json_schemas = st.recursive(
    st.booleans()
    | st.fixed_dictionaries({}, optional={"type": st.sampled_from(["string", "integer", "null", ["string", "null"]])}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", 3, {}, [{}], ["object", []]]),
            "format": st.sampled_from(["date-time", {}, 3]),
            "properties": st.dictionaries(st.text(max_size=3), inner, max_size=2),
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
            "allOf": st.lists(inner, max_size=2),
            "required": st.lists(st.text(max_size=3), max_size=2) | st.integers(),
            "enum": st.lists(st.text(max_size=2) | st.integers() | st.none(), max_size=2),
            "$ref": st.sampled_from(["#", "#/properties/a", "x"]),
        },
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(json_schemas)
def test_any_schema_has_some_form(schema: Any) -> None:
    out = to_openapi(schema)
    _check(out)
    if isinstance(schema, dict):
        tidy(schema)


def _check(schema: Any) -> None:
    """The rules that the API holds a Schema to."""
    assert isinstance(schema, dict) and "$ref" not in schema and "allOf" not in schema
    kind = schema.get("type")
    assert kind is None or kind in ("STRING", "INTEGER", "NUMBER", "BOOLEAN", "ARRAY", "OBJECT")
    if "anyOf" in schema:
        assert set(schema) <= {"anyOf", "nullable", "title", "description", "default"}
    if kind == "ARRAY":
        _check(schema["items"])
    assert ("properties" not in schema and "required" not in schema) or kind == "OBJECT"
    assert schema.get("properties") != {}
    assert set(schema.get("required", ())) <= set(schema.get("properties", ()))
    for inner in [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]:
        _check(inner)
    assert all(isinstance(v, str) and v for v in schema.get("enum", ()))
