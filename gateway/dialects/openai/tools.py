"""Tools and the choice among them, both ways. The legacy `functions` and `function_call` are understood as tools."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final, Literal, cast

from gateway.canonical.requests import Tool, ToolChoice
from gateway.dialects import Limits
from gateway.dialects.fields import (
    Json,
    boolean_or_none,
    fields,
    fields_or_none,
    items,
    missing,
    one_of,
    rest,
    shown,
    text,
    text_or_none,
    tool_name,
    wrong_type,
)
from gateway.dialects.openai.parts import DIALECT
from gateway.errors import BadRequest, UnsupportedParameter

HOSTED: Final = (
    "web_search",
    "file_search",
    "code_interpreter",
    "image_generation",
    "computer",
    "mcp",
    "local_shell",
    "shell",
    "apply_patch",
    "tool_search",
    "browser_search",
)
"""Tools that the maker of the API runs itself; no server here has them. A type that begins so is an offer that may be
dropped, unless the request forces it."""


def parse_tools(body: Json, limits: Limits, dropped: list[str]) -> list[Tool]:
    """`tools` and `functions`. Names what it drops in `dropped`. Raises BadRequest; names are unique."""
    tools: list[Tool] = []
    for i, value in enumerate(items(body["tools"], "tools", limits.tools) if body.get("tools") is not None else []):
        path = f"tools[{i}]"
        tool = fields(value, path)
        kind = text(tool.get("type"), f"{path}.type")
        if kind == "function":
            tools.append(_function(tool, "function", path))
        elif kind == "custom":
            tools.append(_custom(tool, path))
        elif kind.startswith(HOSTED):
            dropped.append(f"{path}:{kind[:40]}")
        else:
            raise BadRequest(
                f"`{path}.type` is {shown(kind)}; choices: function, custom",
                param=f"{path}.type",
                code="unsupported_parameter",
            )
    if body.get("functions") is not None:
        for i, value in enumerate(items(body["functions"], "functions", limits.tools)):
            tools.append(_function({"function": value}, "function", f"functions[{i}]", inner_path=f"functions[{i}]"))
    names = set()
    for tool_ in tools:
        if tool_.name in names:
            raise BadRequest(f"two tools are named {shown(tool_.name)}", param="tools")
        names.add(tool_.name)
    return tools


def _function(tool: Json, key: str, path: str, inner_path: str = "") -> Tool:
    where = inner_path or f"{path}.{key}"
    inner = fields(tool.get(key), where)
    out = Tool(
        name=tool_name(inner.get("name"), f"{where}.name"),
        description=text_or_none(inner.get("description"), f"{where}.description"),
        parameters=fields_or_none(inner.get("parameters"), f"{where}.parameters"),
        strict=boolean_or_none(inner.get("strict"), f"{where}.strict"),
    )
    _keep(out, tool, key, rest(inner, ("name", "description", "parameters", "strict")))
    return out


def _custom(tool: Json, path: str) -> Tool:
    inner = fields(tool.get("custom"), f"{path}.custom")
    out = Tool(
        name=tool_name(inner.get("name"), f"{path}.custom.name"),
        description=text_or_none(inner.get("description"), f"{path}.custom.description"),
        kind="custom",
        format=fields_or_none(inner.get("format"), f"{path}.custom.format"),
    )
    _keep(out, tool, "custom", rest(inner, ("name", "description", "format")))
    return out


def _keep(out: Tool, tool: Json, key: str, inner: Json | None) -> None:
    extra = rest(tool, ("type", key)) or {}
    if inner:
        extra[key] = inner
    if extra:
        out.extra = {DIALECT: extra}


def parse_choice(body: Json, tools: list[Tool]) -> ToolChoice | None:
    """`tool_choice` or `function_call`. Without tools there is nothing to choose: auto and none mean nothing then, and
    anything else is an error, as is a tool that was not declared."""
    if body.get("tool_choice") is not None:
        value, path = body["tool_choice"], "tool_choice"
    elif body.get("function_call") is not None:
        value, path = body["function_call"], "function_call"
        if isinstance(value, dict):
            value = {"type": "function", "function": value}
    else:
        return None
    if isinstance(value, str):
        choice = ToolChoice(cast(Any, one_of(value, path, ("auto", "none", "required"))))
    else:
        choice = _choice_object(value, path)
    if not tools:
        if choice.mode in ("auto", "none") and not choice.names:
            return None
        raise BadRequest(f"`{path}` asks for a tool, but there are no tools", param=path)
    names = {t.name for t in tools}
    for name in choice.names or ():
        if name not in names:
            raise BadRequest(f"`{path}` names {shown(name)}, which is not among the tools", param=path)
    return choice


def _choice_object(value: object, path: str) -> ToolChoice:
    if not isinstance(value, dict):
        raise wrong_type(path, "a string or an object", value)
    kind = text(value.get("type"), f"{path}.type")
    if kind in ("function", "custom"):
        return ToolChoice("named", [_named(value, kind, path)])
    if kind == "allowed_tools":
        # two spellings are about: nested in a field of the same name, and flat
        nested = value.get("allowed_tools")
        where = path if nested is None else f"{path}.allowed_tools"
        allowed = fields(value if nested is None else nested, where)
        mode = cast(Literal["auto", "required"], one_of(allowed.get("mode"), f"{where}.mode", ("auto", "required")))
        names = []
        for i, entry in enumerate(items(allowed.get("tools"), f"{where}.tools", 128)):
            at = f"{where}.tools[{i}]"
            tool = fields(entry, at)
            names.append(_named(tool, one_of(tool.get("type"), f"{at}.type", ("function", "custom")), at))
        if not names:
            raise BadRequest(f"`{where}.tools` allows no tool; use tool_choice none", param=f"{where}.tools")
        return ToolChoice(mode, names)
    raise UnsupportedParameter(
        f"`{path}.type` is {shown(kind)}: no server here has such a tool (choices: function, custom, allowed_tools)",
        param=f"{path}.type",
    )


def _named(value: Json, kind: str, path: str) -> str:
    inner = value.get(kind)
    if inner is None and value.get("name") is not None:
        return tool_name(value["name"], f"{path}.name")
    if inner is None:
        raise missing(f"{path}.{kind}")
    return tool_name(fields(inner, f"{path}.{kind}").get("name"), f"{path}.{kind}.name")


def render_tools(tools: list[Tool], extras: Container[str] | None) -> list[Json]:
    out = []
    for tool in tools:
        inner: Json = {"name": tool.name}
        if tool.description is not None:
            inner["description"] = tool.description
        if tool.kind == "custom":
            if tool.format is not None:
                inner["format"] = tool.format
        else:
            if tool.parameters is not None:
                inner["parameters"] = tool.parameters
            if tool.strict is not None:
                inner["strict"] = tool.strict
        rendered: Json = {"type": tool.kind, tool.kind: inner}
        for key, value in ((tool.extra or {}).get(DIALECT) or {}).items():
            if key == tool.kind:
                inner |= {k: v for k, v in value.items() if extras is None or k in extras}
            elif extras is None or key in extras:
                rendered[key] = value
        out.append(rendered)
    return out


def render_choice(choice: ToolChoice, tools: list[Tool]) -> str | Json:
    kinds: dict[str, str] = {t.name: t.kind for t in tools}
    named = [{"type": kinds.get(n, "function"), kinds.get(n, "function"): {"name": n}} for n in choice.names or ()]
    if choice.mode == "named":
        return named[0]
    if named:
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": named}}
    return choice.mode
