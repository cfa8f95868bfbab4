"""JSON Schema -> what this dialect's servers take: JSON Schema with their restrictions (`tidy`), or, for models without
that, the `Schema` form (`to_openapi`), which has no references, no type lists and no enumerations but of strings.

Sources: https://ai.google.dev/gemini-api/docs/structured-output, https://ai.google.dev/api/caching#Schema.
"""

from __future__ import annotations

import json
from typing import Any, Final

from gateway.dialects.fields import Json
from gateway.dialects.gemini.schema import DEEPEST

_KEPT: Final = (
    "title",
    "default",
    "pattern",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
    "propertyOrdering",
)
_FORMATS: Final = frozenset(("enum", "date-time", "int32", "int64", "float", "double"))
_TYPES: Final = frozenset(("string", "number", "integer", "boolean", "array", "object"))
_REF_DEPTH: Final = 8
"""How often references are followed within each other: beyond that they are taken for a recursion."""
_MOST_NODES: Final = 4096
"""References that are written out multiply: beyond so many nodes of one schema, anything is allowed."""


def tidy(schema: Json) -> Json:
    """JSON Schema as the fields for it take it: a reference stands alone, and what speaks of the document or of another
    API goes. The user's properties may have any name."""
    return {k: v for k, v in _tidy(schema, 0).items() if k not in ("$schema", "strict")}


def _tidy(value: Any, depth: int) -> Any:
    if not isinstance(value, dict) or depth > DEEPEST:
        return value
    if "$ref" in value:
        value = {k: v for k, v in value.items() if k.startswith("$")}
    out: Json = {}
    for key, entry in value.items():
        if key in ("properties", "$defs", "definitions", "patternProperties") and isinstance(entry, dict):
            out[key] = {k: _tidy(v, depth + 1) for k, v in entry.items()}
        elif key in ("items", "additionalProperties", "not"):
            out[key] = _tidy(entry, depth + 1)
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(entry, list):
            out[key] = [_tidy(v, depth + 1) for v in entry]
        else:
            out[key] = entry
    return out


def is_empty(schema: Json | None) -> bool:
    """Does it describe a function without parameters? An object without properties would be refused."""
    if schema is None:
        return True
    return not schema.get("properties") and not (set(schema) & {"$ref", "anyOf", "oneOf", "allOf", "patternProperties"})


def to_openapi(schema: Json, *, ordered: bool = False) -> Json:
    """The `Schema` form. `ordered` writes the order of properties down: otherwise the answer has them alphabetically.
    What the form can't say is left out; the gateway checks answers against the schema itself."""
    return _Converter(schema, ordered).convert(schema, 0, ())


