"""The Responses API: `/v1/responses`, as a server speaks it to its clients.

    requests, items, tools    requests
    answers, encoder          answers, whole and streamed
    remembered                what an answer must know of its request, and what a store of answers keeps

Errors are those of the rest of the dialect. The server sets `response_id` and `created` of `remembered(chat)` before
the answer begins. For `previous_response_id` it hands the items of the turns up to there to `parse_request` as
`earlier`: of each turn the `items` of `remembered(chat)`, then the `output` of its answer.
"""

from __future__ import annotations

from typing import Any

from gateway.canonical.events import Answer
from gateway.canonical.requests import Chat
from gateway.dialects import LIMITS, Encoder, Limits
from gateway.dialects.openai.responses import answers, requests
from gateway.dialects.openai.responses.encoder import ResponsesEncoder
from gateway.dialects.openai.responses.remembered import Remembered, remembered


class ResponsesCodec:
    """The client's half of `gateway.dialects.Codec`."""

    def parse_request(
        self,
        body: dict[str, Any],
        header_options: str | None = None,
        limits: Limits = LIMITS,
        earlier: list[dict[str, Any]] | None = None,
    ) -> Chat:
        return requests.parse_request(body, header_options, limits, earlier)

    def render_answer(self, answer: Answer, request: Chat | None = None) -> dict[str, Any]:
        return answers.render_answer(answer, remembered(request))

    def encoder(self, request: Chat, model: str) -> Encoder:
        return ResponsesEncoder(model, remembered(request))


responses_codec = ResponsesCodec()

__all__ = ["Remembered", "ResponsesCodec", "ResponsesEncoder", "remembered", "responses_codec"]
