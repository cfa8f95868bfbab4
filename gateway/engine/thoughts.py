"""The thoughts that led to a call, for clients that drop them.

A model's template wants the thoughts of a turn back while the turn lasts: between a call and what follows its result
(https://ai.google.dev/gemma/docs/core). Most agents send the call back without them; the model then goes on with half
a plan, and the server's prefix cache is lost. So they are kept here for a while, under the ids of the calls, per key.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from gateway.canonical.content import Message, Thinking, ToolCall
from gateway.canonical.events import ChoiceEnd, Event, PartDelta, PartStart
from gateway.canonical.requests import Chat

MOST = 4 << 20
"""Characters that are kept, of all thoughts together; the oldest go first."""
LONGEST = 64 * 1024
"""Characters of one thought. A longer one is not kept: half of it would be another thought."""


class Thoughts:
    """What is remembered: (key id, call id) -> thought."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._size = 0
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()

    def keep(self, key: str, call: str, thought: str) -> None:
        old = self._kept.pop((key, call), None)
        self._size += len(thought) - len(old or "")
        self._kept[(key, call)] = thought
        while self._size > self._most:
            _, gone = self._kept.popitem(last=False)
            self._size -= len(gone)

    def restored(self, chat: Chat, key: str) -> Chat:
        """The chat with the thoughts of the turn that still lasts, where its client left them out."""
        if not self._kept or not chat.tools:
            return chat
        start = max((i for i, m in enumerate(chat.messages) if m.role == "user"), default=-1) + 1
        messages = [*chat.messages[:start], *(self._with_thought(m, key) for m in chat.messages[start:])]
        if all(a is b for a, b in zip(messages, chat.messages, strict=True)):
            return chat
        return replace(chat, messages=messages)

    def _with_thought(self, message: Message, key: str) -> Message:
        if message.role != "assistant" or any(isinstance(p, Thinking) for p in message.parts):
            return message
        ids = (p.id for p in message.parts if isinstance(p, ToolCall))
        thought = next((t for i in ids if (t := self._kept.get((key, i)))), None)
        return message if thought is None else replace(message, parts=[Thinking(thought), *message.parts])


class Remember:
    """A filter that changes nothing: notes the thoughts of an answer that ends in calls."""

    __slots__ = ("_calls", "_key", "_pieces", "_thinking", "_thoughts")

    def __init__(self, thoughts: Thoughts, key: str) -> None:
        self._thoughts = thoughts
        self._key = key
        self._thinking: set[tuple[int, int]] = set()
        self._pieces: dict[int, list[str]] = {}
        self._calls: dict[int, list[str]] = {}

    def feed(self, events: list[Event]) -> list[Event]:
        for e in events:
            if type(e) is PartDelta:
                if self._thinking and (e.choice, e.part) in self._thinking:
                    self._pieces.setdefault(e.choice, []).append(e.text)
            elif type(e) is PartStart:
                if e.kind == "thinking":
                    self._thinking.add((e.choice, e.part))
                elif e.kind == "tool_call":
                    self._calls.setdefault(e.choice, []).append(e.id)
            elif type(e) is ChoiceEnd:
                self._choice_ended(e.choice)
        return events

    def end(self) -> list[Event]:
        return []

    def _choice_ended(self, choice: int) -> None:
        thought = "".join(self._pieces.pop(choice, ()))
        if thought and len(thought) <= LONGEST:
            for call in self._calls.get(choice, ()):
                self._thoughts.keep(self._key, call, thought)
