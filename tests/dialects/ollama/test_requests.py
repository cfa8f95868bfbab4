from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import (
    Audio,
    Document,
    Image,
    Media,
    Message,
    Segments,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from gateway.canonical.requests import Chat, Completion, Embedding, OutputFormat, Sampling, ThinkingConfig, Tool
from gateway.dialects import Limits
from gateway.dialects.ollama import chat_codec, embed_codec, generate_codec, remembered
from gateway.dialects.ollama.messages import object_of
from gateway.dialects.ollama.requests import is_load, parse_chat, parse_embed, parse_generate, render_chat, render_think
from gateway.errors import BadRequest, GatewayError, ModelNotFound, PartRefused

PNG = b64encode(b"\x89PNG\r\n\x1a\n....").decode()
WAV = b64encode(b"RIFF....WAVEfmt ").decode()
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}

words = st.text(min_size=1, max_size=8)
names = st.from_regex(r"[A-Za-z0-9_]{1,8}", fullmatch=True)
pictures = st.builds(Image, st.builds(Media, base64=st.just(PNG) | st.just(Segments([PNG.encode()]))))
sounds = st.builds(Audio, st.builds(Media, base64=st.just(WAV)))
texts = st.builds(Text, words)
calls = st.builds(
    ToolCall,
    names,
    names,
    st.dictionaries(names, st.integers() | words, max_size=2).map(msgspec.json.encode).map(bytes.decode),
)


@st.composite
def content(draw: Any) -> list[Any]:
    parts: list[Any] = draw(st.lists(pictures | sounds, max_size=2))
    return [*parts, draw(texts)] if draw(st.booleans()) or not parts else parts


@st.composite
def assistant(draw: Any) -> list[Any]:
    parts: list[Any] = [Thinking(draw(words))] if draw(st.booleans()) else []
    parts += [draw(texts)] if draw(st.booleans()) else []
    parts += draw(st.lists(calls, max_size=2))
    return parts or [Text("")]


messages = (
    st.builds(Message, st.sampled_from(["system", "user"]), content())
    | st.builds(Message, st.just("assistant"), assistant())
    | st.builds(Message, st.just("tool"), st.builds(ToolResult, names, content(), st.none() | names).map(lambda r: [r]))
)


def fraction(low: float, high: float) -> st.SearchStrategy[float | None]:
    return st.none() | st.floats(low, high, allow_nan=False)


samplings = st.builds(
    Sampling,
    temperature=fraction(0, 2),
    top_p=fraction(0, 1),
    min_p=fraction(0, 1),
    top_k=st.none() | st.integers(-1, 99),
    seed=st.none() | st.integers(-9, 9),
    max_tokens=st.none() | st.integers(1, 99),
    stop=st.none() | st.lists(words, min_size=1, max_size=4),
    presence_penalty=fraction(-2, 2),
    frequency_penalty=fraction(-2, 2),
    repetition_penalty=fraction(0, 10),
)


@st.composite
def chats(draw: Any) -> Chat:
    logprobs = draw(st.booleans())
    stream = draw(st.booleans())
    chat = Chat(
        draw(names),
        draw(st.lists(messages, min_size=1, max_size=4)),
        tools=draw(
            st.lists(
                st.builds(Tool, names, st.none() | words, st.just({"type": "object"})),
                max_size=2,
                unique_by=lambda t: t.name,
            )
        ),
        sampling=draw(samplings),
        logprobs=logprobs,
        top_logprobs=draw(st.none() | st.integers(0, 9)) if logprobs else None,
        output=draw(
            st.none()
            | st.just(OutputFormat("json_object"))
            | st.just(OutputFormat("json_schema", schema={"type": "object"}, strict=True))
        ),
        thinking=draw(
            st.builds(ThinkingConfig, st.none() | st.booleans())
            | st.builds(ThinkingConfig, st.just(True), st.sampled_from(["low", "high", "max"]))
        ),
        stream=stream,
        include_usage=stream,
        extra=draw(st.none() | st.just({"ollama": {"num_ctx": 4096, "keep_alive": "5m"}})),
    )
    chat.prefill = chat.messages[-1].role == "assistant"
    return chat


@given(chats())
def test_what_is_rendered_is_read_as_the_same(chat: Chat) -> None:
    assert chat_codec.parse_request(chat_codec.render_request(chat)) == chat


