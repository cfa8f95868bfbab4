from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import (
    Audio,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Refusal,
    Segments,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from gateway.canonical.requests import OutputFormat, Sampling, ThinkingConfig, Tool, ToolChoice
from gateway.dialects import Limits
from gateway.dialects.openai.responses import remembered, responses_codec
from gateway.dialects.openai.responses.remembered import UNSIGNED
from gateway.dialects.openai.responses.requests import parse_request
from gateway.errors import BadRequest, GatewayError, NotFound, PartRefused, UnsupportedParameter
from tests.wire.agents import bodies

TOOL = {"type": "function", "name": "f", "description": "d", "strict": False, "parameters": {"type": "object"}}
PATCH = {"type": "custom", "name": "patch", "description": "p", "format": {"type": "text"}}
HI = {"role": "user", "content": "hi"}


def body(*items: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "input": list(items) or "hi", **more}


def test_the_plain_fields() -> None:
    chat = parse_request(
        body(
            instructions="be brief",
            max_output_tokens=9,
            temperature=0.5,
            top_p=0.9,
            seed=3,
            stream=True,
            stream_options={"include_obfuscation": False},
            store=False,
            truncation="auto",
            metadata={"a": "b"},
            client_metadata={"x": 1},
            gateway={"require": {"kind": "vllm"}},
        )
    )
    assert chat.messages == [Message("system", [Text("be brief")]), Message("user", [Text("hi")])]
    assert chat.sampling == Sampling(temperature=0.5, top_p=0.9, seed=3, max_tokens=9)
    assert chat.stream and chat.include_usage and chat.options.require == {"kind": ["vllm"]}
    assert chat.dropped == ["metadata", "client_metadata", "stream_options.include_obfuscation", "truncation"]
    memory = remembered(chat)
    assert not memory.store and memory.echo["temperature"] == 0.5 and memory.echo["metadata"] == {"a": "b"}
    assert memory.items == [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}]


def test_what_a_message_can_hold() -> None:
    content = [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "data:image/png;base64,aGkh", "detail": "low"},
        {"type": "input_image", "file_id": "f1"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,aGkh", "filename": "x.pdf"},
        {"type": "input_audio", "input_audio": {"data": "aGkh", "format": "wav"}},
    ]
    chat = parse_request(body({"type": "message", "role": "user", "content": content}))
    assert chat.messages[0].parts == [
        Text("a"),
        Image(Media("image/png", "aGkh", detail="low")),
        Image(Media(file_id="f1")),
        Document(Media("application/pdf", "aGkh", name="x.pdf")),
        Audio(Media("audio/wav", "aGkh")),
    ]
    assert chat.messages[0].parts[1].path == "input[0].content[1]"


def test_a_turn_of_the_model_is_one_message() -> None:
    chat = parse_request(
        body(
            {"role": "developer", "content": "d"},
            HI,
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}], "content": None},
            {
                "type": "message",
                "role": "assistant",
                "id": "msg",
                "status": "completed",
                "content": [
                    {"type": "output_text", "text": "I look", "annotations": [], "logprobs": []},
                    {"type": "refusal", "refusal": "no"},
                ],
            },
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}', "id": "fc"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "*** Begin"},
            {"type": "function_call_output", "call_id": "c1", "output": "one"},
            {
                "type": "custom_tool_call_output",
                "call_id": "c2",
                "output": [
                    {"type": "input_text", "text": "two"},
                    {"type": "input_image", "image_url": "https://example.com/a.png"},
                ],
            },
            {"type": "reasoning", "summary": [], "encrypted_content": "enc"},
            {"type": "message", "role": "assistant", "content": "done"},
            {"type": "message", "role": "assistant", "content": "and more", "phase": "final_answer"},
            {"role": "user", "content": [{"type": "input_text", "text": "thanks"}]},
            tools=[TOOL, PATCH],
        )
    )
    assert chat.messages == [
        Message("developer", [Text("d")]),
        Message("user", [Text("hi")]),
        Message(
            "assistant",
            [
                Thinking("hm"),
                Text("I look"),
                Refusal("no"),
                ToolCall("c1", "f", '{"a":1}'),
                ToolCall("c2", "patch", "*** Begin", "custom"),
            ],
        ),
        Message("tool", [ToolResult("c1", [Text("one")])]),
        Message("tool", [ToolResult("c2", [Text("two"), Image(Media(url="https://example.com/a.png"))])]),
        Message("assistant", [Thinking("", redacted="enc"), Text("done")]),
        Message("assistant", [Text("and more")]),
        Message("user", [Text("thanks")]),
    ]
    assert chat.dropped == ["input[].phase"]
    assert chat.tools[1] == Tool("patch", "p", kind="custom", format={"type": "text"})


