"""What holds for every kind that speaks this dialect."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends import kinds, load
from gateway.backends.base import OpenAIWire, keep, number_in, template_kwargs
from gateway.canonical.content import (
    Audio,
    Image,
    Media,
    Message,
    Segments,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from gateway.canonical.events import Answer, Choice
from gateway.canonical.facts import Facts, Target, layer
from gateway.canonical.requests import Chat, Completion, CountTokens, Embedding, Sampling, ThinkingConfig, Tool
from gateway.errors import BadResponse, NotImplementedHere, PartRefused, UpstreamRefused
from tests.backends.recorded import body_of, reply

KINDS = [k for k in kinds() if isinstance(load(k), OpenAIWire) and k != "vertex"]  # that one has its own paths
CHATS = [k for k in KINDS if load(k).chat_path == "/v1/chat/completions"]
"""Kinds whose chats are of this dialect, too."""
ALWAYS = ("llamacpp", "mlx_lm", "mlx_vlm")
"""Kinds that are asked for a stream also by a client that wants a whole answer."""
NEEDS = [
    *("image", "audio", "video", "document", "tools", "forced_tool", "json_schema", "logprobs", "choices", "seed"),
    *("thinking", "prefill", "audio_out", "context", "quantization", "hardware", "operation"),
    *("chat", "completion", "embedding", "count_tokens", "url", "file_id", "opaque"),
]
USER = Message("user", [Text("x")])
FULL = Facts(image=True, audio=True, video=True, tools=True)


def target(kind: str) -> Target:
    return Target("b", kind, "org/upstream-name")


def facts(kind: str) -> Facts:
    return layer(("probed", FULL), ("assumed", load(kind).assumed))


def built(kind: str, request):
    return load(kind).build(request, target(kind), facts(kind))


def test_the_kinds() -> None:
    assert {"llamacpp", "openai", "vllm"} <= set(KINDS)
    tiers = {k: load(k).tier for k in ("vllm", "llamacpp", "openai")}
    assert sorted(tiers, key=lambda k: tiers[k]) == ["vllm", "llamacpp", "openai"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_need_has_a_hint(kind: str) -> None:
    backend = load(kind)
    assert backend.kind == kind
    for need in NEEDS:
        assert backend.hints[need], need
    assert backend.slots > 0


@pytest.mark.parametrize("kind", CHATS)
def test_a_plain_chat(kind: str) -> None:
    call = built(kind, Chat("public-name", [USER], sampling=Sampling(max_tokens=5)))
    body = body_of(call)
    assert (call.method, call.path, call.dropped) == ("POST", "/v1/chat/completions", [])
    assert call.headers == {"content-type": "application/json"}
    assert body["model"] == "org/upstream-name"
    assert body["messages"] == [{"role": "user", "content": "x"}]
    assert body["max_tokens"] == 5
    assert not {"tools", "tool_choice", "n", "gateway"} & set(body)
    assert None not in body.values()
    assert call.streamed == (kind in ALWAYS)


STREAM = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("request_", [Chat("m", [USER]), Completion("m", ["a"])])
@pytest.mark.parametrize("kind", CHATS)
def test_a_stream_asks_for_its_usage_and_a_whole_answer_for_neither(kind: str, request_, stream: bool) -> None:
    call = built(kind, replace(request_, stream=stream, include_usage=False))
    body = body_of(call)
    assert call.streamed == (stream or kind in ALWAYS)
    assert {k: body[k] for k in STREAM if k in body} == (STREAM if call.streamed else {})


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_dropped_is_named_once(kind: str) -> None:
    extra = {"openai": {"adapters": "/tmp/x", "chat_template": "x", "lora": [], "cache_salt": "s", "priority": 1}}
    call = built(kind, Chat("m", [USER], extra=extra, dropped=["user", "user", "store"]))
    assert call.dropped == ["user", "store", *extra["openai"]]
    assert not set(extra["openai"]) & set(body_of(call))


@pytest.mark.parametrize("kind", CHATS)
def test_long_media_are_not_joined(kind: str) -> None:
    long = Segments([b"UklGRqQ+AABXQVZFZm10", b"IBAAAAABAAEAgD4AAAB9AAACABAA"])
    parts = [
        Text("x"),
        Audio(Media("audio/wav", base64=long)),
        Image(Media("image/png", base64=Segments([b"iVBORw0KGgo="]))),
    ]
    call = built(kind, Chat("m", [Message("user", parts)]))
    assert call.body is not None
    held = [p for p in call.body if isinstance(p, Segments)]
    assert held[0] is long
    content = body_of(call)["messages"][0]["content"]
    assert content[1] == {"type": "input_audio", "input_audio": {"data": long.text(), "format": "wav"}}
    assert content[2] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [Image, Audio, Video])
def test_remote_media_are_not_passed_on(kind: str, part: type) -> None:
    with pytest.raises(PartRefused, match="is elsewhere, and was not fetched") as caught:
        built(kind, Chat("m", [Message("user", [part(Media(url="https://x.org/y"), path="messages[0].content[0]")])]))
    assert caught.value.param == "messages[0].content[0]"


@pytest.mark.parametrize("kind", CHATS)
def test_the_request_is_left_alone(kind: str) -> None:
    schema = {"type": "object", "properties": {"b": {"default": None}, "a": {}}}
    parts = [Thinking("hm"), ToolCall("c", "f", "{bad")]
    messages = [USER, Message("assistant", parts), Message("tool", [ToolResult("c", {"n": None})])]
    request = Chat("m", messages, tools=[Tool("f", parameters=schema)], stream=True)
    before = msgspec.json.encode(request)
    first, second = built(kind, request), built(kind, request)
    assert msgspec.json.encode(request) == before
    assert first == second
    body = body_of(first)
    assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"arguments":"{bad"}'
    assert body["messages"][2] == {"role": "tool", "tool_call_id": "c", "content": '{"n": null}'}
    assert list(body["tools"][0]["function"]["parameters"]["properties"]) == ["b", "a"]


@given(st.lists(st.sampled_from("abcdef"), min_size=2, max_size=6), st.sampled_from(KINDS))
def test_turn_n_is_a_prefix_of_turn_n_plus_1(words: list[str], kind: str) -> None:
    turns = [Message("user" if i % 2 == 0 else "assistant", [Text(w)]) for i, w in enumerate(words)]
    longer, shorter = (
        built(kind, Chat("m", turns[:n], tools=[Tool("f")])).octets() for n in (len(turns), len(turns) - 1)
    )
    both = zip(longer, shorter, strict=False)
    same = next((i for i, (a, b) in enumerate(both) if a != b), len(shorter))
    assert shorter[:same].count(b'"role"') == len(turns) - 1


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings(kind: str) -> None:
    backend = load(kind)
    request = Embedding("m", ["a", "b"], dimensions=3, dropped=["user"])
    call = built(kind, request)
    assert (call.path, call.dropped) == ("/v1/embeddings", ["user"])
    assert body_of(call) == {"model": "org/upstream-name", "input": ["a", "b"], "dimensions": 3}
    got = msgspec.json.decode(reply("llamacpp/embeddings_mean").body)
    assert backend.read(request, got) is got


@pytest.mark.parametrize("kind", KINDS)
def test_completions(kind: str) -> None:
    backend = load(kind)
    request = Completion("m", ["once"], stream=True, sampling=Sampling(stop=["."]))
    call = built(kind, request)
    body = body_of(call)
    assert (call.path, call.streamed) == ("/v1/completions", True)
    assert (body["prompt"], body["stream_options"]) == ("once", {"include_usage": True})
    assert body.get("stop") == (["."] if backend.stops_itself else None)
    answer = backend.read(request, msgspec.json.decode(reply("llamacpp/completions").body))
    assert isinstance(answer, Answer)
    assert answer.choices[0].parts == [Text("! I am a tiny test")]


@pytest.mark.parametrize("kind", CHATS)
@pytest.mark.parametrize("name", ["llamacpp/chat", "vllm/chat"])
def test_whole_answers(kind: str, name: str) -> None:
    answer = load(kind).read(Chat("m", [USER]), msgspec.json.decode(reply(name).body))
    assert isinstance(answer, Answer)
    assert isinstance(answer.choices[0], Choice)
    assert answer.usage is not None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [None, [], "x", {}, {"choices": 1}, {"choices": [{}]}])
def test_what_is_no_answer(kind: str, body: object) -> None:
    with pytest.raises(BadResponse):
        load(kind).read(Chat("m", [USER]), body)


def test_an_error_is_no_answer() -> None:
    with pytest.raises(UpstreamRefused):
        load("vllm").read(Chat("m", [USER]), {"error": {"message": "x", "code": 400}})


def test_counting() -> None:
    request = CountTokens(Chat("m", [USER]))
    with pytest.raises(NotImplementedHere):
        built("openai", request)
    assert load("openai").count(request, target("openai"), FULL) is None
    assert built("vllm", request).path == "/tokenize"
    assert load("vllm").read(request, {"count": 3}) == {"input_tokens": 3}
    assert load("llamacpp").read(request, {"input_tokens": 0}) == {"input_tokens": 0}
    for bad in ({}, {"count": True}, {"count": -1}, {"count": "3"}):
        with pytest.raises(BadResponse):
            load("vllm").read_count(bad)
    with pytest.raises(BadResponse):
        load("openai").read_count({"count": 3})
    with pytest.raises(BadResponse):
        number_in(None, "count")


def test_template_arguments() -> None:
    asked = {"enable_thinking": "false", "date": "today", "chat_template": "x", "tokenize": False, "deep": {}, "n": 3}
    body = {"chat_template_kwargs": asked}
    assert template_kwargs(body, ThinkingConfig()) == {"enable_thinking": False, "date": "today", "n": 3}
    assert template_kwargs({}, ThinkingConfig(enabled=True)) == {"enable_thinking": True}
    assert keep({"b": 1, "a": 2, "c": 3}, "a", "b") == {"b": 1, "a": 2}
