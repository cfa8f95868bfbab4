"""What an answer must know of the request that it answers; it rides in `Chat.client`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gateway.canonical.requests import Chat
from gateway.dialects.fields import Json

UNSIGNED: Final = "gateway-unsigned"
"""The `encrypted_content` of a thought that stands in the clear beside it: clients that keep no state throw away a
thought without one, and then the prompt of the next turn is not the continuation of this one."""


@dataclass(slots=True)
class Remembered:
    """`items`: this request's input, as items of the dialect: with the items of its answer, what a store has to keep
    of this turn. `previous`: the id of the answer that it goes on from. `echo`: the request's fields that the answer
    repeats. `names`: name of a tool as the model knows it -> (its namespace, its name there). `summaries`: thoughts are
    told as summaries. `encrypted`: thoughts carry an `encrypted_content`. `store`: the client has not said that it
    wants nothing kept.

    The server sets `response_id` (nobody can guess it) and `created` (Unix seconds) before the answer begins.
    `sequence`: how many events of a stream are out; another attempt at the request goes on from there.
    """

    items: list[Json] = field(default_factory=list)
    previous: str | None = None
    echo: Json = field(default_factory=dict)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    summaries: bool = False
    encrypted: bool = False
    store: bool = True
    response_id: str = ""
    created: int = 0
    sequence: int = 0


def remembered(chat: Chat | None) -> Remembered:
    """What `chat` carries; nothing for a chat that came in another way."""
    memory = chat.client if chat is not None else None
    return memory if isinstance(memory, Remembered) else Remembered()