def test_thoughts() -> None:
    def thoughts(**fields: Any) -> list[Any]:
        return parse_request(body({"type": "reasoning", **fields}, HI)).messages[0].parts

    texts = [{"type": "reasoning_text", "text": "a"}, {"type": "reasoning_text", "text": "b"}]
    summary = [{"type": "summary_text", "text": "s"}, {"type": "summary_text", "text": "t"}]
    assert thoughts(content=texts, summary=summary) == [Thinking("ab")]
    assert thoughts(summary=summary, encrypted_content="e") == [Thinking("s\n\nt", redacted="e")]
    assert thoughts(content=texts, encrypted_content=UNSIGNED) == [Thinking("ab")]
    assert thoughts(summary=[], encrypted_content=None) == [Text("hi")]  # it says nothing


def test_hosted_tools_are_offers_and_their_items_are_kept() -> None:
    search = {"type": "web_search_call", "id": "ws", "status": "completed", "action": {}}
    chat = parse_request(
        body(
            HI,
            search,
            tools=[{"type": "web_search", "external_web_access": True}, TOOL, {"type": "image_generation"}],
            include=["web_search_call.action.sources", "reasoning.encrypted_content"],
        )
    )
    assert [t.name for t in chat.tools] == ["f"]
    assert chat.dropped == [
        "tools[0]:web_search",
        "tools[2]:image_generation",
        "include:web_search_call.action.sources",
    ]
    assert chat.messages[1] == Message("assistant", [Opaque("responses", "web_search_call", search)])
    assert chat.messages[1].parts[0].path == "input[1]"
    assert remembered(chat).encrypted
    with pytest.raises(UnsupportedParameter) as e:
        parse_request(body(tools=[TOOL], tool_choice={"type": "web_search"}))
    assert e.value.param == "tool_choice.type"


def test_namespaces_are_taken_apart() -> None:
    spaces = [
        TOOL,
        {
            "type": "namespace",
            "name": "agents",
            "description": "About agents.",
            "tools": [{**TOOL, "name": "spawn"}, TOOL, {"type": "web_search"}],
        },
        {"type": "namespace", "name": "functions", "description": "", "tools": [{**PATCH, "name": "exec"}]},
    ]
    chat = parse_request(
        body(
            {"type": "additional_tools", "role": "developer", "tools": [{**TOOL, "name": "more"}]},
            HI,
            {"type": "custom_tool_call", "call_id": "c", "name": "exec", "namespace": "functions", "input": "x"},
            {"type": "function_call", "call_id": "d", "name": "f", "namespace": "agents", "arguments": "{}"},
            {"type": "function_call", "call_id": "e", "name": "gone", "namespace": "old", "arguments": "{}"},
            tools=spaces,
            tool_choice={"type": "function", "name": "f", "namespace": "agents"},
        )
    )
    assert [t.name for t in chat.tools] == ["f", "spawn", "agents__f", "exec", "more"]
    assert chat.tools[1].description == "About agents.\n\nd" and chat.tools[2].description == "d"
    assert remembered(chat).names == {
        "spawn": ("agents", "spawn"),
        "agents__f": ("agents", "f"),
        "exec": ("functions", "exec"),
    }
    assert [p.name for p in chat.messages[1].parts if isinstance(p, ToolCall)] == ["exec", "agents__f", "gone"]
    assert chat.tool_choice == ToolChoice("named", ["agents__f"])
    assert chat.dropped == ["tools[1].tools[2]:web_search"]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("auto", ToolChoice("auto")),
        ("required", ToolChoice("required")),
        ({"type": "function", "name": "f"}, ToolChoice("named", ["f"])),
        ({"type": "custom", "name": "patch"}, ToolChoice("named", ["patch"])),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "f"}, {"type": "mcp"}],
            },
            ToolChoice("required", ["f"]),
        ),
    ],
)
def test_the_choice_of_tools(choice: Any, wanted: ToolChoice) -> None:
    chat = parse_request(body(tools=[TOOL, PATCH], tool_choice=choice, parallel_tool_calls=False))
    assert chat.tool_choice == wanted and chat.parallel_tool_calls is False
    assert remembered(chat).echo["tool_choice"] == choice
    alone = parse_request(body(tool_choice="auto", parallel_tool_calls=False))
    assert alone.tool_choice is None and alone.parallel_tool_calls is None


