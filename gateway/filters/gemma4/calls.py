"""One call: its name, its arguments, and whether it may be believed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.filters.gemma4.arguments import Arguments, Cut, Malformed
from gateway.filters.gemma4.grammar import CALL_CLOSE, DELIM, MARKER, MARKERS, without_markers
from gateway.filters.gemma4.schema import Schema, Types
from gateway.filters.markup.json_calls import read_json_call
from gateway.filters.markup.pieces import Call

Tools = Mapping[str, Schema | None]
Problem = Literal["empty", "cut", "malformed"]
Verdict = Literal["call", "mention", "stray", "cut"]
"""call; words about the marker; nothing; what may have become a call, had the answer not ended."""

_HEAD = re.compile(r"\s*(?P<colon>:\s*)?(?P<call>(?:call\s*:\s*)*)(?P<name>[^\s{}()\[\]<>\"',=]*)\s*")
_OPENER = re.compile(r"^\s*:?\s*(?:call\s*:\s*)+")
_CALL_HEAD = re.compile(r"call\s*:")
_BARE_OPENER = re.compile(r"<(?:call>|\|?tool_call:)")
_COLON_CALL = re.compile(r":\s*call\s*:")
_COLON_BEGUN = re.compile(r":\s{0,16}(?:c|ca|cal|call\s*)?")
_NAME = re.compile(r"[\w.:/-]{1,128}")
_JUNK_WITH_STRUCTURE = re.compile(rf"[:,{{\[\"=]|{re.escape(DELIM)}")
_HOLDS_SOMETHING = re.compile(r"\w")
_PREFIXES = frozenset(m[:n] for m in MARKERS for n in range(1, len(m)))
_OPENERS = ("call:", ":", "<call>", "<tool_call:", "<|tool_call:")
MOST_SPACE = 16

GENTLE = frozenset(("schema_type", "duplicate_key", "quoted_string", "thought_in_argument", "stray_comma"))
"""Repairs of arguments that leave no doubt where the call ends."""


@dataclass(slots=True)
class Reading:
    """A call that can be believed. `junk` stood between its last bracket and its end."""

    call: Call
    notes: list[str] = field(default_factory=list)
    junk: str = ""


def read_call(
    raw: str, tools: Tools, *, bare: bool = False, implied: bool = False, unclosed: bool = False
) -> Reading | Problem:
    """The call in `raw`, the text between its markers. `bare`: it stood there without its first marker. `implied`: its
    end marker was there, so that missing brackets may be added. `unclosed`: so may a missing last delimiter.

    Everything but `call:NAME{` needs a declared name.
    """
    text = _BARE_OPENER.sub("", raw, count=1) if bare and raw[:1] == "<" else raw
    head = _HEAD.match(text)
    assert head is not None
    name, notes = _named(head, tools)
    at = head.end()
    bracket = text[at : at + 1]
    if not name:
        return _nameless(text, head.end(), tools)
    if bracket == "(" or not head["call"] or head["colon"]:
        if name not in tools:
            return _problem(raw)
        if bracket == "(":
            notes.append("parentheses")
        elif not bare:
            notes.append("bad_opener")
    if not bracket:
        return _without_arguments(raw, name, tools, notes, implied)
    if bracket not in "{(":
        return _problem(raw)
    reader = Arguments(text, at, Types(tools.get(name)), implied=implied, unclosed=unclosed)
    try:
        arguments = reader.read()
    except Cut:
        return "cut"
    except (Malformed, RecursionError):
        return "malformed"
    return Reading(Call(name, arguments, without_markers(raw)), notes + reader.notes, text[reader.pos :])


def _named(head: re.Match[str], tools: Tools) -> tuple[str, list[str]]:
    """The name. `call:call:f`: the second one is part of it only if a tool is called so."""
    name = head["name"]
    extra = head["call"].count("call") - 1
    if extra > 0:
        long = "call:" * extra + name
        if long in tools:
            return long, []
        return name, ["bad_opener"]
    return name, []


def _nameless(text: str, at: int, tools: Tools) -> Reading | Problem:
    """Some models fall back to JSON between Gemma's markers."""
    found = read_json_call(text[at:]) if text[at : at + 1] == "{" else None
    if found is None or found[0] not in tools:
        return _problem(text)
    name, arguments, rest = found
    return Reading(Call(name, arguments, text), ["json_call"], rest)


def _without_arguments(raw: str, name: str, tools: Tools, notes: list[str], implied: bool) -> Reading | Problem:
    if name in tools and implied:
        return Reading(Call(name, "{}", without_markers(raw)), [*notes, "missing_bracket"])
    return _problem(raw) if implied else "cut"


def _problem(raw: str) -> Problem:
    """`call:`, `{}`: markup around nothing holds nothing that could be lost."""
    return "malformed" if _HOLDS_SOMETHING.search(_CALL_HEAD.sub("", raw)) else "empty"


def shown(raw: str) -> str:
    """What may be shown of a call that can't be believed: its text without markers and without `call:`."""
    return without_markers(_OPENER.sub("", raw))


def junk_is_harmless(junk: str) -> bool:
    """Words or brackets behind a call; not what could be the rest of its arguments."""
    return _JUNK_WITH_STRUCTURE.search(junk) is None


def is_call(text: str, at: int, final: bool, tools: Tools) -> Verdict | None:
    """What follows `<|tool_call>` at `at`. None: can't be told yet."""
    rest = text[at : at + 256].lstrip()
    space = len(text[at : at + 256]) - len(rest)
    if space > MOST_SPACE:
        return "mention"
    if not rest:
        return "cut" if final else None
    if rest[0] == ":":
        return _after_colon(rest, final)
    if rest[0] == "<":
        if MARKER.match(rest):
            return "call"
        return "stray" if rest not in _PREFIXES else "cut" if final else None
    if rest[0] in "{[":
        return "call"
    found = _CALL_HEAD.match(rest)
    if found:
        return "call"
    if re.fullmatch(r"c|ca|cal|call\s*", rest):
        return "cut" if final else None
    return _after_name(rest, space, final, tools)


def _after_colon(rest: str, final: bool) -> Verdict | None:
    if _COLON_BEGUN.fullmatch(rest):
        return "cut" if final else None
    return "call" if re.match(r":[\w:]", rest) or _COLON_CALL.match(rest) else "mention"


def _after_name(rest: str, space: int, final: bool, tools: Tools) -> Verdict | None:
    """`<|tool_call>name{`: right behind the marker any name with a bracket, after a space only a declared one."""
    found = _NAME.match(rest)
    if found is None:
        return "mention"
    after = rest[found.end() :].lstrip()
    if found.end() == len(rest) or not after or (after[0] == "<" and after in _PREFIXES):
        return None if not final else "mention" if space else "cut"
    declared = found.group() in tools
    if after[0] in "{(" and (declared or (not space and rest[found.end()] in "{(")):
        return "call"
    return "call" if (declared or not space) and after.startswith(CALL_CLOSE) else "mention"


def bare_heads(tools: Tools) -> tuple[str, ...]:
    """How a call without its marker may begin."""
    return tuple(f"{opener}{name}{b}" for name in tools for opener in _OPENERS for b in "{(")
