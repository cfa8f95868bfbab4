from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import (
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Segments,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from gateway.canonical.requests import CountTokens, OutputFormat, Sampling, ThinkingConfig, Tool, ToolChoice
from gateway.dialects import Limits
from gateway.dialects.anthropic import count_codec, messages_codec
from gateway.dialects.anthropic.blocks import UNSIGNED
from gateway.dialects.anthropic.messages import parse_request
from gateway.errors import BadRequest, GatewayError, PartRefused, UnsupportedParameter
from tests.wire.agents import bodies

HI = {"role": "user", "content": "hi"}
TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object"}}


def body(**more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": [HI], **more}


def user(*blocks: Any) -> dict[str, Any]:
    return body(messages=[{"role": "user", "content": list(blocks)}])


def test_the_plain_fields() -> None:
    chat = parse_request(
        body(temperature=0.5, top_p=0.9, top_k=40, stop_sequences=["END"], stream=True, system="be brief")
    )
    assert chat.model == "m" and chat.stream and chat.include_usage and not chat.prefill
    assert chat.sampling == Sampling(temperature=0.5, top_p=0.9, top_k=40, max_tokens=9, stop=["END"])
    assert chat.messages == [Message("system", [Text("be brief")]), Message("user", [Text("hi")])]
    assert [m.path for m in chat.messages] == ["system", "messages[0]"]
    assert chat.dropped == [] and chat.extra is None


def test_every_kind_of_content() -> None:
    chat = parse_request(
        user(
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk_"}},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
            {
                "type": "document",
                "title": "T",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
            },
            {
                "type": "document",
                "title": "T",
                "context": "C",
                "source": {"type": "text", "media_type": "text/plain", "data": "D"},
            },
            {"type": "document", "context": "C", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
            {
                "type": "document",
                "title": "T",
                "source": {"type": "content", "content": [{"type": "text", "text": "x"}]},
            },
            {
                "type": "search_result",
                "source": "https://s",
                "title": "S",
                "content": [{"type": "text", "text": "hit"}],
            },
        )
    )
    (message,) = chat.messages
    assert message.parts == [
        Text("a"),
        Image(Media("image/png", "aGk/")),
        Image(Media(url="https://example.com/a.png")),
        Image(Media(file_id="file_1")),
        Document(Media("application/pdf", "aGk=", name="T")),
        Text("T\n\nC\n\nD"),
        Text("C"),
        Document(Media(url="https://example.com/a.pdf")),
        Text("T"),
        Text("x"),
        Text("S\n\nhttps://s\n\nhit"),
    ]
    assert chat.dropped == ["messages[].content[].cache_control"]
    assert [p.path for p in message.parts[:2]] == ["messages[0].content[0]", "messages[0].content[1]"]
    assert message.parts[9].path == "messages[0].content[7].source.content[0]"


def test_a_long_medium_stays_in_pieces() -> None:
    held = Segments([b"aGkh" * 8, b"aGkh"])
    source = {"type": "base64", "media_type": "image/png", "data": held}
    (image,) = parse_request(user({"type": "image", "source": source})).messages[0].parts
    assert isinstance(image, Image) and image.media.base64 is held
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {"data": held}}
    chat = parse_request(body(messages=[HI, {"role": "assistant", "content": [call]}]))
    (part,) = chat.messages[1].parts
    assert isinstance(part, ToolCall) and part.arguments == '{"data":"' + held.text() + '"}'


def test_a_conversation_with_tools_and_thoughts() -> None:
    chat = parse_request(
        body(
            tools=[{**TOOL, "eager_input_streaming": True}],
            messages=[
                HI,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s1"},
                        {"type": "thinking", "thinking": "ours", "signature": UNSIGNED},
                        {"type": "redacted_thinking", "data": "xyz"},
                        {"type": "text", "text": "I call"},
                        {"type": "tool_use", "id": "t1", "name": "f", "input": {"b": 1, "a": "é"}},
                        {"type": "tool_use", "id": "t2", "name": "f"},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": "done", "is_error": True},
                        {
                            "type": "tool_result",
                            "tool_use_id": "t2",
                            "content": [
                                {"type": "text", "text": "see"},
                                {"type": "image", "source": {"type": "base64", "data": "aGkh"}},
                            ],
                        },
                        {"type": "text", "text": "go on"},
                        {"type": "tool_result", "tool_use_id": "t3"},
                    ],
                },
            ],
        )
    )
    assert chat.messages[1:] == [
        Message(
            "assistant",
            [
                Thinking("hm", signature="s1"),
                Thinking("ours"),
                Thinking("", redacted="xyz"),
                Text("I call"),
                ToolCall("t1", "f", '{"b":1,"a":"é"}'),
                ToolCall("t2", "f", "{}"),
            ],
        ),
        Message(
            "tool",
            [
                ToolResult("t1", [Text("done")], is_error=True),
                ToolResult("t2", [Text("see"), Image(Media("", "aGkh"))]),
            ],
        ),
        Message("user", [Text("go on")]),
        Message("tool", [ToolResult("t3", [Text("")])]),
    ]
    assert chat.tools == [Tool("f", "d", {"type": "object"})]
    assert chat.dropped == ["tools[].eager_input_streaming"]


