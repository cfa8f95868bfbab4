"""YAML text -> plain values, and the line that each of them stands on.

The file is only composed, never constructed: no tag can make an object, a key that stands twice is seen (yaml's own
loaders take the last one in silence), and what aliases would grow to is counted before it is built.

Values are read by YAML 1.2's rules: only `true` and `false` are booleans, so that `repair: off` is a word; a key is
always text; `12:30` and `2024-08-06` are text too.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from gateway.settings.problems import ConfigProblem, Where, path_text, quoted

MAX_CHARACTERS = 512 * 1024
MAX_VALUES = 50_000
MAX_DEPTH = 32

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's idea of what a plain word means."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (yaml's own interface)


_Loader.add_implicit_resolver(_TAG + "bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_TAG + "null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_TAG + "int", re.compile(r"^[-+]?[0-9]{1,18}$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(
        r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)
_Loader.add_implicit_resolver(_MERGE, re.compile(r"^<<$"), ["<"])


@dataclass(slots=True)
class Document:
    """`values`: the top-level mapping. `lines`: place -> line, counted from 1; keys give the line of the key."""

    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Where, int] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)
    name: str = "gateway.yaml"

    def line(self, where: Where) -> int | None:
        """The line of that place, or of the nearest thing around it."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where)

    def problem(self, where: Where, message: str, line: int | None = None) -> None:
        self.problems.append(ConfigProblem(path_text(where), message, line or self.line(where), self.name))


def read_document(text: str, name: str) -> Document:
    """Never raises on what the text says: what is wrong with it is in `problems`."""
    document = Document(name=name)
    if len(text) > MAX_CHARACTERS:
        document.problem((), f"is longer than {MAX_CHARACTERS // 1024} KiB")
        return document
    try:
        node = yaml.compose(text.removeprefix("\ufeff"), Loader=_Loader)
        if node is None:
            return document
        values = _Builder(document).value(node, ())
    except yaml.MarkedYAMLError as error:
        document.problem((), _complaint(error), error.problem_mark.line + 1 if error.problem_mark else None)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.problem((), f"holds a character that YAML forbids: #x{int(error.character):04x}", line)
    except yaml.YAMLError as error:
        document.problem((), f"is not YAML: {error}")
    except RecursionError:
        document.problem((), f"is nested deeper than {MAX_DEPTH} levels")
    except _Refused as error:
        document.problem((), str(error), error.line)
    else:
        if isinstance(values, dict):
            document.values = values
        elif values is not None:
            document.problem((), f"the top level must be a mapping (key: value), not {_what(values)}", 1)
    return document


def _complaint(error: yaml.MarkedYAMLError) -> str:
    text = f"is not YAML: {error.problem or error.context or 'syntax error'}"
    if "'\\t'" in text:
        text += " (indent with spaces, not with tabs)"
    return " ".join(text.split())


def _what(value: object) -> str:
    return "a list" if isinstance(value, list) else "a single value"


class _Refused(Exception):
    """The document as a whole can't be read on: it would grow without bound."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class _Builder:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0

    def value(self, node: yaml.Node, where: Where) -> Any:
        line = node.start_mark.line + 1
        self.count += 1
        if self.count > MAX_VALUES:
            raise _Refused(f"holds more than {MAX_VALUES} values once its aliases are filled in", line)
        if len(where) > MAX_DEPTH:
            raise _Refused(f"is nested deeper than {MAX_DEPTH} levels", line)
        self.document.lines.setdefault(where, line)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, where)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(item, (*where, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self.mapping(node, where)
        self.document.problem(where, f"the tag {quoted(node.tag)} is not known here", line)
        return None

    def mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                continue
            key = _text(key_node.value) if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                self.document.problem(where, "a key must be plain text", line)
                continue
            place = (*where, key)
            if key in own:
                self.document.problem(place, f"stands twice (first on line {self.document.lines[place]})", line)
                continue
            self.document.lines.setdefault(place, line)
            own[key] = self.value(value_node, place)
        for other in merged:
            more = self.value(other, where)
            if not isinstance(more, dict):
                self.document.problem(where, "<< takes a mapping, or a list of them", other.start_mark.line + 1)
                continue
            own = {**more, **own}
        return own

    def scalar(self, node: yaml.ScalarNode, where: Where) -> str | int | float | bool | None:
        """Only what the resolver gives can come here, or an explicit tag such as `!!str 5`."""
        text: str = node.value
        try:
            if node.tag == _TAG + "str":
                whole = _text(text)
                if whole is None:
                    self.document.problem(where, "holds a character that is none (a lone surrogate)")
                return whole
            if node.tag == _TAG + "null":
                return None
            if node.tag == _TAG + "bool":
                return {"true": True, "false": False}[text.lower()]
            if node.tag == _TAG + "int":
                return int(text)
            if node.tag == _TAG + "float":
                number = _float(text)
                if math.isfinite(number):
                    return number
                self.document.problem(where, "must be a finite number")
                return None
            if node.tag == _MERGE:
                return text
        except (ValueError, KeyError):
            self.document.problem(where, f"{quoted(text)} is not a value of the tag that it has")
            return None
        self.document.problem(where, f"the tag {quoted(node.tag)} is not known here")
        return None


def _float(text: str) -> float:
    word = text.lower().lstrip("+-")
    if word in (".inf", ".nan"):
        return math.nan if word == ".nan" else -math.inf if text.startswith("-") else math.inf
    return float(text)


def _text(text: str) -> str | None:
    """JSON writes what is beyond 16 bits as two escapes, which YAML does not join. None if one of a pair is missing."""
    if not any("\ud800" <= c <= "\udfff" for c in text):
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        return None
