from __future__ import annotations

from typing import Any

import pytest

from gateway.canonical.content import Image, Media, Message, Refusal, Segments, Text, Thinking, ToolCall, ToolResult
from gateway.dialects import LIMITS, Limits
from gateway.dialects.openai.messages import parse_messages, render_messages
from gateway.errors import BadRequest

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def one(message: dict[str, Any]) -> Message:
    return parse_messages([message], LIMITS)[0]


def assistant(*parts: Any, **about: Any) -> Message:
    return Message("assistant", list(parts), **about)


F = ToolCall("c1", "f", '{"a": 1}')


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"content": "x"}, assistant(Text("x"))),
        ({"content": None, "tool_calls": [CALL]}, assistant(F)),
        ({"content": "", "tool_calls": [CALL]}, assistant(F)),
        ({"tool_calls": [CALL]}, assistant(F)),
        ({"content": "x", "tool_calls": [CALL], "reasoning_content": "t"}, assistant(Thinking("t"), Text("x"), F)),
        ({"content": "x", "reasoning": "t", "reasoning_content": "t"}, assistant(Thinking("t"), Text("x"))),
        ({"content": "x", "reasoning": "t", "reasoning_content": ""}, assistant(Thinking("t"), Text("x"))),
        ({"content": None, "refusal": "no"}, assistant(Refusal("no"))),
        ({"content": None}, assistant(Text(""))),
        ({"content": ""}, assistant(Text(""))),
        ({}, assistant(Text(""))),
        ({"content": [], "tool_calls": []}, assistant(Text(""))),
        (
            {"content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]},
            assistant(Text("a"), Refusal("b")),
        ),
        ({"content": "x", "name": "bob"}, assistant(Text("x"), name="bob")),
        ({"content": "x", "annotations": [1]}, assistant(Text("x", [1]))),
        ({"content": "x", "audio": {"id": "a"}}, assistant(Text("x"), extra={"openai": {"audio": {"id": "a"}}})),
        ({"content": "x", "audio": None, "function_call": None, "tool_calls": None}, assistant(Text("x"))),
        (
            {"content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": [1]}}}]},
            assistant(ToolCall("c", "f", '{"a":[1]}')),
        ),
        (
            {"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "free text"}}]},
            assistant(ToolCall("c", "f", "free text", "custom")),
        ),
        (
            {"tool_calls": [{**CALL, "index": 0, "extra_content": {"x": 1}}]},
            assistant(ToolCall("c1", "f", '{"a": 1}', extra={"openai": {"extra_content": {"x": 1}}})),
        ),
    ],
)
def test_assistant(fields: dict[str, Any], wanted: Message) -> None:
    message = one({"role": "assistant", **fields})
    assert message == wanted
    assert parse_messages(render_messages([message], None, "reasoning_content"), LIMITS) == [message]


def test_tool_results() -> None:
    message = one({"role": "tool", "tool_call_id": "c1", "name": "f", "content": "42", "is_error": False})
    assert message == Message("tool", [ToolResult("c1", [Text("42")], "f")])
    for nothing in (None, "", []):
        assert one({"role": "tool", "tool_call_id": "c1", "content": nothing}).parts == [ToolResult("c1", [Text("")])]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    message = one({"role": "tool", "tool_call_id": "c1", "content": [picture], "is_error": True})
    assert message.parts == [ToolResult("c1", [Image(Media("image/png", "AAAA"))], is_error=True)]
    assert render_messages([message], frozenset(), "reasoning")[0].get("is_error") is None


def test_calls_from_before_calls_had_ids() -> None:
    """The ids are made up, but the same in every turn of a conversation."""
    history = [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "2"},
    ]
    messages = parse_messages(history, LIMITS)
    call, result, second, last = (m.parts[0] for m in messages)
    assert isinstance(call, ToolCall) and isinstance(result, ToolResult) and messages[1].role == "tool"
    assert isinstance(second, ToolCall) and isinstance(last, ToolResult)
    assert result.call_id == call.id != second.id == last.call_id
    assert messages[:2] == parse_messages(history[:2], LIMITS)
    with pytest.raises(BadRequest) as caught:
        parse_messages([history[1]], LIMITS)
    assert caught.value.param == "messages[0]"


