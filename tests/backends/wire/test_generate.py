"""What a chat is made into before it is written as `generateContent`; whole calls: tests/backends/test_gemini.py."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from gateway.backends.wire.generate import STOPS, foreign, many_stops, ready
from gateway.canonical.content import Message, Opaque, Text, Thinking, ToolCall
from gateway.canonical.facts import Facts
from gateway.canonical.requests import Chat, OutputFormat, Sampling, ThinkingConfig, Tool
from gateway.dialects.gemini.models import receiver_of
from gateway.errors import PartRefused, UnsupportedParameter

USER = Message("user", [Text("x")])


def made(chat: Chat, model: str = "gemini-2.5-flash", **facts: Any) -> tuple[Chat, list[str]]:
    before = deepcopy(chat)
    dropped: list[str] = []
    told = Facts(**facts)
    out = ready(chat, model, told, receiver_of(model, told), dropped)
    assert chat == before  # the next attempt starts from it again
    return out, dropped


def test_more_stop_texts_than_it_takes_end_here() -> None:
    stops = [f"s{i}" for i in range(STOPS + 2)]
    chat = Chat("m", [USER], sampling=Sampling(stop=stops))
    assert many_stops(chat) and made(chat)[0].sampling.stop == stops[:STOPS]
    assert not many_stops(Chat("m", [USER], sampling=Sampling(stop=stops[:STOPS])))


def test_what_it_has_no_field_for_is_named() -> None:
    sampling = Sampling(min_p=0.1, repetition_penalty=1.1, logit_bias={"1": 2.0})
    chat = Chat("m", [USER], sampling=sampling, parallel_tool_calls=False, extra={"openai": {"user": "u"}})
    assert made(chat)[1] == ["min_p", "repetition_penalty", "logit_bias", "parallel_tool_calls", "user"]
    with pytest.raises(UnsupportedParameter) as e:
        foreign(Chat("m", [USER], extra={"openai": {"grammar": "x"}}), [])
    assert e.value.param == "grammar"


def test_nothing_asked_about_thinking_is_off_where_it_can_be_said() -> None:
    assert made(Chat("m", [USER]))[0].thinking.enabled is False
    assert made(Chat("m", [USER]), "gemini-2.5-pro")[0].thinking.enabled is None
    asked = Chat("m", [USER], thinking=ThinkingConfig(enabled=True))
    out, dropped = made(asked, thinking=False)
    assert out.thinking.enabled is None and dropped == ["thinking"]


def test_old_gemma_reads_its_instructions_as_the_users() -> None:
    chat = Chat("m", [Message("system", [Text("rule")]), USER])
    assert [m.role for m in made(chat, "gemma-4-31b-it")[0].messages] == ["system", "user"]
    (only,) = made(chat, "gemma-3-27b-it")[0].messages
    assert [p.text for p in only.parts] == ["rule\n\n", "x"]  # type: ignore[union-attr]


def test_parts() -> None:
    turn = Message("assistant", [Thinking("t"), ToolCall("a", "f", "free text", "custom")])
    out, dropped = made(Chat("m", [USER, turn]))
    assert dropped == ["thinking of earlier turns"]
    assert out.messages[1].parts[1] == ToolCall("a", "f", '{"input":"free text"}')
    with pytest.raises(PartRefused) as e:
        made(Chat("m", [Message("user", [Opaque("anthropic", "server_tool_use", {}, path="p")])]))
    assert e.value.param == "p"


def test_gemma_keeps_to_a_format_or_calls_tools() -> None:
    chat = Chat("m", [USER], tools=[Tool("f")], output=OutputFormat("json_object"))
    with pytest.raises(UnsupportedParameter):
        made(chat, "gemma-4-31b-it")
    assert made(chat)[0].output is not None