def test_the_plain_fields() -> None:
    chat = parse_chat(
        {
            "model": "gemma:4b",
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "look", "images": [PNG, f"data:image/jpeg;base64,{PNG}"], "mood": 1},
            ],
            "options": {
                "temperature": 0.5,
                "num_predict": -1,
                "num_ctx": 8192,
                "repeat_penalty": 1.1,
                "stop": "END",
                "odd": 1,
            },
            "keep_alive": "5m",
            "format": "json",
            "think": "low",
            "x_new": 1,
            "gateway": {"require": {"kind": "vllm"}},
        }
    )
    assert chat.messages == [
        Message("system", [Text("s")]),
        Message("user", [Image(Media(base64=PNG)), Image(Media("image/jpeg", PNG)), Text("look")]),
    ]
    assert chat.messages[1].parts[1].path == "messages[1].images[1]"
    assert chat.sampling == Sampling(temperature=0.5, repetition_penalty=1.1, stop=["END"])
    assert chat.extra == {"ollama": {"keep_alive": "5m", "num_ctx": 8192}}
    assert chat.output == OutputFormat("json_object") and chat.thinking == ThinkingConfig(True, "low")
    assert chat.stream and chat.include_usage and chat.options.require == {"kind": ["vllm"]}
    assert chat.dropped == ["x_new", "messages[].mood", "options.odd"]
    assert not parse_chat({"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": False}).stream


def test_a_list_of_pictures_may_hold_sounds() -> None:
    chat = parse_chat({"model": "m", "messages": [{"role": "user", "images": [PNG, WAV]}]})
    assert [type(p) for p in chat.messages[0].parts] == [Image, Audio]
    assert render_chat(chat)["messages"] == [{"role": "user", "content": "", "images": [PNG, WAV]}]


def test_results_of_calls_without_ids_find_their_calls() -> None:
    def call(name: str) -> Any:
        return {"function": {"name": name, "arguments": {"a": 1}}}

    sent = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "", "tool_calls": [call("f"), call("g"), call("f")]},
        {"role": "tool", "content": "g's", "tool_name": "g"},
        {"role": "tool", "content": "first f's", "tool_name": "f"},
        {"role": "tool", "content": "second f's"},
    ]
    chat = parse_chat({"model": "m", "messages": sent, "tools": [TOOL]})
    assert chat.messages[1].parts[0] == ToolCall("call_1", "f", '{"a":1}')
    results = [p for m in chat.messages for p in m.parts if isinstance(p, ToolResult)]
    assert [(r.call_id, r.name) for r in results] == [("call_2", "g"), ("call_1", "f"), ("call_3", None)]
    assert chat.tools == [Tool("f", "d", {"type": "object"})]
    with pytest.raises(BadRequest) as e:
        parse_chat({"model": "m", "messages": [*sent, {"role": "tool", "content": "more"}]})
    assert e.value.param == "messages[5]"


def test_a_prompt_is_a_chat_of_one_turn() -> None:
    chat = parse_generate({"model": "m", "prompt": "p", "system": "s", "images": [PNG], "options": {"seed": 1}})
    assert isinstance(chat, Chat) and remembered(chat).form == "generate"
    assert chat.messages == [Message("system", [Text("s")]), Message("user", [Image(Media(base64=PNG)), Text("p")])]
    assert chat.sampling.seed == 1 and chat.stream


def test_a_raw_prompt_is_a_completion() -> None:
    raw = generate_codec.parse_request(
        {
            "model": "m",
            "prompt": "p",
            "raw": True,
            "stream": False,
            "options": {"stop": ["a"], "num_gpu": 1},
            "context": [],
        }
    )
    assert raw == Completion("m", ["p"], sampling=Sampling(stop=["a"]), extra={"ollama": {"num_gpu": 1}})
    filled = parse_generate({"model": "m", "prompt": "p", "suffix": "s"})
    assert isinstance(filled, Completion) and filled.suffix == "s" and filled.stream
    with pytest.raises(BadRequest) as e:
        parse_generate({"model": "m", "prompt": "p", "raw": True, "images": [PNG]})
    assert e.value.param == "images"


def test_embeddings() -> None:
    assert parse_embed({"model": "m", "input": "a", "dimensions": 3, "truncate": True, "options": {}}) == Embedding(
        "m", ["a"], 3, extra={"ollama": {"truncate": True}}
    )
    assert embed_codec.parse_request({"model": "m", "input": ["a", "b"]}).input == ["a", "b"]
    assert parse_embed({"model": "m", "prompt": "a"}).input == ["a"]
    for wrong in ({"input": []}, {"input": [""]}, {"input": [1]}, {}, {"prompt": ""}):
        with pytest.raises(BadRequest) as e:
            parse_embed({"model": "m", **wrong})
        assert e.value.param and e.value.param.startswith(("input", "prompt"))


