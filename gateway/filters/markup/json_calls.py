"""Calls written as JSON: `{"name": "f", "arguments": {...}}`."""

from __future__ import annotations

import re

import msgspec

_TOKEN = re.compile(r'[\[\]{}]|"')
_IN_STRING = re.compile(r'\\.|"', re.DOTALL)
_MOST_LEVELS = 200


class JsonEnd:
    """Finds where a JSON object or array ends, as it comes."""

    __slots__ = ("_depth", "_in_string", "_waiting", "size")

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._waiting = False
        """A backslash was the last character."""
        self.size = 0

    def feed(self, text: str) -> int | None:
        """How many characters of `text` belong to the value that was begun; None: all, and it goes on."""
        pos = 0
        if self._waiting and text:
            pos, self._waiting = 1, False
        while True:
            found = (_IN_STRING if self._in_string else _TOKEN).search(text, pos)
            if found is None:
                break
            pos = found.end()
            token = found.group()
            if token == '"':
                self._in_string = not self._in_string
            elif token in "{[":
                self._depth += 1
            elif token in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    self.size += pos
                    return pos
        self._waiting = self._in_string and text.endswith("\\") and pos < len(text)
        self.size += len(text)
        return None


class _Function(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()


class _Wrapped(msgspec.Struct):
    function: _Function


def read_json_call(text: str) -> tuple[str, str, str] | None:
    """(name, arguments as JSON text of an object, what follows) of the JSON object that `text` begins with."""
    end = JsonEnd().feed(text)
    if end is None:
        return None
    found = decode_call(text[:end])
    return None if found is None else (*found, text[end:])


def decode_call(text: str) -> tuple[str, str] | None:
    """(name, arguments) of one call. `parameters` is another name for arguments; arguments that are JSON text inside a
    string are unwrapped; none at all are `{}`. None if it is no call."""
    try:
        data = text.encode()
        try:
            call = msgspec.json.decode(data, type=_Function)
        except msgspec.ValidationError:
            call = msgspec.json.decode(data, type=_Wrapped).function
        given = bytes(call.arguments) or bytes(call.parameters) or b"{}"
        if given == b"null":
            given = b"{}"
        value = msgspec.json.decode(given)
        if isinstance(value, str):
            given = value.encode()
            value = msgspec.json.decode(given)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
    return (call.name, given.decode()) if call.name and isinstance(value, dict) else None


def decode_calls(text: str) -> list[tuple[str, str]] | None:
    """The calls of one JSON object or of an array of them; None if anything in it is no call."""
    if not text.lstrip().startswith("["):
        one = decode_call(text)
        return None if one is None else [one]
    try:
        items = msgspec.json.decode(text.encode(), type=list[msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
    calls = [decode_call(bytes(item).decode()) for item in items]
    return [c for c in calls if c is not None] if calls and all(c is not None for c in calls) else None
