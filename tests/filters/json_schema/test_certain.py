from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.filters.json_schema.certain import item, member, types_of, ways_of

ROOT = {
    "$defs": {
        "n": {"type": "number"},
        "loop": {"$ref": "#/$defs/loop"},
        "many": {"allOf": [{"anyOf": [{"type": "integer"}, {"type": "null"}]}] * 9, "type": "integer"},
    }
}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer"}, {"integer"}),
        ({"type": "NUMBER"}, {"integer", "number"}),
        ({"type": "integer", "nullable": True}, {"integer", "null"}),
        ({"const": 1}, {"integer"}),
        ({"$ref": "#/$defs/n"}, {"integer", "number"}),
        ({"$ref": "#/$defs/n", "type": "integer"}, {"integer"}),
        ({"anyOf": [{"type": "integer"}, {"const": None}]}, {"integer", "null"}),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"integer", "string"}),
        ({"allOf": [{"type": ["integer", "string"]}, {"type": "integer"}]}, {"integer"}),
        ({"anyOf": [{"type": "integer"}, False]}, {"integer"}),
        ({"$ref": "#/$defs/many"}, {"integer"}),  # too many ways: what holds for all of them counts
        ({"anyOf": [{"type": "integer"}, {}]}, None),
        ({"anyOf": [{"type": "integer"}, True]}, None),
        ({"allOf": [{"type": "integer"}, {"type": "string"}]}, None),
        ({"type": "integer", "enum": ["1"]}, None),
        ({"properties": {}}, None),
        ({"$ref": "#/$defs/loop"}, None),
        ({"$ref": "#/$defs/nothing"}, None),
        ({"$ref": "https://x.y"}, None),
        ({}, None),
        (True, None),
        (False, None),
        (None, None),
        ({"type": 3, "anyOf": 4, "enum": "x", "$ref": []}, None),
    ],
)
def test_types(schema: Any, expected: set[str] | None) -> None:
    assert types_of(ways_of(ROOT, schema)) == expected


def test_members_and_items() -> None:
    n, s = {"type": "integer"}, {"type": "string"}

    def member_types(schema: Any, name: str) -> frozenset[str] | None:
        return types_of(member(ROOT, ways_of(ROOT, schema), name))

    def item_types(schema: Any, index: int) -> frozenset[str] | None:
        return types_of(item(ROOT, ways_of(ROOT, schema), index))

    assert member_types({"properties": {"a": n}}, "a") == {"integer"}
    assert member_types({"properties": {"a": n}}, "b") is None
    assert member_types({"properties": {"a": n}, "additionalProperties": s}, "b") == {"string"}
    assert member_types({"additionalProperties": n, "patternProperties": {"b": s}}, "b") is None
    assert member_types({"anyOf": [{"type": "object", "properties": {"a": n}}, {"type": "null"}]}, "a") == {"integer"}
    assert member_types({"anyOf": [{"properties": {"a": n}}, {"properties": {"b": s}}]}, "a") is None
    assert member_types({"allOf": [{"properties": {"a": n}}, {"properties": {"b": s}}]}, "a") == {"integer"}
    assert member_types({"type": "string"}, "a") is None
    assert item_types({"items": n}, 5) == {"integer"}
    assert item_types({"prefixItems": [s], "items": n}, 0) == {"string"}
    assert item_types({"prefixItems": [s], "items": n}, 1) == {"integer"}
    assert item_types({"items": [s], "additionalItems": n}, 1) == {"integer"}
    assert item_types({"type": "array"}, 0) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda v: (
            st.lists(v, max_size=3)
            | st.dictionaries(st.sampled_from(["type", "anyOf", "allOf", "properties", "$ref", "items", "enum"]), v)
        ),
        max_leaves=10,
    )
)
def test_nothing_raises(schema: Any) -> None:
    root = schema if isinstance(schema, dict) else {}
    ways = ways_of(root, schema)
    types_of(ways)
    member(root, ways, "x")
    item(root, ways, 0)
