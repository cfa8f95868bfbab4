"""The Anthropic dialect: `/v1/messages` and `/v1/messages/count_tokens`, as a server speaks it to its clients.

    messages, blocks, tools, client_tools    requests
    answers, encoder                         answers, whole and streamed
    errors

`messages_codec` and `count_codec` are what a server needs to speak it; `render_error` is for everything else.
"""

from __future__ import annotations

from typing import Any

from gateway.canonical.events import Answer
from gateway.canonical.requests import Chat, CountTokens
from gateway.dialects import LIMITS, Encoder, Limits
from gateway.dialects.anthropic import answers, messages
from gateway.dialects.anthropic.encoder import MessagesEncoder
from gateway.dialects.anthropic.errors import render_error


class MessagesCodec:
    """The client's half of `gateway.dialects.Codec`."""

    def parse_request(self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS) -> Chat:
        return messages.parse_request(body, header_options, limits)

    def render_answer(self, answer: Answer, request: Chat | None = None) -> dict[str, Any]:
        return answers.render_answer(answer)

    def encoder(self, request: Chat, model: str) -> Encoder:
        return MessagesEncoder(model)


class CountCodec:
    """The tokens of a prompt. The reply is `{"input_tokens": n}`, with `"estimated": true` where no server counted."""

    def parse_request(
        self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS
    ) -> CountTokens:
        chat = messages.parse_request(body, header_options, limits)
        chat.stream = chat.include_usage = False
        return CountTokens(chat)

    def render_answer(self, reply: dict[str, Any], request: CountTokens | None = None) -> dict[str, Any]:
        out = {"input_tokens": reply["input_tokens"]}
        return {**out, "estimated": True} if reply.get("estimated") else out

    def encoder(self, request: CountTokens, model: str) -> Encoder:
        raise TypeError("counting is not streamed")


messages_codec = MessagesCodec()
count_codec = CountCodec()

__all__ = ["CountCodec", "MessagesCodec", "count_codec", "messages_codec", "render_error"]
