from __future__ import annotations

from typing import Any

import pytest

from gateway.canonical.requests import Tool, ToolChoice
from gateway.dialects import LIMITS
from gateway.dialects.openai.tools import parse_choice, parse_tools, render_choice, render_tools
from gateway.errors import BadRequest

F = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
}
C = {"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}}
DECLARED = [Tool("f"), Tool("c", kind="custom")]


def test_tools() -> None:
    dropped: list[str] = []
    tools = parse_tools({"tools": [F, C]}, LIMITS, dropped)
    assert tools == [Tool("f", "d", {"type": "object"}, True), Tool("c", kind="custom", format={"type": "text"})]
    assert render_tools(tools, None) == [F, C]
    assert parse_tools({"tools": []}, LIMITS, dropped) == [] == parse_tools({"tools": None}, LIMITS, dropped)
    assert not dropped


def test_what_only_one_client_writes_is_kept() -> None:
    value = {"type": "function", "eager_input_streaming": True, "function": {"name": "f", "x": 1}}
    tools = parse_tools({"tools": [value]}, LIMITS, [])
    assert tools[0].extra == {"openai": {"eager_input_streaming": True, "function": {"x": 1}}}
    assert render_tools(tools, None) == [value]
    assert render_tools(tools, frozenset()) == [{"type": "function", "function": {"name": "f"}}]


def test_functions_of_old() -> None:
    tools = parse_tools({"functions": [F["function"]]}, LIMITS, [])
    assert tools == [Tool("f", "d", {"type": "object"}, True)]
    assert parse_choice({"function_call": {"name": "f"}}, tools) == ToolChoice("named", ["f"])
    assert parse_choice({"function_call": "none"}, tools) == ToolChoice("none")


def test_hosted_tools_are_offers() -> None:
    dropped: list[str] = []
    offers = [{"type": "web_search", "external_web_access": True}, F, {"type": "image_generation"}]
    assert [t.name for t in parse_tools({"tools": offers}, LIMITS, dropped)] == ["f"]
    assert dropped == ["tools[0]:web_search", "tools[2]:image_generation"]
    with pytest.raises(BadRequest) as caught:
        parse_choice({"tool_choice": {"type": "web_search"}}, DECLARED)
    assert caught.value.param == "tool_choice.type"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice("named", ["f"])),
        ({"type": "function", "name": "f"}, ToolChoice("named", ["f"])),
        ({"type": "custom", "custom": {"name": "c"}}, ToolChoice("named", ["c"])),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            ToolChoice("required", ["f"]),
        ),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "c"}]},
            ToolChoice("auto", ["c"]),
        ),
    ],
)
def test_choices(value: Any, wanted: ToolChoice) -> None:
    choice = parse_choice({"tool_choice": value}, DECLARED)
    assert choice == wanted
    assert parse_choice({"tool_choice": render_choice(wanted, DECLARED)}, DECLARED) == wanted


def test_without_tools_there_is_nothing_to_choose() -> None:
    assert parse_choice({"tool_choice": "auto"}, []) is None
    assert parse_choice({"tool_choice": "none"}, []) is None
    for value in ("required", {"type": "function", "function": {"name": "f"}}):
        with pytest.raises(BadRequest) as caught:
            parse_choice({"tool_choice": value}, [])
        assert caught.value.param == "tool_choice"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": {}}, "tools"),
        ({"tools": [5]}, "tools[0]"),
        ({"tools": [F] * 129}, "tools"),
        ({"tools": [F, F]}, "tools"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [{"type": "functoin", "function": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f g"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f" * 129}}]}, "tools[0].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]},
            "tools[0].function.parameters",
        ),
        ({"tools": [{"type": "function", "function": {"name": "f", "strict": "x"}}]}, "tools[0].function.strict"),
        ({"functions": [{"name": 5}]}, "functions[0].name"),
    ],
)
def test_bad_tools(body: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_tools(body, LIMITS, [])
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ("any", "tool_choice"),
        (5, "tool_choice"),
        ({}, "tool_choice.type"),
        ({"type": "function"}, "tool_choice.function"),
        ({"type": "function", "function": {"name": "g"}}, "tool_choice"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": []}}, "tool_choice.allowed_tools.mode"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, "tool_choice.allowed_tools.tools"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]}, "tool_choice.tools[0].type"),
    ],
)
def test_bad_choices(value: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_choice({"tool_choice": value}, DECLARED)
    assert caught.value.param == param
