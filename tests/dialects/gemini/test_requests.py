"""Laws and tables of requests."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.canonical.content import Image, Media, Message, Segments, Text
from gateway.canonical.requests import Bound, Chat, CountTokens, ThinkingConfig
from gateway.dialects import Limits, gemini
from gateway.dialects.gemini.fields import snake
from gateway.dialects.gemini.receiver import Receiver
from gateway.dialects.gemini.requests import FATES, model_id, parse_count, parse_request, render_request
from gateway.errors import BadRequest, GatewayError, InvalidJson, ModelNotFound
from tests.dialects.gemini.strategies import chats

HI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def parsed(body: dict[str, Any], **more: Any) -> Chat:
    return parse_request({"model": "m", **body}, **more)


def wire(body: Any) -> Any:
    """What a server would read: JSON text, decoded."""
    return msgspec.json.decode(msgspec.json.Encoder(enc_hook=lambda s: s.text()).encode(body))


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40, deadline=None)
@given(chats())
def test_parse_is_the_inverse_of_render(chat: Chat) -> None:
    rendered = render_request(chat)
    assert parse_request(wire(rendered)) == chat
    assert parse_request(rendered) == chat  # with its long texts in pieces


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40, deadline=None)
@given(chats())
def test_both_spellings_say_the_same(chat: Chat) -> None:
    body = wire(render_request(chat))
    assert parse_request(_snaked(body)) == parse_request(body) == chat


def _snaked(body: Any) -> Any:
    """The body with the names of its known objects in the other spelling; what is the user's own stays."""
    own = {"args", "response", "parametersJsonSchema", "responseJsonSchema", "raw", "partMetadata", "speechConfig"}
    own |= {"executableCode", "codeExecutionResult", "toolCall", "toolResponse", "safetySettings", "properties"}
    if isinstance(body, list):
        return [_snaked(v) for v in body]
    if not isinstance(body, dict):
        return body
    return {snake(k): v if k in own else _snaked(v) for k, v in body.items()}


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40, deadline=None)
@given(chats())
def test_without_ids_calls_and_results_find_each_other_by_order(chat: Chat) -> None:
    body = wire(render_request(chat, Receiver(call_ids=False)))
    again = parse_request(body)
    calls = [p.id for m in again.messages if m.role == "assistant" for p in m.parts if hasattr(p, "arguments")]
    results = [p.call_id for m in again.messages if m.role == "tool" for p in m.parts]  # type: ignore[union-attr]
    assert calls == results and len(set(calls)) == len(calls)
    assert parse_request(body) == again  # the same ids in every turn
    assert parse_request(wire(render_request(again))) == again


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40, deadline=None)
@given(chats())
def test_turn_n_is_a_prefix_of_turn_n_plus_1(chat: Chat) -> None:
    full = render_request(chat)["contents"]
    shorter = Chat(chat.model, [m for m in chat.messages if m.role != "user"][:0] + chat.messages[:-1])
    if not shorter.messages or all(m.role == "system" for m in shorter.messages):
        return
    some = render_request(shorter)["contents"]
    assert full[: len(some) - 1] == some[:-1]


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [*FATES, "parts", "role", "text", "inlineData", "mimeType", "data", "functionCall", "name", "args", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(junk, st.sampled_from([*FATES, "other"]))
def test_nothing_a_client_sends_is_a_crash(value: Any, key: str) -> None:
    for body in ({**HI, key: value}, {"contents": value, key: value}):
        try:
            parsed(body)
        except GatewayError as error:
            assert error.status in (400, 404) and len(error.message) < 400


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": 3}, "contents"),
        ({"contents": [{"role": "user", "parts": []}]}, "contents"),
        ({"contents": [{"role": "system", "parts": [{"text": "x"}]}]}, "contents[0].role"),
        ({"contents": [{"parts": [{}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"text": "a", "inlineData": {}}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"hologram": {}}]}]}, "contents[0].parts[0].hologram"),
        ({"contents": [{"parts": [{"text": 3}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{"inlineData": {"data": "AAAA"}}]}]}, "contents[0].parts[0].inlineData.mimeType"),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png"}}]}]},
            "contents[0].parts[0].inlineData.data",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "!"}}]}]},
            "contents[0].parts[0].inlineData.data",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "png", "data": "AAAA"}}]}]},
            "contents[0].parts[0].inlineData.mimeType",
        ),
        (
            {"contents": [{"parts": [{"fileData": {"fileUri": "/etc/passwd"}}]}]},
            "contents[0].parts[0].fileData.fileUri",
        ),
        (
            {"contents": [{"parts": [{"fileData": {"fileUri": "file:///etc"}}]}]},
            "contents[0].parts[0].fileData.fileUri",
        ),
        ({"contents": [{"parts": [{"functionCall": {"name": "f"}}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"role": "model", "parts": [{"functionResponse": {"name": "f"}}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"functionResponse": {"name": "f"}}]}]}, "contents[0].parts[0]"),
        (
            {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": "{}"}}]}]},
            "contents[0].parts[0].functionCall.args",
        ),
        (
            {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "9f"}}]}]},
            "contents[0].parts[0].functionCall.name",
        ),
        (
            {"contents": [{"parts": [{"text": "x", "thoughtSignature": "call_abc:x"}]}]},
            "contents[0].parts[0].thoughtSignature",
        ),
        ({**HI, "systemInstruction": {"parts": [{"fileData": {"fileUri": "files/a"}}]}}, "systemInstruction.parts[0]"),
        ({**HI, "tools": [{"laser": {}}]}, "tools[0]"),
        ({**HI, "tools": [{"functionDeclarations": [{"name": "a b"}]}]}, "tools[0].functionDeclarations[0].name"),
        (
            {**HI, "tools": [{"functionDeclarations": [{"name": "f", "parameters": 3}]}]},
            "tools[0].functionDeclarations[0].parameters",
        ),
        ({**HI, "tools": [{"functionDeclarations": [{"name": "f"}, {"name": "f"}]}]}, "tools"),
        (
            {**HI, "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
            "toolConfig.functionCallingConfig.mode",
        ),
        (
            {
                **HI,
                "tools": [{"functionDeclarations": [{"name": "f"}]}],
                "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}},
            },
            "toolConfig.functionCallingConfig.allowedFunctionNames",
        ),
        (
            {
                **HI,
                "tools": [{"functionDeclarations": [{"name": "f"}]}],
                "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}},
            },
            "toolConfig.functionCallingConfig.allowedFunctionNames",
        ),
        ({**HI, "generationConfig": {"temperature": 3}}, "generationConfig.temperature"),
        ({**HI, "generationConfig": {"topK": 1.5}}, "generationConfig.topK"),
        ({**HI, "generationConfig": {"max_output_tokens": 0}}, "generationConfig.maxOutputTokens"),
        ({**HI, "generationConfig": {"candidateCount": 99}}, "generationConfig.candidateCount"),
        ({**HI, "generationConfig": {"stopSequences": [""]}}, "generationConfig.stopSequences[0]"),
        ({**HI, "generationConfig": {"logprobs": 3}}, "generationConfig.logprobs"),
        ({**HI, "generationConfig": {"responseMimeType": "text/html"}}, "generationConfig.responseMimeType"),
        ({**HI, "generationConfig": {"responseMimeType": "text/x.enum"}}, "generationConfig.responseSchema"),
        ({**HI, "generationConfig": {"responseModalities": ["IMAGE"]}}, "generationConfig.responseModalities[0]"),
        ({**HI, "generationConfig": {"topP": 1, "top_p": 1}}, "generationConfig.topP"),
        (
            {**HI, "generationConfig": {"thinkingConfig": {"thinkingLevel": "LOTS"}}},
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        ({**HI, "gateway": {"require": 3}}, "gateway.require"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(body: Any, path: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parsed(body)
    assert caught.value.param == path


def test_too_many_of_anything() -> None:
    few = Limits(messages=2, parts=1, images=1, tools=1, stop=1)
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    for body in (
        {"contents": HI["contents"] * 3},
        {"contents": [{"parts": [{"text": "a"}, {"text": "b"}]}]},
        {"contents": [{"parts": [picture]}, {"parts": [picture]}]},
        {**HI, "tools": [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]},
        {**HI, "generationConfig": {"stopSequences": ["a", "b"]}},
    ):
        with pytest.raises(BadRequest) as caught:
            parsed(body, limits=few)
        assert caught.value.code == "array_above_max_length"


def test_depth_is_a_clear_error() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}
    call = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": deep}}]}
    with pytest.raises(InvalidJson):
        parsed({"contents": [call]})
    schema: Any = {"type": "STRING"}
    for _ in range(80):
        schema = {"type": "ARRAY", "items": schema}
    with pytest.raises(BadRequest):
        parsed({**HI, "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]})


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gemma-4-31b-it", "gemma-4-31b-it"),
        ("models/gemma-4-31b-it", "gemma-4-31b-it"),
        ("models/google/gemma-4-31B-it", "google/gemma-4-31B-it"),
        ("gemma4:31b", "gemma4:31b"),
        ("publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("publishers/meta/models/llama", "meta/llama"),
        ("projects/p/locations/l/publishers/google/models/x", "x"),
        ("projects/p/locations/l/endpoints/123", "endpoints/123"),
        ("tunedModels/foo", "tunedModels/foo"),
    ],
)
def test_names_of_models(name: str, model: str) -> None:
    assert model_id(name) == model


def test_a_name_that_no_model_has() -> None:
    with pytest.raises(ModelNotFound):
        model_id("no such\nmodel")


def test_every_field_has_a_fate() -> None:
    chat = parsed(
        {
            **HI,
            "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
            "labels": {"a": "b"},
            "serviceTier": "flex",
            "store": False,
            "cachedContent": "cachedContents/x",
            "modelArmorConfig": {},
            "continuationToken": "dG9r",
            "somethingNew": 1,
            "toolConfig": {"retrievalConfig": {}},
            "generationConfig": {"speechConfig": {}, "customThing": 1, "thinkingConfig": {"new": 1}},
        }
    )
    assert chat.extra == {
        "gemini": {
            "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
            "labels": {"a": "b"},
            "serviceTier": "flex",
            "store": False,
            "generationConfig.speechConfig": {},
        }
    }
    assert chat.bound == [Bound("gemini", "cachedContent", "cachedContents/x")]
    assert sorted(chat.dropped) == [
        "continuationToken",
        "generationConfig.customThing",
        "generationConfig.thinkingConfig.new",
        "modelArmorConfig",
        "somethingNew",
        "toolConfig.retrievalConfig",
    ]


def test_tools_that_the_maker_runs_are_an_offer_beside_functions() -> None:
    search = {"googleSearch": {}, "codeExecution": {}}
    alone = parsed({**HI, "tools": [search]})
    assert [(b.name, b.offer, b.path) for b in alone.bound] == [
        ("googleSearch", False, "tools[0].googleSearch"),
        ("codeExecution", False, "tools[0].codeExecution"),
    ]
    beside = parsed({**HI, "tools": [search, {"functionDeclarations": [{"name": "f"}]}]})
    assert all(b.offer for b in beside.bound) and [t.name for t in beside.tools] == ["f"]


@pytest.mark.parametrize(
    "value",
    ["be brief", {"text": "be brief"}, [{"text": "be brief"}], {"parts": {"text": "be brief"}, "role": "user"}],
)
def test_instructions_in_any_form(value: Any) -> None:
    assert parsed({**HI, "system_instruction": value}).messages[0] == Message("system", [Text("be brief")])


def test_all_parts_of_the_instructions_count() -> None:
    value = {"parts": [{"text": "a"}, {"text": "b"}]}
    assert parsed({**HI, "systemInstruction": value}).messages[0].parts == [Text("a\nb")]


def test_one_resolution_for_all_pictures() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    own = {**picture, "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"}}
    body = {
        "contents": [{"role": "user", "parts": [picture, own]}],
        "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"},
    }
    chat = parsed(body)
    assert [p.media.detail for p in chat.messages[0].parts if isinstance(p, Image)] == ["low", "high"]
    assert render_request(chat) == {"model": "models/m", **body}
    assert "mediaResolution" not in str(render_request(chat, Receiver(resolution=False)))


def test_a_long_medium_is_never_joined() -> None:
    long = Segments([b"AAAA"] * 3)
    chat = Chat("m", [Message("user", [Image(Media("image/png", base64=long))])])
    inner = render_request(chat)["contents"][0]["parts"][0]["inlineData"]
    assert inner["data"] is long


def test_counting_three_ways() -> None:
    chat = parsed({**HI, "systemInstruction": "s"})
    flat = {"model": "m", **HI, "systemInstruction": "s"}
    nested = {"model": "m", "generateContentRequest": {"model": "models/other", **HI, "systemInstruction": "s"}}
    assert parse_count(flat) == parse_count(nested) == CountTokens(chat)
    codec = gemini.count_codec
    assert codec.parse_request(codec.render_request(CountTokens(chat))) == CountTokens(chat)
    assert codec.render_answer(codec.parse_answer({"totalTokens": 7})) == {"totalTokens": 7}
    with pytest.raises(BadRequest) as caught:
        parse_count({"model": "m", "generateContentRequest": {"contents": []}})
    assert caught.value.param == "generateContentRequest.contents"
    with pytest.raises(BadRequest):
        parse_count({"model": "m", **HI, "generateContentRequest": HI})


def test_options_of_the_gateway() -> None:
    chat = parsed({**HI, "gateway": {"require": {"kind": "vllm"}}})
    assert chat.options.require == {"kind": ["vllm"]}
    assert parsed(HI, header_options='{"parts": "strict"}').options.strict_parts


def test_an_empty_conversation_has_a_placeholder() -> None:
    quiet = ThinkingConfig(include=False)
    assert render_request(Chat("m", [Message("system", [Text("s")])], thinking=quiet)) == {
        "model": "models/m",
        "contents": [{"role": "user", "parts": [{"text": " "}]}],
        "systemInstruction": {"parts": [{"text": "s"}]},
    }
