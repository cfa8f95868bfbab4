from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.embedding_create_params import EmbeddingCreateParams

from gateway.canonical.requests import Embedding
from gateway.dialects.openai.embeddings import FATES, parse_answer, parse_request, render_answer, render_request
from gateway.errors import BadRequest, BadResponse, UpstreamError
from tests.dialects.openai.strategies import names, words
from tests.wire import recorded

requests = st.builds(
    Embedding,
    names,
    st.lists(words, min_size=1, max_size=3) | st.lists(st.lists(st.integers(0, 9), min_size=1), min_size=1, max_size=2),
    st.none() | st.integers(1, 2048),
    st.none() | st.sampled_from(["float", "base64"]),
    extra=st.none() | st.just({"openai": {"normalize": True}}),
)


@given(requests)
def test_requests_both_ways(request: Embedding) -> None:
    assert parse_request(render_request(request)) == request
    assert "normalize" not in render_request(request, extras=frozenset())


def test_every_field_of_the_official_client_has_a_fate() -> None:
    official = EmbeddingCreateParams.__required_keys__ | EmbeddingCreateParams.__optional_keys__
    assert len(official) == 5 and not official - FATES.keys()
    assert parse_request({"model": "m", "input": "x", "user": "u", "zzz": 1}).dropped == ["user", "zzz"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", None]}, "input[1]"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"gateway": 1}, "gateway"),
    ],
)
def test_bad_requests(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_request({"model": "m", "input": "x", **fields})
    assert caught.value.param == param


def test_a_reply_goes_through_as_it_came() -> None:
    body = {
        "data": [{"index": 0, "embedding": [0.5, -0.25], "object": "embedding"}],
        "model": "/secret/path",
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
        "x": 1,
    }
    reply = parse_answer(body)
    assert reply is body
    assert render_answer(reply, "public") == {**body, "object": "list", "model": "public"}
    assert body["model"] == "/secret/path" == render_answer(reply)["model"]


def test_what_is_no_reply() -> None:
    for body in (None, {}, {"data": {}}, {"data": [1]}, {"data": [{"embedding": None}]}):
        with pytest.raises(BadResponse):
            parse_answer(body)
    with pytest.raises(UpstreamError):
        parse_answer(recorded("llamacpp/embeddings").json)
