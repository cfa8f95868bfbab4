"""What passes and what does not: forced calls, strict arguments, JSON, one of several texts; answers that were cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from gateway.canonical.content import Message, Part, Refusal, Text, Thinking, ToolCall
from gateway.canonical.events import Answer, Choice
from gateway.canonical.facts import Facts
from gateway.canonical.requests import Chat, OutputFormat, Tool, ToolChoice
from gateway.errors import BadRequest, SchemaNotSatisfied, ToolChoiceNotSatisfied
from gateway.filters.demand import Demand
from tests.canonical.strategies import answers

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
STRICT = Tool("strict", parameters=SCHEMA, strict=True)
LOOSE = Tool("loose", parameters=SCHEMA)
ENFORCED = Facts(forced_tool="enforced", json_schema="enforced")
UNKNOWN = Facts()


def chat(**more: Any) -> Chat:
    return Chat("m", [], **more)


def call(name: str, arguments: str = '{"n":1}', kind: Any = "function") -> ToolCall:
    return ToolCall("id", name, arguments, kind)


def answer(*parts: Part, finish: Any = "stop") -> Answer:
    return Answer(choices=[Choice(list(parts), finish)])


def checked(request: Chat, *parts: Part, finish: Any = "stop") -> Any:
    demand = Demand.of(request, UNKNOWN)
    assert demand is not None
    return demand.check(answer(*parts, finish=finish))


@pytest.mark.parametrize("kind", ["json_schema", "json_object", "choice"])
def test_what_the_client_began_is_a_part_of_the_answer(kind: Any) -> None:
    begun = Message("assistant", [Text('{"n":')])
    output = OutputFormat(kind, schema=SCHEMA, strict=True, choices=['{"n":1}'])
    request = Chat("m", [Message("user", [Text("?")]), begun], output=output, prefill=True)
    assert checked(request, Text("1}")) is None
    assert checked(request, Text('{"n":1}')) is None, "begun anew"
    assert checked(request, Text("1"), finish="length") is None
    for wrong in ("", "1", '"1"}]'):
        assert isinstance(checked(request, Text(wrong)), SchemaNotSatisfied)
    request.prefill = False
    assert isinstance(checked(request, Text("1}")), SchemaNotSatisfied)


@pytest.mark.parametrize(
    ("request_", "facts", "hold", "calls_only"),
    [
        (chat(tools=[LOOSE], tool_choice=ToolChoice("required")), ENFORCED, True, False),
        (chat(tools=[LOOSE], tool_choice=ToolChoice("named", ["loose"])), UNKNOWN, True, False),
        (chat(tools=[STRICT]), ENFORCED, False, True),
        (chat(tools=[STRICT]), UNKNOWN, True, True),
        (chat(tools=[STRICT], output=OutputFormat("json_object")), Facts(json_schema="ignored"), True, False),
        (chat(output=OutputFormat("json_schema", schema=SCHEMA, strict=True)), ENFORCED, False, False),
        (chat(output=OutputFormat("json_schema", schema=SCHEMA, strict=True)), UNKNOWN, True, False),
        (chat(output=OutputFormat("json_schema", schema=SCHEMA)), Facts(json_schema="verified"), True, False),
        (chat(output=OutputFormat("choice", choices=["a"])), UNKNOWN, True, False),
    ],
)
def test_what_is_held(request_: Chat, facts: Facts, hold: bool, calls_only: bool) -> None:
    demand = Demand.of(request_, facts)
    assert demand is not None
    assert (demand.hold, demand.calls_only) == (hold, calls_only)


@pytest.mark.parametrize(
    ("request_", "facts"),
    [
        (chat(), UNKNOWN),
        (chat(tools=[LOOSE]), UNKNOWN),
        (chat(tools=[LOOSE], tool_choice=ToolChoice("auto", ["loose"])), UNKNOWN),
        (chat(tools=[STRICT], tool_choice=ToolChoice("none")), UNKNOWN),
        (chat(output=OutputFormat("json_object")), ENFORCED),
        (chat(output=OutputFormat("json_schema", schema=SCHEMA)), ENFORCED),
        (chat(output=OutputFormat("choice", choices=["a"])), ENFORCED),
    ],
)
def test_nothing_to_verify(request_: Chat, facts: Facts) -> None:
    assert Demand.of(request_, facts) is None


def test_a_schema_that_can_not_be_used() -> None:
    with pytest.raises(BadRequest) as caught:
        Demand.of(chat(tools=[LOOSE, Tool("x", parameters={"$ref": "http://x.y"}, strict=True)]), UNKNOWN)
    assert caught.value.param == "tools[1].parameters.$ref"
    with pytest.raises(BadRequest):
        Demand.of(chat(output=OutputFormat("json_schema", schema={"type": 1}, strict=True)), UNKNOWN)


REQUIRED = chat(tools=[LOOSE, STRICT], tool_choice=ToolChoice("required"))
NAMED = chat(tools=[LOOSE, STRICT], tool_choice=ToolChoice("named", ["loose"]))
ALLOWED = chat(tools=[LOOSE, STRICT], tool_choice=ToolChoice("required", ["loose"]))


@pytest.mark.parametrize(
    ("request_", "parts", "finish", "passes"),
    [
        (REQUIRED, [call("loose")], "tool_calls", True),
        (REQUIRED, [Text("I will."), call("strict")], "tool_calls", True),
        (REQUIRED, [call("loose", "")], "tool_calls", True),  # no arguments at all are none
        (REQUIRED, [Text("No.")], "stop", False),
        (REQUIRED, [], "stop", False),
        (REQUIRED, [Thinking("Hm.")], "stop", False),
        (REQUIRED, [call("undeclared")], "tool_calls", False),
        (NAMED, [call("loose")], "tool_calls", True),
        (NAMED, [call("strict")], "tool_calls", False),
        (ALLOWED, [call("strict")], "tool_calls", False),
        (ALLOWED, [call("strict"), call("loose")], "tool_calls", True),
        (REQUIRED, [Text("I was going to")], "length", True),
        (REQUIRED, [Thinking("Hm.")], "length", True),
        (REQUIRED, [Text("")], "content_filter", True),
        (REQUIRED, [Refusal("No.")], "stop", True),
    ],
)
def test_forced(request_: Chat, parts: list[Part], finish: str, passes: bool) -> None:
    error = checked(request_, *parts, finish=finish)
    if passes:
        assert error is None
    else:
        assert type(error) is ToolChoiceNotSatisfied
        assert "`choices[0]`" in error.message and "`loose`" in error.message
        assert "No." not in error.message


def test_every_choice_has_to_call() -> None:
    demand = Demand.of(REQUIRED, ENFORCED)
    assert demand is not None
    both = Answer(choices=[Choice([call("loose")], "tool_calls"), Choice([Text("x")], "stop")])
    error = demand.check(both)
    assert error is not None and "`choices[1]`" in error.message
    assert isinstance(demand.check(Answer()), ToolChoiceNotSatisfied)


@pytest.mark.parametrize(
    ("parts", "finish", "path"),
    [
        ([call("strict")], "tool_calls", None),
        ([call("loose", '{"n":"x"}')], "tool_calls", None),  # nobody said strict
        ([call("loose", "{")], "tool_calls", None),
        ([call("strict", '{"n":"x"}')], "tool_calls", "choices[0].tool_calls[0].arguments.n"),
        ([Text("x"), call("loose"), call("strict", "{}")], "stop", "choices[0].tool_calls[1].arguments"),
        ([call("strict", "")], "tool_calls", "choices[0].tool_calls[0].arguments"),
        ([call("strict", '{"n":')], "stop", "choices[0].tool_calls[0].arguments"),
        ([call("strict", "[1]")], "stop", "choices[0].tool_calls[0].arguments"),
        ([call("strict", '{"n":1e999}')], "stop", "choices[0].tool_calls[0].arguments"),
        ([call("strict", '{"n":')], "length", None),  # the answer was cut inside of it
        ([call("strict", "")], "length", None),
        ([call("strict", '{"n":"x"}')], "length", "choices[0].tool_calls[0].arguments.n"),
        ([call("strict", '{"n":'), Text("x")], "length", "choices[0].tool_calls[0].arguments"),
        ([call("strict", "free text", "custom")], "stop", None),
    ],
)
def test_strict_arguments(parts: list[Part], finish: str, path: str | None) -> None:
    error = checked(chat(tools=[STRICT, LOOSE]), *parts, finish=finish)
    if path is None:
        assert error is None
    else:
        assert type(error) is SchemaNotSatisfied
        assert f"`{path}`" in error.message
        assert error.detail == {"path": path}


def test_a_forced_call_has_arguments_that_can_be_read() -> None:
    assert isinstance(checked(NAMED, call("loose", '{"n":')), SchemaNotSatisfied)
    assert checked(NAMED, call("loose", '{"n":'), finish="length") is None


SCHEMED = chat(output=OutputFormat("json_schema", schema=SCHEMA, strict=True))
PARSED = chat(output=OutputFormat("json_schema", schema=SCHEMA))
OBJECT = chat(output=OutputFormat("json_object"))
CHOICE = chat(output=OutputFormat("choice", choices=["yes", "no"]))
TEXTUAL = chat(output=OutputFormat("json_schema", schema={"minimum": 100}, strict=True))


@pytest.mark.parametrize(
    ("request_", "text", "finish", "passes"),
    [
        (SCHEMED, '{"n": 1}', "stop", True),
        (SCHEMED, ' {"n": 1}\n', "stop", True),
        (SCHEMED, '{"n": "1"}', "stop", False),
        (SCHEMED, '{"n": 1', "stop", False),
        (SCHEMED, '{"n": 1', "length", True),
        (SCHEMED, '{"n": "1"}', "length", False),
        (SCHEMED, "", "stop", False),
        (SCHEMED, "", "length", True),
        (SCHEMED, "Sure! Here", "length", False),
        (SCHEMED, '```json\n{"n": 1}\n```', "stop", False),
        (PARSED, '{"n": "1"}', "stop", True),
        (PARSED, "Sure!", "stop", False),
        (OBJECT, "{}", "stop", True),
        (OBJECT, "[]", "stop", False),
        (OBJECT, '"{}"', "stop", False),
        (OBJECT, '{"a', "length", True),
        (OBJECT, "[1", "length", False),
        (OBJECT, "[" * 5000, "stop", False),
        (TEXTUAL, "100", "stop", True),
        (TEXTUAL, "10", "stop", False),
        (TEXTUAL, "10", "length", True),  # more digits may have been coming
        (CHOICE, "yes", "stop", True),
        (CHOICE, "yes\n", "stop", False),
        (CHOICE, "ye", "stop", False),
        (CHOICE, "ye", "length", True),
        (CHOICE, "maybe", "length", False),
    ],
)
def test_output(request_: Chat, text: str, finish: str, passes: bool) -> None:
    error = checked(request_, Thinking("Hm."), Text(text), finish=finish)
    assert (error is None) == passes
    if error is not None:
        assert type(error) is SchemaNotSatisfied
        assert "`choices[0].content" in error.message
        assert len(text) < 4 or text not in error.message


def test_output_in_pieces_refused_or_with_a_call() -> None:
    assert checked(SCHEMED, Text('{"n":'), Text(" 1}")) is None
    assert checked(SCHEMED, Refusal("No.")) is None
    assert checked(SCHEMED, Text("Let me look."), call("f"), finish="tool_calls") is None


@settings(max_examples=40)
@given(answers)
def test_no_answer_is_too_much(answer: Answer) -> None:
    for request in (REQUIRED, SCHEMED, CHOICE, chat(tools=[Tool("", parameters=SCHEMA, strict=True)])):
        demand = Demand.of(request, UNKNOWN)
        assert demand is not None
        error = demand.check(answer)
        assert error is None or error.status == 502
