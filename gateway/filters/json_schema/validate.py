"""Does a value meet its schema? Draft 2020-12 unless `$schema` says otherwise. `format` is told, not held, as that
draft has it: https://json-schema.org/draft/2020-12/json-schema-validation#section-7.2.1
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import jsonschema_rs
import msgspec

from gateway.errors import BadRequest
from gateway.filters.json_schema.judge import Judge, Rules, TooMuch
from gateway.filters.json_schema.references import Schema, Unusable, join, look_through

Fault = tuple[str, str]
"""(path in the value, what is wrong there); the path is "" for the value itself."""

MOST_TEXT: Final = 128 * 1024
"""Octets of a schema."""
_MOST_KEPT: Final = 32
_LONGEST: Final = 240
"""Characters of what is said about a value, and of the way to it."""
_DRAFTS: Final = {
    "json-schema.org/draft-04/schema": (4, jsonschema_rs.Draft4Validator),
    "json-schema.org/draft-06/schema": (6, jsonschema_rs.Draft6Validator),
    "json-schema.org/draft-07/schema": (7, jsonschema_rs.Draft7Validator),
    "json-schema.org/draft/2019-09/schema": (2019, jsonschema_rs.Draft201909Validator),
    "json-schema.org/draft/2020-12/schema": (2020, jsonschema_rs.Draft202012Validator),
}
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 18)
"""Without look-around and back references, which take more than linear time; servers' grammars have neither."""


def check_schema(schema: Schema, path: str) -> None:
    """Raises BadRequest with the path of what is wrong for a schema that can't be used; `path` is the schema's own."""
    compiled(schema, path)


def compiled(schema: Schema, path: str = "") -> Compiled:
    """The schema, ready to judge values. Raises as `check_schema`. Those used last are kept, by their content."""
    try:
        text = msgspec.json.encode(schema)
        if len(text) > MOST_TEXT:
            raise Unusable("", f"is longer than {MOST_TEXT} octets")
        return _kept(text)
    except Unusable as e:
        where = path + ("." if path and e.path and e.path[0] != "[" else "") + e.path
        raise BadRequest(f"`{where}` {e.why}", param=where or None) from None
    except (TypeError, ValueError, RecursionError):
        raise BadRequest(f"`{path}` is no JSON that can be read", param=path or None) from None


@lru_cache(_MOST_KEPT)
def _kept(text: bytes) -> Compiled:
    return Compiled(msgspec.json.decode(text))


class Compiled:
    """A schema that is known to be usable."""

    __slots__ = ("_library", "_rules")

    def __init__(self, schema: Schema) -> None:
        """Raises Unusable."""
        look_through(schema)
        self._library = _Library(schema.get("$schema"))
        # for its meta-schema and its expressions
        self._library.make({k: v for k, v in schema.items() if k != "$schema"})
        self._rules = Rules(schema)

    def fault(self, value: Any) -> Fault | None:
        """What is wrong with a decoded JSON value; None: it is valid."""
        try:
            wrong = Judge(self._rules, self._library).wrong(self._rules.root, value)
        except (TooMuch, RecursionError):
            return "", "is too large or too deep to be checked against the schema"
        if wrong is None:
            return None
        path, words = wrong.told(self._library)
        return _short(path), _short(words)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


class _Library:
    """Keywords by jsonschema-rs. A validator is made for each set of them the first time that a value meets it."""

    __slots__ = ("_kind", "_made", "draft")

    def __init__(self, draft: Any) -> None:
        name = "json-schema.org/draft/2020-12/schema" if draft is None else str(draft).partition("://")[2]
        found = _DRAFTS.get(name.removesuffix("#"))
        if found is None:
            raise Unusable("$schema", f"is none of {', '.join('https://' + known for known in _DRAFTS)}")
        self.draft, self._kind = found
        self._made: dict[int, tuple[Schema, jsonschema_rs.Validator]] = {}

    def make(self, schema: Schema) -> jsonschema_rs.Validator:
        try:
            return self._kind(schema, offline=True, validate_formats=False, pattern_options=_PATTERNS, mask="the value")
        except jsonschema_rs.ValidationError as e:
            path = ""
            for step in e.instance_path:
                path = join(path, step)
            raise Unusable(path, _complaint(e)) from None

    def meets(self, keywords: Schema, value: Any) -> bool:
        made = self._made.get(id(keywords))
        if made is None:
            made = self._made[id(keywords)] = keywords, self.make(keywords)
        return made[1].is_valid(value)

    def wrong(self, keywords: Schema, value: Any) -> str:
        try:
            self.make(keywords).validate(value)
        except jsonschema_rs.ValidationError as e:
            return e.message.replace("the value ", "", 1)
        return "is not what the schema allows"


def _complaint(e: jsonschema_rs.ValidationError) -> str:
    if e.instance_path and e.instance_path[-1] == "pattern":
        return "is no regular expression that can be used here (no look-around, no back references, not too large)"
    return f"is not valid: {e.message[:_LONGEST].replace('the value', 'this', 1)}"
