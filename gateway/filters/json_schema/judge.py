"""A value before its schema: valid, or what is wrong and where.

The library knows the keywords; which schema meets which part of the value is followed here, and each meets each only
once. Left to itself it tries alternatives within alternatives one by one, and lists every error of each: time that
doubles with every level of the value (measured: 50 s to refuse an expression eight levels deep).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

import msgspec

from gateway.filters.json_schema import patterns
from gateway.filters.json_schema.references import REFERENCES, Schema, join, resolve

MOST_STEPS: Final = 100_000
"""Schemas that meet values; about a third of a second."""
MOST_LEVELS: Final = 150
"""Schemas within schemas, at one value or down from it."""

Steps = tuple[str | int, ...]
"""The way to a part of a value."""

_ASSERTIONS: Final = frozenset(
    (
        *("type", "enum", "const", "multipleOf", "maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum"),
        *("maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxProperties"),
        *("minProperties", "required", "dependentRequired"),
    )
)
_NO_CHILDREN: Final = _ASSERTIONS - {"type", "required"}
_NAMES: Final = frozenset(("const", "enum"))
_JSON_TYPES: Final = {dict: "object", list: "array"}


class TooMuch(Exception):
    pass


class Library(Protocol):
    """What is asked of the library: keywords of one schema that need no other one."""

    draft: int

    def meets(self, keywords: Schema, value: Any) -> bool: ...
    def wrong(self, keywords: Schema, value: Any) -> str: ...


class Wrong:
    """What is wrong. `steps`: where, from the value that was judged. Put in words only when it is told."""

    __slots__ = ("keywords", "steps", "value", "words")

    def __init__(self, words: str = "", steps: Steps = (), keywords: Schema | None = None, value: Any = None) -> None:
        self.words = words
        self.steps = steps
        self.keywords = keywords
        self.value = value

    def under(self, step: str | int) -> Wrong:
        return Wrong(self.words, (step, *self.steps), self.keywords, self.value)

    def told(self, library: Library) -> tuple[str, str]:
        """(path, words)"""
        path = ""
        for step in self.steps:
            path = join(path, step)
        return path, self.words if self.keywords is None else library.wrong(self.keywords, self.value)


class Rules:
    """What is prepared of a schema's document once: the keywords of each schema, and what it refers to."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self._keywords: dict[int, tuple[Schema, Schema]] = {}
        self._shared: dict[bytes, Schema] = {}
        self._targets: dict[str, Any] = {}

    def keywords(self, schema: Schema) -> tuple[Schema, Schema]:
        """(for scalars, for objects and arrays)"""
        known = self._keywords.get(id(schema))
        if known is None:
            own = {k: v for k, v in schema.items() if k in _ASSERTIONS}
            known = self._share(own), self._share({k: v for k, v in own.items() if k in _NO_CHILDREN})
            self._keywords[id(schema)] = known
        return known

    def pattern(self, pattern: str) -> Schema:
        return self._share({"pattern": pattern})

    def _share(self, keywords: Schema) -> Schema:
        """One object for all that are equal: the library prepares each once."""
        return self._shared.setdefault(msgspec.json.encode(keywords), keywords)

    def target(self, ref: str) -> Any:
        if ref not in self._targets:
            self._targets[ref] = resolve(self.root, ref)
        return self._targets[ref]


