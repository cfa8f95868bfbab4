"""The schemas within a schema: where they stand, what they refer to, and which of them can't be used.

Of references only those within the document are followed, by JSON pointer (`#`, `#/$defs/a`), which is what every
library that writes schemas from types emits: https://json-schema.org/draft/2020-12/json-schema-core#section-8.2.3
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

Schema = dict[str, Any]

MOST_LEVELS: Final = 128
"""Of JSON: a property of a property is four."""
MOST_SCHEMAS: Final = 8192

REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_SAME: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
_SAME_BY_NAME: Final = ("dependentSchemas", "dependencies")
_PARTS: Final = ("additionalProperties", "propertyNames", "prefixItems", "items", "additionalItems", "contains")
_BY_NAME: Final = ("properties", "patternProperties", "$defs", "definitions")
_UNSUPPORTED: Final = ("unevaluatedProperties", "unevaluatedItems")
_PLAIN = re.compile(r"[A-Za-z_$][\w$-]*", re.ASCII)


class Unusable(Exception):
    """The schema can't be used: `path` is where, within it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(why)
        self.path = path
        self.why = why


def join(path: str, step: str | int) -> str:
    """`a.b`, `a[0]`, `a["odd name"]`; names are shortened."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    if _PLAIN.fullmatch(step) and len(step) <= 64:
        return f"{path}.{step}" if path else step
    return f"{path}[{json.dumps(step[:64])}]"


def resolve(root: Schema, ref: str) -> Any:
    """What a JSON pointer within the document points to. Raises LookupError."""
    if ref in ("", "#"):
        return root
    if not ref.startswith("#/"):
        raise LookupError(ref)
    at: Any = root
    for step in unquote(ref[2:]).split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(at, dict):
            at = at[step]
        elif isinstance(at, list) and step.isdecimal():
            at = at[int(step)]
        else:
            raise LookupError(ref)
    return at


def look_through(root: Schema) -> None:
    """Raises Unusable for a document that holds what is not followed, or more than is."""
    _plain_json(root)
    _Walk(root).run()


def _plain_json(root: Schema) -> None:
    """Only JSON, and not too deep: what else may meet a reader that is no parser."""
    row: list[Any] = [root]
    for _ in range(MOST_LEVELS):
        inner: list[Any] = []
        for value in row:
            if isinstance(value, dict):
                if not all(isinstance(name, str) for name in value):
                    raise Unusable("", "is no JSON")
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif not isinstance(value, str | int | float | None):
                raise Unusable("", "holds something that is no JSON")
        if not inner:
            return
        row = inner
    raise Unusable("", "is nested too deeply")


class _Walk:
    def __init__(self, root: Schema) -> None:
        self._root = root
        self._paths: dict[int, str] = {}
        self._same: dict[int, list[int]] = {}
        """The schemas that judge the same value as each schema does."""
        self._waiting: list[Schema] = []

    def run(self) -> None:
        self._meet(self._root, "")
        while self._waiting:
            self._look(self._waiting.pop())
        self._refuse_circles()

    def _meet(self, value: Any, path: str) -> list[int]:
        """The schema, if it is one that says something: `true`, `false` and what is none are the meta-schema's."""
        if not isinstance(value, dict):
            return []
        if id(value) not in self._paths:
            if len(self._paths) >= MOST_SCHEMAS:
                raise Unusable(path, f"makes more than {MOST_SCHEMAS} schemas of one")
            self._paths[id(value)] = path
            self._waiting.append(value)
        return [id(value)]

    def _look(self, schema: Schema) -> None:
        path = self._paths[id(schema)]
        if path and isinstance(schema.get("$id"), str):
            raise Unusable(join(path, "$id"), "names a document within a document, which is not supported")
        for word in _UNSUPPORTED:
            if word in schema:
                raise Unusable(join(path, word), "is not supported where answers are checked")
        same = [i for where, one in _schemas(schema, _SAME, _SAME_BY_NAME, path) for i in self._meet(one, where)]
        for word in REFERENCES:
            if isinstance(schema.get(word), str):
                same += self._refer(schema[word], join(path, word))
        self._same[id(schema)] = same
        for where, one in _schemas(schema, _PARTS, _BY_NAME, path):
            self._meet(one, where)

    def _refer(self, ref: str, path: str) -> list[int]:
        if ref and not ref.startswith("#"):
            raise Unusable(path, "refers to another document; only references within the schema (`#/...`) are followed")
        try:
            target = resolve(self._root, ref)
        except (LookupError, ValueError):
            raise Unusable(path, "refers to nothing in the schema (only `#` and `#/...` are followed)") from None
        if not isinstance(target, dict | bool):
            raise Unusable(path, "refers to something that is no schema")
        return self._meet(target, ref.removeprefix("#/").replace("/", "."))

    def _refuse_circles(self) -> None:
        """A schema that judges a value by judging it. Leaf by leaf is taken away; what is left goes in circles."""
        asked: dict[int, list[int]] = {}
        open_: dict[int, int] = {}
        for one, others in self._same.items():
            open_[one] = len(others)
            for other in others:
                asked.setdefault(other, []).append(one)
        done = [one for one, n in open_.items() if not n]
        for one in done:  # grows while it is walked
            for asking in asked.get(one, ()):
                open_[asking] -= 1
                if not open_[asking]:
                    done.append(asking)
        if len(done) < len(open_):
            circle = next(one for one, n in open_.items() if n)
            raise Unusable(self._paths[circle], "refers to itself with nothing between")


def _schemas(schema: Schema, words: tuple[str, ...], by_name: tuple[str, ...], path: str) -> Iterator[tuple[str, Any]]:
    """(path, schema) of what stands under these keywords: a schema, a list of them, or with a name each."""
    for word in words:
        value = schema.get(word)
        where = join(path, word)
        if isinstance(value, list):
            yield from ((join(where, i), one) for i, one in enumerate(value))
        else:
            yield where, value
    for word in by_name:
        value = schema.get(word)
        if isinstance(value, dict):
            where = join(path, word)
            yield from ((join(where, name), one) for name, one in value.items())
