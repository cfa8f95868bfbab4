"""Embeddings in all their forms."""

from __future__ import annotations

from base64 import b64encode
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.canonical.requests import Embedding
from gateway.dialects import Limits, gemini
from gateway.dialects.gemini.embeddings import Form, parse_answer, parse_request, render_answer, render_request

requests = st.builds(
    Embedding,
    st.just("m"),
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), min_size=1, max_size=3),
    st.none() | st.integers(1, 4096),
    extra=st.none() | st.just({"gemini": {"taskType": "RETRIEVAL_DOCUMENT"}}),
)


@given(requests)
def test_parse_is_the_inverse_of_render(request: Embedding) -> None:
    assert parse_request(render_request(request)) == request
    codec = gemini.batch_embed_codec
    assert codec.parse_request(codec.render_request(request)) == request


def content(*words: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": w} for w in words]}


@pytest.mark.parametrize(
    ("form", "body", "expected"),
    [
        ("one", {"content": content("a", "b")}, Embedding("m", ["a\nb"])),
        (
            "one",
            {"content": content("a"), "task_type": "T", "output_dimensionality": "64"},
            Embedding("m", ["a"], 64, extra={"gemini": {"taskType": "T"}}),
        ),
        (
            "one",
            {"content": "a", "embedContentConfig": {"outputDimensionality": 8}},
            Embedding("m", ["a"], 8),
        ),
        (
            "batch",
            {
                "requests": [
                    {"model": "models/m", "content": content("a"), "taskType": "T", "title": "x"},
                    {"model": "models/m", "content": content("b"), "taskType": "T", "title": "y"},
                ]
            },
            Embedding("m", ["a", "b"], extra={"gemini": {"taskType": "T", "title": ["x", "y"]}}),
        ),
        (
            "predict",
            {
                "instances": [{"content": "a", "task_type": "T"}, {"content": "b", "task_type": "T"}],
                "parameters": {"outputDimensionality": 64, "autoTruncate": True},
            },
            Embedding("m", ["a", "b"], 64, extra={"gemini": {"taskType": "T", "autoTruncate": True}}),
        ),
    ],
)
def test_forms(form: Form, body: Any, expected: Embedding) -> None:
    assert parse_request({"model": "models/m", **body}, form=form) == expected


@pytest.mark.parametrize(
    ("form", "body", "path"),
    [
        ("one", {}, "content"),
        ("one", {"content": {"parts": []}}, "content"),
        ("one", {"content": {"parts": [{"fileData": {"fileUri": "files/a"}}]}}, "content.parts[0]"),
        ("one", {"content": content("a"), "outputDimensionality": 0}, "outputDimensionality"),
        ("batch", {}, "requests"),
        ("batch", {"requests": []}, "requests"),
        ("batch", {"requests": [{"model": "models/x", "content": content("a")}]}, "requests[0].model"),
        ("batch", {"requests": [{}]}, "requests[0].content"),
        (
            "batch",
            {"requests": [{"content": content("a"), "outputDimensionality": 8}, {"content": content("b")}]},
            "requests[1].outputDimensionality",
        ),
        (
            "batch",
            {"requests": [{"content": content("a")}, {"content": content("b"), "taskType": "T"}]},
            "requests[1].taskType",
        ),
        ("batch", {"requests": [{"content": content("a"), "title": []}]}, "requests[0].title"),
        ("batch", {"requests": [{"content": content("a"), "taskType": 1}]}, "requests[0].taskType"),
        ("batch", {"requests": [{"content": content("a"), "model": []}]}, "requests[0].model"),
        ("predict", {}, "instances"),
        ("predict", {"instances": [{"content": ""}]}, "instances[0].content"),
        ("predict", {"instances": [{"content": 3}]}, "instances[0].content"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(form: Form, body: Any, path: str) -> None:
    with pytest.raises(errors.BadRequest) as caught:
        parse_request({"model": "m", **body}, form=form)
    assert caught.value.param == path


def test_limits_and_unknown_fields() -> None:
    many = {"model": "m", "requests": [{"content": content("a"), "new": 1}] * 3, "other": 2}
    with pytest.raises(errors.BadRequest):
        parse_request(many, limits=Limits(prompts=2))
    assert parse_request(many).dropped == ["other", "new"]
    with pytest.raises(errors.BadRequest):
        render_request(Embedding("m", [[1, 2]]))


REPLY = {
    "data": [{"index": 1, "embedding": [3.0]}, {"index": 0, "embedding": [1.0, 2.0]}],
    "usage": {"prompt_tokens": 5},
}


def test_answers_out() -> None:
    assert render_answer(REPLY) == {
        "embeddings": [{"values": [1.0, 2.0]}, {"values": [3.0]}],
        "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
    }
    one = {"data": [{"embedding": [1.0]}], "usage": {"prompt_tokens": 5}}
    assert gemini.embed_codec.render_answer(one)["embedding"] == {"values": [1.0]}
    assert gemini.predict_codec.render_answer(one) == {
        "predictions": [{"embeddings": {"values": [1.0], "statistics": {"truncated": False, "token_count": 5}}}]
    }
    packed = b64encode(pack("<2f", 1.0, -2.5)).decode()
    assert render_answer({"data": [{"embedding": packed}]}) == {"embeddings": [{"values": [1.0, -2.5]}]}


def test_answers_in() -> None:
    reply = parse_answer({"embeddings": [{"values": [1.0]}, {"values": []}], "usageMetadata": {"promptTokenCount": 5}})
    assert [d["embedding"] for d in reply["data"]] == [[1.0], []]
    assert reply["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert parse_answer({"embedding": {"values": [1.0]}})["data"][0]["embedding"] == [1.0]
    for body in ({}, {"embeddings": []}, {"embeddings": [3]}, {"embeddings": [{}]}, 3):
        with pytest.raises(errors.BadResponse):
            parse_answer(body)
    with pytest.raises(errors.UpstreamBusy):
        parse_answer({"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}})
