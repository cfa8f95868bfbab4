from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import Opaque, Refusal, Text, Thinking, ToolCall
from gateway.canonical.events import (
    Answer,
    Choice,
    ChoiceEnd,
    End,
    Event,
    Fault,
    Folder,
    PartDelta,
    PartEnd,
    PartStart,
    Progress,
    Start,
    Usage,
    fold,
    unfold,
)
from gateway.dialects.ollama import chat_codec, embed_codec, embeddings_codec, generate_codec
from gateway.dialects.ollama.answers import parse_answer, render_answer
from gateway.dialects.ollama.errors import render_error
from gateway.dialects.ollama.requests import Remembered
from gateway.dialects.ollama.stream import MAX_LINE, ChatDecoder, LinesEncoder
from gateway.errors import BadResponse, ContextTooLong, NoTargetFits, Overloaded, PartRefused, Reset, UpstreamError
from tests.dialects.events import anything, streams

CHAT = b"""\
{"model":"gemma","created_at":"2026-01-02T03:04:05.678901234Z","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}
{"model":"gemma","created_at":"2026-01-02T03:04:05.7Z","message":{"role":"assistant","content":"Hel"},"done":false}
{"model":"gemma","created_at":"2026-01-02T03:04:05.8Z","message":{"role":"assistant","content":"lo"},"done":false}
{"model":"gemma","created_at":"2026-01-02T03:04:05.9Z","message":{"role":"assistant","content":"","tool_calls":[{"id":"call_x","function":{"index":0,"name":"f","arguments":{"a":1}}}]},"done":false}
{"model":"gemma","created_at":"2026-01-02T03:04:06Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":9,"prompt_eval_count":5,"eval_count":7}
"""
"""As the API's documentation shows it."""


def lines(data: bytes) -> list[Any]:
    assert data.endswith(b"\n") or not data
    return [msgspec.json.decode(line) for line in data.splitlines()]


def message_of(told: list[Any]) -> Any:
    """What a client puts together; asserts the order of the lines."""
    out: Any = {"content": "", "thinking": "", "tool_calls": []}
    for i, line in enumerate(told):
        if "error" in line:
            assert i == len(told) - 1
            return out
        message = line.get("message") or {"content": line["response"], "thinking": line.get("thinking")}
        out["content"] += message["content"]
        out["thinking"] += message.get("thinking") or ""
        out["tool_calls"] += message.get("tool_calls") or []
        assert line["done"] == (i == len(told) - 1)
    return out


@given(streams())
def test_a_stream_tells_what_the_whole_answer_says(told: tuple[Answer, list[list[Event]]]) -> None:
    answer, reads = told
    encoder = LinesEncoder("m", Remembered())
    got = lines(b"".join(encoder.encode(events) for events in reads))
    whole = render_answer(answer, Remembered())
    message = whole.pop("message")
    assert sorted(message_of(got)["content"]) == sorted(message["content"])  # interleaved parts mix their letters
    assert sorted(message_of(got)["thinking"]) == sorted(message.get("thinking", ""))
    told_calls = sorted((c["function"]["name"], str(c["function"]["arguments"])) for c in message_of(got)["tool_calls"])
    calls = message.get("tool_calls", [])
    assert told_calls == sorted((c["function"]["name"], str(c["function"]["arguments"])) for c in calls)
    assert got[-1] | {"message": 0} == whole | {"message": 0}


@given(anything, st.sampled_from(["chat", "generate"]))
def test_no_list_of_events_is_too_odd(events: list[Event], form: Any) -> None:
    encoder = LinesEncoder("m", Remembered(form))
    told = lines(b"".join(encoder.encode([e]) for e in events))
    if not told or not (told[-1].get("done") or "error" in told[-1]):
        told += lines(encoder.fault(Reset("gone")))
    assert encoder.fault(Reset("x")) == b"" == encoder.life_sign(0, 0)
    message_of(told)


