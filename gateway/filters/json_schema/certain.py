"""Which types a schema leaves no doubt about. Where alternatives differ, or one of them says nothing, there is doubt.

The keywords are read as in gateway.filters.gemma4.schema, with one difference: there it is enough that a type is
possible, here it must be the only way. All keywords of a schema hold at once, so one that is not read here can only
take types away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from gateway.filters.gemma4.schema import Types
from gateway.filters.json_schema.references import Schema, resolve

Way = list[Schema]
"""Schemas that all hold at once."""

_MOST_WAYS: Final = 32
_MOST_LEVELS: Final = 16
_COMBINING: Final = frozenset(("$ref", "allOf", "anyOf", "oneOf"))
_TELLING: Final = (("type", "nullable"), ("enum",), ("const",))
_FLAT = Types(None)


def ways_of(root: Schema, schema: Any, level: int = 0) -> list[Way]:
    """All the ways in which a value may meet `schema`, a part of `root`; a way of no schemas: nobody knows."""
    if schema is False:
        return []
    if not isinstance(schema, dict):
        return [[]]
    own = [{k: v for k, v in schema.items() if k not in _COMBINING}]
    if level >= _MOST_LEVELS:
        return [own]
    out: list[Way] = [own]
    for alternatives in _combined(root, schema):
        found = [way for one in alternatives for way in ways_of(root, one, level + 1)]
        if len(out) * len(found) > _MOST_WAYS:
            return [own]
        out = [[*way, *more] for way in out for more in found]
    return out


def types_of(ways: list[Way]) -> frozenset[str] | None:
    """The JSON types that a value can have, whichever way it is valid; None: any, or nobody knows."""
    found: set[str] = set()
    for way in ways:
        types = _types(way)
        if not types:
            return None
        found |= types
    return frozenset(found) or None


def member(root: Schema, ways: list[Way], name: str) -> list[Way]:
    """The ways for an object's member."""
    return _part(root, ways, "object", lambda schema: _member(schema, name))


def item(root: Schema, ways: list[Way], index: int) -> list[Way]:
    """The ways for an array's element."""
    return _part(root, ways, "array", lambda schema: _item(schema, index))


def _combined(root: Schema, schema: Schema) -> Iterator[list[Any]]:
    """Lists of alternatives, of each of which one must hold."""
    ref = schema.get("$ref")
    if isinstance(ref, str):
        try:
            yield [resolve(root, ref)]
        except LookupError:
            yield [True]
    all_of = schema.get("allOf")
    if isinstance(all_of, list):
        yield from ([one] for one in all_of)
    for word in ("anyOf", "oneOf"):
        branches = schema.get(word)
        if isinstance(branches, list) and branches:
            yield branches


def _types(way: Way) -> frozenset[str] | None:
    """None: any; empty: contradictory."""
    out: frozenset[str] | None = None
    for schema in way:
        for words in _TELLING:
            told = _FLAT.allowed({k: schema[k] for k in words if k in schema})
            if told is not None:
                told = told | {"integer"} if "number" in told else told
                out = told if out is None else out & told
    return out


def _part(root: Schema, ways: list[Way], kind: str, pick: Callable[[Schema], Any]) -> list[Way]:
    out: list[Way] = []
    for way in ways:
        types = _types(way)
        if types is not None and kind not in types:
            continue
        declared = [one for one in map(pick, way) if one is not None]
        if not declared:
            return [[]]
        out += ways_of(root, {"allOf": declared})
        if len(out) > _MOST_WAYS:
            return [[]]
    return out or [[]]


def _member(schema: Schema, name: str) -> Any:
    declared = schema.get("properties")
    if isinstance(declared, dict) and name in declared:
        return declared[name]
    return None if schema.get("patternProperties") else schema.get("additionalProperties")


def _item(schema: Schema, index: int) -> Any:
    first, rest = schema.get("prefixItems"), schema.get("items")
    if isinstance(rest, list):
        first, rest = rest, schema.get("additionalItems")
    if isinstance(first, list) and index < len(first):
        return first[index]
    return rest