class Judge:
    """Judges one value. Raises TooMuch."""

    def __init__(self, rules: Rules, library: Library) -> None:
        self._rules = rules
        self._library = library
        self._known: dict[tuple[int, int], Wrong | None] = {}
        self._level = 0
        self._matched = 0

    def wrong(self, schema: Any, value: Any) -> Wrong | None:
        if not isinstance(schema, dict):
            return Wrong("is not allowed") if schema is False else None
        key = id(schema), id(value)
        if key in self._known:
            return self._known[key]
        if len(self._known) >= MOST_STEPS or self._level >= MOST_LEVELS:
            raise TooMuch
        self._level += 1
        found = self._look(schema, value)
        self._level -= 1
        self._known[key] = found
        return found

    def _meets(self, schema: Any, value: Any) -> bool:
        return self.wrong(schema, value) is None

    def _holds(self, keywords: Schema, value: Any) -> bool:
        if isinstance(value, str) and "pattern" in keywords:
            self._matched += len(value) * patterns.states(keywords["pattern"])
            if self._matched > patterns.MOST:
                raise TooMuch
        return self._library.meets(keywords, value)

    def _look(self, schema: Schema, value: Any) -> Wrong | None:
        if self._library.draft < 2019 and isinstance(schema.get("$ref"), str):
            return self.wrong(self._rules.target(schema["$ref"]), value)  # all beside it is ignored
        return next(filter(None, self._complaints(schema, value)), None)

    def _complaints(self, schema: Schema, value: Any) -> Iterator[Wrong | None]:
        scalar, container = self._rules.keywords(schema)
        if isinstance(value, dict | list):
            yield _shape(scalar, value)
        keywords = container if isinstance(value, dict | list) else scalar
        if keywords and not self._holds(keywords, value):
            yield Wrong(keywords=keywords, value=value)
        for word in REFERENCES:
            if isinstance(schema.get(word), str):
                yield self.wrong(self._rules.target(schema[word]), value)
        if isinstance(value, dict):
            yield from self._members(schema, value)
        elif isinstance(value, list):
            yield from self._items(schema, value)
        yield from self._combined(schema, value)

    def _members(self, schema: Schema, value: dict[str, Any]) -> Iterator[Wrong | None]:
        declared = schema.get("properties") or {}
        matching = schema.get("patternProperties") or {}
        others = schema.get("additionalProperties")
        for name, member in value.items():
            judges = [declared[name]] if name in declared else []
            judges += [judge for p, judge in matching.items() if self._holds(self._rules.pattern(p), name)]
            for judge in judges or [others]:
                found = self.wrong(judge, member)
                if found is not None:
                    yield found.under(name)
        if "propertyNames" in schema and self._library.draft >= 6:
            for name in value:
                if not self._meets(schema["propertyNames"], name):
                    yield Wrong("has a name that is not allowed", (name,))
        yield from self._dependencies(schema, value)

    def _dependencies(self, schema: Schema, value: dict[str, Any]) -> Iterator[Wrong | None]:
        judges = list((schema.get("dependencies") or {}).items())
        if self._library.draft >= 2019:
            judges += (schema.get("dependentSchemas") or {}).items()
        for name, judge in judges:
            if name in value:
                if isinstance(judge, list):
                    yield _shape({"required": judge}, value)
                else:
                    yield self.wrong(judge, value)

    def _items(self, schema: Schema, value: list[Any]) -> Iterator[Wrong | None]:
        first: Any = schema.get("prefixItems") if self._library.draft >= 2020 else None
        rest: Any = schema.get("items")
        if isinstance(rest, list):
            first, rest = rest, schema.get("additionalItems")
        first = first or []
        for i, item in enumerate(value):
            found = self.wrong(first[i] if i < len(first) else rest, item)
            if found is not None:
                yield found.under(i)
        if "contains" in schema and self._library.draft >= 6:
            counted = self._library.draft >= 2019
            least = schema.get("minContains", 1) if counted else 1
            most = schema.get("maxContains") if counted else None
            n = sum(self._meets(schema["contains"], item) for item in value)
            if n < least or (most is not None and n > most):
                yield Wrong(f"has {n} elements of a kind of which the schema allows another number")

    def _combined(self, schema: Schema, value: Any) -> Iterator[Wrong | None]:
        for judge in schema.get("allOf") or ():
            yield self.wrong(judge, value)
        yield self._any_of(schema.get("anyOf") or (), value)
        one_of = schema.get("oneOf") or ()
        yield self._any_of(one_of, value)
        if one_of and sum(self._meets(judge, value) for judge in one_of) > 1:
            yield Wrong("is more than one of the alternatives of which the schema allows one")
        if "not" in schema and self._meets(schema["not"], value):
            yield Wrong("is what the schema does not allow")
        if "if" in schema and self._library.draft >= 7:
            yield self.wrong(schema.get("then" if self._meets(schema["if"], value) else "else"), value)

    def _any_of(self, judges: list[Any] | tuple[()], value: Any) -> Wrong | None:
        found: list[Wrong] = []
        for judge in judges:
            wrong = self.wrong(judge, value)
            if wrong is None:
                return None
            found.append(wrong)
        if not found:
            return None
        within = [wrong for wrong in found if wrong.steps]
        meant = within if len(within) == 1 else [wrong for wrong in within if not _tells_apart(wrong)]
        if len(meant) == 1:
            return meant[0]
        return Wrong("is none of the alternatives that the schema allows")


def _shape(keywords: Schema, value: dict[str, Any] | list[Any]) -> Wrong | None:
    """`type` and `required` of what may be large: the library would read all that is in it."""
    types = keywords.get("type")
    if types is not None and _JSON_TYPES[type(value)] not in ([types] if isinstance(types, str) else types):
        return Wrong(keywords={"type": types}, value=value.__class__())
    if isinstance(value, dict):
        for name in keywords.get("required") or ():
            if name not in value:
                return Wrong(keywords={"required": [name]}, value={})
    return None


def _tells_apart(wrong: Wrong) -> bool:
    """Another alternative was meant: the member that names it has another value."""
    return len(wrong.steps) == 1 and wrong.keywords is not None and not wrong.keywords.keys().isdisjoint(_NAMES)
