"""Functions, server-side tools, and the choice among them, both ways."""

from __future__ import annotations

from typing import Any, Final, Literal, cast

from gateway.canonical.requests import Bound, Tool, ToolChoice
from gateway.dialects import Limits
from gateway.dialects.fields import Json, field_name, fields, one_of, shown, text_or_none
from gateway.dialects.gemini.calls import function_name
from gateway.dialects.gemini.fields import DIALECT, Shape, layer, objects, plain, strings, under
from gateway.dialects.gemini.openapi import is_empty, tidy, to_openapi
from gateway.dialects.gemini.receiver import Receiver
from gateway.dialects.gemini.schema import to_json_schema
from gateway.errors import BadRequest, UnsupportedParameter

HOSTED: Final = (
    "googleSearch",
    "googleSearchRetrieval",
    "codeExecution",
    "urlContext",
    "googleMaps",
    "fileSearch",
    "computerUse",
    "retrieval",
    "enterpriseWebSearch",
    "mcpServers",
    "parallelAiSearch",
    "exaAiSearch",
)
_TOOL: Final = Shape(f"functionDeclarations {' '.join(HOSTED)}")
_FUNCTION: Final = Shape("name description parameters parametersJsonSchema")
_CONFIG: Final = Shape("functionCallingConfig")
_CALLING: Final = Shape("mode allowedFunctionNames streamFunctionCallArguments")
_MODES: Final = ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")
NO_PARAMETERS: Final[Json] = {"type": "object", "properties": {}}


def parse_tools(value: object, limits: Limits) -> tuple[list[Tool], list[Bound]]:
    """(the functions, the tools that the maker of the API runs itself).

    Beside functions the latter are an offer; alone they are what the request is about. Raises BadRequest; the
    functions' names are unique."""
    functions: list[Tool] = []
    hosted: list[Bound] = []
    for tool, path in objects(value, "tools"):
        known, others = _TOOL.read(tool, path)
        if others:
            key = next(iter(others))
            raise UnsupportedParameter(f"`{path}` has {shown(key)}, which is no known tool", param=path)
        declared = known.pop("functionDeclarations", None)
        if declared is not None:
            functions += [_function(f, where) for f, where in objects(declared, under(path, "functionDeclarations"))]
        hosted += [Bound(DIALECT, name, plain(entry), path=under(path, name)) for name, entry in known.items()]
    if len(functions) > limits.tools:
        raise BadRequest(
            f"`tools` declares {len(functions)} functions, at most {limits.tools} are allowed",
            param="tools",
            code="array_above_max_length",
        )
    names: set[str] = set()
    for function in functions:
        if function.name in names:
            raise BadRequest(f"two functions are named {shown(function.name)}", param="tools")
        names.add(function.name)
    for tool in hosted:
        tool.offer = bool(functions)
    return functions, hosted


def _function(value: object, path: str) -> Tool:
    known, others = _FUNCTION.read(value, path)
    parameters = dict(NO_PARAMETERS)
    if "parametersJsonSchema" in known and "parameters" in known:
        where = under(path, "parameters")
        raise BadRequest(f"`{where}` and parametersJsonSchema exclude each other", param=where)
    if "parametersJsonSchema" in known:
        where = under(path, "parametersJsonSchema")
        parameters = plain(fields(known["parametersJsonSchema"], where)) or parameters
    elif "parameters" in known:
        parameters = to_json_schema(known["parameters"], under(path, "parameters")) or parameters
    return Tool(
        function_name(known.get("name"), under(path, "name")),
        text_or_none(known.get("description"), under(path, "description")),
        parameters,
        extra=layer(others),
    )


