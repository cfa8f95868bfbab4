"""The verdict is the library's own, for every keyword and draft; only the time it takes is another."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.filters.json_schema.references import Unusable
from gateway.filters.json_schema.validate import Compiled

DRAFTS = {
    "http://json-schema.org/draft-06/schema#": jsonschema_rs.Draft6Validator,
    "http://json-schema.org/draft-07/schema#": jsonschema_rs.Draft7Validator,
    "https://json-schema.org/draft/2019-09/schema": jsonschema_rs.Draft201909Validator,
    "https://json-schema.org/draft/2020-12/schema": jsonschema_rs.Draft202012Validator,
}
scalars = st.sampled_from([None, True, False, 0, 1, 2, 1.0, 1.5, -1, "", "a", "b", "ab"])
values = st.recursive(
    scalars,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from("abcx"), v, max_size=3),
    max_leaves=6,
)
types = st.sampled_from(["string", "integer", "number", "boolean", "null", "object", "array"])
names = st.sampled_from("abcx")
name_lists = st.lists(names, max_size=2, unique=True)
small = st.integers(0, 2)


def keywords(s: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    some = st.lists(s, min_size=1, max_size=2)
    patterns = st.sampled_from(["a", "^b$", "^.$"])
    return st.fixed_dictionaries(
        {},
        optional={
            "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
            "enum": st.lists(scalars, min_size=1, max_size=3, unique_by=repr),
            "const": scalars,
            "minimum": small,
            "exclusiveMaximum": small,
            "maxLength": small,
            "pattern": patterns,
            "required": name_lists,
            "maxItems": small,
            "uniqueItems": st.booleans(),
            "minProperties": small,
            "properties": st.dictionaries(names, s, max_size=2),
            "patternProperties": st.dictionaries(patterns, s, max_size=1),
            "additionalProperties": s,
            "propertyNames": s,
            "items": s,
            "prefixItems": some,
            "contains": s,
            "minContains": small,
            "maxContains": small,
            "allOf": some,
            "anyOf": some,
            "oneOf": some,
            "not": s,
            "if": s,
            "then": s,
            "else": s,
            "dependentSchemas": st.dictionaries(names, s, max_size=1),
            "dependencies": st.dictionaries(
                names, s | st.lists(names, min_size=1, max_size=2, unique=True), max_size=1
            ),
            "dependentRequired": st.dictionaries(names, name_lists, max_size=1),
            "$ref": st.sampled_from(["#/$defs/a", "#/$defs/b", "#"]),
        },
    )


schemas = st.recursive(st.booleans() | st.builds(lambda t: {"type": t}, types), keywords, max_leaves=6)


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(keywords(schemas), schemas, schemas, st.lists(values, min_size=5, max_size=5), st.sampled_from(list(DRAFTS)))
def test_the_same_verdict(schema: dict[str, Any], a: Any, b: Any, tried: list[Any], draft: str) -> None:
    schema = schema | {"$defs": {"a": a, "b": b}}
    try:
        ours = Compiled(schema | {"$schema": draft})
    except Unusable as e:
        assume("refers to itself" not in e.why)
        raise
    theirs = DRAFTS[draft](schema, offline=True)
    for value in tried:
        assert (ours.fault(value) is None) == theirs.is_valid(value)


@pytest.mark.parametrize(
    ("schema", "value", "fault"),
    [
        ({"oneOf": [{"type": "integer"}, {"minimum": 0}]}, 1, ("", "is more than one of the alternatives")),
        ({"not": {"type": "integer"}}, 1, ("", "is what the schema does not allow")),
        ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, ("ab", "has a name that is not allowed")),
        ({"items": {"contains": {"const": 1}}}, [[2]], ("[0]", "has 0 elements of a kind")),
        ({"if": {"type": "integer"}, "then": {"minimum": 3}}, 1, ("", "is less than the minimum of 3")),
        ({"dependentSchemas": {"a": {"required": ["b"]}}}, {"a": 1}, ("", '"b" is a required property')),
        ({"dependencies": {"a": ["b"]}}, {"a": 1}, ("", '"b" is a required property')),
        ({"items": {"patternProperties": {"^a": {"type": "string"}}}}, [{"ab": 1}], ("[0].ab", "is not of type")),
        ({"enum": [{"a": 1}]}, {"a": 2}, ("", "is not one of")),
        ({"properties": {"a": {"uniqueItems": True}}}, {"a": [1, 1]}, ("a", "has non-unique elements")),
    ],
)
def test_faults(schema: dict[str, Any], value: Any, fault: tuple[str, str]) -> None:
    found = Compiled(schema).fault(value)
    assert found is not None
    assert found[0] == fault[0]
    assert found[1].startswith(fault[1])
