"""The Ollama dialect: `/api/chat` both ways, `/api/generate`, `/api/embed` and the lists of models towards clients.

    requests, messages, options    requests
    answers, stream                answers, whole and streamed
    listing                        models: tags, show, ps, version
    errors

`chat_codec`, `generate_codec`, `embed_codec` and `embeddings_codec` (the older endpoint) are what a server needs to
speak it. The server sets `created`, `clock` and `began` of `remembered(request)` before the answer begins.
"""

from __future__ import annotations

from typing import Any

from gateway.canonical.events import Answer
from gateway.canonical.requests import Chat, Completion, Embedding
from gateway.dialects import LIMITS, Codec, Decoder, Encoder, Limits
from gateway.dialects.ollama import answers, requests
from gateway.dialects.ollama.errors import render_error
from gateway.dialects.ollama.requests import Form, Remembered
from gateway.dialects.ollama.stream import ChatDecoder, LinesEncoder


def remembered(request: Chat | Completion | None) -> Remembered:
    """What `request` carries; nothing for one that came in another way."""
    memory = request.client if request is not None else None
    return memory if isinstance(memory, Remembered) else Remembered()


class ChatCodec:
    """See `gateway.dialects.Codec`."""

    def parse_request(self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS) -> Chat:
        return requests.parse_chat(body, header_options, limits)

    def render_request(self, request: Chat) -> dict[str, Any]:
        return requests.render_chat(request)

    def parse_answer(self, body: dict[str, Any]) -> Answer:
        return answers.parse_answer(body)

    def render_answer(self, answer: Answer, request: Chat | None = None) -> dict[str, Any]:
        return answers.render_answer(answer, remembered(request))

    def decoder(self) -> Decoder:
        return ChatDecoder()

    def encoder(self, request: Chat, model: str) -> Encoder:
        return LinesEncoder(model, remembered(request))


class GenerateCodec:
    """The client's half of `gateway.dialects.Codec`."""

    def parse_request(
        self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS
    ) -> Chat | Completion:
        return requests.parse_generate(body, header_options, limits)

    def render_answer(self, answer: Answer, request: Chat | Completion | None = None) -> dict[str, Any]:
        return answers.render_answer(answer, remembered(request) if request is not None else Remembered("generate"))

    def encoder(self, request: Chat | Completion, model: str) -> Encoder:
        return LinesEncoder(model, remembered(request))


class EmbedCodec:
    """The client's half of `gateway.dialects.Codec`. Replies are JSON objects in OpenAI's form."""

    def __init__(self, legacy: bool = False) -> None:
        self._legacy = legacy

    def parse_request(
        self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS
    ) -> Embedding:
        return requests.parse_embed(body, header_options, limits)

    def render_answer(self, reply: dict[str, Any], request: Embedding | None = None) -> dict[str, Any]:
        return answers.render_embeddings(reply, self._legacy)

    def encoder(self, request: Embedding, model: str) -> Encoder:
        raise TypeError("embeddings are not streamed")


chat_codec: Codec = ChatCodec()
generate_codec = GenerateCodec()
embed_codec = EmbedCodec()
embeddings_codec = EmbedCodec(legacy=True)

__all__ = [
    "ChatCodec",
    "EmbedCodec",
    "Form",
    "GenerateCodec",
    "chat_codec",
    "embed_codec",
    "embeddings_codec",
    "generate_codec",
    "remembered",
    "render_error",
]
