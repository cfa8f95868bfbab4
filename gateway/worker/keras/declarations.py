"""Tools and values in Gemma 4's own notation, for the prompt: https://ai.google.dev/gemma/docs/core.

    declaration:NAME{description:<|"|>...<|"|>,parameters:{properties:{KEY:{...}},required:[...],type:<|"|>OBJECT<|"|>}}
    call:NAME{KEY:VALUE,...}    response:NAME{KEY:VALUE,...}

Keys are sorted without regard to case, so that the same tool gives the same tokens whatever its client's key order. The
notation has no place for `minimum`, `pattern`, `anyOf` and the like: as with every server, the model does not see them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.canonical.requests import Tool
from gateway.filters.gemma4.grammar import DELIM
from gateway.worker.keras.pieces import Pieces

Json = dict[str, Any]


def declare(tool: Tool, out: Pieces) -> None:
    """One tool's declaration, without the markers around it."""
    out.marks("declaration:")
    out.words(tool.name)
    out.marks("{description:")
    _quoted(tool.description or "", out)
    schema = tool.parameters
    if schema:
        out.marks(",parameters:{")
        properties = schema.get("properties")
        if isinstance(properties, dict) and properties:
            out.marks("properties:{")
            _properties(properties, out)
            out.marks("},")
        if _names(schema.get("required")):
            out.marks("required:[")
            _list(_names(schema.get("required")), out)
            out.marks("],")
        out.marks("type:")
        _quoted((_type(schema) or "object").upper(), out)
        out.marks("}")
    out.marks("}")


def fields(value: Json, out: Pieces) -> None:
    """The inside of a call's or a response's braces."""
    for number, (key, inner) in enumerate(_sorted(value)):
        out.marks("," if number else "")
        out.words(key)
        out.marks(":")
        write(inner, out, bare_keys=True)


def write(value: Any, out: Pieces, *, bare_keys: bool) -> None:
    """Any JSON value. `bare_keys`: the keys of objects stand without delimiters, as in calls."""
    if value is None:
        out.marks("null")
    elif isinstance(value, str):
        _quoted(value, out)
    elif isinstance(value, bool):
        out.marks("true" if value else "false")
    elif isinstance(value, dict):
        out.marks("{")
        for number, (key, inner) in enumerate(_sorted(value)):
            out.marks("," if number else "")
            if bare_keys:
                out.words(key)
            else:
                _quoted(key, out)
            out.marks(":")
            write(inner, out, bare_keys=bare_keys)
        out.marks("}")
    elif isinstance(value, list):
        out.marks("[")
        for number, inner in enumerate(value):
            out.marks("," if number else "")
            write(inner, out, bare_keys=bare_keys)
        out.marks("]")
    else:
        out.marks(str(value))  # a number


def _properties(properties: Json, out: Pieces) -> None:
    for number, (key, value) in enumerate(_sorted(properties)):
        out.marks("," if number else "")
        out.words(key)
        out.marks(":{")
        _property(value if isinstance(value, dict) else {}, out)
        out.marks("}")


def _property(schema: Json, out: Pieces) -> None:
    kind = _type(schema)
    if schema.get("description"):
        out.marks("description:")
        _quoted(str(schema["description"]), out)
        out.marks(",")
    if kind == "string" and isinstance(schema.get("enum"), list) and schema["enum"]:
        out.marks("enum:")
        write(schema["enum"], out, bare_keys=False)
        out.marks(",")
    items = schema.get("items")
    if kind == "array" and isinstance(items, dict) and items:
        out.marks("items:{")
        _items(items, out)
        out.marks("},")
    if schema.get("nullable") or _may_be_null(schema):
        out.marks("nullable:true,")
    if kind == "object":
        out.marks("properties:{")
        properties = schema.get("properties")
        _properties(properties if isinstance(properties, dict) else {}, out)
        out.marks("},")
        if _names(schema.get("required")):
            out.marks("required:[")
            _list(_names(schema.get("required")), out)
            out.marks("],")
    out.marks("type:")
    _quoted(kind.upper(), out)


def _items(schema: Json, out: Pieces) -> None:
    """The schema of an array's elements: every field of it, unlike a property's."""
    known = [(key, value) for key, value in _sorted(schema) if value is not None]
    for number, (key, value) in enumerate(known):
        out.marks("," if number else "")
        if key == "properties":
            out.marks("properties:{")
            _properties(value if isinstance(value, dict) else {}, out)
            out.marks("}")
        elif key == "required":
            out.marks("required:[")
            _list(_names(value), out)
            out.marks("]")
        elif key == "type":
            out.marks("type:")
            upper = value.upper() if isinstance(value, str) else [str(v).upper() for v in _each(value)]
            write(upper, out, bare_keys=False)
        else:
            out.words(key)
            out.marks(":")
            write(value, out, bare_keys=False)


def _type(schema: Json) -> str:
    """The schema's type in lower case, "" if it has none; of several the first that is not null."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return kind.lower()
    return next((str(k).lower() for k in _each(kind) if k != "null"), "")


def _may_be_null(schema: Json) -> bool:
    return not isinstance(schema.get("type"), str) and "null" in _each(schema.get("type"))


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _names(value: Any) -> list[str]:
    return [v for v in _each(value) if isinstance(v, str)]


def _list(names: Iterable[str], out: Pieces) -> None:
    for number, name in enumerate(names):
        out.marks("," if number else "")
        _quoted(name, out)


def _quoted(text: str, out: Pieces) -> None:
    out.marks(DELIM)
    out.words(text)
    out.marks(DELIM)


def _sorted(value: Json) -> list[tuple[str, Any]]:
    return sorted(value.items(), key=lambda item: item[0].lower())
