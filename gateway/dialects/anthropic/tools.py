"""Tools and the choice among them.

A tool with a type of its own (`web_search_20250305`) is run by the maker of the API: an offer, which is dropped and
named unless the request forces it. Those among them that the client runs are in `client_tools`.
"""

from __future__ import annotations

from typing import Final

from gateway.canonical.requests import Tool, ToolChoice
from gateway.dialects.anthropic.blocks import Reading
from gateway.dialects.anthropic.client_tools import client_tool
from gateway.dialects.fields import (
    Json,
    boolean_or_none,
    field_name,
    fields,
    fields_or_none,
    items,
    one_of,
    shown,
    text_or_none,
    tool_name,
    wrong_type,
)
from gateway.errors import BadRequest, UnsupportedParameter

_KNOWN: Final = frozenset({"type", "name", "description", "input_schema", "strict"})


def parse_tools(value: object, reading: Reading) -> tuple[list[Tool], frozenset[str]]:
    """(the tools that a model can be given, the names of those that were dropped)."""
    tools: list[Tool] = []
    names: set[str] = set()
    dropped: set[str] = set()
    for i, entry in enumerate(items(value, "tools", reading.limits.tools) if value is not None else ()):
        path = f"tools[{i}]"
        tool = fields(entry, path)
        kind = text_or_none(tool.get("type"), f"{path}.type")
        found = _tool(tool, kind, path)
        if found is None:
            reading.drop(f"{path}:{field_name(kind or '')}")
            if isinstance(tool.get("name"), str):
                dropped.add(tool["name"])
            continue
        if found.name in names:
            raise BadRequest(f"two tools are named {shown(found.name)}", param=f"{path}.name")
        names.add(found.name)
        reading.drop_others("tools[]", tool, _KNOWN)
        tools.append(found)
    return tools, frozenset(dropped)


def _tool(tool: Json, kind: str | None, path: str) -> Tool | None:
    if kind not in (None, "custom"):
        name = tool.get("name")
        return client_tool(kind or "", tool_name(name, f"{path}.name")) if name is not None else None
    return Tool(
        tool_name(tool.get("name"), f"{path}.name"),
        text_or_none(tool.get("description"), f"{path}.description"),
        fields_or_none(tool.get("input_schema"), f"{path}.input_schema"),
        boolean_or_none(tool.get("strict"), f"{path}.strict"),
    )


def parse_choice(value: object, tools: list[Tool], hosted: frozenset[str]) -> tuple[ToolChoice | None, bool | None]:
    """(the choice, whether calls may come in parallel). Without tools there is nothing to choose: auto and none mean
    nothing then, and a forced tool is an error, as is one that was not declared."""
    if value is None:
        return None, None
    if isinstance(value, str):
        value = {"type": value}
    if not isinstance(value, dict):
        raise wrong_type("tool_choice", "an object", value)
    kind = one_of(value.get("type"), "tool_choice.type", ("auto", "any", "tool", "none"))
    choice, path = _choice(kind, value)
    one_only = boolean_or_none(value.get("disable_parallel_tool_use"), "tool_choice.disable_parallel_tool_use")
    parallel = None if one_only is None else not one_only
    if choice.names and choice.names[0] in hosted:
        raise UnsupportedParameter(f"`{path}` forces {shown(choice.names[0])}, which no server here has", param=path)
    if not tools:
        if choice.mode in ("auto", "none"):
            return None, None
        raise BadRequest("`tool_choice` asks for a tool, but there are no tools", param="tool_choice")
    if choice.names and all(choice.names[0] != t.name for t in tools):
        raise BadRequest(f"`{path}` is {shown(choice.names[0])}, which is not among the tools", param=path)
    return choice, parallel


def _choice(kind: str, value: Json) -> tuple[ToolChoice, str]:
    if kind == "tool":
        return ToolChoice("named", [tool_name(value.get("name"), "tool_choice.name")]), "tool_choice.name"
    return ToolChoice("required" if kind == "any" else "none" if kind == "none" else "auto"), "tool_choice"
