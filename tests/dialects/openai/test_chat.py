from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from gateway.canonical.requests import Chat, OutputFormat, ThinkingConfig
from gateway.dialects.openai.chat import BINDING_EXTRAS, FATES, parse_request, render_request
from gateway.errors import BadRequest, GatewayError, ModelNotFound, UnsupportedParameter
from tests.dialects.openai.strategies import chats
from tests.wire import names, recorded


def chat_of(**fields: Any) -> Chat:
    return parse_request({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields})


@given(chats())
@settings(max_examples=40, deadline=None)
def test_parse_is_the_inverse_of_render(chat: Chat) -> None:
    assert parse_request(render_request(chat)) == chat


@given(chats())
@settings(max_examples=15, deadline=None)
def test_without_extras_nothing_of_the_dialect_is_written(chat: Chat) -> None:
    rendered = str(render_request(chat, extras=frozenset()))
    assert "cache_control" not in rendered and "cache_salt" not in rendered and "tone" not in rendered


def test_every_field_of_the_official_client_has_a_fate() -> None:
    official = set(CompletionCreateParamsStreaming.__annotations__)
    for params in (CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming):
        for base in params.__mro__:
            official |= set(getattr(base, "__annotations__", ()))
        official |= params.__required_keys__ | params.__optional_keys__
    assert len(official) > 35
    assert not official - FATES.keys()
    assert {k for k in official if FATES[k] == "refused"} == {"moderation"}
    assert {k for k in official if FATES[k] == "extra"} == set()


def test_the_table_holds_what_the_parser_does() -> None:
    for key, fate in FATES.items():
        if fate == "extra":
            assert chat_of(**{key: "value"}).extra == {"openai": {key: "value"}}
        elif fate == "dropped":
            chat = chat_of(**{key: "value"})
            assert chat.dropped == [key] and chat.extra is None
        elif fate == "refused":
            with pytest.raises(UnsupportedParameter) as caught:
                chat_of(**{key: "value"})
            assert caught.value.param == key
        if fate != "modelled":
            assert chat_of(**{key: None}) == chat_of()
    assert all(FATES[k] == "extra" for k in BINDING_EXTRAS)


def test_modelled_fields_are_in_no_other_place() -> None:
    for key in (k for k, fate in FATES.items() if fate == "modelled"):
        if key in ("model", "messages"):
            continue
        assert chat_of(**{key: None}) == chat_of(), key
        try:
            chat = chat_of(**{key: "nonsense"})
        except GatewayError as error:
            assert error.status == 400 and (error.param or "").startswith(key), key
        else:
            assert key == "stop" and chat.sampling.stop == ["nonsense"]


