"""Its server is the project's own: what it answers is made by it, in tests/worker/keras/test_app.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.backends import Load, Reply, load, run_probe
from gateway.backends.wire.samples import MP4
from gateway.canonical.content import Audio, Image, Media, Message, Text, Video
from gateway.canonical.facts import Facts, Target, layer
from gateway.canonical.requests import (
    Chat,
    CountTokens,
    OutputFormat,
    Sampling,
    ThinkingConfig,
    Tool,
    ToolChoice,
)
from gateway.errors import ContextTooLong, GatewayError, ModelGone, Overloaded, UnsupportedParameter, WrongModality
from tests.backends.recorded import body_of

BACKEND = load("keras")
TARGET = Target("k", "keras", "gemma4_instruct_2b")
FACTS = layer(("probed", Facts(image=True, audio=True, video=True)), ("assumed", BACKEND.assumed))
USER = Message("user", [Text("x")])
OFF = {"enable_thinking": False}
BASE = {"model": TARGET.model, "messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": OFF}
CARD = {
    "id": "gemma4_instruct_2b",
    "object": "model",
    "created": 1,
    "owned_by": "keras-hub",
    "root": "gemma4_instruct_2b",
    "max_model_len": 8192,
    "architecture": {"input_modalities": ["text", "image", "video", "audio"], "output_modalities": ["text"]},
    "dtype": "bfloat16",
    "parameters": 5_100_000_000,
    "version": "0.1.0",
}


def chat(**fields: Any) -> Chat:
    return Chat("public", fields.pop("messages", [USER]), **fields)


def listed(**changed: Any) -> Reply:
    return Reply(200, {}, json.dumps({"object": "list", "data": [{**CARD, **changed}]}).encode())


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (chat(), BASE),
        (chat(stream=True), {**BASE, "stream": True, "stream_options": {"include_usage": True}}),
        (
            chat(thinking=ThinkingConfig(True, "high")),
            {**BASE, "chat_template_kwargs": {"enable_thinking": True}},
        ),
        (
            chat(sampling=Sampling(0.5, 0.9, 10, 0.1, 7, 20, ["s"], 0.1, 0.2, 1.1, {"5": 1.0})),
            {
                **BASE,
                "temperature": 0.5,
                "top_p": 0.9,
                "top_k": 10,
                "min_p": 0.1,
                "seed": 7,
                "max_tokens": 20,
                "stop": ["s"],
                "presence_penalty": 0.1,
                "frequency_penalty": 0.2,
                "repetition_penalty": 1.1,
                "logit_bias": {"5": 1.0},
            },
        ),
        (
            chat(tools=[Tool("a"), Tool("b")], tool_choice=ToolChoice("named", ["b"])),
            {
                **BASE,
                "tools": [{"type": "function", "function": {"name": n}} for n in "ab"],
                "tool_choice": {"type": "function", "function": {"name": "b"}},
            },
        ),
        (
            chat(
                messages=[
                    Message(
                        "user",
                        [
                            Image(Media("image/webp", base64="AAAA")),
                            Audio(Media("audio/flac", base64="AAAA")),
                            Video(Media("video/mp4", base64="AAAA")),
                        ],
                    )
                ]
            ),
            {
                **BASE,
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": "data:image/webp;base64,AAAA"}},
                            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "flac"}},
                            {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
                        ],
                    }
                ],
            },
        ),
    ],
)
def test_bodies(request_: Chat, expected: dict[str, Any]) -> None:
    assert body_of(BACKEND.build(request_, TARGET, FACTS)) == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"choices": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"extra": {"openai": {"grammar": "x"}}}, "grammar"),
        ({"audio_out": True}, "modalities"),
    ],
)
def test_what_it_can_not_do_is_not_sent(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedParameter) as e:
        BACKEND.build(chat(**fields), TARGET, FACTS)
    assert e.value.param == param


def test_what_it_does_not_know_is_named() -> None:
    asked = chat(thinking=ThinkingConfig(True, budget=9), extra={"openai": {"chat_template_kwargs": {"x": 1}}})
    call = BACKEND.build(asked, TARGET, FACTS)
    assert call.dropped == ["chat_template_kwargs", "thinking_budget"]
    assert body_of(call)["chat_template_kwargs"] == {"enable_thinking": True}


def test_the_sound_of_a_video_is_left_out_and_that_is_said() -> None:
    silent = chat(messages=[Message("user", [Video(Media("video/mp4", base64=MP4))])])
    assert BACKEND.build(silent, TARGET, FACTS).fates == {}
    unknown = chat(messages=[Message("user", [Video(Media("video/webm", base64="AAAA"))])])
    assert BACKEND.build(unknown, TARGET, FACTS).fates == {0: "video,sound=unknown"}


def test_counting() -> None:
    call = BACKEND.build(CountTokens(chat(stream=True, sampling=Sampling(max_tokens=3))), TARGET, FACTS)
    assert call.path == "/v1/chat/completions/input_tokens"
    assert body_of(call) == BASE
    assert BACKEND.read_count({"object": "response.input_tokens", "input_tokens": 12}) == 12


def test_it_only_chats() -> None:
    assert FACTS.operations == {"chat", "count_tokens"}


def test_facts() -> None:
    found = run_probe(BACKEND.probe(), iter([listed()]))
    assert (found.state, found.version) == ("ready", "0.1.0")
    [model] = found.models
    assert (model.id, model.root) == ("gemma4_instruct_2b", "gemma4_instruct_2b")
    assert model.facts == Facts(
        image=True, audio=True, video=True, context=8192, quantization="bf16", size=5.1, version="0.1.0"
    )


def test_facts_of_a_large_size_and_of_a_stand_in() -> None:
    shape = {"input_modalities": ["text", "image", "video"]}
    [model] = run_probe(BACKEND.probe(), iter([listed(architecture=shape, dtype="float16", parameters=97084)])).models
    assert (model.facts.audio, model.facts.quantization, model.facts.fixture) == (False, "f16", True)


@pytest.mark.parametrize("changed", [{"architecture": None}, {"max_model_len": "x", "dtype": 5, "parameters": -1}])
def test_what_is_not_told_is_not_known(changed: dict[str, Any]) -> None:
    [model] = run_probe(BACKEND.probe(), iter([listed(**changed)])).models
    if "architecture" in changed:
        assert (model.facts.image, model.facts.audio, model.facts.video) == (None, None, None)
    else:
        assert (model.facts.context, model.facts.quantization, model.facts.size) == (None, None, None)


def test_whose_it_is() -> None:
    assert BACKEND.claims(listed())
    assert not BACKEND.claims(listed(owned_by="vllm"))
    assert not BACKEND.claims(Reply(200, {}, b"<html>"))


LOADING = (
    b'{"error":{"message":"Loading model","type":"service_unavailable_error","param":null,"code":"model_loading"}}'
)


def test_states() -> None:
    assert run_probe(BACKEND.probe(), iter([Reply(503, {}, LOADING)])).state == "loading"
    assert run_probe(BACKEND.probe(), iter([Reply(0, error="refused")])).state == "down"
    assert run_probe(BACKEND.alive(), iter([Reply(503, {}, LOADING)])) == "loading"
    assert run_probe(BACKEND.alive(), iter([Reply(200, {}, b"{}")])) == "ready"


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (Reply(200, {}, b'{"status":"ok","requests":0}'), Load(0, 0)),
        (Reply(200, {}, b'{"status":"ok","requests":3}'), Load(1, 2)),
        (Reply(503, {}, LOADING), None),
        (Reply(200, {}, b"ok"), None),
    ],
)
def test_how_busy_it_is(reply: Reply, found: Load | None) -> None:
    assert run_probe(BACKEND.busy("m"), iter([reply])) == found


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (400, "context_length_exceeded", "the prompt has 9000 tokens or more", ContextTooLong),
        (400, "unsupported_content", "this model does not hear", WrongModality),
        (404, "model_not_found", "this server serves tiny only", ModelGone),
        (503, "server_is_overloaded", "9 requests wait already", Overloaded),
    ],
)
def test_refusals(status: int, code: str, message: str, kind: type[GatewayError]) -> None:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    error = BACKEND.refusal(status, {"retry-after": "7"}, json.dumps(body).encode())
    assert type(error) is kind
    if status == 503:
        assert error.retry_after == 7


def test_a_format_is_not_sent_that_it_would_refuse() -> None:
    assert body_of(BACKEND.build(chat(output=OutputFormat("json_object")), TARGET, FACTS)) == BASE
