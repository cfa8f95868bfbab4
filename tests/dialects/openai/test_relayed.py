"""Operations that are passed on: texts alone, known fields, and the answer as it came."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from gateway.canonical.requests import Relayed, RelayedOperation
from gateway.dialects.openai.relayed import FORMS, RelayedCodec, parse_answer, render_request
from gateway.errors import BadRequest, BadResponse, GatewayError, MissingParameter, UnsupportedParameter

LEAST: dict[RelayedOperation, dict[str, Any]] = {
    "rerank": {"model": "m", "query": "which?", "documents": ["one", {"text": "two"}]},
    "speech": {"model": "m", "input": "Hello.", "voice": "alloy"},
    "images": {"model": "m", "prompt": "A cat."},
    "infill": {"input_prefix": "def f(", "input_suffix": "return 1"},
}


def parse(operation: RelayedOperation, **fields: Any) -> Relayed:
    return RelayedCodec(operation).parse_request(LEAST[operation] | fields)


def test_every_operation_has_a_form() -> None:
    assert set(FORMS) == set(get_args(RelayedOperation)) == set(LEAST)


@pytest.mark.parametrize("operation", LEAST)
def test_what_comes_in_goes_out(operation: RelayedOperation) -> None:
    kept = dict.fromkeys(FORMS[operation].extras, 3)
    request = parse(operation, **kept, zz=1)
    assert render_request(request, "its-name") == {**LEAST[operation], **kept, "model": "its-name"}
    assert request.dropped == ["zz"]
    assert request.model == ("auto" if operation == "infill" else "m")
    with pytest.raises(TypeError):
        RelayedCodec(operation).encoder(request, "m")


def test_whom_it_is_for() -> None:
    request = parse("rerank", gateway={"require": {"kind": "vllm"}})
    assert request.options.require == {"kind": ["vllm"]}
    assert "gateway" not in render_request(request, "x")
    header = RelayedCodec("speech").parse_request(LEAST["speech"], '{"require": {"backend": "one"}}')
    assert header.options.require == {"backend": ["one"]}


REFUSED: list[tuple[RelayedOperation, dict[str, Any], type[GatewayError], str]] = [
    ("rerank", {"model": None}, MissingParameter, "model"),
    ("rerank", {"query": None}, MissingParameter, "query"),
    ("rerank", {"documents": []}, BadRequest, "documents"),
    ("rerank", {"documents": [3]}, BadRequest, "documents[0]"),
    ("rerank", {"documents": ["a", {"image": "https://host/x.png"}]}, UnsupportedParameter, "documents[1]"),
    ("rerank", {"query": {"text": "a", "content": []}}, UnsupportedParameter, "query"),
    ("rerank", {"query": {"text": 3}}, BadRequest, "query.text"),
    ("speech", {"input": ""}, BadRequest, "input"),
    ("speech", {"voice": {"id": 3}}, BadRequest, "voice.id"),
    ("speech", {"response_format": "midi"}, BadRequest, "response_format"),
    ("speech", {"stream_format": "sse"}, BadRequest, "stream_format"),
    ("speech", {"speed": 9}, BadRequest, "speed"),
    ("images", {"n": 0}, BadRequest, "n"),
    ("images", {"stream": True}, UnsupportedParameter, "stream"),
    ("images", {"partial_images": 2}, UnsupportedParameter, "partial_images"),
    ("infill", {"stream": True}, UnsupportedParameter, "stream"),
    ("infill", {"prompt": {"prompt_string": "x", "multimodal_data": ["AAAA"]}}, BadRequest, "prompt"),
    ("infill", {"response_fields": ["tokens_predicted"]}, BadRequest, "response_fields"),
    ("infill", {"response_fields": ["content", 3]}, BadRequest, "response_fields[1]"),
    ("infill", {"input_extra": [{"text": 3}]}, BadRequest, "input_extra[0].text"),
    ("infill", {"input_extra": [3]}, BadRequest, "input_extra[0]"),
]


@pytest.mark.parametrize(("operation", "fields", "error", "param"), REFUSED)
def test_refused_by_path(
    operation: RelayedOperation, fields: dict[str, Any], error: type[GatewayError], param: str
) -> None:
    with pytest.raises(error) as caught:
        parse(operation, **fields)
    assert caught.value.param == param


def test_other_files() -> None:
    files = [{"filename": "a.py", "text": "x = 1"}, {"text": "y"}]
    assert parse("infill", input_extra=[{**files[0], "zz": 1}, files[1]]).fields["input_extra"] == files
    assert "stream" in parse("infill", stream=False).fields


def test_what_is_not_read_within_a_field_is_named() -> None:
    files = [{"text": "x", "zz": 1, "none": None}, {"filename": "b"}, {"text": "y", "a b": 2, "yy": {"text": "z"}}]
    read = parse("infill", input_extra=files, zz=1)
    assert read.dropped == ["zz", "input_extra[0].zz", "input_extra[2].?", "input_extra[2].yy"]
    assert read.fields["input_extra"] == [{"text": "x"}, {"filename": "b"}, {"text": "y"}]
    assert parse("speech", voice={"id": "v", "pitch": 2}).dropped == ["voice.pitch"]
    for operation, body in LEAST.items():
        assert RelayedCodec(operation).parse_request(body).dropped == []


def test_what_the_answer_of_an_infill_tells() -> None:
    told = ["content", "tokens_predicted"]
    assert parse("infill", response_fields=told).fields["response_fields"] == told


def test_answers() -> None:
    for operation, body in (
        ("rerank", {"results": []}),
        ("images", {"data": [{"b64_json": "AAAA"}], "created": 3}),
        ("infill", {"content": ""}),
    ):
        asked = parse(operation)  # type: ignore[arg-type]
        assert parse_answer(asked, body) is body
        assert RelayedCodec(operation).render_answer(body, asked) is body  # type: ignore[arg-type]
        for nothing in ({}, [], None, {"results": None}):
            with pytest.raises(BadResponse):
                parse_answer(asked, nothing)
    with pytest.raises(BadRequest, match="no such voice"):
        parse_answer(parse("speech"), {"error": {"message": "no such voice", "type": "invalid_request_error"}})