def test_unknown_fields_are_dropped_and_named() -> None:
    chat = chat_of(client_metadata={"a": 1}, **{"x\r\ny": 1, "z" * 65: 1})
    assert chat.dropped == ["client_metadata", "?", "?"]
    assert chat == chat_of()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"n": 0}, "n"),
        ({"n": 10**6}, "n"),
        ({"n": 1.5}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**12}, "max_tokens"),
        ({"max_completion_tokens": "many"}, "max_completion_tokens"),
        ({"logprobs": 3}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stop": ["a"] * 6}, "stop"),
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5"),
        ({"logit_bias": [["a"]]}, "logit_bias"),
        ({"logit_bias": {str(i): 1 for i in range(2000)}}, "logit_bias"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"chat_template_kwargs": {"enable_thinking": "maybe"}}, "chat_template_kwargs.enable_thinking"),
        ({"modalities": ["image"]}, "modalities[0]"),
        ({"audio": "alloy"}, "audio"),
        ({"seed": 2**63}, "seed"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"gateway": {"require": {"colour": "red"}}}, "gateway.require.colour"),
        ({"provider": "fast"}, "provider"),
    ],
)
def test_bad_values_are_400_with_their_path(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        chat_of(**fields)
    assert caught.value.param == param
    assert caught.value.status == 400


@pytest.mark.parametrize("model", ["../../ad min", "a\r\nX: y", "", "x" * 257, "modèle", "a?key=1", "a#b", "a\0"])
def test_a_name_that_no_model_can_have_is_not_found(model: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        chat_of(model=model)
    assert caught.value.param == "model" and len(caught.value.message) < 120


def test_values_are_never_repeated_at_length() -> None:
    secret = "s" * 5000
    for fields in ({"reasoning_effort": secret}, {"model": secret}, {"tool_choice": secret}, {"modalities": [secret]}):
        with pytest.raises(GatewayError) as caught:
            chat_of(**fields)
        assert "s" * 61 not in caught.value.message


def test_limits_of_tokens() -> None:
    assert chat_of(max_tokens=5, max_completion_tokens=7).sampling.max_tokens == 7
    assert chat_of(max_tokens=5, max_completion_tokens=None).sampling.max_tokens == 5
    assert chat_of(max_tokens=-1).sampling.max_tokens is None
    assert chat_of(max_tokens=5.0).sampling.max_tokens == 5


def test_sampling_in_other_servers_tongues() -> None:
    s = chat_of(top_k=64, min_p=0.05, repeat_penalty=1.1, stop="x", logit_bias=[["<|tool_call>", 8], [42, -1]]).sampling
    assert (s.top_k, s.min_p, s.repetition_penalty, s.stop) == (64, 0.05, 1.1, ["x"])
    assert s.logit_bias == {"<|tool_call>": 8, "42": -1}
    assert chat_of(stop="").sampling.stop is None and chat_of(stop=[]).sampling.stop is None


def test_stream_options() -> None:
    chat = chat_of(stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True})
    assert chat.include_usage and chat.dropped == ["stream_options.continuous_usage_stats"]
    assert not chat_of(stream_options={"include_usage": True}).include_usage
    assert not chat_of(stream=True, stream_options={}).include_usage


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, ThinkingConfig()),
        ({"reasoning_effort": "none"}, ThinkingConfig(False, "none")),
        ({"reasoning_effort": "high"}, ThinkingConfig(True, "high")),
        ({"reasoning": {"effort": "low", "exclude": True}}, ThinkingConfig(True, "low", include=False)),
        ({"reasoning": {"max_tokens": 100}}, ThinkingConfig(True, budget=100)),
        ({"reasoning": {}}, ThinkingConfig()),
        ({"enable_thinking": False}, ThinkingConfig(False)),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, ThinkingConfig(True, budget=9)),
        ({"thinking": {"type": "disabled"}}, ThinkingConfig(False)),
        ({"thinking_budget": 0}, ThinkingConfig(False, budget=0)),
        ({"include_reasoning": False}, ThinkingConfig(include=False)),
        ({"chat_template_kwargs": {"enable_thinking": "false"}}, ThinkingConfig(False)),
        ({"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": "none"}, ThinkingConfig(True, "none")),
    ],
)
def test_one_thinking_for_all_spellings(fields: dict[str, Any], wanted: ThinkingConfig) -> None:
    chat = chat_of(**fields)
    assert chat.thinking == wanted and chat.extra is None and not chat.dropped
    assert parse_request(render_request(chat)).thinking == wanted


def test_other_template_arguments_are_kept() -> None:
    chat = chat_of(chat_template_kwargs={"enable_thinking": "True", "tone": "dry"})
    assert chat.thinking.enabled is True
    assert chat.extra == {"openai": {"chat_template_kwargs": {"tone": "dry"}}}


def test_output_formats() -> None:
    schema = {"type": "object"}
    named = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    assert chat_of(response_format=named).output == OutputFormat("json_schema", "n", schema, strict=True)
    assert chat_of(response_format={"type": "text"}).output is None
    assert chat_of(response_format={"type": "json_object"}).output == OutputFormat("json_object")
    with_schema = {"type": "json_object", "schema": schema}
    assert chat_of(response_format=with_schema).output == OutputFormat("json_schema", "schema", schema)
    assert chat_of(guided_json=schema).output == OutputFormat("json_schema", "schema", schema, strict=True)


def test_sound_as_an_answer() -> None:
    chat = chat_of(modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"})
    assert chat.audio_out and chat.extra == {"openai": {"audio": {"voice": "alloy", "format": "wav"}}}
    assert chat_of(audio={}).audio_out
    assert not chat_of(modalities=["text"]).audio_out


def test_the_servers_default_written_out_is_no_error() -> None:
    assert chat_of(best_of=1, use_beam_search=False) == chat_of()
    with pytest.raises(UnsupportedParameter):
        chat_of(best_of=2)


def test_prefill_and_options() -> None:
    assert not chat_of().prefill
    assert parse_request({"model": "m", "messages": [{"role": "assistant", "content": "Once"}]}).prefill
    chat = chat_of(gateway={"require": {"kind": "vllm"}, "reasoning_field": "both"})
    assert chat.options.require == {"kind": ["vllm"]} and chat.options.reasoning_field == "both"
    assert "gateway" not in render_request(chat) and not chat.dropped
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    assert parse_request(body, '{"parts": "strict"}').options.strict_parts


def test_recorded_requests_are_understood() -> None:
    """What was really sent to servers parses, or is refused with a path; nothing else can happen."""
    understood = 0
    for name in names("*/*"):
        request = recorded(name).request
        if not isinstance(request, dict) or "messages" not in request:
            continue
        try:
            chat = parse_request({"model": "m", **request})
        except GatewayError as error:
            assert error.status in (400, 404) and error.param, name
        else:
            assert parse_request(render_request(chat)) == chat, name
            understood += 1
    assert understood > 40
