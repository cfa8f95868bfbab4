"""Where the words to the model stand: turn n's prompt stays the beginning of turn n + 1's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.canonical.content import Image, Media, Message, Text, Thinking, ToolCall, ToolResult
from gateway.canonical.requests import Chat, OutputFormat, Tool, ToolChoice
from gateway.errors import SchemaNotSatisfied, ToolChoiceNotSatisfied
from gateway.filters.instructions import instructed, nudged

SYSTEM = Message("system", [Text("Be brief.")])
USER = Message("user", [Text("Hello")])
ANSWER = Message("assistant", [Text('{"a":1}')])
SCHEMA = OutputFormat("json_schema", "x", {"type": "object", "required": ["b", "a"]}, strict=True)
TOOLS = [Tool("f"), Tool("g")]
NO_CALL = ToolChoiceNotSatisfied("the model called no tool")


def chat(*messages: Message, **more: Any) -> Chat:
    return Chat("m", list(messages), **more)


def rendered(request: Chat) -> str:
    """As a template might: every message begun and ended."""
    return "".join(
        f"<{m.role}>{''.join(p.text for p in m.parts if isinstance(p, Text))}</{m.role}>" for m in request.messages
    )


CONVERSATIONS = [
    [USER],
    [SYSTEM, USER],
    [Message("developer", [Text("Rules")]), USER],
    [Message("user", [Image(Media(url="https://x.y/z.png"))])],
    [Message("user", [Text("")])],
    [USER, Message("assistant", [ToolCall("c", "f", "{}")]), Message("tool", [ToolResult("c", [Text("1")])])],
]


@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize(
    "output",
    [
        SCHEMA,
        OutputFormat("json_object"),
        OutputFormat("choice", choices=["a", 'b"']),
        OutputFormat("json_schema"),
        OutputFormat("json_schema", schema={}, description="A thing"),
    ],
)
@pytest.mark.parametrize("tools", [[], TOOLS])
def test_instructed_stays_where_it_is(messages: list[Message], output: OutputFormat, tools: list[Tool]) -> None:
    request = chat(*messages, output=output, tools=tools)
    before = rendered(request)
    first = instructed(request)
    assert rendered(request) == before
    assert rendered(first) != before
    assert first.output is output
    assert instructed(first) is first
    later = instructed(chat(*messages, ANSWER, USER, output=output, tools=tools))
    assert rendered(later).startswith(rendered(first))


def test_the_words() -> None:
    (system, user) = instructed(chat(SYSTEM, USER, output=SCHEMA)).messages
    assert user is USER
    assert system.parts == [
        Text(
            "Be brief.\n\nAnswer with one JSON value, and nothing else. It has to meet this JSON schema:\n"
            '{"type":"object","required":["b","a"]}'
        )
    ]
    (image, words) = instructed(chat(CONVERSATIONS[3][0], output=OutputFormat("json_object"))).messages[0].parts
    assert isinstance(image, Image)
    assert words == Text("Answer with one JSON object, and nothing else.")
    one_of = OutputFormat("choice", choices=["a", 'b"'])
    (message,) = instructed(chat(USER, output=one_of, tools=TOOLS)).messages
    assert message.parts == [
        Text(
            "Hello\n\nWhen you do not call a tool, answer with exactly one of these texts, and nothing else: "
            '["a","b\\""]'
        )
    ]


def test_nothing_demanded_is_the_same_request() -> None:
    request = chat(USER)
    assert instructed(request) is request


def test_a_conversation_in_which_nobody_asked() -> None:
    assert [m.role for m in instructed(chat(ANSWER, output=SCHEMA)).messages] == ["user", "assistant"]
    assert [m.role for m in instructed(chat(output=SCHEMA)).messages] == ["user"]


@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_a_nudge_stands_at_the_very_end(messages: list[Message]) -> None:
    request = chat(*messages, tools=TOOLS, tool_choice=ToolChoice("required"))
    again = nudged(request, NO_CALL)
    assert again.messages[-1].role == "user"
    assert rendered(again).startswith(rendered(request).removesuffix("</user>"))
    assert len(again.messages) == len(messages) + (messages[-1].role != "user")
    assert again == replace(request, messages=again.messages)
    assert request == chat(*messages, tools=TOOLS, tool_choice=ToolChoice("required"))


def nudge(error: ToolChoiceNotSatisfied | SchemaNotSatisfied, **more: Any) -> str:
    (message,) = nudged(chat(Message("user", [Thinking("x")]), **more), error).messages
    assert isinstance(message.parts[-1], Text)
    return message.parts[-1].text


def test_what_a_nudge_says() -> None:
    begins = "An earlier attempt at this answer was rejected: "
    named = nudge(NO_CALL, tools=TOOLS, tool_choice=ToolChoice("named", ["g"]))
    assert named == begins + "the model called no tool. Now call `g`, and write nothing else."
    required = nudge(NO_CALL, tools=TOOLS, tool_choice=ToolChoice("required"))
    assert required.endswith("Now call one of `f`, `g`, and write nothing else.")
    many = nudge(NO_CALL, tools=[Tool(f"t{n}") for n in range(20)], tool_choice=ToolChoice("required"))
    assert "`t7`, ..., and" in many and "t8" not in many
    of_arguments = SchemaNotSatisfied("no", detail={"path": "choices[0].tool_calls[0].arguments.a"})
    assert nudge(of_arguments, tools=TOOLS, output=SCHEMA).endswith("arguments that its schema allows.")
    of_output = SchemaNotSatisfied("no", detail={"path": "choices[0].content.a"})
    assert nudge(of_output, output=SCHEMA).endswith("one JSON value that the schema allows, and nothing else.")
    assert nudge(of_output, output=OutputFormat("json_object")).endswith("one JSON object, and nothing else.")


def test_a_prefill_stays_the_last_message() -> None:
    prefill = Message("assistant", [Text("{")])
    again = nudged(chat(USER, prefill, prefill=True), NO_CALL)
    assert [m.role for m in again.messages] == ["user", "assistant"]
    assert again.messages[-1] is prefill
    assert [m.role for m in nudged(chat(prefill, prefill=True), NO_CALL).messages] == ["user", "assistant"]
