"""The thoughts that led to a call, and the call's signature, for clients that drop them.

A model's template wants the thoughts of a turn back while the turn lasts: between a call and what follows its result
(https://ai.google.dev/gemma/docs/core). Most agents send the call back without them; the model then goes on with half
a plan, and the server's prefix cache is lost. A call that its maker signed has to come back signed in every turn
(https://ai.google.dev/gemini-api/docs/thought-signatures), and clients of other dialects have no place for that. So
both are kept here for a while, under the ids of the calls, per key; with a shelf that lasts, also over a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import msgspec

from gateway.canonical.content import Message, Part, Thinking, ToolCall
from gateway.canonical.events import ChoiceEnd, Event, PartDelta, PartStart
from gateway.canonical.identity import same
from gateway.canonical.requests import Chat
from gateway.engine.shelf import Shelf

MOST = 4 << 20
"""Characters that are kept, of all thoughts and their places together; the oldest go first."""
LONGEST = 64 * 1024
"""Characters of one thought. A longer one is not kept: half of it would be another thought."""
_EACH = 512
"""Characters that the place of a thought is counted as."""


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What belongs to one call. Nothing, if there were two of its id: some servers count their calls from 0 in each
    answer, and nobody can tell whose thought it was."""

    thought: str = ""
    signature: str | None = None

    @property
    def size(self) -> int:
        return _EACH + len(self.thought) + len(self.signature or "")


class Thoughts:
    """What is remembered: (key id, call id) -> what belongs to the call."""

    def __init__(self, most: int = MOST, shelf: Shelf | None = None) -> None:
        self._most = most
        self._size = 0
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._shelf = shelf if shelf is not None and shelf.lasting else None

    def load(self) -> None:
        """Takes over what the shelf has found. It waits for the disk."""
        for key, call, value in self._shelf.stored() if self._shelf is not None else ():
            try:
                self._add(key, call, msgspec.json.decode(value, type=Kept))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue  # another version's: its turn is long over

    def knows(self, key: str, call: str) -> bool:
        return (key, call) in self._kept

    def keep(self, key: str, call: str, thought: str, signature: str | None = None) -> None:
        kept = Kept(thought, signature)
        if self._kept.get((key, call), kept) != kept:
            kept = Kept()
        self._add(key, call, kept)
        if self._shelf is not None:
            self._shelf.put(key, call, [msgspec.json.encode(kept)])

    def _add(self, key: str, call: str, kept: Kept) -> None:
        old = self._kept.pop((key, call), None)
        self._size += kept.size - (old.size if old is not None else 0)
        self._kept[(key, call)] = kept
        while self._size > self._most:
            _, gone = self._kept.popitem(last=False)
            self._size -= gone.size

    def restored(self, chat: Chat, key: str) -> Chat:
        """The chat with what its client left out: the signatures of calls, and the thoughts of the turn that lasts."""
        if not self._kept:
            return chat
        start = max((i for i, m in enumerate(chat.messages) if m.role == "user"), default=-1) + 1
        messages = [
            self._restored(m, key, thoughts=bool(chat.tools) and i >= start) for i, m in enumerate(chat.messages)
        ]
        if same(messages, chat.messages):
            return chat
        return replace(chat, messages=messages)

    def _restored(self, message: Message, key: str, *, thoughts: bool) -> Message:
        if message.role != "assistant":
            return message
        thought = ""
        parts: list[Part] = []
        for part in message.parts:
            kept = self._kept.get((key, part.id)) if isinstance(part, ToolCall) else None
            if kept is not None and isinstance(part, ToolCall):
                thought = thought or kept.thought
                if kept.signature is not None and part.signature is None:
                    part = replace(part, signature=kept.signature)
            parts.append(part)
        if thoughts and thought and not any(isinstance(p, Thinking) for p in parts):
            parts.insert(0, Thinking(thought))
        if same(parts, message.parts):
            return message
        return replace(message, parts=parts)


class Remember:
    """A filter that changes nothing: notes what leads to the calls of an answer. `thinking` False: their signatures
    only, since a prompt in which nobody thinks has no place for thoughts."""

    __slots__ = ("_calls", "_key", "_pieces", "_signed", "_thinking", "_thoughts", "_wanted")

    def __init__(self, thoughts: Thoughts, key: str, *, thinking: bool = True) -> None:
        self._thoughts = thoughts
        self._key = key
        self._wanted = thinking
        self._thinking: set[tuple[int, int]] = set()
        self._pieces: dict[int, list[str]] = {}
        self._calls: dict[int, dict[int, str]] = {}
        self._signed: dict[tuple[int, int], str] = {}

    def feed(self, events: list[Event]) -> list[Event]:
        for e in events:
            if type(e) is PartDelta:
                if self._thinking and (e.choice, e.part) in self._thinking:
                    self._pieces.setdefault(e.choice, []).append(e.text)
                elif e.signature is not None:
                    self._signed[(e.choice, e.part)] = e.signature
            elif type(e) is PartStart:
                if e.kind == "thinking" and self._wanted:
                    self._thinking.add((e.choice, e.part))
                elif e.kind == "tool_call":
                    self._calls.setdefault(e.choice, {})[e.part] = e.id
            elif type(e) is ChoiceEnd:
                self._choice_ended(e.choice)
        return events

    def end(self) -> list[Event]:
        return []

    def _choice_ended(self, choice: int) -> None:
        thought = "".join(self._pieces.pop(choice, ()))
        if len(thought) > LONGEST:
            thought = ""
        for part, call in self._calls.pop(choice, {}).items():
            signature = self._signed.get((choice, part))
            if call and (thought or signature or self._thoughts.knows(self._key, call)):
                self._thoughts.keep(self._key, call, thought, signature)