def test_blocks_of_hosted_tools_are_kept_for_those_who_can_read_them() -> None:
    use = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}
    result = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    chat = parse_request(body(messages=[HI, {"role": "assistant", "content": [use, result]}]))
    assert chat.messages[1].parts == [
        Opaque("anthropic", "server_tool_use", use),
        Opaque("anthropic", "web_search_tool_result", result),
    ]
    assert chat.messages[1].parts[1].path == "messages[1].content[1]"


def test_hosted_tools_are_offers() -> None:
    offers = [
        TOOL,
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
        {"type": "mcp_toolset", "mcp_server_name": "x"},
    ]
    chat = parse_request(body(tools=offers, mcp_servers=[{"type": "url"}], tool_choice={"type": "auto"}))
    assert [t.name for t in chat.tools] == ["f"]
    assert chat.dropped == ["mcp_servers", "tools[1]:web_search_20250305", "tools[2]:mcp_toolset"]
    alone = parse_request(body(tools=offers[1:], tool_choice={"type": "auto"}))
    assert alone.tools == [] and alone.tool_choice is None
    with pytest.raises(UnsupportedParameter) as e:
        parse_request(body(tools=offers, tool_choice={"type": "tool", "name": "web_search"}))
    assert e.value.param == "tool_choice.name"
    with pytest.raises(BadRequest) as f:
        parse_request(body(tools=offers[1:], tool_choice={"type": "any"}))
    assert f.value.param == "tool_choice"


def test_tools_that_the_client_runs_are_told_to_any_model() -> None:
    typed = [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 9},
        {"type": "memory_20250818", "name": "memory"},
        {"type": "computer_20250124", "name": "computer"},
    ]
    chat = parse_request(body(tools=typed, tool_choice={"type": "tool", "name": "bash"}))
    assert [t.name for t in chat.tools] == ["bash", "str_replace_based_edit_tool", "memory"]
    assert all(t.description and t.parameters and "command" in t.parameters["properties"] for t in chat.tools)
    assert chat.dropped == ["tools[].max_characters", "tools[3]:computer_20250124"]


@pytest.mark.parametrize(
    ("choice", "wanted", "parallel"),
    [
        ({"type": "auto"}, ToolChoice("auto"), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required"), False),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, ToolChoice("named", ["f"]), True),
        ({"type": "none"}, ToolChoice("none"), None),
        ("any", ToolChoice("required"), None),
    ],
)
def test_the_choice_of_tools(choice: Any, wanted: ToolChoice, parallel: bool | None) -> None:
    chat = parse_request(body(tools=[TOOL], tool_choice=choice))
    assert (chat.tool_choice, chat.parallel_tool_calls) == (wanted, parallel)


@pytest.mark.parametrize(
    ("fields", "wanted", "dropped"),
    [
        ({}, ThinkingConfig(), []),
        ({"thinking": {"type": "disabled"}}, ThinkingConfig(False), []),
        ({"thinking": {"type": "enabled", "budget_tokens": 32000}}, ThinkingConfig(True, budget=32000), []),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, ThinkingConfig(True, include=False), []),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}},
            ThinkingConfig(True, effort="xhigh"),
            [],
        ),
        (
            {"output_config": {"effort": "low", "task_budget": 1}},
            ThinkingConfig(),
            ["output_config.task_budget", "output_config.effort"],
        ),
    ],
)
def test_what_is_asked_about_thinking(fields: Any, wanted: ThinkingConfig, dropped: list[str]) -> None:
    chat = parse_request(body(**fields))
    assert chat.thinking == wanted and chat.dropped == dropped


@pytest.mark.parametrize("name", ["output_format", "output_config"])
def test_a_schema_for_the_answer(name: str) -> None:
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    chat = parse_request(body(**{name: wanted if name == "output_format" else {"format": wanted}}))
    assert chat.output == OutputFormat("json_schema", schema={"type": "object"}, strict=True)


def test_a_billing_line_is_no_part_of_the_prompt() -> None:
    line = "x-anthropic-billing-header: cc_version=2; cch=abc12;"
    chat = parse_request(body(system=[{"type": "text", "text": line}, {"type": "text", "text": "You are"}]))
    assert chat.messages[0] == Message("system", [Text("You are")])
    assert chat.dropped == ["system:billing_line"]
    chat = parse_request(body(system=f"{line}\n\nYou are"))
    assert chat.messages[0] == Message("system", [Text("You are")])
    assert [m.role for m in parse_request(body(system=line)).messages] == ["user"]


def test_labels_are_dropped_and_named_and_options_are_read() -> None:
    chat = parse_request(
        body(metadata={"user_id": "u"}, service_tier="auto", x_new=1, gateway={"require": {"kind": "vllm"}}),
        '{"parts": "strict"}',
    )
    assert chat.dropped == ["metadata", "service_tier", "x_new"]
    assert chat.options.require == {"kind": ["vllm"]} and chat.options.strict_parts


