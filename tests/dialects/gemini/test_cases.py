"""Requests, answers, errors and streams that two dialects say in their own ways, each translated through the canonical
schema (tests/cases/gemini_translation.json)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.backends import load
from gateway.canonical.events import Event, fold, unfold
from gateway.canonical.facts import Facts, Target
from gateway.dialects import gemini
from gateway.dialects.gemini import answers as gemini_answers
from gateway.dialects.gemini.decoder import StreamDecoder
from gateway.dialects.gemini.encoder import StreamEncoder
from gateway.dialects.openai import answers as openai_answers
from gateway.dialects.openai import chat as openai_chat
from gateway.dialects.openai.encoder import ChatEncoder
from gateway.dialects.openai.errors import render_error
from gateway.dialects.openai.stream import ChatDecoder
from gateway.errors import BadRequest, GatewayError
from gateway.filters import complete
from gateway.filters.hide_thinking import HideThinking

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "cases" / "gemini_translation.json").read_text(encoding="utf-8")
)


def of(direction: str) -> list[Any]:
    found = [pytest.param(c["input"], c["expect"], id=c["id"]) for c in CASES if c["direction"] == direction]
    assert found
    return found


def test_every_case_is_run() -> None:
    assert {c["direction"] for c in CASES} == {
        "gemini_request_to_openai",
        "openai_request_to_gemini",
        "gemini_response_to_openai",
        "openai_response_to_gemini",
        "stream",
    }


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("given", "expected"), of("gemini_request_to_openai"))
def test_requests_in(given: Any, expected: Any) -> None:
    path = re.fullmatch(r"/v1(?:beta)?/models/(.+):(\w+)(?:\?.*)?", given["path"])
    assert path is not None
    codec = gemini.stream_codec if path[2] == "streamGenerateContent" else gemini.generate_codec
    target = Target("any", "openai", path[1])

    def translated() -> Any:
        chat = codec.parse_request({**given["body"], "model": path[1]})
        return msgspec.json.decode(load("openai").build(chat, target, Facts(image=True)).octets())

    if "error" in expected:
        with pytest.raises(BadRequest) as caught:
            translated()
        body = gemini.render_error(caught.value)["error"]
        assert (body["code"], body["status"]) == (expected["error"]["http_status"], expected["error"]["status"])
        assert expected["error"]["message_contains"] in body["message"]
    else:
        assert translated() == expected


def test_the_order_of_properties_is_the_clients() -> None:
    given = next(c for c in CASES if c["id"] == "gq09_response_schema_pydantic_nullable_enum")
    chat = gemini.generate_codec.parse_request({**given["input"]["body"], "model": "m"})
    assert list(chat.output.schema["properties"]) == ["n", "name", "tags", "kind"]


@pytest.mark.parametrize(("given", "expected"), of("openai_request_to_gemini"))
def test_requests_out(given: Any, expected: Any) -> None:
    told = given.get("capabilities", {})
    facts = Facts(
        image=True,
        audio=told.get("audio", False),
        call_ids=told.get("function_call_ids"),
        schema_form=told.get("schema_mode"),
        thinking_levels=frozenset({"minimal", "high"}),
        call_signatures=told.get("requires_thought_signature"),
    )
    assert told.get("thinking", "level2") == "level2"
    backend = load("gemini")
    target = Target("google", "gemini", given["body"]["model"])

    def build() -> Any:
        return backend.build(openai_chat.parse_request(given["body"]), target, facts)

    if "error" in expected:
        with pytest.raises(BadRequest) as caught:
            build()
        assert caught.value.status == expected["error"]["http_status"]
        assert caught.value.type == expected["error"]["status"]
        assert expected["error"]["message_contains"] in caught.value.message
        return
    call = build()
    body = msgspec.json.decode(call.octets())
    if "reasoning_effort" not in given["body"]:
        # nothing asked is off, said outright: the translators alone would leave it out
        config = body["generationConfig"]
        assert config.pop("thinkingConfig") == {"thinkingLevel": "MINIMAL"}
        if not config:
            del body["generationConfig"]
    assert (call.path, body) == (expected["path"], expected["body"])


@pytest.mark.parametrize(("given", "expected"), of("gemini_response_to_openai"))
def test_answers_in(given: Any, expected: Any) -> None:
    backend = load("gemini")
    if given["status"] != 200:
        error = backend.refusal(given["status"], given["headers"], msgspec.json.encode(given["body"]))
        assert error.status == expected["status"]
        assert render_error(error) == expected["body"]
        assert error.retry_after is not None
        assert round(error.retry_after * 1000 + 0.5) == int(expected["headers"]["retry-after-ms"])
        return
    request = openai_chat.parse_request({"model": "m", "messages": [{"role": "user", "content": "x"}]})
    answer = backend.read(request, given["body"])
    if given["options"].get("include_reasoning") is False:
        answer = fold(complete([HideThinking()], unfold(answer)))
    out = openai_answers.render_answer(answer)
    assert without_nulls(out["choices"]) == without_nulls(expected["choices"])
    assert out.get("usage") == expected.get("usage")
    for choice, wanted in zip(out["choices"], expected["choices"], strict=True):
        assert choice["message"]["content"] == wanted["message"]["content"]


@pytest.mark.parametrize(("given", "expected"), of("openai_response_to_gemini"))
def test_answers_out(given: Any, expected: Any) -> None:
    if given["status"] != 200:
        error = load("openai").refusal(given["status"], given["headers"], msgspec.json.encode(given["body"]))
        assert gemini.http_status(error) == expected["status"]
        assert gemini.render_error(error) == expected["body"]
        return
    assert gemini_answers.render_answer(openai_answers.parse_answer(given["body"])) == expected


@pytest.mark.parametrize(("given", "expected"), of("stream"))
def test_streams(given: Any, expected: Any) -> None:
    sent = b"".join(
        b"data: %b\n\n" % (e.encode() if e == "[DONE]" else json.dumps(e).encode()) for e in given["events"]
    )
    decoder = ChatDecoder() if given["from"] == "openai" else StreamDecoder()
    events: list[Event] = [*decoder.feed(sent), *decoder.end()]
    if given["options"].get("include_thoughts") is False:
        events = complete([HideThinking()], events)
    encoder = StreamEncoder("") if given["to"] == "gemini" else ChatEncoder("m")
    pieces = encoder.encode(events).replace(b"\r\n", b"\n").split(b"\n\n")
    assert pieces[-1] == b"" and all(p.startswith(b"data: ") for p in pieces[:-1])
    out = [p[6:].decode() if p == b"data: [DONE]" else json.loads(p[6:]) for p in pieces[:-1]]
    if given["to"] == "openai":
        out = [e if e == "[DONE]" or "error" in e else {"choices": e["choices"]} for e in out]
    assert out == expected["events"]


def test_an_error_of_a_stream_begins_with_its_error() -> None:
    error = GatewayError("x")
    assert StreamEncoder("m").fault(error).startswith(b'data: {"error":{"code":500,')
