"""Answers and streams -> events, cut at every offset."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import errors
from gateway.canonical.content import Opaque, Refusal, Text, Thinking, ToolCall
from gateway.canonical.events import Answer, ChoiceEnd, End, Event, Fault, PartDelta, Usage, fold, unfold
from gateway.dialects.gemini.answers import parse_usage, render_answer, render_usage
from gateway.dialects.gemini.decoder import StreamDecoder, parse_answer
from gateway.dialects.gemini.encoder import ArrayEncoder, StreamEncoder
from gateway.sse import MAX_EVENT
from tests.dialects.gemini.strategies import answers, usages
from tests.dialects.openai.test_stream import check_grammar


def decode(data: bytes, *cuts: int, declared: frozenset[str] = frozenset(), expected: int = 1) -> list[Event]:
    decoder = StreamDecoder(declared, expected)
    out: list[Event] = []
    for a, b in zip((0, *cuts), (*cuts, len(data)), strict=True):
        out += decoder.feed(data[a:b])
    return out + decoder.end()


def sse(*chunks: Any, end: bytes = b"\r\n\r\n") -> bytes:
    return b"".join(b"data: " + json.dumps(c).encode() + end for c in chunks)


def array(*chunks: Any) -> bytes:
    return b"[" + b",\r\n".join(json.dumps(c, indent=1, ensure_ascii=False).encode() for c in chunks) + b"\n]\n"


def chunk(*parts: Any, finish: str | None = None, index: int = 0, **top: Any) -> dict[str, Any]:
    item: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": index}
    if finish:
        item["finishReason"] = finish
    return {"candidates": [item], "responseId": "R1", "modelVersion": "m", **top}


USAGE = {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}
STREAM = [
    chunk({"text": "plan", "thought": True}),
    chunk({"text": "He"}, finish="STOP", usageMetadata={"promptTokenCount": 3}),
    chunk({"text": 'y \u2028 "}{][\\ ü'}, finish="STOP"),
    chunk({"functionCall": {"name": "f", "args": {"a": [1, {"b": ']}"'}]}}, "thoughtSignature": "-_8="}),
    chunk({"executableCode": {"code": "1"}}, {"text": ""}, finish="STOP", usageMetadata=USAGE),
]


def test_a_stream() -> None:
    events = decode(sse(*STREAM))
    check_grammar(events)
    answer = fold(events)
    assert (answer.id, answer.model, answer.usage) == ("R1", "m", Usage(3, 4))
    assert answer.choices[0].parts == [
        Thinking("plan"),
        Text('Hey \u2028 "}{][\\ ü'),
        ToolCall("call_R1_0", "f", '{"a": [1, {"b": "]}\\""}]}', signature="+/8="),
        Opaque("gemini", "executableCode", {"code": "1"}),
    ]
    assert answer.choices[0].finish == "tool_calls"
    assert [type(e) for e in events].count(ChoiceEnd) == 1


@pytest.mark.parametrize("body", [sse(*STREAM), sse(*STREAM, end=b"\n\n"), array(*STREAM)])
def test_streams_do_not_depend_on_the_cuts(body: bytes) -> None:
    whole = decode(body)
    assert type(whole[-1]) is End
    assert decode(body, *range(1, len(body))) == whole
    for at in range(1, len(body)):
        assert decode(body, at) == whole
    assert fold(whole) == fold(decode(sse(*STREAM)))


def test_other_framings() -> None:
    whole = decode(sse(*STREAM))
    one = json.dumps(STREAM[0], indent=1).encode()
    many_lines = b"".join(b"data: " + line + b"\n" for line in one.split(b"\n")) + b"\n" + sse(*STREAM[1:])
    assert decode(many_lines) == whole
    assert decode(b": hello\n\nevent: x\n" + sse(*STREAM)) == whole
    assert decode(sse(*STREAM, end=b"\r\r")) == whole
    assert decode(sse(*STREAM).rstrip()) == whole  # the last event without its blank line
    assert decode(b"\n\r\n" + sse(*STREAM) + b"data: [DONE]\n\n") == whole


@settings(max_examples=40, deadline=None)
@given(answers)
def test_a_whole_answer_survives(answer: Answer) -> None:
    assert parse_answer(render_answer(answer)) == answer
    assert parse_answer([render_answer(answer)]) == answer


@settings(max_examples=40, deadline=None)
@given(answers, st.booleans(), st.data())
def test_a_stream_is_its_whole_answer(answer: Answer, as_array: bool, data: Any) -> None:
    encoder = (ArrayEncoder if as_array else StreamEncoder)(answer.model)
    body = b""
    for event in unfold(answer):
        body += encoder.encode([event])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=4)))
    assert fold(decode(body, *cuts, expected=len(answer.choices))) == answer


@pytest.mark.parametrize(
    ("payloads", "code"),
    [
        ([b"data: {bad\n\n"], "upstream_protocol_error"),
        ([b"data: 3\n\n"], "upstream_protocol_error"),
        ([b'data: {"candidates": 3}\n\n'], "upstream_protocol_error"),
        ([b'data: {"candidates": [3]}\n\n'], "upstream_protocol_error"),
        ([b'data: {"candidates": [{"content": {"parts": [3]}}]}\n\n'], "upstream_protocol_error"),
        ([b'data: {"candidates": [{"index": -1}]}\n\n'], "upstream_protocol_error"),
        ([b"data: " + b"x" * (MAX_EVENT + 10)], "upstream_protocol_error"),
        ([b"[" + b'{"a":"' + b"x" * (MAX_EVENT + 10)], "upstream_protocol_error"),
        ([b"data: " + b"[" * 5000 + b"\n\n"], "upstream_protocol_error"),
        ([], "upstream_truncated"),
        ([sse(chunk({"text": "a"}))], "upstream_truncated"),
        ([sse({"usageMetadata": USAGE})], "upstream_truncated"),
        ([array(chunk({"text": "a"}))], "upstream_truncated"),
        ([sse(chunk({"text": "a"}, finish="FINISH_REASON_UNSPECIFIED"))], "upstream_truncated"),
    ],
)
def test_what_can_not_be_completed_is_a_fault(payloads: list[bytes], code: str) -> None:
    decoder = StreamDecoder()
    events = [e for p in payloads for e in decoder.feed(p)] + decoder.end()
    assert isinstance(events[-1], Fault) and events[-1].code == code
    assert decoder.feed(sse(*STREAM)) == [] and decoder.end() == []


def test_a_choice_that_never_came() -> None:
    assert isinstance(decode(sse(*STREAM), expected=2)[-1], Fault)
    two = sse(chunk({"text": "a"}, finish="STOP"), chunk({"text": "b"}, finish="MAX_TOKENS", index=1))
    assert [c.finish for c in fold(decode(two, expected=2)).choices] == ["stop", "length"]


@pytest.mark.parametrize(
    "wrap", [lambda e: sse(e), lambda e: json.dumps(e, indent=2).encode(), lambda e: array(e), lambda e: sse([e])]
)
@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        ({"code": 503, "message": "over", "status": "UNAVAILABLE"}, "service_unavailable", 503),
        ({"code": 429, "message": "q", "status": "RESOURCE_EXHAUSTED"}, "rate_limit_exceeded", 429),
        ({"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}, "invalid_value", 400),
        ({"code": 500, "message": "x", "status": "INTERNAL"}, "upstream_error", 502),
        ({"message": "x"}, "upstream_error", 502),
    ],
)
def test_errors_in_a_stream(wrap: Any, error: Any, code: str, status: int) -> None:
    found = decode(wrap({"error": error}))[-1]
    assert isinstance(found, Fault)
    assert (found.code, found.status, found.message) == (code, status, error["message"])
    assert errors.by_code(found.code).status == status


def test_an_error_after_content_keeps_what_came() -> None:
    events = decode(sse(chunk({"text": "a"}), {"error": {"code": 503, "message": "over", "status": "UNAVAILABLE"}}))
    assert any(isinstance(e, PartDelta) and e.text == "a" for e in events)
    assert isinstance(events[-1], Fault) and not any(isinstance(e, ChoiceEnd) for e in events)


@pytest.mark.parametrize(
    ("reason", "finish", "native"),
    [
        ("STOP", "stop", None),
        ("stop", "stop", None),
        ("MAX_TOKENS", "length", None),
        ("CONTINUATION", "length", "CONTINUATION"),
        ("SAFETY", "content_filter", "SAFETY"),
        ("RECITATION", "content_filter", "RECITATION"),
        ("MODEL_ARMOR", "content_filter", "MODEL_ARMOR"),
        ("LANGUAGE", "stop", "LANGUAGE"),
        ("MALFORMED_FUNCTION_CALL", "stop", "MALFORMED_FUNCTION_CALL"),
        ("SOMETHING_NEW", "stop", "SOMETHING_NEW"),
        ("FINISH_REASON_UNSPECIFIED", "stop", "FINISH_REASON_UNSPECIFIED"),
    ],
)
def test_how_it_ended(reason: str, finish: str, native: str | None) -> None:
    choice = parse_answer(chunk({"text": "x"}, finish=reason)).choices[0]
    assert (choice.finish, choice.native) == (finish, native)
    again = render_answer(parse_answer(chunk({"text": "x"}, finish=reason)))["candidates"][0]["finishReason"]
    # an answer that is to be continued would make clients ask again by themselves
    assert again == ("MAX_TOKENS" if reason == "CONTINUATION" else reason.upper())


def test_a_call_that_the_model_did_not_mean_is_told_and_not_given() -> None:
    """https://ai.google.dev/api/generate-content#FinishReason"""
    for reason in ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"):
        parts = ({"text": "x"}, {"functionCall": {"name": "f", "args": {"a": 1}}})
        choice = parse_answer(chunk(*parts, finish=reason)).choices[0]
        assert choice.parts == [Text("x")] and (choice.finish, choice.native) == ("stop", reason)
        assert choice.note == 'Malformed function call: f({"a": 1})'


