"""Gives arguments their declared types back, for servers that return bare scalars as strings.

vLLM's parser of Gemma 4's calls writes `{"count": "42"}` for `count:42` unless it read the type from the tool's schema
(https://github.com/vllm-project/vllm/issues/47906). A string becomes the value that its text is, if the schema leaves
no doubt that a string can't be meant and the text is exactly JSON of a declared type. Everything else stays as it came,
byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from gateway.canonical.events import ChoiceEnd, Event, PartDelta, PartEnd, PartStart
from gateway.canonical.identity import same
from gateway.filters.json_schema.certain import Way, item, member, types_of, ways_of
from gateway.filters.json_schema.references import Schema
from gateway.filters.markup.deltas import is_more

MOST: Final = 1 << 20
"""Characters of the longest arguments that are waited for."""
_MOST_NESTED: Final = 4
"""Strings within strings."""
_MOST_LOOKED_AT: Final = 4096
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],]', re.DOTALL)
_SUSPECT = re.compile(r'"(?:[-0-9{\[\\]|true"|false"|null")')
"""A string that may stand for something else, or the name of a member."""
_TYPES: Final[Mapping[type, str]] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    dict: "object",
    list: "array",
}

_Place = tuple[int, int]


@dataclass(slots=True)
class _Held:
    schema: Schema
    deltas: list[PartDelta] = field(default_factory=list)
    size: int = 0


class TypedArguments:
    """`tools`: declared name -> JSON schema of its parameters, or None. A call is held until it is complete, if its
    schema declares anything but strings. Codes in `repairs`: argument_type."""

    __slots__ = ("_held", "_tools", "repairs")

    def __init__(self, tools: Mapping[str, Schema | None]) -> None:
        self._tools = tools
        self._held: dict[_Place, _Held] = {}
        self.repairs: list[str] = []

    def feed(self, events: list[Event]) -> list[Event]:
        if len(events) == 1 and not self._held and type(events[0]) is PartDelta:
            return events
        out: list[Event] = []
        for e in events:
            if isinstance(e, PartDelta):
                held = self._held.get((e.choice, e.part))
                if held is not None:
                    held.deltas.append(e)
                    held.size += len(e.arguments)
                    if held.size > MOST:
                        out += self._release((e.choice, e.part))
                    continue
            elif isinstance(e, PartStart):
                schema = self._tools.get(e.name) if e.kind == "tool_call" and e.tool_kind == "function" else None
                if schema and _types_something(schema):
                    self._held[(e.choice, e.part)] = _Held(schema)
            elif isinstance(e, PartEnd):
                out += self._complete((e.choice, e.part))
            elif isinstance(e, ChoiceEnd):
                for place in [p for p in self._held if p[0] == e.choice]:
                    out += self._release(place)
            out.append(e)
        if same(out, events):
            return events
        return out

    def end(self) -> list[Event]:
        return [e for place in list(self._held) for e in self._release(place)]

    def _release(self, place: _Place) -> list[PartDelta]:
        held = self._held.pop(place, None)
        return [] if held is None else held.deltas

    def _complete(self, place: _Place) -> list[PartDelta]:
        held = self._held.pop(place, None)
        if held is None:
            return []
        before = "".join(d.arguments for d in held.deltas)
        after = typed(before, held.schema)
        if after == before:
            return held.deltas
        if not self.repairs:
            self.repairs.append("argument_type")
        first, *others = held.deltas
        rest = [replace(d, arguments="") for d in others if d.logprobs is not None or d.extra or is_more(d)]
        return [replace(first, arguments=after), *rest]


def typed(arguments: str, schema: Schema) -> str:
    """The JSON text of a call's arguments with the values that its schema declares. Text that is no JSON object stays
    as it is."""
    if not _SUSPECT.search(arguments) or not isinstance(_decoded(arguments), dict):
        return arguments
    return _typed(arguments, schema, ways_of(schema, schema), 0)


def _typed(text: str, root: Schema, ways: list[Way], nested: int) -> str:
    """`text` is JSON."""
    out: list[str] = []
    done = 0
    walk = _Walk(root, ways)
    for found in _TOKEN.finditer(text):
        token = found.group()
        if token[0] != '"':
            walk.bracket(token)
            continue
        slot = walk.string(token)
        value = None if slot is None else _meant(token, slot)
        if slot is None or value is None:
            continue
        if nested < _MOST_NESTED and value[0] in "{[":
            value = _typed(value, root, slot, nested + 1)
        out += [text[done : found.start()], value]
        done = found.end()
    return "".join([*out, text[done:]]) if out else text


@dataclass(slots=True)
class _Frame:
    """An open object or array. `at`: the name or index of the value that comes; None: a name comes."""

    ways: list[Way]
    at: str | int | None


class _Walk:
    """Where in a JSON text we are, and what the schema says there."""

    def __init__(self, root: Schema, ways: list[Way]) -> None:
        self._root = root
        self._ways = ways
        self._open: list[_Frame] = []

    def bracket(self, token: str) -> None:
        if token in "{[":
            self._open.append(_Frame(self._slot(), None if token == "{" else 0))
        elif token in "}]":
            self._open.pop()
        elif isinstance(self._open[-1].at, int):
            self._open[-1].at += 1
        else:
            self._open[-1].at = None

    def string(self, token: str) -> list[Way] | None:
        """What the schema says about a string; None: it is a member's name."""
        if self._open and self._open[-1].at is None:
            self._open[-1].at = str(_decoded(token))
            return None
        return self._slot()

    def _slot(self) -> list[Way]:
        if not self._open:
            return self._ways
        frame = self._open[-1]
        if isinstance(frame.at, int):
            return item(self._root, frame.ways, frame.at)
        assert frame.at is not None
        return member(self._root, frame.ways, frame.at)


def _meant(token: str, slot: list[Way]) -> str | None:
    """The JSON text that a string stands for, if it stands for anything but itself."""
    types = types_of(slot)
    if types is None or "string" in types:
        return None
    text = _decoded(token)
    if not isinstance(text, str) or text != text.strip():
        return None
    return text if _TYPES.get(type(_decoded(text))) in types else None


def _decoded(text: str) -> Any:
    """The value of a JSON text; the class `ValueError` for what is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return ValueError


def _types_something(schema: Schema) -> bool:
    """Does it declare anything but strings, and objects of strings?"""
    row: list[Any] = [v for v in schema.values() if isinstance(v, dict | list)]
    for value in row:  # grows while it is walked
        if isinstance(value, dict) and types_of([[value]] if value else []) not in (None, frozenset(("string",))):
            return True
        if len(row) > _MOST_LOOKED_AT:
            return True
        row += (v for v in (value.values() if isinstance(value, dict) else value) if isinstance(v, dict | list))
    return False
