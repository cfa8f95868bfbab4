"""Transcriptions: what a client may ask, what a server is told, what comes back."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import Audio, Media, Segments, Text, Thinking
from gateway.canonical.events import Answer, Choice, Fault, PartDelta, PartStart, Usage, unfold
from gateway.canonical.requests import Sampling, Transcription
from gateway.demo.media import wav
from gateway.dialects import openai
from gateway.dialects.openai.audio import TranscriptEncoder, parse_answer, render_answer, render_fields
from gateway.errors import BadRequest, BadResponse, GatewayError, ModelNotFound, UnsupportedParameter
from tests.faults.rawclient import event_data

FILE = Media("audio/wav", octets=wav(0.25))
LEAST = {"model": "m", "file": FILE}


def parse(**fields: Any) -> Transcription:
    return openai.transcription_codec.parse_request(LEAST | fields)


def test_the_least() -> None:
    assert parse() == Transcription("m", Audio(FILE))
    assert parse().sound.path == "file" and parse().operation == "transcription"
    translation = openai.translation_codec.parse_request(LEAST)
    assert translation.translate and translation.operation == "translation"


def test_forms_hold_texts() -> None:
    asked = parse(
        language="de",
        prompt="Grüße, ",
        temperature="0.25",
        stream="true",
        response_format="text",
        gateway='{"require": {"kind": "vllm"}}',
        timestamp_granularities="",
        zz="1",
        chunking_strategy="auto",
    )
    assert (asked.language, asked.prompt, asked.sampling) == ("de", "Grüße, ", Sampling(temperature=0.25))
    assert (asked.stream, asked.form, asked.timestamps) == (True, "text", [])
    assert asked.options.require == {"kind": ["vllm"]}
    assert asked.dropped == ["zz", "chunking_strategy"]
    empty = parse(language="", prompt="", temperature="", stream="", response_format="", include=[], gateway="")
    assert empty == Transcription("m", Audio(FILE))
    header = openai.transcription_codec.parse_request(LEAST, '{"require": {"backend": "one"}}')
    assert header.options.require == {"backend": ["one"]}


def test_json_holds_the_sound_as_a_data_url() -> None:
    assert parse(file="data:audio/ogg;base64,QUJD").sound.media == Media("audio/ogg", base64="QUJD")
    cut = Segments([b"data:audio/ogg;ba", b"se64,QU", b"JD"])
    assert parse(file=cut).sound.media == Media("audio/ogg", base64="QUJD")
    assert parse(file="QUJD").sound.media == Media(base64="QUJD")


REFUSED: list[tuple[dict[str, Any], type[GatewayError], str]] = [
    ({"file": None}, BadRequest, "file"),
    ({"file": Media("audio/wav", octets=b"")}, BadRequest, "file"),
    ({"file": ""}, BadRequest, "file"),
    ({"file": 3}, BadRequest, "file"),
    ({"file": "data:audio/ogg;base64,"}, BadRequest, "file"),
    ({"file": "https://host/x.wav"}, BadRequest, "file"),
    ({"model": ""}, BadRequest, "model"),
    ({"model": None}, BadRequest, "model"),
    ({"model": "no such\nname"}, ModelNotFound, "model"),
    ({"response_format": "srt"}, UnsupportedParameter, "response_format"),
    ({"response_format": "vtt"}, UnsupportedParameter, "response_format"),
    ({"response_format": "diarized_json"}, UnsupportedParameter, "response_format"),
    ({"response_format": "xml"}, BadRequest, "response_format"),
    ({"response_format": "verbose_json", "stream": True}, UnsupportedParameter, "response_format"),
    ({"timestamp_granularities": ["word"]}, BadRequest, "timestamp_granularities"),
    (
        {"timestamp_granularities": ["week"], "response_format": "verbose_json"},
        BadRequest,
        "timestamp_granularities[0]",
    ),
    ({"language": "../x"}, BadRequest, "language"),
    ({"language": 3}, BadRequest, "language"),
    ({"temperature": "warm"}, BadRequest, "temperature"),
    ({"temperature": "nan"}, BadRequest, "temperature"),
    ({"temperature": 3}, BadRequest, "temperature"),
    ({"prompt": "x" * 32_769}, BadRequest, "prompt"),
    ({"include": ["logprobs"]}, UnsupportedParameter, "include"),
    ({"known_speaker_names": ["a"]}, UnsupportedParameter, "known_speaker_names"),
    ({"gateway": "{"}, BadRequest, "gateway"),
    ({"gateway": '{"require": 3}'}, BadRequest, "gateway.require"),
    ({"stream": "perhaps"}, BadRequest, "stream"),
]


@pytest.mark.parametrize(("fields", "error", "param"), REFUSED)
def test_refused_by_name(fields: dict[str, Any], error: type[GatewayError], param: str) -> None:
    with pytest.raises(error) as caught:
        parse(**fields)
    assert caught.value.param == param


def test_times_are_no_invention() -> None:
    with pytest.raises(UnsupportedParameter, match="no model here tells it, and none is made up"):
        parse(response_format="srt")
    asked = parse(response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert asked.timestamps == ["word", "segment"]
    assert ("response_format", "verbose_json") in render_fields(asked, "x")


def test_what_a_server_is_told() -> None:
    asked = Transcription("m", Audio(FILE), language="de", prompt="Grüße", sampling=Sampling(temperature=0.5))
    asked.form = "verbose_json"
    assert render_fields(asked, "its-name") == [
        ("model", "its-name"),
        ("response_format", "json"),
        ("language", "de"),
        ("prompt", "Grüße"),
        ("temperature", "0.5"),
    ]


ANSWER = Answer(choices=[Choice([Thinking("hm"), Text("Hello "), Text("there.")], "stop")], usage=Usage(20, 3))
TOKENS = {"type": "tokens", "input_tokens": 20, "output_tokens": 3, "total_tokens": 23}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"text": "Hello there.", "usage": TOKENS}),
        ({"response_format": "text"}, "Hello there.\n"),
        (
            {"response_format": "verbose_json"},
            {
                "task": "transcribe",
                "language": None,
                "duration": 0.25,
                "text": "Hello there.",
                "usage": TOKENS,
            },
        ),
        (
            {"response_format": "verbose_json", "language": "de", "file": Media("audio/webm", octets=b"\x1aE\xdf\xa3")},
            {"task": "transcribe", "language": "de", "duration": None, "text": "Hello there.", "usage": TOKENS},
        ),
    ],
)
def test_answers(fields: dict[str, Any], expected: Any) -> None:
    assert openai.transcription_codec.render_answer(ANSWER, parse(**fields)) == expected


def test_a_translation_is_english() -> None:
    asked = openai.translation_codec.parse_request({**LEAST, "response_format": "verbose_json", "language": "de"})
    told = render_answer(ANSWER, asked)
    assert isinstance(told, dict) and (told["task"], told["language"]) == ("translate", "english")


def test_what_a_server_of_its_own_tells_is_kept() -> None:
    segments = [{"id": 0, "start": 0.0, "end": 1.0, "text": "Hi"}]
    reply = {"text": "Hi", "language": "en", "duration": "1.0", "segments": segments, "task": "transcribe", "zz": 1}
    asked = parse(response_format="verbose_json", timestamp_granularities=["segment"])
    told = render_answer(parse_answer(reply | {"usage": {"type": "duration", "seconds": 1}}), asked)
    assert told == {
        "task": "transcribe",
        "language": "en",
        "duration": "1.0",
        "segments": segments,
        "text": "Hi",
        "usage": {"type": "duration", "seconds": 1},
    }
    assert render_answer(parse_answer(reply), parse()) == {"text": "Hi"}


@pytest.mark.parametrize("usage", [None, 3, {}, {"input_tokens": 3}, {"input_tokens": True, "output_tokens": 2}])
def test_a_usage_that_is_none_is_not_made_up(usage: Any) -> None:
    assert render_answer(parse_answer({"text": "Hi", "usage": usage}), parse()) == {"text": "Hi"}


def test_tokens_of_sound() -> None:
    told = {"type": "tokens", "input_tokens": 9, "output_tokens": 2, "input_token_details": {"audio_tokens": 7}}
    answer = parse_answer({"text": "Hi", "usage": told})
    assert answer.usage == Usage(9, 2, audio=7)
    assert render_answer(answer, parse()) == {
        "text": "Hi",
        "usage": told | {"total_tokens": 11, "input_token_details": {"audio_tokens": 7, "text_tokens": 2}},
    }


@pytest.mark.parametrize("reply", [None, [], {}, {"text": None}, {"text": 3}, "Hi"])
def test_what_is_no_answer(reply: Any) -> None:
    with pytest.raises(BadResponse):
        parse_answer(reply)


def test_an_error_in_a_reply() -> None:
    with pytest.raises(BadRequest, match="too short"):
        parse_answer({"error": {"message": "audio too short", "type": "invalid_request_error", "code": 400}})


@given(words=st.lists(st.text(min_size=1), max_size=5), sizes=st.lists(st.integers(1, 4), min_size=1))
def test_a_stream_says_the_whole(words: list[str], sizes: list[int]) -> None:
    events = unfold(Answer(choices=[Choice([Thinking("hm"), Text("".join(words))], "stop")], usage=Usage(2, 1)))
    encoder = TranscriptEncoder()
    out, at = b"", 0
    for size in itertools.chain(sizes, itertools.repeat(9)):
        out += encoder.encode(events[at : at + size])
        at += size
        if at >= len(events):
            break
    *deltas, last = [json.loads(e) for e in event_data(out)]
    assert all(d["type"] == "transcript.text.delta" for d in deltas)
    assert "".join(d["delta"] for d in deltas) == last["text"] == "".join(words)
    assert last["type"] == "transcript.text.done" and last["usage"]["total_tokens"] == 3


def test_the_rest_of_an_encoder() -> None:
    encoder = TranscriptEncoder()
    assert encoder.life_sign(0, 0).startswith(b":") and encoder.life_sign(5, 10) == b": prefill 50 %\n\n"
    assert json.loads(event_data(encoder.fault(BadResponse("no")))[0])["error"]["message"] == "no"
    [told] = event_data(encoder.encode([Fault("upstream_error", "broke")]))
    assert json.loads(told)["error"]["message"] == "broke"
    thought = [PartStart(0, 0, "thinking"), PartDelta(0, 0, "hm")]
    assert encoder.encode(thought) == b""
