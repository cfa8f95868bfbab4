"""What stands between the braces of a call, as JSON text.

Types come from the wire (a delimited text is a string, `42` a number), then from the declared schema, and are never
guessed. Numbers stay as they were written. What models write beside the grammar is read where only one reading is
possible, and noted: JSON and Python quotes, texts without delimiters, a missing last delimiter or brace.
"""

from __future__ import annotations

import re

from gateway.filters.gemma4.grammar import DELIM, EMPTY_THOUGHT
from gateway.filters.gemma4.schema import Schema, Types
from gateway.filters.gemma4.values import LITERALS, NUMBER, coerced, dumps, structure, unquoted

MOST_LEVELS = 64

_SPACE = re.compile(r"\s*")
_KEY = {"}": re.compile(r"[^:{}\[\],]+"), ")": re.compile(r"[^:={}\[\](),]+")}
_QUOTE = {q: re.compile(rf"\\.|{q}", re.DOTALL) for q in "\"'"}
_AFTER_KEY = re.compile(r"\s*:")
_AFTER_QUOTE = re.compile(rf"\s*(?:{re.escape(DELIM)}\s*)?(?:[,}}\])]|$)")
_AFTER_TEXT = re.compile(r"\s*(?:[,}\])]|$)")
_DANGLING = re.compile(rf"\s*{re.escape(DELIM)}")
_STRUCTURE = {
    "}": re.compile(rf"[{{}}\[\],]|{re.escape(DELIM)}"),
    "]": re.compile(rf"[{{}}\[\],]|{re.escape(DELIM)}"),
    ")": re.compile(rf"[{{}}\[\](),]|{re.escape(DELIM)}"),
}
_PAIRS = {"{": "}", "[": "]", "(": ")"}
_KEY_LIKE = re.compile(
    rf"\s*(?:{re.escape(DELIM)}|[\"'])?([^\s:{{}}\[\],<\"']+)(?:{re.escape(DELIM)}|[\"'])?\s*:(?!//)"
)
_QUOTED_KEY = re.compile(rf"\s*(?:{re.escape(DELIM)}|[\"}}\])])")
"""What can only be another key, or the end."""
_END = re.compile(r"\s*[}\])]")
_WORD_KEY = re.compile(r"\s([\w$@.-]+)\s*:(?!//)")
_LONGEST_SCALAR = 400


class Malformed(Exception):
    """No reading, or more than one."""


class Cut(Malformed):
    """The text ends inside of something."""


