"""`/v1/responses`: what its answers need beyond a request and a server, and the answers that are kept.

Of each turn its own input and its answer are kept, and the id of the turn before: a conversation is found again by
going back from its last answer, and nothing is kept twice.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from gateway.backends.wire.body import encode_body
from gateway.canonical.events import Answer, Event
from gateway.canonical.requests import Chat
from gateway.canonical.requests import Request as ModelRequest
from gateway.dialects import LIMITS, Encoder, Limits
from gateway.dialects.openai.responses import Remembered, ResponsesEncoder, remembered, responses_codec
from gateway.dialects.openai.responses.listing import listed
from gateway.engine.job import ClientCodec
from gateway.engine.shelf import Shelf
from gateway.errors import NotFound
from gateway.server.body import Cutter, Held
from gateway.server.handlers import ModelEndpoint, header_options
from gateway.settings import Settings

Json = dict[str, Any]

LONGEST = 1000
"""Turns that are gone back. More messages than that no request may have."""


class Answers:
    """The answers that are kept, for the key that asked for them."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    @property
    def largest(self) -> int:
        """Octets of the largest turn that is kept."""
        return self._shelf.largest

    def keep(self, key: str, memory: Remembered, whole: Json) -> None:
        turn = {"previous": memory.previous, "input": memory.items, "response": whole}
        self._shelf.put(key, whole["id"], encode_body(turn))

    async def turn(self, key: str, name: str) -> tuple[Json, int] | None:
        """(`previous`, `input` and `response` of a turn; octets); None if it is not kept."""
        pieces = await self._shelf.get(key, name)
        if pieces is None:
            return None
        cutter = Cutter()
        for piece in pieces:
            cutter.feed(piece)
        return cutter.parse(), sum(map(len, pieces))

    async def items_up_to(self, key: str, name: str, held: Held) -> list[Json] | None:
        """The items of the conversation up to that answer, which count as `held`; None if a turn of it is missing."""
        turns = await self._turns(key, name, held)
        if turns is None:
            return None
        return [item for _, turn in turns for item in (*turn["input"], *turn["response"]["output"])]

    async def input_of(self, key: str, name: str, held: Held) -> list[Json] | None:
        """The same without that answer itself, each item in its full form and with an id."""
        turns = await self._turns(key, name, held)
        if turns is None:
            return None
        out: list[Json] = []
        for turn_name, turn in turns:
            out += _with_ids(turn_name, turn["input"])
            out += turn["response"]["output"] if turn_name != name else ()
        return out

    async def _turns(self, key: str, name: str, held: Held) -> list[tuple[str, Json]] | None:
        """(id, what is kept) of all turns up to that answer, the oldest first."""
        turns: list[tuple[str, Json]] = []
        at: str | None = name
        while at is not None:
            found = await self.turn(key, at) if len(turns) < LONGEST else None
            if found is None:
                return None
            turn, octets = found
            held.grow(octets)
            turns.append((at, turn))
            at = turn["previous"]
        return turns[::-1]

    async def item(self, key: str, name: str) -> Json | None:
        """An item of a turn, by its id: what the answer's id and the item's have in common leads to it."""
        stem = name.partition("_")[2].rpartition("_")[0]
        answer = f"resp_{stem}"
        found = await self.turn(key, answer)
        if found is None:
            return None
        items = [*found[0]["response"]["output"], *_with_ids(answer, found[0]["input"])]
        return next((item for item in items if item.get("id") == name), None)

    def remove(self, key: str, name: str) -> bool:
        return self._shelf.remove(key, name)


def _with_ids(answer: str, items: list[Json]) -> list[Json]:
    """Input items of the turn of that answer in their full form."""
    stem = answer.removeprefix("resp_")
    return [listed(item, f"{stem}_in{i}") for i, item in enumerate(items)]


class ResponsesEndpoint(ModelEndpoint):
    """Gives the answer its id and its time, goes on from kept answers, and keeps the new one unless its client said
    `store: false`."""

    def __init__(self, answers: Answers, *rest: Any) -> None:
        super().__init__(*rest)
        self._answers = answers

    async def _read(
        self, body: Any, headers: dict[bytes, bytes], settings: Settings, key: str, held: Held
    ) -> ModelRequest:
        if not isinstance(body, dict):
            return self._parse(body, headers, settings)  # says so
        size = held.octets
        chat = await read_response(self._answers, body, headers, self._limits_of(settings), key, held)
        memory = remembered(chat)
        memory.response_id = f"resp_{secrets.token_hex(16)}"
        memory.created = int(time.time())
        if memory.store and size > self._answers.largest:
            memory.store = False
            if body.get("store"):
                chat.dropped.append("store")
        return chat

    def _codec_for(self, request: ModelRequest, key: str) -> ClientCodec:
        assert isinstance(request, Chat)
        memory = remembered(request)
        if not memory.store:
            return self._codec
        return _Keeping(lambda whole: self._answers.keep(key, memory, whole))


async def read_response(
    answers: Answers, body: Json, headers: dict[bytes, bytes], limits: Limits, key: str, held: Held
) -> Chat:
    """The request of a body, with the turns and items of its key that it names."""
    previous = body.get("previous_response_id")
    earlier = await answers.items_up_to(key, previous, held) if isinstance(previous, str) else None
    if isinstance(body.get("input"), list):
        body = {**body, "input": [await _item(answers, key, i, x) for i, x in enumerate(body["input"])]}
    return responses_codec.parse_request(body, header_options(headers), limits, earlier)


async def _item(answers: Answers, key: str, index: int, value: Any) -> Any:
    """The item that a reference stands for; any other item as it came."""
    if not isinstance(value, dict) or value.get("type") != "item_reference" or not isinstance(value.get("id"), str):
        return value
    found = await answers.item(key, value["id"])
    if found is None:
        path = f"input[{index}].id"
        raise NotFound(f"there is no item {value['id'][:80]!r} here", param=path, code="item_not_found")
    return found


class _Keeping:
    """Writes one answer, and hands it on to be kept before its last words go out: the next request may come at once."""

    def __init__(self, keep: Callable[[Json], None]) -> None:
        self._keep = keep

    def parse_request(self, body: Json, header_options: str | None = None, limits: Limits = LIMITS) -> Chat:
        return responses_codec.parse_request(body, header_options, limits)

    def render_answer(self, answer: Answer, request: Chat | None = None) -> Json:
        whole = responses_codec.render_answer(answer, request)
        self._keep(whole)
        return whole

    def encoder(self, request: Chat, model: str) -> Encoder:
        return _KeepingEncoder(model, remembered(request), self._keep)


class _KeepingEncoder(ResponsesEncoder):
    def __init__(self, model: str, memory: Remembered, keep: Callable[[Json], None]) -> None:
        super().__init__(model, memory)
        self._keep: Callable[[Json], None] | None = keep

    def encode(self, events: list[Event]) -> bytes:
        out = super().encode(events)
        if self.whole is not None and self._keep is not None:
            keep, self._keep = self._keep, None
            keep(self.whole)
        return out
