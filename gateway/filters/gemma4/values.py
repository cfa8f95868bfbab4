"""Single values: what a word on the wire is, as JSON text, once the schema said what it may be."""

from __future__ import annotations

import json
import re

LITERALS = ("true", "false", "null")
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_LOOSE_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"-?\d+(?:\.0+)?", re.ASCII)


def dumps(text: str) -> str:
    """A JSON string."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(text)  # half a surrogate pair can't be written as UTF-8
    return json.dumps(text, ensure_ascii=False)


def coerced(token: str, types: frozenset[str]) -> str | None:
    """The JSON text of a word that the schema makes a number, a boolean or null; None if it does not."""
    whole = "number" in types or ("integer" in types and _WHOLE.fullmatch(token.lstrip("+")))
    if whole and _LOOSE_NUMBER.fullmatch(token):
        return _number(token)
    if "boolean" in types and token.lower() in ("true", "false"):
        return token.lower()
    if "null" in types and token in ("None", "NULL", "nil"):
        return "null"
    return None


def _number(token: str) -> str:
    """A number as JSON writes it, digits untouched: `+5` -> `5`, `.5` -> `0.5`, `02134` -> `2134`, `5.` -> `5`."""
    sign = "-" if token[0] == "-" else ""
    mantissa, e, power = token.lstrip("+-").replace("E", "e").partition("e")
    whole, _, fraction = mantissa.partition(".")
    return sign + (whole.lstrip("0") or "0") + ("." + fraction if fraction else "") + e + power


def structure(token: str, types: frozenset[str]) -> str | None:
    try:
        value = json.loads(token)
    except (ValueError, RecursionError):
        return None
    return token if ("object" if isinstance(value, dict) else "array") in types else None


def unquoted(quote: str, body: str) -> str:
    """The text of a JSON string (escapes undone; all of it literal if one is wrong) or a Python one (only its own quote
    is escaped: models write regular expressions and paths in them)."""
    if quote == "'":
        return body.replace("\\'", "'")
    try:
        value = json.loads(
            '"' + re.sub(r'(\\.)|"', lambda m: m.group(1) or '\\"', body, flags=re.DOTALL) + '"', strict=False
        )
    except ValueError:
        return body
    return value if isinstance(value, str) else body
