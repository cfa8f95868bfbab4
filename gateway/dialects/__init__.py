"""Wire formats. A dialect translates both ways between its bytes and the canonical schema, and does not know which side
it is on: the parser that reads a client's request is the inverse of the renderer that writes one to a server.

One folder or module per dialect; `gateway.dialects.openai` holds chat, completions and embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from gateway.canonical.events import Event
from gateway.errors import GatewayError


@dataclass(slots=True, frozen=True)
class Limits:
    """How much of a thing one request may hold; `model` in characters, `parts` per message."""

    messages: int = 4096
    parts: int = 256
    images: int = 32
    tools: int = 128
    stop: int = 5
    choices: int = 16
    top_logprobs: int = 20
    logit_bias: int = 1024
    prompts: int = 2048
    model: int = 256


LIMITS: Final = Limits()


class Decoder(Protocol):
    """A stream's bytes -> events. Never raises on what a server sends: what can't be read becomes a Fault event.

    `end` is called once at the end of the bytes: it returns what is left, and a Fault if the answer was cut.
    """

    def feed(self, data: bytes) -> list[Event]: ...
    def end(self) -> list[Event]: ...


class Encoder(Protocol):
    """Events -> a stream's bytes, for the client.

    `encode` joins everything of one call into one piece (possibly empty). `life_sign` is what shows a waiting client
    that the request lives, in a form that its SDKs tolerate. `fault` is the last piece of a stream that can't be
    completed: no end marker follows it.
    """

    media_type: str
    closing: dict[str, Any]
    """What is only known at the end: goes out with the last piece, where the dialect's SDKs tolerate it."""

    def encode(self, events: list[Event]) -> bytes: ...
    def life_sign(self, done: int, total: int) -> bytes: ...
    def fault(self, error: GatewayError) -> bytes: ...


class Codec(Protocol):
    """One operation in one dialect. Bodies are decoded JSON; `parse_request` raises BadRequest with the field's path,
    `parse_answer` what stands in the answer, or BadResponse. `header_options`: the text of `x-gateway-options`.
    `request`, where it is given to `render_answer`, tells how the client wants its answer. Answers are `Answer`, or a
    JSON object for an operation that has none (embeddings)."""

    def parse_request(
        self, body: dict[str, Any], header_options: str | None = None, limits: Limits = LIMITS
    ) -> Any: ...
    def render_request(self, request: Any) -> dict[str, Any]: ...
    def parse_answer(self, body: dict[str, Any]) -> Any: ...
    def render_answer(self, answer: Any, request: Any = None) -> dict[str, Any]: ...
    def decoder(self) -> Decoder: ...
    def encoder(self, request: Any, model: str) -> Encoder: ...
