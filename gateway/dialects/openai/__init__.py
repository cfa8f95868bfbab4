"""The OpenAI dialect: chat completions, text completions, embeddings, transcriptions, errors.

    chat, messages, parts, tools, fields    requests
    answers                                 whole answers
    stream, chunks, calls                   streams -> events
    encoder                                 events -> streams
    completions, embeddings, audio, relayed, errors

`chat_codec` and the others are what a server needs to speak it to a client.
"""

from __future__ import annotations

from typing import Any

from gateway.canonical.events import Answer
from gateway.canonical.requests import Chat, Completion, Embedding, Transcription
from gateway.dialects import LIMITS, Codec, Decoder, Encoder, Limits
from gateway.dialects.openai import answers, audio, chat, completions, embeddings
from gateway.dialects.openai.audio import TranscriptEncoder
from gateway.dialects.openai.completions import CompletionDecoder, CompletionEncoder
from gateway.dialects.openai.encoder import ChatEncoder
from gateway.dialects.openai.errors import render_error
from gateway.dialects.openai.relayed import RelayedCodec
from gateway.dialects.openai.stream import ChatDecoder


class ChatCodec:
    """See `gateway.dialects.Codec`. `request`, where it is given, tells how the client wants its answer."""

    def parse_request(self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS) -> Chat:
        return chat.parse_request(body, header_options, limits)

    def render_request(self, request: Chat) -> dict[str, Any]:
        return chat.render_request(request)

    def parse_answer(self, body: dict[str, Any]) -> Answer:
        return answers.parse_answer(body)

    def render_answer(self, answer: Answer, request: Chat | None = None) -> dict[str, Any]:
        if request is None:
            return answers.render_answer(answer)
        return answers.render_answer(answer, reasoning_field=request.options.reasoning_field)

    def decoder(self) -> Decoder:
        return ChatDecoder()

    def encoder(self, request: Chat, model: str) -> Encoder:
        return ChatEncoder(model, request.include_usage, request.options.reasoning_field)


class CompletionCodec:
    """See `gateway.dialects.Codec`."""

    def parse_request(
        self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS
    ) -> Completion:
        return completions.parse_request(body, header_options, limits)

    def render_request(self, request: Completion) -> dict[str, Any]:
        return completions.render_request(request)

    def parse_answer(self, body: dict[str, Any]) -> Answer:
        return completions.parse_answer(body)

    def render_answer(self, answer: Answer, request: Completion | None = None) -> dict[str, Any]:
        return completions.render_answer(answer)

    def decoder(self) -> Decoder:
        return CompletionDecoder()

    def encoder(self, request: Completion, model: str) -> Encoder:
        return CompletionEncoder(model, request.include_usage)


class EmbeddingCodec:
    """Embeddings have no events: a reply stays the JSON object that the server sent."""

    def parse_request(
        self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS
    ) -> Embedding:
        return embeddings.parse_request(body, header_options, limits)

    def render_request(self, request: Embedding) -> dict[str, Any]:
        return embeddings.render_request(request)

    def parse_answer(self, body: dict[str, Any]) -> dict[str, Any]:
        return embeddings.parse_answer(body)

    def render_answer(self, reply: dict[str, Any], request: Embedding | None = None) -> dict[str, Any]:
        return embeddings.render_answer(reply)

    def decoder(self) -> Decoder:
        raise TypeError("embeddings are not streamed")

    def encoder(self, request: Embedding, model: str) -> Encoder:
        raise TypeError("embeddings are not streamed")


class TranscriptionCodec:
    """Sound into words. There is no `render_request`: servers get a form, see `audio.render_fields`."""

    def __init__(self, *, translate: bool) -> None:
        self._translate = translate

    def parse_request(
        self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS
    ) -> Transcription:
        return audio.parse_request(body, header_options, limits, translate=self._translate)

    def render_answer(self, answer: Answer, request: Transcription) -> dict[str, Any] | str:
        return audio.render_answer(answer, request)

    def encoder(self, request: Transcription, model: str) -> Encoder:
        return TranscriptEncoder()


chat_codec: Codec = ChatCodec()
completion_codec: Codec = CompletionCodec()
embedding_codec: Codec = EmbeddingCodec()
transcription_codec = TranscriptionCodec(translate=False)
translation_codec = TranscriptionCodec(translate=True)

__all__ = [
    "ChatCodec",
    "CompletionCodec",
    "EmbeddingCodec",
    "RelayedCodec",
    "TranscriptionCodec",
    "chat_codec",
    "completion_codec",
    "embedding_codec",
    "render_error",
    "transcription_codec",
    "translation_codec",
]
