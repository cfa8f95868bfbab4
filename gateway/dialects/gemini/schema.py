"""This dialect's `Schema`, a subset of OpenAPI's with upper-case types -> JSON Schema.

Clients also write plain JSON Schema into the fields for it: what is that already stays as it is. The names of
properties are the user's own. Source: https://ai.google.dev/api/caching#Schema.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.dialects.fields import INT64, Json, fields, wrong_type
from gateway.dialects.gemini.fields import plain, snake, under, whole
from gateway.errors import BadRequest

DEEPEST: Final = 64

_COUNTS: Final = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_WORDS: Final = ("additionalProperties", "anyOf", "defs", "ref", "propertyOrdering", "nullable", "example", *_COUNTS)
_NAMES: Final = {spelling: name for name in _WORDS for spelling in (name, snake(name))}
_BOUNDS: Final = frozenset(("minimum", "maximum"))
_ONE: Final = frozenset(("items", "not", "if", "then", "else", "contains", "propertyNames"))
_MANY: Final = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_NAMED: Final = frozenset(("properties", "$defs", "patternProperties"))


def to_json_schema(value: object, path: str, depth: int = 0) -> Json:
    """Raises BadRequest with the path of what is no schema."""
    if depth > DEEPEST:
        raise BadRequest(f"`{path}` is nested too deeply", param=path)
    out: Json = {}
    nullable = False
    ordering: list[Any] = []
    for key, entry in fields(value, path).items():
        name = _NAMES.get(key, key)
        where = under(path, key)
        if entry is None and name not in ("default", "const"):
            continue
        if name == "nullable":
            nullable = entry is True
        elif name == "propertyOrdering":
            ordering = entry if isinstance(entry, list) else []
        elif name == "type":
            kind = _type(entry, where)
            if kind is not None:
                out["type"] = kind
        elif name == "example":
            out["examples"] = [plain(entry)]
        elif name == "ref":
            out["$ref"] = entry.replace("#/defs/", "#/$defs/") if isinstance(entry, str) else entry
        elif name in _COUNTS:
            out[name] = whole(entry, where, 0, INT64)
        elif name in _BOUNDS:
            out[name] = _bound(entry)
        else:
            out["$defs" if name == "defs" else name] = _inner("$defs" if name == "defs" else name, entry, where, depth)
    if ordering and isinstance(out.get("properties"), dict):
        held = out["properties"]
        first = [p for p in dict.fromkeys(p for p in ordering if isinstance(p, str)) if p in held]
        out["properties"] = {p: held[p] for p in [*first, *(p for p in held if p not in first)]}
    return _nullable(out) if nullable else out


def _inner(name: str, entry: Any, path: str, depth: int) -> Any:
    if name in _NAMED:
        return {k: _schema(v, f"{path}.{k}", depth) for k, v in fields(entry, path).items()}
    if name in _MANY:
        if not isinstance(entry, list):
            raise wrong_type(path, "an array", entry)
        return [_schema(v, f"{path}[{i}]", depth) for i, v in enumerate(entry)]
    if name in _ONE or (name == "additionalProperties" and isinstance(entry, dict)):
        return _schema(entry, path, depth)
    return plain(entry)


def _schema(value: object, path: str, depth: int) -> Any:
    """JSON Schema allows a boolean wherever a schema stands."""
    return value if isinstance(value, bool) else to_json_schema(value, path, depth + 1)


def _type(value: object, path: str) -> Any:
    if isinstance(value, list):
        return [_type(v, path) for v in value]
    if not isinstance(value, str):
        raise wrong_type(path, "a string", value)
    return None if value.upper() == "TYPE_UNSPECIFIED" else value.lower()


def _bound(value: Any) -> Any:
    """Bounds are floats there: `5.0` is 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _nullable(schema: Json) -> Json:
    """null is added everywhere a value is ruled out otherwise: a grammar made of the schema would forbid it."""
    kind = schema.get("type")
    if isinstance(kind, str) and kind != "null":
        schema["type"] = [kind, "null"]
    elif isinstance(kind, list) and "null" not in kind:
        schema["type"] = [*kind, "null"]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    if isinstance(schema.get("anyOf"), list) and {"type": "null"} not in schema["anyOf"]:
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return schema
