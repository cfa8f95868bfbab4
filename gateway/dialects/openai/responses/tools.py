"""Tools of a request, and the choice among them.

A `namespace` of tools is taken apart: each of its tools gets a name of its own, from which `names` leads back. Types
that only the maker of the API runs are offers: dropped and named unless the request forces them; agents give up when
one is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from gateway.canonical.requests import Tool, ToolChoice
from gateway.dialects import Limits
from gateway.dialects.fields import (
    Json,
    boolean_or_none,
    field_name,
    fields,
    fields_or_none,
    items,
    one_of,
    shown,
    text,
    text_or_none,
    tool_name,
    wrong_type,
)
from gateway.errors import BadRequest, UnsupportedParameter

_KNOWN: Final = frozenset({"type", "name", "description", "parameters", "strict", "format"})
_LONGEST: Final = 64
"""Characters of a name that is put together; servers' grammars and templates take no longer ones."""


@dataclass(slots=True)
class Declared:
    """`tools` as a model can be given them; `names`: their name -> (namespace, name there) for those in one.
    `flat`: the way back."""

    tools: list[Tool] = field(default_factory=list)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    flat: dict[tuple[str, str], str] = field(default_factory=dict)

    def name_of(self, namespace: str | None, name: str) -> str:
        """The name by which the model knows a tool."""
        return self.flat.get((namespace, name), name) if namespace else name


@dataclass(slots=True)
class _Entry:
    namespace: str
    tool: Tool
    path: str


def parse_tools(lists: list[tuple[str, object]], limits: Limits, dropped: list[str]) -> Declared:
    """All tools of a request: `lists` are (path, array) of every place that declares some."""
    found: list[_Entry] = []
    for path, value in lists:
        if value is not None:
            _read(value, path, "", found, limits, dropped)
    if len(found) > limits.tools:
        raise BadRequest(
            f"there are {len(found)} tools, at most {limits.tools} are allowed",
            param="tools",
            code="array_above_max_length",
        )
    return _named(found)


def _read(value: object, path: str, namespace: str, found: list[_Entry], limits: Limits, dropped: list[str]) -> None:
    for i, entry in enumerate(items(value, path, limits.tools)):
        where = f"{path}[{i}]"
        tool = fields(entry, where)
        kind = text(tool.get("type"), f"{where}.type")
        if kind == "namespace" and not namespace:
            name = tool_name(tool.get("name"), f"{where}.name")
            about = text_or_none(tool.get("description"), f"{where}.description")
            first = len(found)
            _read(tool.get("tools"), f"{where}.tools", name, found, limits, dropped)
            if about and len(found) > first:
                # said once: it is about all of them
                inner = found[first].tool
                inner.description = f"{about}\n\n{inner.description}" if inner.description else about
        elif kind in ("function", "custom"):
            found.append(_Entry(namespace, _tool(tool, kind, where, dropped), where))
        else:
            dropped.append(f"{where}:{field_name(kind)}")


def _tool(tool: Json, kind: str, path: str, dropped: list[str]) -> Tool:
    nested = tool.get(kind)
    if isinstance(nested, dict):  # the spelling of chat completions
        tool, path = {**nested, "type": kind}, f"{path}.{kind}"
    for key, value in tool.items():
        if key not in _KNOWN and value is not None and (name := f"tools[].{field_name(key)}") not in dropped:
            dropped.append(name)
    out = Tool(
        tool_name(tool.get("name"), f"{path}.name"), text_or_none(tool.get("description"), f"{path}.description")
    )
    if kind == "custom":
        out.kind = "custom"
        out.format = fields_or_none(tool.get("format"), f"{path}.format")
    else:
        out.parameters = fields_or_none(tool.get("parameters"), f"{path}.parameters")
        out.strict = boolean_or_none(tool.get("strict"), f"{path}.strict")
    return out


def _named(found: list[_Entry]) -> Declared:
    """A tool of a namespace keeps its name where no other has it: it is the one that prompts speak of."""
    out = Declared()
    plain = [e.tool.name for e in found]
    taken = {e.tool.name for e in found if not e.namespace}
    seen: set[tuple[str, str]] = set()
    for entry in found:
        tool, name = entry.tool, entry.tool.name
        if (entry.namespace, name) in seen:
            raise BadRequest(f"two tools are named {shown(name)}", param=entry.path)
        seen.add((entry.namespace, name))
        if entry.namespace:
            if plain.count(name) > 1:
                tool.name = _free(f"{entry.namespace}__{name}", taken)
            taken.add(tool.name)
            out.names[tool.name] = entry.namespace, name
            out.flat[entry.namespace, name] = tool.name
        out.tools.append(tool)
    return out


def _free(name: str, taken: set[str]) -> str:
    made = name[-_LONGEST:]
    n = 2
    while made in taken:
        made = f"{name[-_LONGEST + 4 :]}_{n}"
        n += 1
    return made


def parse_choice(value: object, declared: Declared) -> ToolChoice | None:
    """Without tools there is nothing to choose: auto and none mean nothing then; anything else is an error, as is a
    tool that was not declared."""
    if value is None:
        return None
    if isinstance(value, str):
        choice = ToolChoice(cast(Any, one_of(value, "tool_choice", ("auto", "none", "required"))))
    elif isinstance(value, dict):
        choice = _choice(value, declared)
    else:
        raise wrong_type("tool_choice", "a string or an object", value)
    if not declared.tools:
        if choice.mode in ("auto", "none") and not choice.names:
            return None
        raise BadRequest("`tool_choice` asks for a tool, but there are no tools", param="tool_choice")
    known = {t.name for t in declared.tools}
    for name in choice.names or ():
        if name not in known:
            raise BadRequest(f"`tool_choice` names {shown(name)}, which is not among the tools", param="tool_choice")
    return choice


def _choice(value: Json, declared: Declared) -> ToolChoice:
    kind = text(value.get("type"), "tool_choice.type")
    if kind in ("function", "custom"):
        return ToolChoice("named", [_name(value, kind, "tool_choice", declared)])
    if kind == "allowed_tools":
        mode = cast(Literal["auto", "required"], one_of(value.get("mode"), "tool_choice.mode", ("auto", "required")))
        names = []
        for i, entry in enumerate(items(value.get("tools"), "tool_choice.tools", 128)):
            where = f"tool_choice.tools[{i}]"
            tool = fields(entry, where)
            inner = text(tool.get("type"), f"{where}.type")
            if inner in ("function", "custom"):  # else an offer that nobody here can take up
                names.append(_name(tool, inner, where, declared))
        if not names:
            raise BadRequest("`tool_choice.tools` allows no tool that is here", param="tool_choice.tools")
        return ToolChoice(mode, names)
    raise UnsupportedParameter(
        f"`tool_choice.type` is {shown(kind)}: no server here has such a tool (choices: function, custom, "
        "allowed_tools)",
        param="tool_choice.type",
    )


def _name(value: Json, kind: str, path: str, declared: Declared) -> str:
    nested = value.get(kind)
    given = nested.get("name") if isinstance(nested, dict) else value.get("name")
    namespace = text_or_none(value.get("namespace"), f"{path}.namespace")
    return declared.name_of(namespace, tool_name(given, f"{path}.name"))