class Arguments:
    """Reads one object or argument list. `implied`: a missing last bracket may be added, the call's own end marker was
    there. `unclosed`: so may the last delimiter. After `read`, `pos` is behind the last bracket."""

    def __init__(self, text: str, pos: int, types: Types, *, implied: bool, unclosed: bool) -> None:
        self.text = text
        self.pos = pos
        self.notes: list[str] = []
        self._types = types
        self._implied = implied
        self._unclosed = unclosed
        self._open: list[str] = []
        self._no_quote: set[tuple[str, re.Pattern[str]]] = set()

    def read(self) -> str:
        """The JSON text of the object whose opening bracket stands at `pos`. Raises Malformed or Cut."""
        return self._object(self._types.root)

    # containers

    def _object(self, schema: Schema | None) -> str:
        close = self._enter()
        fields: dict[str, str] = {}
        while True:
            c = self._peek()
            if c == "" or c == close:
                break
            if c == ",":
                self.pos += 1
                self._note("stray_comma")
                continue
            if c == "{" and not fields:
                return self._doubled(schema, close)
            key = self._key(close)
            if key in fields:
                self._note("duplicate_key")
            fields[key] = self._value(self._types.member(schema, key), schema, key, close)
            if not self._more(close):
                break
        self._leave(close)
        return "{" + ",".join(f"{dumps(k)}:{v}" for k, v in fields.items()) + "}"

    def _doubled(self, schema: Schema | None, close: str) -> str:
        """`{{a:1}}`, `({a:1})`: the inner one is meant."""
        self._note("doubled_brackets")
        inner = self._object(schema)
        if self._peek() not in ("", close):
            raise Malformed
        self._leave(close)
        return inner

    def _array(self, schema: Schema | None) -> str:
        close = self._enter()
        items: list[str] = []
        while True:
            c = self._peek()
            if c == "" or c == close:
                break
            if c == ",":
                self.pos += 1
                self._note("stray_comma")
                continue
            items.append(self._value(self._types.item(schema, len(items)), None, "", close))
            if not self._more(close):
                break
        self._leave(close)
        return "[" + ",".join(items) + "]"

    def _enter(self) -> str:
        close = _PAIRS[self.text[self.pos]]
        self.pos += 1
        self._open.append(close)
        if len(self._open) > MOST_LEVELS:
            raise Malformed
        return close

    def _leave(self, close: str) -> None:
        if self._peek() == close:
            self.pos += 1
        elif self._implied:
            self._note("missing_bracket")
        else:
            raise Cut
        self._open.pop()

    def _more(self, close: str) -> bool:
        """Behind a value: True if a comma and something else follows."""
        c = self._peek()
        if c == ",":
            self.pos += 1
            if self._peek() == close:
                self._note("stray_comma")
                return False
            return True
        if c in ("", close):
            return False
        raise Malformed

    # keys

    def _key(self, close: str) -> str:
        text, c = self.text, self.text[self.pos]
        if text.startswith(DELIM, self.pos):
            end = text.find(DELIM, self.pos + len(DELIM))
            if end < 0:
                raise Cut
            key = text[self.pos + len(DELIM) : end]
            self.pos = end + len(DELIM)
        elif c in "\"'":
            end = self._quote_end(c, _AFTER_KEY)
            key = unquoted(c, text[self.pos + 1 : end])
            if DELIM in key:
                raise Malformed
            self.pos = end + 1
            self._note("quoted_string")
        else:
            found = _KEY[close].match(text, self.pos)
            if found is None:
                raise Malformed
            key = found.group().strip()
            self.pos = found.end()
            if not key or DELIM in key:
                raise Malformed
        c = self._peek()
        if c == "":
            raise Cut
        if c != ":" and not (c == "=" and close == ")"):
            raise Malformed
        self.pos += 1
        return key

    # values

    def _value(self, schema: Schema | None, around: Schema | None, key: str, close: str) -> str:
        start = self.pos
        c = self._peek()
        if c == "":
            raise Cut
        if c == "<" and self.text.startswith(DELIM, self.pos):
            return self._delimited(schema, around, key)
        if c in "{[":
            return self._container(schema, around, close, start)
        if c in "\"'":
            return self._quoted(c, schema, around, close, start)
        if c in ",}])":
            raise Malformed
        return self._bare(schema, around, close, start)

    def _container(self, schema: Schema | None, around: Schema | None, close: str, start: int) -> str:
        begin, levels, notes = self.pos, len(self._open), len(self.notes)
        types = self._types.allowed(schema)
        text_only = types is not None and types <= {"string", "null"}
        try:
            value = self._object(schema) if self.text[begin] == "{" else self._array(schema)
        except Malformed:
            if not text_only:
                raise
            self.pos = begin
            del self._open[levels:]
            del self.notes[notes:]
            return self._bare(schema, around, close, start)
        if not text_only:
            return value
        # the wire has a structure and the schema a text: the text is what stands there
        self._note("schema_type")
        written = self.text[begin : self.pos]
        return dumps(value if DELIM in written else written)

    def _delimited(self, schema: Schema | None, around: Schema | None, key: str) -> str:
        start = self.pos + len(DELIM)
        end = self.text.find(DELIM, start)
        if end < 0:
            return self._unclosed_text(start, schema, around, key)
        self.pos = end + len(DELIM)
        if not _AFTER_TEXT.match(self.text, self.pos):
            raise Malformed
        value = self.text[start:end]
        if value.startswith(EMPTY_THOUGHT):
            value = value.removeprefix(EMPTY_THOUGHT)
            self._note("thought_in_argument")
        return self._typed(value, schema)

    def _unclosed_text(self, start: int, schema: Schema | None, around: Schema | None, key: str) -> str:
        """The last text lost its second delimiter: it ends before the brackets that close everything. Only for a
        declared string, and only if it does not look as if another parameter began in it."""
        types = self._types.allowed(schema)
        if not self._unclosed or types is None or "string" not in types:
            raise Cut
        value = self.text[start:].rstrip()
        brackets = "".join(reversed(self._open))
        if value.endswith(brackets):
            value = value[: -len(brackets)]
        elif value.endswith(("}", "]", ")")) or not self._implied:
            raise Malformed
        for found in re.finditer(r",", value):
            after = _KEY_LIKE.match(value, found.end())
            if after and after.group(1) in self._types.names(around) and after.group(1) != key:
                raise Malformed
        self._note("unclosed_string")
        self.pos = start + len(value)
        return dumps(value)

    def _quoted(self, quote: str, schema: Schema | None, around: Schema | None, close: str, start: int) -> str:
        begin = self.pos
        try:
            end = self._quote_end(quote, _AFTER_QUOTE)
        except Cut:
            if quote == '"':
                raise
            return self._bare(schema, around, close, start)
        self._note("quoted_string")
        self.pos = end + 1
        dangling = _DANGLING.match(self.text, self.pos)
        if dangling and _AFTER_TEXT.match(self.text, dangling.end()):
            self.pos = dangling.end()
            self._note("stray_delimiter")
        written = self.text[begin + 1 : end]
        if DELIM in written:
            # quoted twice, or the quote belongs to another text: no value holds a delimiter
            written = written.removeprefix(DELIM).removesuffix(DELIM)
            if DELIM in written or end - begin - 1 != len(written) + 2 * len(DELIM):
                raise Malformed
        return self._typed(unquoted(quote, written), schema)

    def _quote_end(self, quote: str, after: re.Pattern[str]) -> int:
        if (quote, after) not in self._no_quote:
            for found in _QUOTE[quote].finditer(self.text, self.pos + 1):
                if found.group() == quote and after.match(self.text, found.end()):
                    return found.start()
            self._no_quote.add((quote, after))  # none from here on: don't look again
        raise Cut

    def _bare(self, schema: Schema | None, around: Schema | None, close: str, start: int) -> str:
        """A number, a literal, or a text without delimiters."""
        begin = self.pos
        if self.text.startswith(DELIM[:3], begin):
            raise Malformed  # a delimiter that a server broke
        end = self._bare_end(schema, around, close)
        token = self.text[begin:end].strip()
        self.pos = end
        if self.text.startswith(DELIM, end):
            self.pos += len(DELIM)
            self._note("stray_delimiter")
            return self._typed(self.text[begin:end], schema)
        if end == len(self.text) and not self._implied:
            raise Cut
        names = None if schema is None else self._types.names(around)
        if not token or any(names is None or k.group(1) in names for k in _WORD_KEY.finditer(token)):
            raise Malformed  # `a:1 b:2`: a comma is missing, or it is a text; nobody knows
        return self._scalar(token, self.text[start:end], schema)

    def _bare_end(self, schema: Schema | None, around: Schema | None, close: str) -> int:
        names = self._types.names(around)
        types = self._types.allowed(schema)
        text = self.text
        inner: list[str] = []
        for found in _STRUCTURE[close].finditer(text, self.pos):
            token = found.group()
            if token == DELIM:
                if inner or not _AFTER_TEXT.match(text, found.end()):
                    raise Malformed
                return found.start()
            if token in _PAIRS:
                inner.append(_PAIRS[token])
            elif token == ",":
                if not inner and self._separates(found.start(), names, types, close):
                    return found.start()
            elif inner:
                if token == inner[-1]:
                    inner.pop()
            elif token == close:
                return found.start()
            elif token in self._open:
                raise Malformed  # the end of something around us
        if inner:
            raise Cut
        return len(text)

    def _separates(self, comma: int, names: frozenset[str], types: frozenset[str] | None, close: str) -> bool:
        """A comma after a value without delimiters: the end of the value, or part of a text."""
        if close == "]":
            return True
        if comma - self.pos <= _LONGEST_SCALAR:
            token = self.text[self.pos : comma].strip()
            if token in LITERALS or NUMBER.fullmatch(token):
                return True
        after = _KEY_LIKE.match(self.text, comma + 1)
        if after and (not names or after.group(1) in names):
            return True
        if types is not None and "string" not in types:
            return True
        if names:
            return _END.match(self.text, comma + 1) is not None
        return _QUOTED_KEY.match(self.text, comma + 1) is not None

    # types

    def _scalar(self, token: str, written: str, schema: Schema | None) -> str:
        types = self._types.allowed(schema)
        if token == "null":
            return token
        if token in LITERALS or NUMBER.fullmatch(token):
            wire = {"boolean"} if token in LITERALS else {"number", "integer"}
            if types is None or types & wire or "string" not in types:
                return token
            self._note("schema_type")
            return dumps(token)
        if types is not None:
            typed = coerced(token, types)
            if typed is not None:
                self._note("schema_type")
                return typed
        self._note("bare_string")
        return dumps(written.lstrip(" \t").rstrip())

    def _typed(self, value: str, schema: Schema | None) -> str:
        """A text on the wire: stays one unless the schema does not allow texts and the value is of a type it allows."""
        types = self._types.allowed(schema)
        if types is None or "string" in types:
            return dumps(value)
        token = value.strip()
        typed = coerced(token, types)
        if typed is None and token in LITERALS and {"null": "null"}.get(token, "boolean") in types:
            typed = token
        if typed is None and token[:1] in ("{", "["):
            typed = structure(token, types)
        if typed is None:
            return dumps(value)
        self._note("schema_type")
        return typed

    # small things

    def _peek(self) -> str:
        found = _SPACE.match(self.text, self.pos)
        assert found is not None
        self.pos = found.end()
        return self.text[self.pos : self.pos + 1]

    def _note(self, code: str) -> None:
        self.notes.append(code)