@pytest.mark.parametrize(
    ("wanted", "output"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, OutputFormat("json_object")),
        (
            {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
            OutputFormat("json_schema", "n", {"type": "object"}, None, True),
        ),
        ({"type": "json_schema", "json_schema": {"schema": {}}}, OutputFormat("json_schema", "schema", {})),
    ],
)
def test_the_form_of_the_answer(wanted: Any, output: OutputFormat | None) -> None:
    chat = parse_request(body(text={"format": wanted, "verbosity": "low"}))
    assert chat.output == output and chat.dropped == ["text.verbosity"]
    assert remembered(chat).echo["text"]["format"] == wanted


def test_what_is_asked_about_thinking_and_probabilities() -> None:
    chat = parse_request(body(reasoning={"summary": "auto", "context": "all_turns"}))
    assert chat.thinking == ThinkingConfig() and remembered(chat).summaries
    assert chat.dropped == ["reasoning.context"]
    chat = parse_request(body(reasoning={"effort": "low"}, top_logprobs=3))
    assert chat.thinking == ThinkingConfig(True, "low") and not remembered(chat).summaries
    assert chat.logprobs and chat.top_logprobs == 3
    assert parse_request(body(reasoning={"effort": "none"})).thinking.enabled is False
    assert parse_request(body(include=["message.output_text.logprobs"])).logprobs


def test_going_on_from_an_answer() -> None:
    first = parse_request(body(HI))
    said = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes?"}]}]
    kept = [*remembered(first).items, *said]
    sent = body({"role": "user", "content": "more"}, previous_response_id="resp_1", instructions="new")
    chat = responses_codec.parse_request(sent, None, earlier=kept)
    assert [(m.role, m.parts[0]) for m in chat.messages] == [
        ("system", Text("new")),
        ("user", Text("hi")),
        ("assistant", Text("yes?")),
        ("user", Text("more")),
    ]
    assert remembered(chat).items == [{"role": "user", "content": "more"}]
    assert remembered(chat).previous == "resp_1" and remembered(first).previous is None
    assert remembered(chat).echo["previous_response_id"] == "resp_1"
    with pytest.raises(NotFound) as e:
        responses_codec.parse_request(sent)
    assert (e.value.status, e.value.code) == (404, "previous_response_not_found")
    assert e.value.param == "previous_response_id"


