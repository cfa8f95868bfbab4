"""The codecs hold the protocol, and the official client's own classes read what they write."""

from __future__ import annotations

import pytest
from openai.types.chat import ChatCompletionChunk

from gateway.canonical.content import Text, Thinking
from gateway.canonical.events import Answer, Choice, Usage, fold, unfold
from gateway.dialects import Codec
from gateway.dialects.openai import chat_codec, completion_codec, embedding_codec

ANSWER = Answer("id", "m", 5, [Choice([Thinking("t"), Text("x")], "stop")], Usage(1, 2))


def test_chat() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "gateway": {"reasoning_field": "both"}}
    request = chat_codec.parse_request(body, '{"parts": "strict"}')
    assert request.options.strict_parts
    assert chat_codec.render_request(request)["messages"] == body["messages"]
    message = chat_codec.render_answer(ANSWER, request)["choices"][0]["message"]
    assert message["reasoning"] == message["reasoning_content"] == "t"
    assert "reasoning" not in chat_codec.render_answer(ANSWER)["choices"][0]["message"]
    assert chat_codec.parse_answer(chat_codec.render_answer(ANSWER)) == ANSWER


@pytest.mark.parametrize("codec", [chat_codec, completion_codec])
def test_streams(codec: Codec) -> None:
    field = "messages" if codec is chat_codec else "prompt"
    value = [{"role": "user", "content": "Hi"}] if codec is chat_codec else "Hi"
    body = {"model": "m", field: value, "stream": True, "stream_options": {"include_usage": True}}
    request = codec.parse_request(body)
    data = codec.encoder(request, "public").encode(unfold(ANSWER))
    decoder = codec.decoder()
    answer = fold(decoder.feed(data) + decoder.end())
    assert answer.usage == Usage(1, 2) and answer.model == "public"
    if codec is chat_codec:
        for line in data.split(b"\n\n"):
            if line.startswith(b"data: {"):
                ChatCompletionChunk.model_validate_json(line[6:])


def test_embeddings() -> None:
    request = embedding_codec.parse_request({"model": "m", "input": "x"})
    assert embedding_codec.render_request(request) == {"model": "m", "input": "x"}
    reply = {"data": [{"embedding": [1.0]}], "model": "m"}
    assert embedding_codec.render_answer(embedding_codec.parse_answer(reply), request) == {"object": "list", **reply}
    with pytest.raises(TypeError):
        embedding_codec.decoder()
    with pytest.raises(TypeError):
        embedding_codec.encoder(request, "m")
