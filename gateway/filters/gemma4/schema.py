"""Which types a declared parameter may have. Only what decides a value's type is read: `type` (a name or a list, in any
case), `nullable`, `enum`, `const`, `anyOf`, `oneOf`, `allOf`, local `$ref`, `properties`, `additionalProperties`,
`items`, `prefixItems`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_MOST = 64
"""Schemas that are looked at for one question: a reference may lead back to itself."""


class Types:
    """Looks things up in one tool's schema. Nothing raises, whatever it holds: what can't be read is unknown."""

    __slots__ = ("root",)

    def __init__(self, root: Schema | None) -> None:
        self.root = root

    def allowed(self, schema: Schema | None) -> frozenset[str] | None:
        """The JSON types that `schema` allows; None: any, or nobody knows."""
        found: set[str] = set()
        known = False
        for one in self._shapes(schema):
            types = _types(one)
            if types:
                known = True
                found |= types
        return frozenset(found) if known else None

    def member(self, schema: Schema | None, key: str) -> Schema | None:
        """The schema of an object's member."""
        extra: Schema | None = None
        for one in self._shapes(schema):
            properties = one.get("properties")
            if isinstance(properties, dict) and isinstance(properties.get(key), dict):
                member: Schema = properties[key]
                return member
            more = one.get("additionalProperties")
            if extra is None and isinstance(more, dict):
                extra = more
        return extra

    def names(self, schema: Schema | None) -> frozenset[str]:
        """The declared names of an object's members."""
        found: set[str] = set()
        for one in self._shapes(schema):
            properties = one.get("properties")
            if isinstance(properties, dict):
                found |= {name for name in properties if isinstance(name, str)}
        return frozenset(found)

    def item(self, schema: Schema | None, index: int) -> Schema | None:
        """The schema of an array's element."""
        for one in self._shapes(schema):
            prefix = one.get("prefixItems")
            if isinstance(prefix, list) and index < len(prefix) and isinstance(prefix[index], dict):
                first: Schema = prefix[index]
                return first
            items = one.get("items")
            if isinstance(items, dict):
                return items
        return None

    def _shapes(self, schema: Schema | None) -> Iterator[Schema]:
        """`schema` and everything that it refers to or combines."""
        waiting: list[Any] = [schema]
        for _ in range(_MOST):
            if not waiting:
                return
            one = waiting.pop(0)
            if not isinstance(one, dict):
                continue
            yield one
            ref = one.get("$ref")
            if isinstance(ref, str):
                waiting.append(self._resolve(ref))
            for word in ("allOf", "anyOf", "oneOf"):
                branches = one.get(word)
                if isinstance(branches, list):
                    waiting += branches

    def _resolve(self, ref: str) -> Schema | None:
        if not ref.startswith("#/"):
            return None
        at: Any = self.root
        for step in ref[2:].split("/"):
            if not isinstance(at, dict):
                return None
            at = at.get(step.replace("~1", "/").replace("~0", "~"))
        return at if isinstance(at, dict) else None


def _types(schema: Schema) -> set[str]:
    told = schema.get("type")
    names = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    types = {name.lower() for name in names if isinstance(name, str)}
    if not types:
        values = schema["enum"] if isinstance(schema.get("enum"), list) else []
        types = {_type_of(v) for v in ([schema["const"]] if "const" in schema else values)}
    if not types and isinstance(schema.get("properties"), dict):
        types = {"object"}
    if types and schema.get("nullable") is True:
        types.add("null")
    return types


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
