from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.filters.gemma4.schema import Types


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (None, None),
        ({}, None),
        ({"type": "STRING"}, {"string"}),
        ({"type": ["integer", "null"]}, {"integer", "null"}),
        ({"type": "string", "nullable": True}, {"string", "null"}),
        ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, {"integer", "null"}),
        ({"anyOf": [{}, {"type": "string"}]}, {"string"}),
        (
            {"enum": ["a", 1, None, 1.5, True, [], {}]},
            {"string", "integer", "null", "number", "boolean", "array", "object"},
        ),
        ({"const": "a"}, {"string"}),
        ({"properties": {}}, {"object"}),
        ({"$ref": "#/$defs/a~1b"}, {"boolean"}),
        ({"$ref": "#/$defs/loop"}, None),
        ({"$ref": "#/nowhere"}, None),
        ({"$ref": "https://x.y"}, None),
        ({"type": 3, "anyOf": 4, "enum": "x"}, None),
    ],
)
def test_allowed(schema: Any, expected: set[str] | None) -> None:
    root = {"$defs": {"a/b": {"type": "boolean"}, "loop": {"$ref": "#/$defs/loop"}}}
    assert Types(root).allowed(schema) == expected


def test_members_and_items() -> None:
    types = Types(None)
    one, two = {"type": "string"}, {"type": "integer"}
    schema = {"properties": {"a": one}, "additionalProperties": two, "allOf": [{"properties": {"b": two}}]}
    assert types.member(schema, "a") == one
    assert types.member(schema, "b") == two
    assert types.member(schema, "c") == two
    assert types.names(schema) == {"a", "b"}
    assert types.item({"prefixItems": [one], "items": two}, 0) == one
    assert types.item({"prefixItems": [one], "items": two}, 1) == two
    assert types.item({"items": True}, 0) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5),
        lambda v: (
            st.lists(v, max_size=3)
            | st.dictionaries(st.sampled_from(["type", "anyOf", "properties", "$ref", "items", "enum", "nullable"]), v)
        ),
        max_leaves=10,
    )
)
def test_nothing_raises(schema: Any) -> None:
    types = Types(schema if isinstance(schema, dict) else None)
    types.allowed(schema)
    types.member(schema, "x")
    types.names(schema)
    types.item(schema, 0)