def test_long_texts_that_came_in_pieces() -> None:
    held = Segments([b"aGkh", b"aGkh"])
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": {"data": held}}
    chat = parse_request(body(HI, call, metadata={"data": held}))
    (part,) = chat.messages[1].parts
    assert isinstance(part, ToolCall) and part.arguments == '{"data":"aGkhaGkh"}'
    assert remembered(chat).echo["metadata"] == {"data": "aGkhaGkh"}


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"model": "m"}, "input"),
        ({"model": "m", "input": []}, "input"),
        ({"model": "m", "input": ["x"]}, "input[0]"),
        (body({"type": "hologram"}), "input[0].type"),
        (body({"content": "x"}), "input[0].type"),
        (body({"role": "critic", "content": "x"}), "input[0].role"),
        (body({"role": "user", "content": []}), "input[0].content"),
        (body({"role": "user", "content": [{"type": "smell"}]}), "input[0].content[0].type"),
        (body({"type": "item_reference", "id": "x"}), "input[0]"),
        (body({"type": "function_call", "name": "f", "arguments": "{}"}), "input[0].call_id"),
        (body({"type": "function_call", "call_id": "c", "arguments": "{}"}), "input[0].name"),
        (body({"type": "function_call_output", "output": "x"}), "input[0].call_id"),
        (body({"type": "reasoning", "summary": [{"type": "x"}]}), "input[0].summary[0].type"),
        (body(tools=[TOOL, TOOL]), "tools[1]"),
        (body(tools=[{"name": "f"}]), "tools[0].type"),
        (body(tools=[TOOL], tool_choice={"type": "function", "name": "g"}), "tool_choice"),
        (body(tool_choice="required"), "tool_choice"),
        (body(tools=[TOOL], tool_choice={"type": "allowed_tools", "mode": "auto", "tools": []}), "tool_choice.tools"),
        (body(text={"format": {"type": "xml"}}), "text.format.type"),
        (body(reasoning={"effort": "huge"}), "reasoning.effort"),
        (body(background=True), "background"),
        (body(conversation="c"), "conversation"),
        (body(prompt={"id": "p"}), "prompt"),
        (body(max_output_tokens=0), "max_output_tokens"),
        (body(include="x"), "include"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(wrong: Any, param: str) -> None:
    with pytest.raises(BadRequest) as e:
        parse_request(wrong)
    assert e.value.param == param and e.value.status == 400


def test_limits() -> None:
    picture = {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com/a"}]}
    for wrong, limits in (
        (body(picture, picture), Limits(images=1)),
        (body(HI, HI), Limits(messages=1)),
        (body(tools=[{"type": "namespace", "name": "n", "tools": [TOOL, PATCH]}, TOOL]), Limits(tools=2)),
    ):
        with pytest.raises(BadRequest):
            parse_request(wrong, None, limits)
    with pytest.raises(PartRefused):
        parse_request(body({"type": "teleport"}))


RECORDED = bodies("/v1/responses")


@pytest.mark.parametrize(("name", "sent"), RECORDED, ids=[n for n, _ in RECORDED])
def test_what_agents_send(name: str, sent: dict[str, Any]) -> None:
    chat = parse_request(sent)
    results = [p for m in chat.messages for p in m.parts if isinstance(p, ToolResult)]
    calls = [p for m in chat.messages for p in m.parts if isinstance(p, ToolCall)]
    assert [r.call_id for r in results] == [c.id for c in calls]
    declared = {t.name: t.kind for t in chat.tools}
    assert all(declared.get(c.name, c.kind) == c.kind for c in calls)
    assert not any(isinstance(p, Opaque) for m in chat.messages for p in m.parts)


def test_an_agent_whose_tools_stand_in_its_input() -> None:
    sent = dict(RECORDED)["codex-model-lite"]
    chat = parse_request(sent)
    calls = [p for m in chat.messages for p in m.parts if isinstance(p, ToolCall)]
    assert {(c.name, c.kind) for c in calls} == {("exec", "custom")}
    assert remembered(chat).names["exec"] == ("functions", "exec")
    assert len(RECORDED) >= 11


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)
odd_items = st.fixed_dictionaries(
    {},
    optional={
        "type": values | st.sampled_from(["message", "reasoning", "function_call", "function_call_output", "x_call"]),
        "role": values | st.sampled_from(["user", "assistant"]),
        **dict.fromkeys(("content", "summary", "call_id", "name", "arguments", "output", "namespace", "tools"), values),
    },
)


@given(
    st.fixed_dictionaries(
        {"model": st.just("m"), "input": st.lists(odd_items, max_size=3) | values},
        optional=dict.fromkeys(
            ("instructions", "tools", "tool_choice", "text", "reasoning", "include", "store", "truncation"), values
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
