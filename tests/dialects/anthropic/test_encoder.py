from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from gateway.canonical.content import Opaque, Text, Thinking, ToolCall
from gateway.canonical.events import (
    Answer,
    Choice,
    ChoiceEnd,
    End,
    Event,
    Fault,
    PartDelta,
    PartEnd,
    PartStart,
    Progress,
    Start,
    Usage,
    unfold,
)
from gateway.dialects.anthropic.answers import render_answer
from gateway.dialects.anthropic.blocks import UNSIGNED
from gateway.dialects.anthropic.encoder import MessagesEncoder
from gateway.dialects.anthropic.errors import render_error
from gateway.errors import BadResponse, ContextTooLong, InvalidKey, NoTargetFits, Overloaded, PartRefused, Reset
from tests.dialects.events import anything, streams


def sent(data: bytes) -> list[Any]:
    """The events of a stream: every one is named as its data says."""
    out = []
    for frame in data.decode().split("\n\n")[:-1]:
        name, payload = frame.split("\n")
        value = msgspec.json.decode(payload.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        out.append(value)
    return out


def message_of(events: list[Any]) -> Any:
    """The message that a client puts together; asserts the order of the events."""
    message: Any = None
    open_block = -1
    pieces = ""
    for i, e in enumerate(events):
        kind = e["type"]
        if kind == "message_start":
            assert message is None
            message = e["message"]
        elif kind == "content_block_start":
            assert open_block < 0 and e["index"] == len(message["content"])
            open_block, pieces = e["index"], ""
            message["content"].append(dict(e["content_block"]))
        elif kind == "content_block_delta":
            assert e["index"] == open_block
            block, delta = message["content"][open_block], e["delta"]
            if delta["type"] == "text_delta":
                block["text"] += delta["text"]
            elif delta["type"] == "thinking_delta":
                block["thinking"] += delta["thinking"]
            elif delta["type"] == "signature_delta":
                block["signature"] = delta["signature"]
            else:
                pieces += delta["partial_json"]
                block["input"] = pieces
        elif kind == "content_block_stop":
            assert e["index"] == open_block
            block, open_block = message["content"][open_block], -1
            if block["type"] == "tool_use":
                block["input"] = msgspec.json.decode(block["input"]) if pieces else {}
        elif kind == "message_delta":
            assert open_block < 0 and events[i + 1]["type"] == "message_stop"
            message |= e["delta"]
            message["usage"] |= e["usage"]
        elif kind == "message_stop":
            assert i == len(events) - 1
        else:
            assert kind == "error" and i == len(events) - 1
    return message


@given(streams())
def test_a_stream_tells_what_the_whole_answer_says(told: tuple[Answer, list[list[Event]]]) -> None:
    answer, reads = told
    encoder = MessagesEncoder("m")
    data = b"".join(encoder.encode(events) for events in reads)
    assert message_of(sent(data)) == render_answer(answer)


@given(anything)
def test_no_list_of_events_is_too_odd(events: list[Event]) -> None:
    encoder = MessagesEncoder("m")
    out = b"".join(encoder.encode([e]) for e in events)
    told = sent(out)
    ended = bool(told) and told[-1]["type"] in ("message_stop", "error")
    assert ended == any(isinstance(e, End | Fault) for e in events) or told[-1]["type"] == "error"
    if not ended:
        told += sent(encoder.fault(Reset("gone")))
        assert told[-1]["type"] == "error"
    else:
        assert encoder.fault(Reset("gone")) == b"" == encoder.life_sign(1, 2)
    bad_json = any(isinstance(e, PartDelta) and e.arguments for e in events)
    if not bad_json:
        message_of(told)


def test_the_exact_order() -> None:
    encoder = MessagesEncoder("public")
    events = [
        Start("chatcmpl-1", "/secret"),
        PartStart(0, 0, "thinking"),
        PartDelta(0, 0, "hm"),
        PartEnd(0, 0),
        PartStart(0, 1, "text"),
        PartDelta(0, 1, 'a"'),
        PartEnd(0, 1),
        PartStart(0, 2, "tool_call", "t1", "f"),
        PartDelta(0, 2, arguments='{"a":'),
        PartDelta(0, 2, arguments="1}"),
        PartEnd(0, 2),
        ChoiceEnd(0, "tool_calls"),
        Usage(10, 5, 4, 2),
        End(),
    ]
    encoder.closing = {"target": "x"}
    got = sent(encoder.encode(events))
    assert [e["type"] for e in got] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert got[0]["message"] == {
        "id": "msg_chatcmpl-1",
        "type": "message",
        "role": "assistant",
        "model": "public",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        },
    }
    assert got[3]["delta"] == {"type": "signature_delta", "signature": UNSIGNED}
    assert got[-2] == {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {
            "input_tokens": 6,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 4,
            "output_tokens": 5,
            "output_tokens_details": {"thinking_tokens": 2},
        },
    }
    assert got[-1] == {"type": "message_stop", "gateway": {"target": "x"}}


def test_a_second_call_does_not_wait_for_the_end_of_the_answer() -> None:
    encoder = MessagesEncoder("m")
    first = [PartStart(0, 0, "tool_call", "a", "f"), PartDelta(0, 0, arguments='{"x": 1}')]
    encoder.encode([Start(), *first])
    got = sent(encoder.encode([PartStart(0, 1, "tool_call", "b", "g"), PartDelta(0, 1, arguments="{")]))
    assert [e["type"] for e in got] == ["content_block_stop", "content_block_start", "content_block_delta"]


