from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.canonical.content import Text, ToolCall
from gateway.canonical.events import ChoiceEnd, End, PartDelta, PartEnd, PartStart, fold
from gateway.dialects.openai.encoder import ChatEncoder
from gateway.dialects.openai.messages import render_messages
from gateway.dialects.openai.signatures import put_signature, take_signature
from gateway.dialects.openai.stream import ChatDecoder
from tests.dialects.openai.test_stream import sse

SIGNED: dict[str, Any] = {"extra_content": {"google": {"thought_signature": "c2ln"}}}


@pytest.mark.parametrize(
    ("extra", "left"),
    [
        (SIGNED, {}),
        ({"a": 1, **SIGNED}, {"a": 1}),
        (
            {"extra_content": {"google": {"thought_signature": "c2ln", "x": 1}, "y": 2}},
            {"extra_content": {"google": {"x": 1}, "y": 2}},
        ),
    ],
)
def test_the_signature_is_taken_and_what_is_beside_it_stays(extra: Any, left: Any) -> None:
    given = dict(extra)
    assert take_signature(given) == "c2ln"
    assert given == left
    put_signature(given, "c2ln")
    assert given == extra


@pytest.mark.parametrize("extra", [{}, {"extra_content": 3}, {"extra_content": {"google": {"thought_signature": 3}}}])
def test_what_is_no_signature_stays(extra: Any) -> None:
    given = dict(extra)
    assert take_signature(given) is None
    assert given == extra


def test_a_stream_carries_it_both_ways() -> None:
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, **SIGNED}
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": dict(SIGNED), "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    ]
    decoder = ChatDecoder()
    events = decoder.feed(sse(*chunks)) + decoder.end()
    assert fold(events).choices[0].parts == [
        Text("Hi", signature="c2ln"),
        ToolCall("a", "f", "{}", signature="c2ln"),
    ]
    written = ChatEncoder("m").encode(events)
    again = ChatDecoder()
    assert fold(again.feed(written) + again.end()).choices[0].parts == fold(events).choices[0].parts


def test_a_signature_that_comes_late_is_a_delta_of_its_own() -> None:
    events = [
        PartStart(0, 0, "tool_call", "a", "f"),
        PartDelta(0, 0, arguments="{}"),
        PartDelta(0, 0, signature="c2ln"),
        PartEnd(0, 0),
        ChoiceEnd(0, "tool_calls"),
        End(),
    ]
    lines = [line[6:] for line in ChatEncoder("m").encode(events).split(b"\n\n") if line.startswith(b"data: {")]
    calls = [c for x in lines for c in msgspec.json.decode(x)["choices"][0]["delta"].get("tool_calls", ())]
    assert [c.get("extra_content") for c in calls] == [None, None, SIGNED["extra_content"]]


def test_a_server_that_does_not_know_the_field_gets_none() -> None:
    from gateway.canonical.content import Message

    message = Message("assistant", [Text("x", signature="c2ln"), ToolCall("a", "f", "{}", signature="c2ln")])
    assert "extra_content" not in str(render_messages([message], frozenset(), "reasoning_content"))
    assert str(render_messages([message], None, "reasoning_content")).count("c2ln") == 2
