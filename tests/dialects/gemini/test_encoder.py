"""Events -> streams that the SDKs bear."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.canonical.content import Opaque
from gateway.canonical.events import (
    Answer,
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
    fold,
    unfold,
)
from gateway.dialects import gemini
from gateway.dialects.gemini.decoder import StreamDecoder
from gateway.dialects.gemini.encoder import ArrayEncoder, StreamEncoder
from gateway.errors import NoHealthyBackend, UpstreamError
from tests.canonical.strategies import interleaved, recut
from tests.dialects.gemini.strategies import answers

TEXT: list[Event] = [PartStart(0, 0, "text"), PartDelta(0, 0, "He"), PartDelta(0, 0, "y"), PartEnd(0, 0)]


def chunks(data: bytes) -> list[Any]:
    """The events of a stream that keeps to the narrow framing; blank lines between them are signs of life."""
    out = []
    for piece in data.split(b"\r\n\r\n")[:-1]:
        line = piece.lstrip(b"\n")
        assert line.startswith(b"data: {") and b"\n" not in line and b"\r" not in line
        out.append(json.loads(line[6:]))
    assert data.endswith(b"\r\n\r\n")
    return out


def encoded(*events: Event, model: str = "") -> list[Any]:
    return chunks(StreamEncoder(model).encode(list(events)))


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": words}], "role": "model"}, "index": 0, **more}]}


def test_a_plain_stream() -> None:
    out = encoded(Start("R", "upstream"), *TEXT, ChoiceEnd(0, "stop"), Usage(3, 4, 2, 1), End(), model="public")
    common = {"modelVersion": "public", "responseId": "R"}
    assert out == [
        {**text("He"), **common},
        {**text("y"), **common},
        {
            **text("", finishReason="STOP"),
            **common,
            "usageMetadata": {
                "promptTokenCount": 3,
                "candidatesTokenCount": 3,
                "thoughtsTokenCount": 1,
                "cachedContentTokenCount": 2,
                "totalTokenCount": 7,
            },
        },
    ]


def test_no_chunk_is_without_a_part() -> None:
    out = encoded(
        Start("R", "m"),
        Progress(1, 2),
        PartStart(0, 0, "thinking"),
        PartDelta(0, 0),
        PartEnd(0, 0),
        PartStart(0, 1, "text"),
        PartDelta(0, 1),
        PartEnd(0, 1),
        Usage(1, 0),
        ChoiceEnd(0, "stop"),
        End(),
    )
    assert len(out) == 1 and out[0]["candidates"][0]["content"]["parts"] == [{"text": ""}]


def test_what_the_filter_left_nothing_of_has_no_part() -> None:
    out = encoded(ChoiceEnd(0, "content_filter", native="PROHIBITED_CONTENT", note="no"), End())
    assert out[0]["candidates"][0] == {
        "content": {"parts": [], "role": "model"},
        "index": 0,
        "finishReason": "PROHIBITED_CONTENT",
        "finishMessage": "no",
    }
    refused = encoded(PartStart(0, 0, "refusal"), PartDelta(0, 0, "no"), PartEnd(0, 0), ChoiceEnd(0, "stop"), End())
    assert refused[0] == text("no") and refused[1]["candidates"][0]["finishReason"] == "SAFETY"


def test_thoughts_and_signatures() -> None:
    out = encoded(
        PartStart(0, 0, "thinking"),
        PartDelta(0, 0, "hm", signature="c2ln"),
        PartEnd(0, 0),
        *[PartStart(0, 1, "text"), PartDelta(0, 1, "x"), PartDelta(0, 1, signature="c2ln"), PartEnd(0, 1)],
    )
    assert [c["candidates"][0]["content"]["parts"][0] for c in out] == [
        {"text": "hm", "thought": True},
        {"text": "", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "x"},
        {"text": "", "thoughtSignature": "c2ln"},
    ]


def test_calls_come_whole() -> None:
    events: list[Event] = [
        PartStart(0, 0, "tool_call", "a", "f"),
        PartStart(0, 1, "tool_call", "b", "g"),
        PartDelta(0, 1, arguments='{"x":'),
        PartDelta(0, 0, arguments="", signature="c2ln"),
        PartDelta(0, 1, arguments="1}"),
        PartEnd(0, 0),
        PartEnd(0, 1),
        ChoiceEnd(0, "tool_calls"),
        End(),
    ]
    encoder = StreamEncoder("")
    assert encoder.encode(events[:5]) == b""
    out = chunks(encoder.encode(events[5:]))
    assert [c["candidates"][0]["content"]["parts"] for c in out] == [
        [{"functionCall": {"id": "a", "name": "f", "args": {}}, "thoughtSignature": "c2ln"}],
        [{"functionCall": {"id": "b", "name": "g", "args": {"x": 1}}}],
        [{"text": ""}],
    ]
    assert out[-1]["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize(
    ("arguments", "finish", "reason", "note"),
    [
        ('{"a": "b', "length", "MAX_TOKENS", None),
        ("{bad", "tool_calls", "MALFORMED_FUNCTION_CALL", "Malformed function call: f({bad)"),
        ("[1]", "stop", "MALFORMED_FUNCTION_CALL", "Malformed function call: f([1])"),
    ],
)
def test_calls_that_can_not_be_read(arguments: str, finish: Any, reason: str, note: str | None) -> None:
    out = encoded(
        PartStart(0, 0, "tool_call", "a", "f"),
        PartDelta(0, 0, arguments=arguments),
        PartEnd(0, 0),
        ChoiceEnd(0, finish),
        End(),
    )
    assert len(out) == 1
    assert (out[0]["candidates"][0]["finishReason"], out[0]["candidates"][0].get("finishMessage")) == (reason, note)


def test_a_custom_call_is_one_with_its_input() -> None:
    out = encoded(PartStart(0, 0, "tool_call", "a", "f", "custom"), PartDelta(0, 0, arguments="x y"), PartEnd(0, 0))
    assert out[0]["candidates"][0]["content"]["parts"][0]["functionCall"]["args"] == {"input": "x y"}


def test_calls_come_last_for_clients_that_look_there_alone() -> None:
    chat = gemini.stream_codec.parse_request({"model": "m", "contents": "hi"})
    gemini.remember_client(chat, "google-genai-sdk/1.75.0 gl-python/3.11.7")
    events: list[Event] = [*TEXT]
    for part, name in ((1, "f"), (2, "g")):
        events += [PartStart(0, part, "tool_call", name, name), PartEnd(0, part)]
    out = chunks(gemini.stream_codec.encoder(chat, "").encode([*events, ChoiceEnd(0, "tool_calls"), End()]))
    assert len(out) == 3 and out[-1]["candidates"][0]["finishReason"] == "STOP"
    assert [p["functionCall"]["name"] for p in out[-1]["candidates"][0]["content"]["parts"]] == ["f", "g"]
    gemini.remember_client(other := gemini.stream_codec.parse_request({"model": "m", "contents": "hi"}), "node")
    assert other.client is None


def test_ends_of_several_choices_share_a_chunk() -> None:
    out = encoded(ChoiceEnd(1, "length"), ChoiceEnd(0, "stop"), Usage(1, 2), End())
    assert [(c["index"], c["finishReason"]) for c in out[0]["candidates"]] == [(0, "STOP"), (1, "MAX_TOKENS")]
    assert "usageMetadata" in out[0] and len(out) == 1


def test_parts_of_other_dialects_are_kept_where_clients_do_not_look() -> None:
    other = Opaque("anthropic", "server_tool_use", {"a": 1})
    own = Opaque("gemini", "executableCode", {"code": "1"})
    out = encoded(PartStart(0, 0, "opaque", opaque=own), PartEnd(0, 0), PartStart(0, 1, "opaque", opaque=other))
    parts = [c["candidates"][0]["content"]["parts"][0] for c in out]
    assert parts[0] == {"executableCode": {"code": "1"}}
    assert parts[1]["text"] == "" and parts[1]["gateway"]["opaque_parts"][0]["type"] == "server_tool_use"


def test_no_character_ends_a_line() -> None:
    words = "a\u2028b\u2029c\u0085d\r\n\x0b\x0c\x1c\x1d\x1eé"
    data = StreamEncoder("\u2028").encode([PartStart(0, 0, "text"), PartDelta(0, 0, words), PartEnd(0, 0)])
    assert len(data.decode().splitlines()) == 2
    assert chunks(data)[0]["candidates"][0]["content"]["parts"][0]["text"] == words


def test_life_is_a_blank_line() -> None:
    encoder = StreamEncoder("m")
    data = encoder.life_sign(0, 0) + encoder.encode(TEXT[:2]) + encoder.life_sign(3, 9)
    data += encoder.encode([*TEXT[2:], ChoiceEnd(0, "stop"), End()])
    assert set(encoder.life_sign(1, 2)) == set(b"\n")
    assert [c["candidates"][0]["content"]["parts"][0]["text"] for c in chunks(data)] == ["He", "y", ""]


def test_errors_say_so_first() -> None:
    encoder = StreamEncoder("m")
    data = encoder.encode(TEXT) + encoder.fault(NoHealthyBackend("down", retry_after=7.5))
    last = chunks(data)[-1]
    assert list(last) == ["error"] and (last["error"]["code"], last["error"]["status"]) == (503, "UNAVAILABLE")
    assert last["error"]["details"][-1]["retryDelay"] == "7.5s"
    assert b'data: {"error":{"code":503,' in data
    told = encoded(*TEXT, Fault("upstream_error", "engine died"))
    assert told[-1] == {"error": {"code": 500, "message": "engine died", "status": "INTERNAL"}}


def test_what_is_known_at_the_end_goes_out_with_it() -> None:
    encoder = StreamEncoder("m")
    encoder.closing = {"target": "a/b"}
    out = chunks(encoder.encode([*TEXT, ChoiceEnd(0, "stop"), End()]))
    assert [c.get("gateway") for c in out] == [None, None, {"target": "a/b"}]


@pytest.mark.parametrize("piecewise", [True, False])
def test_an_array(piecewise: bool) -> None:
    events: list[Event] = [Start("R", "m"), *TEXT, ChoiceEnd(0, "stop"), Usage(1, 2), End()]
    encoder = ArrayEncoder("m")
    pieces = [encoder.encode([e]) for e in events] if piecewise else [encoder.encode(events)]
    found = json.loads(encoder.life_sign(0, 0) + b"".join(pieces))
    assert found == encoded(*events, model="m")
    assert b"".join(pieces).startswith(b"[{") and b"},\n{" in b"".join(pieces)


def test_an_array_that_breaks_off() -> None:
    encoder = ArrayEncoder("m")
    data = encoder.encode(TEXT) + encoder.fault(UpstreamError("died"))
    assert json.loads(data)[-1]["error"]["status"] == "INTERNAL"
    assert json.loads(ArrayEncoder("m").fault(UpstreamError("died")))[0]["error"]["code"] == 500
    assert json.loads(ArrayEncoder("m").encode([End()])) == []


@settings(max_examples=40, deadline=None)
@given(answers, st.data())
def test_deltas_cut_anywhere_and_choices_in_any_order_say_the_same(answer: Answer, data: Any) -> None:
    events = data.draw(interleaved(data.draw(recut(unfold(answer)))))
    encoder = StreamEncoder(answer.model)
    body = b"".join(encoder.encode([e]) for e in events)
    chunks(body)
    decoder = StreamDecoder(expected_choices=len(answer.choices))
    assert fold([*decoder.feed(body), *decoder.end()]) == answer


def test_codecs() -> None:
    chat = gemini.stream_codec.parse_request({"model": "m", "contents": "hi"})
    assert chat.stream and not gemini.generate_codec.parse_request({"model": "m", "contents": "hi"}).stream
    assert type(gemini.stream_codec.encoder(chat, "m")) is StreamEncoder
    assert type(gemini.array_codec.encoder(chat, "m")) is ArrayEncoder
    answer = gemini.generate_codec.parse_answer({"candidates": [{"content": {"parts": [{"text": "x"}]}}]})
    assert gemini.generate_codec.render_answer(answer)["candidates"][0]["content"]["parts"] == [{"text": "x"}]
    assert gemini.generate_codec.parse_request(gemini.generate_codec.render_request(chat)).messages == chat.messages
    assert type(gemini.stream_codec.decoder()) is StreamDecoder
    for codec in (gemini.count_codec, gemini.embed_codec):
        with pytest.raises(TypeError):
            codec.decoder()
        with pytest.raises(TypeError):
            codec.encoder(None, "m")