def test_one_canonical_message_with_several_results_becomes_several() -> None:
    message = Message("tool", [ToolResult("a", [Text("1")]), ToolResult("b", {"x": 2}), Text("and?")])
    assert render_messages([message], None, "reasoning_content") == [
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": '{"x": 2}'},
        {"role": "user", "content": "and?"},
    ]


def test_the_field_for_thoughts() -> None:
    message = assistant(Thinking("t"), Text("x"))
    assert render_messages([message], None, "reasoning")[0] == {"role": "assistant", "content": "x", "reasoning": "t"}
    both = render_messages([message], None, "both")[0]
    assert both["reasoning"] == both["reasoning_content"] == "t"


def test_paths() -> None:
    messages = parse_messages(
        [
            {"role": "user", "content": "a"},
            {"role": "user", "content": ["a", "b"]},
            {"role": "assistant", "reasoning": "t", "tool_calls": [CALL, CALL]},
        ],
        LIMITS,
    )
    assert [m.path for m in messages] == ["messages[0]", "messages[1]", "messages[2]"]
    assert [p.path for m in messages for p in m.parts] == [
        "messages[0].content",
        "messages[1].content[0]",
        "messages[1].content[1]",
        "messages[2].reasoning",
        "messages[2].tool_calls[0]",
        "messages[2].tool_calls[1]",
    ]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("Hi", "messages[0]"),
        ({"content": "x"}, "messages[0].role"),
        ({"role": "wizard", "content": "x"}, "messages[0].role"),
        ({"role": 3, "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": None}, "messages[0].content"),
        ({"role": "user", "content": []}, "messages[0].content"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "content": "x", "name": 5}, "messages[0].name"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "tool", "content": "x", "tool_call_id": ""}, "messages[0].tool_call_id"),
        ({"role": "function", "content": "x"}, "messages[0].name"),
        ({"role": "assistant", "tool_calls": {}}, "messages[0].tool_calls"),
        ({"role": "assistant", "tool_calls": [5]}, "messages[0].tool_calls[0]"),
        ({"role": "assistant", "tool_calls": [{**CALL, "id": None}]}, "messages[0].tool_calls[0].id"),
        ({"role": "assistant", "tool_calls": [{**CALL, "type": "x"}]}, "messages[0].tool_calls[0].type"),
        ({"role": "assistant", "tool_calls": [{"id": "c"}]}, "messages[0].tool_calls[0].function"),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": 5}}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f g"}}]},
            "messages[0].tool_calls[0].function.name",
        ),
        ({"role": "assistant", "content": "x", "reasoning": 5}, "messages[0].reasoning"),
    ],
)
def test_what_is_wrong_is_named(message: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_messages([message], LIMITS)
    assert caught.value.param == param


def test_too_many_messages() -> None:
    with pytest.raises(BadRequest) as caught:
        parse_messages([{"role": "user", "content": "x"}] * 3, Limits(messages=2))
    assert (caught.value.param, caught.value.code) == ("messages", "array_above_max_length")


def test_images_are_counted_over_the_whole_request() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}
    messages = [
        {"role": "user", "content": [image]},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "x"}, image]},
    ]
    assert len(parse_messages(messages, Limits(images=2))) == 3
    with pytest.raises(BadRequest, match="at most 1 are allowed") as caught:
        parse_messages(messages, Limits(images=1))
    assert caught.value.param == "messages[2].content"


def test_arguments_as_an_object_may_hold_a_long_text():
    """It comes in pieces where it is base64: what a tool was given to write into a file."""
    arguments = {"data": Segments([b"QUJD", b"REVG"])}
    call = {"id": "c", "function": {"name": "f", "arguments": arguments}}
    for message in (
        {"role": "assistant", "tool_calls": [call]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": arguments}},
    ):
        [part] = one(message).parts
        assert isinstance(part, ToolCall) and part.arguments == '{"data":"QUJDREVG"}'
