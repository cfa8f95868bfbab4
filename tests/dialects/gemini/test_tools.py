"""Functions, the choice among them, and the generation config's tables."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.canonical.requests import Chat, OutputFormat, ThinkingConfig, Tool, ToolChoice
from gateway.dialects import LIMITS
from gateway.dialects.gemini.config import parse_config, render_output, render_thinking
from gateway.dialects.gemini.receiver import WHOLE, Receiver, nearest_level
from gateway.dialects.gemini.tools import allowed, parse_choice, parse_tools, render_choice, render_tools
from gateway.errors import UnsupportedParameter

F, G = Tool("f"), Tool("g")


def config(**fields: Any) -> Any:
    return parse_config(fields, LIMITS, [])


def choice(mode: str | None, *names: str) -> ToolChoice | None:
    calling: dict[str, Any] = {} if mode is None else {"mode": mode}
    if names:
        calling["allowed_function_names"] = list(names)
    return parse_choice({"functionCallingConfig": calling}, [Tool("f"), Tool("g")], [])


@pytest.mark.parametrize(
    ("mode", "names", "expected"),
    [
        (None, [], None),
        ("MODE_UNSPECIFIED", [], None),
        ("AUTO", [], ToolChoice("auto")),
        ("auto", [], ToolChoice("auto")),
        ("NONE", [], ToolChoice("none")),
        ("ANY", [], ToolChoice("required")),
        ("ANY", ["f"], ToolChoice("named", ["f"])),
        ("ANY", ["f", "g", "f"], ToolChoice("required", ["f", "g"])),
        ("VALIDATED", [], ToolChoice("auto")),
        ("VALIDATED", ["f"], ToolChoice("auto", ["f"])),
    ],
)
def test_choices_in(mode: str | None, names: list[str], expected: ToolChoice | None) -> None:
    assert choice(mode, *names) == expected


STRICT = Tool("f", strict=True)


@pytest.mark.parametrize(
    ("asked", "tools", "receiver", "expected"),
    [
        (None, [F], WHOLE, None),
        (ToolChoice("auto"), [F], WHOLE, {"mode": "AUTO"}),
        (ToolChoice("none"), [F], WHOLE, {"mode": "NONE"}),
        (ToolChoice("required"), [STRICT], WHOLE, {"mode": "ANY"}),
        (ToolChoice("named", ["f"]), [F, G], WHOLE, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (ToolChoice("auto", ["f"]), [F, G], WHOLE, {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
        (None, [STRICT], WHOLE, {"mode": "VALIDATED"}),
        (None, [STRICT], Receiver(validated=False), None),
        (ToolChoice("auto", ["f"]), [F], Receiver(validated=False), {"mode": "AUTO"}),
    ],
)
def test_choices_out(asked: Any, tools: list[Tool], receiver: Receiver, expected: Any) -> None:
    out = render_choice(asked, tools, receiver)
    assert out == (None if expected is None else {"functionCallingConfig": expected})


def test_names_that_can_not_be_said_narrow_the_tools() -> None:
    plain = Receiver(validated=False)
    assert allowed(ToolChoice("auto", ["g"]), [F, G], plain) == [G]
    assert allowed(ToolChoice("auto", ["g"]), [F, G], WHOLE) == [F, G]
    assert allowed(ToolChoice("required", ["g"]), [F, G], plain) == [F, G]


def test_declarations() -> None:
    declared = [
        {
            "name": "f",
            "description": "d",
            "parameters": {"type": "OBJECT", "properties": {"inline_data": {"type": "STRING"}}},
            "response": {"type": "STRING"},
            "behavior": "BLOCKING",
        },
        {"name": "a.b:c-d", "parameters_json_schema": {"type": "object", "properties": {"x": {"type": "string"}}}},
    ]
    tools, _ = parse_tools([{"function_declarations": declared}], LIMITS)
    assert tools == [
        Tool(
            "f",
            "d",
            {"type": "object", "properties": {"inline_data": {"type": "string"}}},
            extra={"gemini": {"response": {"type": "STRING"}, "behavior": "BLOCKING"}},
        ),
        Tool("a.b:c-d", None, {"type": "object", "properties": {"x": {"type": "string"}}}),
    ]
    out = render_tools(tools, [], Receiver(schema_form="openapi", extras=False))[0]["functionDeclarations"]
    assert out[0] == {
        "name": "f",
        "description": "d",
        "parameters": {"type": "OBJECT", "properties": {"inline_data": {"type": "STRING"}}},
    }
    with pytest.raises(UnsupportedParameter):
        render_tools([Tool("x", kind="custom")], [], WHOLE)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ThinkingConfig(include=False)),
        ({"includeThoughts": True}, ThinkingConfig(include=True)),
        ({"include_thoughts": True, "thinking_level": "HIGH"}, ThinkingConfig(True, "high")),
        ({"thinkingLevel": "minimal"}, ThinkingConfig(True, "minimal", include=False)),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, ThinkingConfig(include=False)),
        ({"thinkingBudget": 0}, ThinkingConfig(False, "none", include=False)),
        ({"thinkingBudget": -1}, ThinkingConfig(True, include=False)),
        ({"thinkingBudget": 1024}, ThinkingConfig(True, "low", 1024, include=False)),
        ({"thinkingBudget": "8192"}, ThinkingConfig(True, "medium", 8192, include=False)),
        ({"thinkingBudget": 8193}, ThinkingConfig(True, "high", 8193, include=False)),
    ],
)
def test_thinking_in(given: Any, expected: ThinkingConfig) -> None:
    assert config(thinkingConfig=given).thinking == expected


GEMMA = Receiver(levels=frozenset({"minimal", "high"}), budget=False, unasked=True)
BUDGET = Receiver(levels=frozenset(), budget=True)
PRO = Receiver(levels=frozenset({"low", "high"}), budget=False)
NOTHING = Receiver(levels=frozenset(), budget=False)


@pytest.mark.parametrize(
    ("asked", "receiver", "expected"),
    [
        (ThinkingConfig(), GEMMA, {}),
        (ThinkingConfig(False), GEMMA, {"thinkingLevel": "MINIMAL"}),
        (ThinkingConfig(True), GEMMA, {"thinkingLevel": "HIGH"}),
        (ThinkingConfig(True, "low"), GEMMA, {"thinkingLevel": "MINIMAL"}),
        (ThinkingConfig(True, "medium"), GEMMA, {"thinkingLevel": "HIGH"}),
        (ThinkingConfig(True, "max"), GEMMA, {"thinkingLevel": "HIGH"}),
        (ThinkingConfig(True, budget=100), GEMMA, {"thinkingLevel": "MINIMAL"}),
        (ThinkingConfig(False), PRO, {"thinkingLevel": "LOW"}),
        (ThinkingConfig(True, "medium"), PRO, {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        (ThinkingConfig(False), BUDGET, {"thinkingBudget": 0}),
        (ThinkingConfig(True, "high", include=False), BUDGET, {"thinkingBudget": 24576}),
        (ThinkingConfig(True, "high", 77), BUDGET, {"includeThoughts": True, "thinkingBudget": 77}),
        (ThinkingConfig(True), BUDGET, {"includeThoughts": True, "thinkingBudget": -1}),
        (ThinkingConfig(True, "high"), NOTHING, {}),
    ],
)
def test_thinking_out(asked: ThinkingConfig, receiver: Receiver, expected: Any) -> None:
    assert render_thinking(asked, receiver) == expected


def test_every_effort_has_a_level() -> None:
    for levels in (frozenset({"high"}), frozenset({"minimal"}), frozenset({"low", "medium"})):
        for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "max"):
            assert nearest_level(effort, levels) in levels


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"responseMimeType": "text/plain"}, None),
        ({"responseMimeType": "application/json"}, OutputFormat("json_object")),
        ({"responseSchema": {"type": "STRING"}}, OutputFormat("json_schema", "response", {"type": "string"})),
        (
            {
                "responseMimeType": "application/json",
                "responseSchema": {"type": "ARRAY"},
                "responseJsonSchema": {"a": 1},
            },
            OutputFormat("json_schema", "response", {"a": 1}),
        ),
        ({"_responseJsonSchema": {"a": 1}}, OutputFormat("json_schema", "response", {"a": 1})),
        (
            {"responseMimeType": "text/x.enum", "responseSchema": {"enum": ["A", "B"], "type": "STRING"}},
            OutputFormat("choice", choices=["A", "B"]),
        ),
        ({"responseFormat": [{"text": {"mimeType": "text/plain"}}]}, None),
        ({"responseFormat": [{"text": {"mime_type": "application/json"}}]}, OutputFormat("json_object")),
        (
            {"responseFormat": {"text": {"jsonSchema": {"a": 1}}}},
            OutputFormat("json_schema", "response", {"a": 1}),
        ),
    ],
)
def test_outputs_in(given: Any, expected: Any) -> None:
    assert config(**given).output == expected


def test_outputs_out() -> None:
    schema = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "string"}}, "$schema": "s"}
    asked = OutputFormat("json_schema", "n", schema, strict=True)
    assert render_output(asked, WHOLE) == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {k: v for k, v in schema.items() if k != "$schema"},
    }
    older = render_output(asked, Receiver(schema_form="openapi"))["responseSchema"]
    assert older["type"] == "OBJECT" and older["propertyOrdering"] == ["b", "a"]


def test_numbers_as_clients_write_them() -> None:
    found = config(topK=40.0, maxOutputTokens="100", seed=7, temperature=0.0, candidate_count=2, stopSequences=[])
    assert (found.sampling.top_k, found.sampling.max_tokens, found.sampling.seed) == (40, 100, 7)
    assert (found.sampling.temperature, found.choices, found.sampling.stop) == (0.0, 2, None)
    assert config(responseModalities=["TEXT"]).audio_out is False
    assert config(responseModalities=["text", "AUDIO"]).audio_out is True
    with pytest.raises(UnsupportedParameter):
        config(responseFormat=[{"image": {}}])


def test_what_nobody_asks_is_not_written() -> None:
    from gateway.dialects.gemini.config import render_config

    assert render_config(Chat("m", [], thinking=ThinkingConfig(include=False)), WHOLE, {}) == {}