def test_a_call_that_begins_in_the_middle_of_another_one_waits() -> None:
    encoder = MessagesEncoder("m")
    encoder.encode([Start(), PartStart(0, 0, "tool_call", "a", "f"), PartDelta(0, 0, arguments='{"x"')])
    assert encoder.encode([PartStart(0, 1, "tool_call", "b", "g"), PartDelta(0, 1, arguments="{}")]) == b""
    got = sent(encoder.encode([PartDelta(0, 0, arguments=": 1}"), PartEnd(0, 0)]))
    assert [e["type"] for e in got] == [
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
    ]
    assert got[-1]["index"] == 1 and got[-1]["delta"]["partial_json"] == "{}"


@pytest.mark.parametrize(
    ("finish", "stop_sequence", "reason"),
    [
        ("stop", None, "end_turn"),
        ("stop", "END", "stop_sequence"),
        ("length", None, "max_tokens"),
        ("tool_calls", None, "tool_use"),
        ("content_filter", None, "refusal"),
    ],
)
def test_why_it_stopped(finish: Any, stop_sequence: str | None, reason: str) -> None:
    answer = Answer("i", "m", choices=[Choice([Text("x")], finish, stop_sequence)])
    whole = render_answer(answer)
    assert (whole["stop_reason"], whole["stop_sequence"]) == (reason, stop_sequence)
    told = message_of(sent(MessagesEncoder("m").encode(unfold(answer))))
    assert told == whole


def test_an_answer_that_was_broken_off_is_an_error() -> None:
    answer = Answer(choices=[Choice([Text("x")], "error")])
    with pytest.raises(BadResponse):
        render_answer(answer)
    with pytest.raises(BadResponse):
        render_answer(Answer(choices=[Choice([Text("x")])]))
    assert sent(MessagesEncoder("m").encode(unfold(answer)))[-1]["error"]["type"] == "api_error"
    cut = sent(MessagesEncoder("m").encode([Start(), PartStart(0, 0, "text"), End()]))
    assert [e["type"] for e in cut][-2:] == ["content_block_stop", "error"]


def test_thoughts_that_nobody_can_read() -> None:
    answer = Answer(
        "i",
        "m",
        choices=[
            Choice(
                [Thinking("", redacted="xyz"), Thinking("a", redacted="b"), Thinking("", summary=["s", "t"])], "stop"
            )
        ],
    )
    whole = render_answer(answer)
    assert whole["content"] == [
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "thinking", "thinking": "a", "signature": UNSIGNED},
        {"type": "redacted_thinking", "data": "b"},
        {"type": "thinking", "thinking": "s\n\nt", "signature": UNSIGNED},
    ]
    assert message_of(sent(MessagesEncoder("m").encode(unfold(answer)))) == whole


def test_parts_of_one_dialect_only() -> None:
    own = Opaque("anthropic", "server_tool_use", {"type": "server_tool_use", "id": "s"})
    answer = Answer("i", "m", choices=[Choice([own], "stop")])
    assert render_answer(answer)["content"] == [own.raw]
    assert message_of(sent(MessagesEncoder("m").encode(unfold(answer)))) == render_answer(answer)
    other = Answer(choices=[Choice([Opaque("gemini", "grounding", {})], "stop")])
    with pytest.raises(BadResponse, match="grounding"):
        render_answer(other)
    assert sent(MessagesEncoder("m").encode(unfold(other)))[-1]["type"] == "error"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [("", {}), ('{"a":1}', {"a": 1}), ('{"a', {"arguments": '{"a'}), ("[1]", {"arguments": [1]})],
)
def test_arguments_of_a_whole_answer(arguments: str, wanted: Any) -> None:
    answer = Answer(choices=[Choice([ToolCall("a", "f", arguments)], "length")])
    assert render_answer(answer)["content"] == [{"type": "tool_use", "id": "a", "name": "f", "input": wanted}]


def test_free_text_for_a_custom_tool() -> None:
    answer = Answer("i", "m", choices=[Choice([ToolCall("a", "f", 'free "text"', "custom")], "tool_calls")])
    whole = render_answer(answer)
    assert whole["content"][0]["input"] == {"input": 'free "text"'}
    assert message_of(sent(MessagesEncoder("m").encode(unfold(answer)))) == whole


def test_signs_of_life_come_before_anything_else() -> None:
    encoder = MessagesEncoder("m")
    assert encoder.life_sign(1, 2) == b'event: ping\ndata: {"type": "ping"}\n\n'
    assert encoder.encode([Progress(1, 2), Start("x")]) == b""
    assert encoder.media_type == "text/event-stream"


def test_errors() -> None:
    assert render_error(InvalidKey("no")) == {
        "type": "error",
        "error": {"type": "authentication_error", "message": "no", "code": "invalid_api_key"},
    }
    refused = render_error(PartRefused("takes no audio", param="messages[0].content[1]"))["error"]
    assert refused["message"] == "messages[0].content[1]: takes no audio" and refused["type"] == "invalid_request_error"
    assert render_error(ContextTooLong("9 > 8"))["error"]["message"] == "prompt is too long: 9 > 8"
    assert render_error(Overloaded("busy"))["error"]["type"] == "overloaded_error"
    assert render_error(NoTargetFits("x", detail={"targets": []}))["error"]["gateway"] == {"targets": []}
    (error,) = sent(MessagesEncoder("m").encode([Fault("server_is_overloaded", "x", 503)]))
    assert error["error"]["type"] == "overloaded_error"