class _Converter:
    def __init__(self, root: Json, ordered: bool) -> None:
        self._root = root
        self._ordered = ordered
        self._nodes = 0

    def convert(self, schema: Any, depth: int, seen: tuple[str, ...]) -> Json:
        self._nodes += 1
        if not isinstance(schema, dict) or depth > DEEPEST or self._nodes > _MOST_NODES:
            return {"type": "OBJECT"}
        schema, seen = self._resolved(schema, seen)
        if schema is None:
            return {"type": "OBJECT"}
        schema = self._merged(schema, seen)
        nullable = schema.get("nullable") is True
        kind = schema.get("type")
        if isinstance(kind, list):
            nullable = nullable or "null" in kind
            kinds = [k for k in kind if k != "null"]
            kind = kinds[0] if len(kinds) == 1 else None
            if len(kinds) > 1:
                others = {k: v for k, v in schema.items() if k not in ("type", "title", "description", "default")}
                schema = {k: v for k, v in schema.items() if k in ("title", "description", "default")}
                schema["anyOf"] = [{**others, "type": k} for k in kinds]
        branches = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(branches, list) and branches:
            return self._branches(schema, branches, nullable, depth, seen)
        return self._plain(schema, kind, nullable, depth, seen)

    def _resolved(self, schema: Json, seen: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
        """Follows `$ref`; the words beside it (a description) win. None for a recursion."""
        while isinstance(schema.get("$ref"), str):
            ref = schema["$ref"]
            if ref in seen or len(seen) >= _REF_DEPTH:
                return None, seen
            target = self._find(ref)
            if target is None:
                return None, seen
            seen = (*seen, ref)
            schema = {**target, **{k: v for k, v in schema.items() if not k.startswith("$")}}
        return schema, seen

    def _find(self, ref: str) -> Json | None:
        here: Any = self._root
        for step in ref.removeprefix("#").strip("/").split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            if not step:
                continue
            here = here.get(step) if isinstance(here, dict) else None
        return here if isinstance(here, dict) else None

    def _merged(self, schema: Json, seen: tuple[str, ...]) -> Json:
        """`allOf` becomes one schema: properties and requirements together, for the rest the later one wins."""
        if not isinstance(schema.get("allOf"), list):
            return schema
        out: Json = {}
        for branch in [*schema["allOf"], {k: v for k, v in schema.items() if k != "allOf"}]:
            if not isinstance(branch, dict):
                continue
            part, inside = self._resolved(branch, seen)
            part = self._merged(part, inside) if part is not None else {}
            properties = {**_dict(out.get("properties")), **_dict(part.get("properties"))}
            required = [r for s in (out, part) for r in _list(s.get("required")) if isinstance(r, str)]
            out |= part
            if properties:
                out["properties"] = properties
            if required:
                out["required"] = list(dict.fromkeys(required))
        return out

    def _branches(self, schema: Json, branches: list[Any], nullable: bool, depth: int, seen: tuple[str, ...]) -> Json:
        """One branch beside null is that branch, nullable. Several stand alone: nothing may stand beside them but
        what describes them."""
        real = [b for b in branches if not (isinstance(b, dict) and b.get("type") == "null")]
        nullable = nullable or len(real) < len(branches)
        about: Json = {k: schema[k] for k in ("title", "description", "default") if k in schema}
        out: Json = {}
        if len(real) == 1:
            out = self.convert(real[0], depth + 1, seen)
        elif real:
            out["anyOf"] = [self.convert(b, depth + 1, seen) for b in real]
        out |= about
        if nullable:
            out["nullable"] = True
        return out

    def _plain(self, schema: Json, kind: Any, nullable: bool, depth: int, seen: tuple[str, ...]) -> Json:
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        values = list(values) if isinstance(values, list) else []
        if None in values:
            nullable = True
            values = [v for v in values if v is not None]
        kind = kind if isinstance(kind, str) and kind in _TYPES else _kind_of(schema, values)
        out: Json = {"type": kind.upper()} if kind else {}
        if nullable:
            out["nullable"] = True
        if schema.get("format") in tuple(_FORMATS):
            out["format"] = schema["format"]
        out |= {k: schema[k] for k in _KEPT if k in schema}
        description = schema.get("description")
        if values and kind == "string" and all(isinstance(v, str) for v in values):
            named = [v for v in values if v]
            if named:
                out["enum"] = named
        elif values:
            # as strings they would change the type of the answer
            choices = f"(one of: {', '.join(json.dumps(v, ensure_ascii=False) for v in values)})"
            description = f"{description} {choices}" if description else choices
        if description:
            out["description"] = description
        if kind == "array":
            out["items"] = self.convert(_item(schema), depth + 1, seen)
        if kind == "object":
            self._properties(schema, out, depth, seen)
        return out

    def _properties(self, schema: Json, out: Json, depth: int, seen: tuple[str, ...]) -> None:
        properties = _dict(schema.get("properties"))
        if properties:
            out["properties"] = {k: self.convert(v, depth + 1, seen) for k, v in properties.items()}
            if self._ordered and "propertyOrdering" not in out:
                out["propertyOrdering"] = list(properties)
        required = [r for r in _list(schema.get("required")) if isinstance(r, str) and r in properties]
        if required:
            out["required"] = required


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _item(schema: Json) -> Any:
    items = schema.get("items")
    if isinstance(items, dict) and items:
        return items
    tuple_ = schema.get("prefixItems")
    if isinstance(tuple_, list) and len(tuple_) == 1:
        return tuple_[0]
    return {"anyOf": tuple_} if isinstance(tuple_, list) and tuple_ else {"type": "object"}


def _kind_of(schema: Json, values: list[Any]) -> str:
    """The type of a schema that does not say it."""
    if "properties" in schema or "additionalProperties" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    if values and all(isinstance(v, bool) for v in values):
        return "boolean"
    if values and all(isinstance(v, int) and not isinstance(v, bool) for v in values):
        return "integer"
    if values and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return "number"
    return "string" if values else ""
