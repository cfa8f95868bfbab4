"""The Gemini dialect: generateContent, streamGenerateContent, countTokens, embedContent, errors.

    fields, receiver                           what everything leans on
    parts, files, calls, contents              a conversation
    schema, openapi, tools, config, requests   requests
    answers, reader, decoder, partial, json_array   answers -> events
    encoder                                    events -> streams
    embeddings, errors

The codecs are what a server needs to speak it to a client. The URL says what a body leaves out: the model goes into
the body's field `model` before it is parsed, and which codec parses it says whether and how the answer is streamed.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.canonical.events import Answer
from gateway.canonical.requests import Chat, CountTokens, Embedding
from gateway.dialects import LIMITS, Codec, Decoder, Encoder, Limits
from gateway.dialects.gemini import answers, decoder, embeddings, requests
from gateway.dialects.gemini.decoder import StreamDecoder
from gateway.dialects.gemini.embeddings import Form
from gateway.dialects.gemini.encoder import ArrayEncoder, StreamEncoder
from gateway.dialects.gemini.errors import http_status, render_error

CALLS_LAST: Final = "calls_last"
"""What a chat's `client` is where its SDK looks for calls in the last chunk of a stream alone."""


def remember_client(chat: Chat, user_agent: str) -> None:
    """Notes what the client's own name tells of what it can read."""
    if user_agent.startswith("google-genai-sdk/1."):
        chat.client = CALLS_LAST


class GenerateCodec:
    """See `gateway.dialects.Codec`. `stream` = :streamGenerateContent; `array` = its form without `alt=sse`."""

    def __init__(self, *, stream: bool = False, array: bool = False) -> None:
        self._stream = stream
        self._array = array

    def parse_request(self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS) -> Chat:
        return requests.parse_request(body, header_options, limits, stream=self._stream)

    def render_request(self, request: Chat) -> dict[str, Any]:
        return requests.render_request(request)

    def parse_answer(self, body: dict[str, Any]) -> Answer:
        return decoder.parse_answer(body)

    def render_answer(self, answer: Answer, request: Chat | None = None) -> dict[str, Any]:
        return answers.render_answer(answer)

    def decoder(self) -> Decoder:
        return StreamDecoder()

    def encoder(self, request: Chat, model: str) -> Encoder:
        calls_last = request.client == CALLS_LAST
        return (ArrayEncoder if self._array else StreamEncoder)(model, calls_last=calls_last)


class CountCodec:
    """:countTokens. The canonical reply is `{"input_tokens": N}`, with `"estimated": true` where no server counted."""

    def parse_request(
        self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS
    ) -> CountTokens:
        return requests.parse_count(body, header_options, limits)

    def render_request(self, request: CountTokens) -> dict[str, Any]:
        inner = requests.render_request(request.chat)
        return {"model": inner["model"], "generateContentRequest": inner}

    def parse_answer(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"input_tokens": int(body["totalTokens"])}

    def render_answer(self, reply: dict[str, Any], request: CountTokens | None = None) -> dict[str, Any]:
        out = {"totalTokens": reply["input_tokens"]}
        return {**out, "estimated": True} if reply.get("estimated") else out

    def decoder(self) -> Decoder:
        raise TypeError("a count is not streamed")

    def encoder(self, request: CountTokens, model: str) -> Encoder:
        raise TypeError("a count is not streamed")


class EmbedCodec:
    """:embedContent (`one`), :batchEmbedContents (`batch`) and the older :predict."""

    def __init__(self, form: Form) -> None:
        self._form = form

    def parse_request(
        self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS
    ) -> Embedding:
        return embeddings.parse_request(body, header_options, limits, form=self._form)

    def render_request(self, request: Embedding) -> dict[str, Any]:
        return embeddings.render_request(request)

    def parse_answer(self, body: dict[str, Any]) -> dict[str, Any]:
        return embeddings.parse_answer(body)

    def render_answer(self, reply: dict[str, Any], request: Embedding | None = None) -> dict[str, Any]:
        return embeddings.render_answer(reply, self._form)

    def decoder(self) -> Decoder:
        raise TypeError("embeddings are not streamed")

    def encoder(self, request: Embedding, model: str) -> Encoder:
        raise TypeError("embeddings are not streamed")


generate_codec: Codec = GenerateCodec()
stream_codec: Codec = GenerateCodec(stream=True)
array_codec: Codec = GenerateCodec(stream=True, array=True)
count_codec: Codec = CountCodec()
embed_codec: Codec = EmbedCodec("one")
batch_embed_codec: Codec = EmbedCodec("batch")
predict_codec: Codec = EmbedCodec("predict")

__all__ = [
    "CountCodec",
    "EmbedCodec",
    "GenerateCodec",
    "array_codec",
    "batch_embed_codec",
    "count_codec",
    "embed_codec",
    "generate_codec",
    "http_status",
    "predict_codec",
    "remember_client",
    "render_error",
    "stream_codec",
]
