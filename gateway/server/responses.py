"""`/v1/responses`: what its answers need beyond a request and a server."""

from __future__ import annotations

import secrets
import time
from typing import Any

from gateway.canonical.requests import Chat, Request
from gateway.dialects.openai.responses import remembered
from gateway.server.handlers import ModelEndpoint
from gateway.settings import Settings


class ResponsesEndpoint(ModelEndpoint):
    """Gives the answer its id and its time. Answers are not kept yet: `store` is named as dropped where it was asked
    for, and a `previous_response_id` is not found."""

    def _parse(self, body: Any, headers: dict[bytes, bytes], settings: Settings) -> Request:
        chat = super()._parse(body, headers, settings)
        assert isinstance(chat, Chat)
        memory = remembered(chat)
        memory.response_id = f"resp_{secrets.token_hex(16)}"
        memory.created = int(time.time())
        if memory.store:
            memory.store = False
            if body.get("store"):
                chat.dropped.append("store")
        return chat