def test_a_started_answer_and_system_messages_in_between() -> None:
    chat = parse_request(
        body(messages=[HI, {"role": "system", "content": "now"}, {"role": "assistant", "content": "{"}])
    )
    assert chat.prefill and [m.role for m in chat.messages] == ["user", "system", "assistant"]


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        (body(messages=[]), "messages"),
        (body(messages=None), "messages"),
        (body(model=None), "model"),
        (body(messages=[{"role": "user", "content": []}]), "messages[0].content"),
        (body(messages=[{"role": "tool", "content": "x"}]), "messages[0].role"),
        (user({"type": "tool_use", "id": "a", "name": "f", "input": {}}), "messages[0].content[0].type"),
        (user({"text": "x"}), "messages[0].content[0].type"),
        (user({"type": "text"}), "messages[0].content[0].text"),
        (user({"type": "image", "source": {"type": "base64", "data": "%"}}), "messages[0].content[0].source.data"),
        (
            user({"type": "image", "source": {"type": "base64", "media_type": "audio/wav", "data": "aGkh"}}),
            "messages[0].content[0].source",
        ),
        (user({"type": "image", "source": {"type": "url", "url": "file:///etc"}}), "messages[0].content[0].source.url"),
        (body(system=[{"type": "image"}]), "system[0].type"),
        (body(tools=[TOOL, TOOL]), "tools[1].name"),
        (body(tools=[TOOL], tool_choice={"type": "tool", "name": "g"}), "tool_choice.name"),
        (body(tool_choice={"type": "any"}), "tool_choice"),
        (body(max_tokens=0), "max_tokens"),
        (body(stop_sequences=["a", ""]), "stop_sequences[1]"),
        (body(container="c"), "container"),
        (body(thinking={"type": "on"}), "thinking.type"),
        (body(output_format={"type": "json"}), "output_format.type"),
        (body(stream="yes"), "stream"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(wrong: Any, param: str) -> None:
    with pytest.raises(BadRequest) as e:
        parse_request(wrong)
    assert e.value.param == param and e.value.status == 400


def test_an_unknown_kind_of_block_is_refused() -> None:
    with pytest.raises(PartRefused) as e:
        parse_request(user({"type": "hologram"}))
    assert "hologram" in e.value.message and "tool_result" in e.value.message


def test_limits() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a"}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [image]}
    with pytest.raises(BadRequest) as e:
        parse_request(user(image, result), None, Limits(images=1))
    assert e.value.param == "messages[0].content"
    with pytest.raises(BadRequest):
        parse_request(body(tools=[TOOL, TOOL]), None, Limits(tools=1))


def test_counting_reads_the_same_request() -> None:
    plain = {k: v for k, v in body(system="s", tools=[TOOL]).items() if k != "max_tokens"}
    count = count_codec.parse_request(plain)
    assert isinstance(count, CountTokens) and count.chat == messages_codec.parse_request(plain)
    assert count_codec.render_answer({"input_tokens": 7, "model": "m"}, count) == {"input_tokens": 7}


RECORDED = bodies("/v1/messages") + bodies("/v1/messages/count_tokens")


@pytest.mark.parametrize(("name", "sent"), RECORDED, ids=[n for n, _ in RECORDED])
def test_what_agents_send(name: str, sent: dict[str, Any]) -> None:
    chat = parse_request(sent)
    assert chat.messages[-1].role in ("user", "tool")
    assert len(chat.tools) == len(sent.get("tools") or ())
    results = [p for m in chat.messages for p in m.parts if isinstance(p, ToolResult)]
    calls = [p for m in chat.messages for p in m.parts if isinstance(p, ToolCall)]
    assert [r.call_id for r in results] == [c.id for c in calls]


def test_recordings_are_there() -> None:
    assert len(RECORDED) >= 9


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
blocks = st.fixed_dictionaries(
    {},
    optional={
        key: json_values
        | st.sampled_from(
            ["text", "image", "document", "tool_use", "tool_result", "thinking", "base64", "url", "content", "f"]
        )
        for key in ("type", "text", "source", "id", "name", "input", "tool_use_id", "content", "thinking", "title")
    },
)


@given(
    st.fixed_dictionaries(
        {
            "model": st.just("m"),
            "messages": st.lists(
                st.fixed_dictionaries(
                    {
                        "role": st.sampled_from(["user", "assistant"]),
                        "content": st.lists(blocks, max_size=3) | json_values,
                    }
                ),
                max_size=2,
            ),
        },
        optional=dict.fromkeys(
            ("system", "tools", "tool_choice", "thinking", "output_config", "stop_sequences"), json_values
        ),
    )
)
def test_nothing_that_a_client_sends_is_a_crash(sent: dict[str, Any]) -> None:
    try:
        chat = parse_request(sent)
    except GatewayError as e:
        assert e.status in (400, 404) and e.param
    else:
        assert chat.messages and all(m.parts for m in chat.messages)
