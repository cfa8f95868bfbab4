from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion as Official
from openai.types import completion_create_params

from gateway.canonical.content import Text
from gateway.canonical.events import Answer, ChoiceEnd, End, Fault, PartDelta, PartStart, Start, Usage, fold, unfold
from gateway.canonical.requests import Completion
from gateway.dialects.openai.completions import (
    FATES,
    CompletionEncoder,
    decoder,
    parse_answer,
    parse_request,
    render_answer,
    render_request,
)
from gateway.errors import BadRequest, BadResponse, UpstreamError
from tests.dialects.openai.strategies import answers, names, samplings, texts
from tests.wire import recorded


@st.composite
def requests(draw: Any) -> Completion:
    n = draw(st.integers(1, 4))
    stream = draw(st.booleans())
    tokens = st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=3), min_size=1, max_size=2)
    return Completion(
        model=draw(names),
        prompt=draw(st.lists(texts, min_size=1, max_size=3) | tokens),
        suffix=draw(st.none() | texts),
        echo=draw(st.booleans()),
        best_of=draw(st.none() | st.integers(n, 16)),
        sampling=draw(samplings),
        choices=n,
        logprobs=draw(st.none() | st.integers(0, 20)),
        stream=stream,
        include_usage=stream and draw(st.booleans()),
        extra=draw(st.none() | st.just({"openai": {"ignore_eos": True}})),
    )


@given(requests())
@settings(max_examples=60, deadline=None)
def test_requests_both_ways(request: Completion) -> None:
    assert parse_request(render_request(request)) == request
    assert "ignore_eos" not in render_request(request, extras=frozenset())


def test_every_field_of_the_official_client_has_a_fate() -> None:
    official: set[str] = set()
    for params in (
        completion_create_params.CompletionCreateParamsNonStreaming,
        completion_create_params.CompletionCreateParamsStreaming,
    ):
        official |= params.__required_keys__ | params.__optional_keys__
    assert len(official) > 15 and not official - FATES.keys()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt[1]"),
        ({"prompt": ["a", 1]}, "prompt[1]"),
        ({"prompt": [[1], []]}, "prompt[1]"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": ["a"] * 2049}, "prompt"),
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"logprobs": 21}, "logprobs"),
        ({"tools": [{}]}, "tools"),
        ({"stream_options": 1}, "stream_options"),
    ],
)
def test_bad_requests(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_request({"model": "m", "prompt": "x", **fields})
    assert caught.value.param == param


def test_odds_and_ends() -> None:
    assert parse_request({"model": "m", "prompt": [1, 2]}).prompt == [[1, 2]]
    assert parse_request({"model": "m", "prompt": "x", "logprobs": True}).logprobs == 0
    request = parse_request({"model": "m", "prompt": "x", "user": "u", "tools": [], "zzz": 1})
    assert request.dropped == ["user", "zzz"]
    assert parse_request({"model": "m", "prompt": "x", "gateway": {"parts": "strict"}}).options.strict_parts


@pytest.mark.parametrize("name", ["vllm/completions", "llamacpp/completions", "mlx_lm/completions"])
def test_recorded_answers(name: str) -> None:
    body = recorded(name).json
    answer = parse_answer(body)
    assert answer.choices[0].parts == [Text("! I am a tiny test")] and answer.choices[0].finish == "length"
    assert answer.usage is not None and answer.usage.output == 6
    rendered = render_answer(answer)
    assert parse_answer(rendered) == answer
    assert rendered["object"] == "text_completion" and rendered["choices"][0]["text"] == "! I am a tiny test"
    Official.model_validate(rendered)


def plain(answer: Answer) -> Answer:
    """What a text completion can say of an answer."""
    for choice in answer.choices:
        choice.parts = [Text(p.text) for p in choice.parts if isinstance(p, Text)]
        choice.extra = {k: v for k, v in (choice.extra or {}).items() if k == "openai.choice"} or None
    return answer


@given(answers.map(plain))
@settings(max_examples=25, deadline=None)
def test_answers_both_ways_whole_and_streamed(answer: Answer) -> None:
    assert parse_answer(render_answer(answer)) == answer
    if not answer.choices:
        return
    encoder = CompletionEncoder(answer.model, include_usage=True)
    data = encoder.encode(unfold(answer))
    reader = decoder(len(answer.choices))
    assert fold(reader.feed(data) + reader.end()) == answer
    slow = decoder(len(answer.choices))
    events = [e for i in range(len(data)) for e in slow.feed(data[i : i + 1])]
    assert fold(events + slow.end()) == answer


def test_what_is_no_answer() -> None:
    for body in (None, {}, {"choices": [{"text": None}]}, {"choices": [5]}):
        with pytest.raises(BadResponse):
            parse_answer(body)
    with pytest.raises(UpstreamError):
        parse_answer({"error": {"message": "x", "code": 500}})


def test_a_stream() -> None:
    encoder = CompletionEncoder("public")
    data = encoder.encode(
        [
            Start("cmpl-1", "m", 5),
            PartStart(0, 0, "text"),
            PartDelta(0, 0, "a"),
            PartDelta(0, 0, "b"),
            ChoiceEnd(0, "stop"),
        ]
    ) + encoder.encode([Usage(1, 2), End()])
    lines = data.split(b"\n\n")
    assert b'"object":"text_completion"' in lines[0] and b'"text":"a"' in lines[0]
    assert lines[1].endswith(b'"choices":[{"index":0,"text":"b","logprobs":null,"finish_reason":null}]}')
    assert b'"finish_reason":"stop"' in lines[2] and b'"usage"' not in data and lines[3] == b"data: [DONE]"


def test_a_cut_stream() -> None:
    reader = decoder()
    events = reader.feed(b'data: {"choices": [{"index": 0, "text": "a", "finish_reason": null}]}\n\n') + reader.end()
    assert isinstance(events[-1], Fault) and events[-1].code == "upstream_truncated"