def test_an_error_behind_events_as_plain_json() -> None:
    """Servers break off a stream with the body of an error, over several lines, as it is."""
    error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    for text in (json.dumps(error, indent=2), json.dumps([error], indent=2), json.dumps(error)):
        for end in ("", "\n"):
            body = sse(chunk({"text": "a"})) + text.encode() + end.encode()
            for events in (decode(body), decode(body, *range(1, len(body)))):
                fault = events[-1]
                assert isinstance(fault, Fault) and (fault.message, fault.status) == ("overloaded", 503)
    assert decode(sse(chunk({"text": "a"})) + b"<html>\n}\n")[-1].code == "upstream_truncated"


def test_a_blocked_prompt_is_a_refusal() -> None:
    answer = parse_answer({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": USAGE})
    assert answer.choices[0].parts == [Refusal("the prompt was blocked: PROHIBITED_CONTENT")]
    assert (answer.choices[0].finish, answer.choices[0].native) == ("content_filter", "PROHIBITED_CONTENT")
    events = decode(sse({"promptFeedback": {"blockReason": "OTHER", "blockReasonMessage": "no"}}))
    assert fold(events).choices[0].parts == [Refusal("no")]
    assert fold(events).choices[0].finish == "content_filter"


def test_no_answer() -> None:
    for body in ({}, {"candidates": []}, {"promptFeedback": {}}, 3, []):
        with pytest.raises(errors.BadResponse):
            parse_answer(body)
    with pytest.raises(errors.UpstreamBusy):
        parse_answer({"error": {"code": 503, "status": "UNAVAILABLE", "message": "x"}})


def test_ids_and_names_of_calls() -> None:
    call = {"functionCall": {"name": "default_api:f"}}
    twice = {"functionCall": {"id": "x", "name": "f", "args": {}}}
    answer = parse_answer(chunk(call, twice, twice, finish="STOP"), frozenset({"f"}))
    assert [(p.id, p.name, p.arguments) for p in answer.choices[0].parts] == [  # type: ignore[union-attr]
        ("call_R1_0", "f", "{}"),
        ("x", "f", "{}"),
        ("call_R1_2", "f", "{}"),
    ]
    unnamed = {**chunk(call, call, finish="STOP"), "responseId": None}
    made = [p.id for p in parse_answer(unnamed).choices[0].parts]  # type: ignore[union-attr]
    assert len(set(made)) == 2 and made == [p.id for p in parse_answer(unnamed).choices[0].parts]  # type: ignore[union-attr]
    assert parse_answer(unnamed, frozenset({"default_api:f", "f"})).choices[0].parts[0].name == "default_api:f"  # type: ignore[union-attr]


def test_arguments_piece_by_piece() -> None:
    def piece(path: str, will: bool = True, **value: Any) -> Any:
        return {"jsonPath": path, "willContinue": will, **value}

    events = decode(
        sse(
            chunk({"functionCall": {"id": "a", "name": "f", "willContinue": True}}),
            chunk({"functionCall": {"partialArgs": [piece("$.city", stringValue="Par")], "willContinue": True}}),
            chunk(
                {
                    "functionCall": {
                        "partialArgs": [
                            piece("$.city", stringValue="is"),
                            piece("$.at[1].n", numberValue=2),
                            piece("$['odd name']", boolValue=True),
                            piece("$.none", nullValue="NULL_VALUE"),
                        ],
                        "willContinue": True,
                    }
                }
            ),
            chunk({"functionCall": {}}, finish="STOP"),
        )
    )
    check_grammar(events)
    (call,) = fold(events).choices[0].parts
    assert isinstance(call, ToolCall) and (call.id, call.name) == ("a", "f")
    assert json.loads(call.arguments) == {"city": "Paris", "at": [None, {"n": 2}], "odd name": True, "none": None}
    cut = decode(sse(chunk({"functionCall": {"id": "a", "name": "f", "willContinue": True}}, finish="MAX_TOKENS")))
    assert fold(cut).choices[0].parts == [ToolCall("a", "f", "{}")]


def test_a_late_signature_belongs_to_the_text_before_it() -> None:
    events = decode(sse(chunk({"text": "Hi"}), chunk({"text": "", "thoughtSignature": "-_8"}, finish="STOP")))
    assert fold(events).choices[0].parts == [Text("Hi", signature="+/8=")]
    after = decode(sse(chunk({"text": "Hi", "thoughtSignature": "c2ln"}), chunk({"text": "x"}, finish="STOP")))
    assert fold(after).choices[0].parts == [Text("Hi", signature="c2ln"), Text("x")]


def test_what_is_not_modelled_survives() -> None:
    body = chunk({"text": "x"}, {"newThing": {"a": 1}}, finish="STOP", createTime="2026")
    body["candidates"][0] |= {"groundingMetadata": {"g": 1}, "avgLogprobs": -0.5}
    answer = parse_answer(body)
    assert answer.extra == {"gemini": {"createTime": "2026"}}
    assert answer.choices[0].extra == {"gemini.choice": {"groundingMetadata": {"g": 1}, "avgLogprobs": -0.5}}
    assert answer.choices[0].parts[1] == Opaque("gemini", "newThing", {"a": 1})
    assert render_answer(answer) == body


def test_token_probabilities() -> None:
    body = chunk({"text": "Hé"}, finish="STOP")
    body["candidates"][0]["logprobsResult"] = {
        "chosenCandidates": [{"token": "H", "logProbability": -0.5, "tokenId": 3}, {"token": "é", "logProbability": 0}],
        "topCandidates": [{"candidates": [{"token": "H", "logProbability": -0.5}]}],
    }
    found = parse_answer(body).choices[0].logprobs["content"]
    assert [(t["token"], t["logprob"], t["bytes"]) for t in found] == [("H", -0.5, [72]), ("é", 0, [195, 169])]
    assert [len(t["top_logprobs"]) for t in found] == [1, 0]
    assert fold(decode(sse(body))) == parse_answer(body)
    out = render_answer(parse_answer(body))["candidates"][0]["logprobsResult"]
    assert [t["token"] for t in out["chosenCandidates"]] == ["H", "é"]


@given(usages())
def test_usage_survives(usage: Usage) -> None:
    assert parse_usage(msgspec.json.decode(msgspec.json.encode(render_usage(usage)))) == usage


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Usage(0, 0)),
        ({"promptTokenCount": 5, "totalTokenCount": 5}, Usage(5, 0)),
        ({"promptTokenCount": "5", "candidatesTokenCount": 2, "thoughtsTokenCount": 3}, Usage(5, 5, reasoning=3)),
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 99},
            Usage(5, 2, extra={"gemini.usage": {"totalTokenCount": 99}}),
        ),
    ],
)
def test_usage(given: Any, expected: Usage) -> None:
    assert parse_usage(given) == expected


def test_no_usage() -> None:
    assert parse_usage(None) is None and parse_usage(3) is None
    assert render_usage(Usage()) == {}


FIELDS = re.findall(
    r"\w+",
    """candidates content parts text thought functionCall name args id index finishReason usageMetadata error code
    message status details promptFeedback blockReason logprobsResult chosenCandidates thoughtSignature partialArgs
    jsonPath willContinue""",
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=14,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(junk, max_size=3), st.binary(max_size=20))
def test_nothing_a_server_sends_is_a_crash(values: list[Any], noise: bytes) -> None:
    for body in (sse(*values), array(*values), noise, sse(*values) + noise):
        events = decode(body)
        assert isinstance(events[-1], End | Fault)
        check_grammar(events)
    for value in values:
        try:
            parse_answer(value)
        except errors.GatewayError:
            pass