def parse_choice(value: object, tools: list[Tool], dropped: list[str]) -> ToolChoice | None:
    """`toolConfig`. Marks the tools strict where calls are to be held to their schemas. Raises BadRequest."""
    if value is None:
        return None
    known, others = _CONFIG.read(value, "toolConfig")
    dropped += [f"toolConfig.{field_name(key)}" for key in others]
    path = "toolConfig.functionCallingConfig"
    calling, more = _CALLING.read(known.get("functionCallingConfig", {}), path)
    dropped += [f"{path}.{field_name(key)}" for key in more]
    mode = calling.get("mode")
    mode = one_of(mode.upper() if isinstance(mode, str) else mode, under(path, "mode"), _MODES) if mode else _MODES[0]
    names = _names(calling.get("allowedFunctionNames"), under(path, "allowedFunctionNames"), tools)
    if names and mode not in ("ANY", "VALIDATED"):
        raise BadRequest(
            "Allowed function names should only be set when function calling mode is ANY or VALIDATED.",
            param=under(path, "allowedFunctionNames"),
        )
    if not tools:
        if mode == "ANY":
            raise BadRequest(f"`{path}` asks for a function, but none is declared", param=under(path, "mode"))
        return None
    if mode == "VALIDATED":
        for tool in tools:
            tool.strict = True
        return ToolChoice("auto", names)
    if mode == "ANY":
        return ToolChoice("named" if names is not None and len(names) == 1 else "required", names)
    return None if mode == "MODE_UNSPECIFIED" else ToolChoice(cast(Literal["auto", "none"], mode.lower()))


def _names(value: object, path: str, tools: list[Tool]) -> list[str] | None:
    declared = {t.name for t in tools}
    names = list(dict.fromkeys(strings(value, path))) if value is not None else []
    for name in names:
        if name not in declared:
            raise BadRequest(f"`{path}` names {shown(name)}, which is not declared", param=path)
    return names or None


def render_tools(tools: list[Tool], hosted: list[Bound], receiver: Receiver) -> list[Json]:
    """One tool object with all functions, and one for each tool that the server runs itself."""
    out: list[Json] = []
    if tools:
        out.append({"functionDeclarations": [_render_function(t, i, receiver) for i, t in enumerate(tools)]})
    out += [{b.name: b.value} for b in hosted if b.dialect == DIALECT and b.name in HOSTED]
    return out


def _render_function(tool: Tool, index: int, receiver: Receiver) -> Json:
    if tool.kind == "custom":
        raise UnsupportedParameter("servers of this kind have no custom tools", param=f"tools[{index}]")
    out: Json = {"name": tool.name}
    if tool.description is not None:
        out["description"] = tool.description
    if not is_empty(tool.parameters):
        assert tool.parameters is not None
        if receiver.schema_form == "openapi":
            out["parameters"] = to_openapi(tool.parameters)
        else:
            out["parametersJsonSchema"] = tidy(tool.parameters)
    if receiver.extras:
        kept: dict[str, Any] = (tool.extra or {}).get(DIALECT) or {}
        out |= {key: entry for key, entry in kept.items() if key not in out}
    return out


def render_choice(choice: ToolChoice | None, tools: list[Tool], receiver: Receiver) -> Json | None:
    """The `toolConfig`; None where nothing is said."""
    mode = "AUTO" if choice is None else _MODE[choice.mode]
    names = None if choice is None else choice.names
    held = receiver.validated and any(t.strict for t in tools)
    if mode == "AUTO" and (held or names):
        # of the modes that leave it to the model only this one takes names
        mode = "VALIDATED" if held or receiver.validated else "AUTO"
    if mode == "AUTO" and choice is None:
        return None
    inner: Json = {"mode": mode}
    if names and mode in ("ANY", "VALIDATED"):
        inner["allowedFunctionNames"] = names
    return {"functionCallingConfig": inner}


_MODE: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}


def allowed(choice: ToolChoice | None, tools: list[Tool], receiver: Receiver) -> list[Tool]:
    """The functions to declare: where the receiver can't be told which ones the model may choose from, only those."""
    if choice is None or choice.mode != "auto" or not choice.names or receiver.validated:
        return tools
    return [t for t in tools if t.name in choice.names]