def test_the_exact_lines() -> None:
    ticks = iter((1_000, 5_000))
    memory = Remembered("chat", 7.5, lambda: next(ticks), began=500)
    encoder = LinesEncoder("public", memory)
    encoder.closing = {"target": "x"}
    tokens = {"content": [{"token": "a", "logprob": -0.5}]}
    events = [
        Start("i", "/secret", 7),
        PartStart(0, 0, "thinking"),
        PartDelta(0, 0, "hm"),
        PartEnd(0, 0),
        PartStart(0, 1, "text"),
        PartDelta(0, 1, "a", logprobs=tokens),
        PartEnd(0, 1),
        PartStart(0, 2, "tool_call", "c", "f"),
        PartDelta(0, 2, arguments='{"x":'),
        PartDelta(0, 2, arguments="1}"),
        PartEnd(0, 2),
        ChoiceEnd(0, "tool_calls"),
        Usage(3, 4),
        End(),
    ]
    head = {"model": "public", "created_at": "1970-01-01T00:00:07Z"}
    call = {"id": "c", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}}
    assert lines(encoder.encode(events)) == [
        {**head, "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
        {**head, "message": {"role": "assistant", "content": "a"}, "logprobs": tokens["content"], "done": False},
        {**head, "message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False},
        {
            **head,
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "total_duration": 4_500,
            "load_duration": 0,
            "prompt_eval_duration": 500,
            "eval_duration": 4_000,
            "prompt_eval_count": 3,
            "eval_count": 4,
            "gateway": {"target": "x"},
        },
    ]


def test_no_character_ends_a_line() -> None:
    """The `ollama` package takes every one of these for the end of a line."""
    words = "a\u2028b\u2029c\u0085d\r\n\x0b\x0c\x1c\x1d\x1eé"
    call = [
        PartStart(0, 1, "tool_call", "c", "f"),
        PartDelta(0, 1, arguments=msgspec.json.encode({"a": words}).decode()),
        PartEnd(0, 1),
    ]
    ticks = iter((1_000, 5_000))
    encoder = LinesEncoder("m\u2028", Remembered("chat", 7.5, lambda: next(ticks), began=500))
    data = encoder.encode([PartStart(0, 0, "text"), PartDelta(0, 0, words), PartEnd(0, 0), *call])
    data += encoder.encode([ChoiceEnd(0, "tool_calls"), End()])
    messages = [msgspec.json.decode(line)["message"] for line in data.decode().splitlines()]
    assert "".join(m["content"] for m in messages) == words
    [told] = [c for m in messages for c in m.get("tool_calls", ())]
    assert told["function"]["arguments"] == {"a": words}


def test_the_other_endpoint_has_its_own_fields() -> None:
    answer = Answer("i", "m", 7, [Choice([Thinking("hm"), Text("a"), Refusal("b")], "length")], Usage(1, 2))
    whole = generate_codec.render_answer(answer)
    assert whole == {
        "model": "m",
        "created_at": "1970-01-01T00:00:07Z",
        "response": "ab",
        "thinking": "hm",
        "done": True,
        "done_reason": "length",
        "prompt_eval_count": 1,
        "eval_count": 2,
    }
    got = lines(LinesEncoder("m", Remembered("generate")).encode(unfold(answer)))
    assert [line["response"] for line in got] == ["", "a", "b", ""] and got[0]["thinking"] == "hm"


def test_signs_of_life_are_lines_that_can_be_parsed() -> None:
    encoder = LinesEncoder("m", Remembered(created=1))
    sign = {"model": "m", "created_at": "1970-01-01T00:00:01Z", "message": {"role": "assistant", "content": ""}}
    assert lines(encoder.life_sign(1, 2)) == [{**sign, "done": False}]
    assert encoder.encode([Progress(1, 2), Start("x")]) == b"" and encoder.media_type == "application/x-ndjson"


def test_answers_that_did_not_end_well() -> None:
    for answer in (Answer(choices=[Choice([Text("x")], "error")]), Answer(choices=[Choice([Text("x")])])):
        with pytest.raises(BadResponse):
            render_answer(answer, Remembered())
        assert "error" in lines(LinesEncoder("m", Remembered()).encode(unfold(answer)))[-1]
    with pytest.raises(BadResponse, match="grounding"):
        render_answer(Answer(choices=[Choice([Opaque("gemini", "grounding", {})], "stop")]), Remembered())
    (line,) = lines(LinesEncoder("m", Remembered()).encode([Fault("server_is_overloaded", "busy", 503)]))
    assert line == {"error": "busy", "code": "server_is_overloaded"}


def test_times_that_are_none() -> None:
    assert render_answer(Answer(created=10**15, choices=[Choice([], "stop")]), Remembered())["created_at"][:4] == "1970"


def test_errors() -> None:
    assert render_error(Overloaded("busy")) == {"error": "busy", "code": "server_is_overloaded"}
    refused = render_error(PartRefused("takes no audio", param="messages[0].images[1]"))
    assert refused["error"] == "messages[0].images[1]: takes no audio" and refused["param"] == "messages[0].images[1]"
    assert render_error(NoTargetFits("x", detail={"targets": []}))["gateway"] == {"targets": []}
    assert render_error(ContextTooLong("9 > 8"))["code"] == "context_length_exceeded"


# ---- what a server of this dialect says ----

ANSWER = Answer(
    "",
    "gemma",
    1767323045,
    [Choice([Thinking("hm"), Text("Hello"), ToolCall("call_x", "f", '{"a":1}')], "tool_calls")],
    Usage(5, 7),
    {"ollama": {"total_duration": 9}},
)


def test_a_stream_of_the_documentation() -> None:
    decoder = ChatDecoder()
    events = decoder.feed(CHAT)
    assert fold(events) == ANSWER and type(events[-1]) is End
    assert decoder.end() == [] == decoder.feed(b"x")


def test_a_stream_cut_at_every_offset() -> None:
    for at in range(len(CHAT)):
        decoder = ChatDecoder()
        folder = Folder()
        folder.feed(decoder.feed(CHAT[:at]))
        folder.feed(decoder.feed(CHAT[at:]))
        folder.feed(decoder.end())
        assert folder.ended and folder.fault is None and folder.answer == ANSWER, at
        cut = ChatDecoder()
        left = cut.feed(CHAT[:at]) + cut.end()
        if at < len(CHAT) - 1:
            assert isinstance(left[-1], Fault) and left[-1].code in ("upstream_truncated", "upstream_protocol_error"), (
                at
            )
        else:
            assert isinstance(left[-1], End)  # without its line's end it is still whole


def test_a_whole_answer() -> None:
    body = {
        "model": "gemma",
        "created_at": "2026-01-02T03:04:05.678901234Z",
        "message": {
            "role": "assistant",
            "content": "Hello",
            "thinking": "hm",
            "tool_calls": [{"id": "call_x", "function": {"name": "f", "arguments": {"a": 1}}}],
        },
        "done": True,
        "done_reason": "stop",
        "total_duration": 9,
        "prompt_eval_count": 5,
        "eval_count": 7,
    }
    assert chat_codec.parse_answer(body) == ANSWER
    again = render_answer(ANSWER, Remembered())
    assert parse_answer(again) == ANSWER
    assert parse_answer({"response": "a", "done": True}) == Answer(choices=[Choice([Text("a")], "stop")])
    assert parse_answer({"response": "", "done": True, "done_reason": "load"}).choices[0].finish == "error"


@given(streams())
def test_what_is_encoded_is_decoded_as_the_same(told: tuple[Answer, list[list[Event]]]) -> None:
    answer, _ = told
    decoder = ChatDecoder()
    data = LinesEncoder("m", Remembered()).encode(unfold(answer))
    got = fold(decoder.feed(data) + decoder.end())
    whole = parse_answer(render_answer(answer, Remembered()))
    assert "".join(p.text for p in got.choices[0].parts if isinstance(p, Text)) == "".join(
        p.text for p in whole.choices[0].parts if isinstance(p, Text)
    )
    calls = [p for p in got.choices[0].parts if isinstance(p, ToolCall)]
    assert calls == [p for p in whole.choices[0].parts if isinstance(p, ToolCall)]
    assert got.choices[0].finish == whole.choices[0].finish and got.usage == whole.usage


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"error":"model not loaded"}\n', "upstream_error"),
        (b"nonsense\n", "upstream_protocol_error"),
        (b"[1]\n", "upstream_protocol_error"),
        (b'{"message":{"tool_calls":[{}]},"done":false}\n', "upstream_protocol_error"),
        (b"x" * (MAX_LINE + 1), "upstream_protocol_error"),
        (b"", "upstream_truncated"),
        (b"\n\n", "upstream_truncated"),
    ],
)
def test_streams_that_are_none(data: bytes, code: str) -> None:
    decoder = ChatDecoder()
    events = decoder.feed(data) + decoder.end()
    assert isinstance(events[-1], Fault) and events[-1].code == code
    assert decoder.feed(b'{"done":true}\n') == []


@given(st.lists(st.binary(max_size=20) | st.sampled_from(CHAT.splitlines(keepends=True)), max_size=8))
def test_no_bytes_are_too_odd(reads: list[bytes]) -> None:
    decoder = ChatDecoder()
    events = [e for data in reads for e in decoder.feed(data)] + decoder.end()
    assert isinstance(events[-1], End | Fault)
    Folder().feed(events)


def test_answers_that_are_none() -> None:
    for body in ([], {}, {"message": 1}, {"message": {"tool_calls": [{"function": {}}]}}):
        with pytest.raises(BadResponse):
            parse_answer(body)
    with pytest.raises(UpstreamError):
        parse_answer({"error": "no"})


def test_embeddings() -> None:
    reply = {
        "model": "m",
        "data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}],
        "usage": {"prompt_tokens": 3},
    }
    assert embed_codec.render_answer(reply) == {"model": "m", "embeddings": [[1.0], [2.0]], "prompt_eval_count": 3}
    assert embeddings_codec.render_answer(reply) == {"embedding": [1.0]}