def test_requests_that_only_load_a_model() -> None:
    assert is_load({"model": "m"}) == "load" == is_load({"model": "m", "messages": [], "keep_alive": "5m"})
    assert is_load({"model": "m", "prompt": "", "keep_alive": 0}) == "unload"
    assert is_load({"model": "m", "prompt": "x"}) is None is is_load({"messages": [1]})


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "critic"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "images": ["%"]}]}, "messages[0].images[0]"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": {"stop": ["a", ""]}}, "options.stop[1]"),
        ({"format": "xml"}, "format"),
        ({"think": "hard"}, "think"),
        ({"think": 1}, "think"),
        ({"stream": "yes"}, "stream"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(wrong: Any, param: str) -> None:
    with pytest.raises(BadRequest) as e:
        parse_chat({"model": "m", "messages": [{"role": "user", "content": "x"}], **wrong})
    assert e.value.param == param and e.value.status == 400


def test_what_is_refused() -> None:
    for key, value in (("context", [1]), ("template", "{{ .Prompt }}")):
        with pytest.raises(BadRequest) as e:
            parse_generate({"model": "m", "prompt": "p", key: value})
        assert e.value.param == key
    with pytest.raises(ModelNotFound):
        parse_chat({"model": "", "messages": [{"role": "user", "content": "x"}]})
    with pytest.raises(BadRequest):
        parse_chat({"model": "m", "messages": [{"role": "user", "images": [PNG, PNG]}]}, None, Limits(images=1))


def test_what_the_dialect_can_not_say() -> None:
    chat = Chat("m", [Message("user", [Document(Media("application/pdf", PNG), path="messages[0].content[0]")])])
    with pytest.raises(PartRefused) as e:
        render_chat(chat)
    assert e.value.param == "messages[0].content[0]"
    chat = Chat("m", [Message("user", [Image(Media(url="https://example.com/a.png"), path="p")])])
    with pytest.raises(PartRefused):
        render_chat(chat)


def test_what_is_rendered_from_other_dialects() -> None:
    chat = Chat(
        "m",
        [
            Message("developer", [Text("a"), Text("b")]),
            Message("tool", [ToolResult("c1", {"ok": True}, "f"), ToolResult("c2", [Text("t")]), Text("and")]),
            Message("user", [Image(Media("image/png", octets=b"hi"))]),
        ],
        extra={"ollama": {"num_ctx": 1, "keep_alive": 2, "truncate": True}, "openai": {"x": 1}},
        thinking=ThinkingConfig(True, "minimal"),
    )
    body = render_chat(chat, extras=("num_ctx", "truncate"))
    assert body["messages"][:4] == [
        {"role": "system", "content": "a\nb"},
        {"role": "tool", "content": '{"ok":true}', "tool_name": "f", "tool_call_id": "c1"},
        {"role": "tool", "content": "t", "tool_call_id": "c2"},
        {"role": "user", "content": "and"},
    ]
    assert body["messages"][4]["images"][0] == "aGk="
    assert (
        body["options"] == {"num_ctx": 1} and body["truncate"] is True and "keep_alive" not in body and "x" not in body
    )
    assert body["think"] is True and body["stream"] is False
    assert render_think(ThinkingConfig(False, "none")) is False and render_think(ThinkingConfig()) is None


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [("", {}), ('{"a":1}', {"a": 1}), ('{"a', {"arguments": '{"a'}), ("[1]", {"arguments": [1]})],
)
def test_arguments_are_an_object(arguments: str, wanted: Any) -> None:
    assert object_of(arguments) == wanted
    assert object_of("free", "custom") == {"input": "free"}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["function", "name", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {"model": st.just("m")},
        optional={
            "messages": st.lists(
                st.fixed_dictionaries(
                    {"role": st.sampled_from(["user", "assistant", "tool"])},
                    optional=dict.fromkeys(("content", "images", "tool_calls", "tool_name", "thinking"), values),
                ),
                max_size=2,
            ),
            **dict.fromkeys(
                ("prompt", "images", "options", "format", "think", "tools", "stream", "input", "raw", "suffix"), values
            ),
        },
    )
)
def test_nothing_that_a_client_sends_is_a_crash(sent: dict[str, Any]) -> None:
    for parse in (parse_chat, parse_generate, parse_embed):
        try:
            parse(sent)
        except GatewayError as e:
            assert e.status in (400, 404) and e.param
