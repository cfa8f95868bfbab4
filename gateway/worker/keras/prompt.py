"""A chat as Gemma 4's prompt: https://ai.google.dev/gemma/docs/core and the chat template of 9 July 2026.

    <bos>[<|turn>system\\n[<|think|>\\n]text[<|tool>declaration<tool|>...]<turn|>\\n]
    <|turn>user\\n text and media <turn|>\\n
    <|turn>model\\n[<|channel>thought\\n...\\n<channel|>]text[<|tool_call>...<tool_call|><|tool_response>...]text<turn|>\\n

keras-hub's presets carry no template. Where this differs from Google's: text that came with calls stands before them,
as the model said it (the template puts it behind the results and closes the turn, and then the model is asked to go on
outside of any turn); a later `developer` message is a system's; and what the template drops in silence is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.canonical.content import (
    Audio,
    Document,
    Image,
    Message,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from gateway.canonical.requests import Chat, Tool
from gateway.errors import BadRequest, PartRefused
from gateway.filters.gemma4 import grammar as g
from gateway.worker.keras.declarations import declare, fields, write
from gateway.worker.keras.pieces import Piece, Pieces

TOOL_OPEN, TOOL_CLOSE = "<|tool>", "<tool|>"
THINK = "<|think|>\n"
THOUGHT = g.CHANNEL_OPEN + "thought\n"


@dataclass(slots=True, frozen=True)
class Prompt:
    """`open_reasoning`: it ends inside of a thought, which the model goes on with."""

    pieces: list[Piece]
    open_reasoning: bool


def offered(chat: Chat) -> list[Tool]:
    """The tools that the model may call in this request: what it must not call it does not see."""
    choice = chat.tool_choice
    if choice is None:
        return chat.tools
    if choice.mode == "none":
        return []
    return [t for t in chat.tools if not choice.names or t.name in choice.names]


def render(chat: Chat, *, empty_thought: bool, thinking: bool) -> Prompt:
    """`empty_thought`: this size of the model is shown an empty thought when it shall not think (26B-A4B and 31B; E2B
    and E4B are not). Raises BadRequest or PartRefused with the path of what can't be said."""
    return _Writer(chat, empty_thought, thinking).prompt()


class _Writer:
    def __init__(self, chat: Chat, empty_thought: bool, thinking: bool) -> None:
        self._chat = chat
        self._empty_thought = empty_thought
        self._thinking = thinking
        self._out = Pieces()
        self._messages = chat.messages

    def prompt(self) -> Prompt:
        self._system()
        users = [i for i, m in enumerate(self._messages) if m.role == "user"]
        last_user = users[-1] if users else -1
        before = ""  # the role of the last message that was no tool's
        awaits = False  # the model's turn is open behind results
        for i, message in enumerate(self._messages):
            if message.role == "tool":
                self._check_answered(i)
                continue
            role = {"assistant": "model", "developer": "system"}.get(message.role, message.role)
            if not (role == "model" and before == "model"):
                self._out.marks(f"{g.TURN_OPEN}{role}\n")
            prefill = self._chat.prefill and i == len(self._messages) - 1
            if prefill:
                self._begun(message, before == "model")
                return Prompt(self._out.all, False)
            awaits = self._turn(message, i, i > last_user)
            before = role
        return self._end(awaits)

    def _system(self) -> None:
        """The first turn: whether to think, the instructions, the tools."""
        first = self._messages[0] if self._messages else None
        instructions = first is not None and first.role in ("system", "developer")
        tools = offered(self._chat)
        self._out.marks("<bos>")
        if not (self._thinking or tools or instructions):
            return
        self._out.marks(f"{g.TURN_OPEN}system\n")
        self._out.marks(THINK if self._thinking else "")
        if first is not None and instructions:
            self._messages = self._messages[1:]
            texts = [_plain(p) for p in first.parts]
            self._out.words(texts[0] if len(texts) == 1 else "".join(f"{t} " for t in texts))
        for tool in tools:
            self._out.marks(TOOL_OPEN)
            declare(tool, self._out)
            self._out.marks(TOOL_CLOSE)
        self._out.marks(f"{g.TURN_CLOSE}\n")

    def _turn(self, message: Message, at: int, recent: bool) -> bool:
        """One message behind its header. True: the model's turn stays open behind a tool's result."""
        model = message.role == "assistant"
        thoughts = "".join(p.text for p in message.parts if isinstance(p, Thinking))
        if model and thoughts and recent:
            self._out.marks(THOUGHT)
            self._out.words(thoughts)
            self._out.marks(f"\n{g.CHANNEL_CLOSE}")
        for part in message.parts:
            self._content(part, model)
        calls = [p for p in message.parts if isinstance(p, ToolCall)]
        for call in calls:
            self._call(call)
        answered = self._results(calls, at) if calls else False
        following = self._following(at)
        if calls and not answered:
            self._out.marks(g.RESPONSE_OPEN)
            return False
        if model and following == "assistant":
            return answered
        if answered and not following:
            return True
        self._out.marks(f"{g.TURN_CLOSE}\n")
        return False

    def _following(self, at: int) -> str:
        """The role of the next message that is no tool's, "" if there is none."""
        return next((m.role for m in self._messages[at + 1 :] if m.role != "tool"), "")

    def _content(self, part: Part, model: bool) -> None:
        if isinstance(part, Text):
            self._out.words(without_thoughts(part.text) if model else part.text.strip())
        elif isinstance(part, Refusal):
            self._out.words(part.text.strip())
        elif isinstance(part, Image | Audio | Video):
            if model:
                raise PartRefused("a model's message holds no media here", param=part.path)
            self._out.medium(part)
        elif isinstance(part, Document | Opaque | ToolResult):
            raise PartRefused("this server reads no such part", param=part.path)
        else:
            assert isinstance(part, Thinking | ToolCall)  # told elsewhere

    def _call(self, call: ToolCall) -> None:
        self._out.marks(f"{g.CALL_OPEN}call:")
        self._out.words(call.name)
        self._out.marks("{")
        fields(_arguments(call), self._out)
        self._out.marks("}" + g.CALL_CLOSE)

    def _results(self, calls: list[ToolCall], at: int) -> bool:
        """The results that follow message `at` at once. False: there are none."""
        names = {c.id: c.name for c in calls}
        found = False
        for message in self._messages[at + 1 :]:
            if message.role != "tool":
                break
            for part in message.parts:
                if not isinstance(part, ToolResult):
                    raise PartRefused("a tool's message holds results only", param=part.path)
                self._result(part, names.get(part.call_id) or part.name or "unknown")
                found = True
        return found

    def _result(self, result: ToolResult, name: str) -> None:
        self._out.marks(f"{g.RESPONSE_OPEN}response:")
        self._out.words(name)
        self._out.marks("{")
        content = result.content
        if isinstance(content, dict):
            fields(content, self._out)
        else:
            self._out.marks("value:")
            write("".join(_text_of(p) for p in content), self._out, bare_keys=True)
        self._out.marks("}" + g.RESPONSE_CLOSE)
        for part in content if isinstance(content, list) else ():
            if not isinstance(part, Text):
                self._content(part, False)

    def _check_answered(self, at: int) -> None:
        """A result that follows no calls would not be in the prompt."""
        before = next((m for m in reversed(self._messages[:at]) if m.role != "tool"), None)
        if before is None or not any(isinstance(p, ToolCall) for p in before.parts):
            raise BadRequest("this result belongs to no call before it", param=self._messages[at].path or "messages")

    def _begun(self, message: Message, open_turn: bool) -> None:
        """The answer that the client began: the model goes on where it stops."""
        if self._empty_thought and not self._thinking and not open_turn:
            self._out.marks(g.EMPTY_THOUGHT)
        for part in message.parts:
            if not isinstance(part, Text):
                raise PartRefused("a begun answer can only be text here", param=part.path)
            self._out.words(part.text)

    def _end(self, awaits: bool) -> Prompt:
        if awaits:
            self._out.marks(THOUGHT if self._thinking else "")
            return Prompt(self._out.all, self._thinking)
        self._out.marks(f"{g.TURN_OPEN}model\n")
        if self._empty_thought and not self._thinking:
            self._out.marks(g.EMPTY_THOUGHT)
        return Prompt(self._out.all, False)


def without_thoughts(text: str) -> str:
    """A past answer's text without the thoughts that its client left in it."""
    kept = [part.split(g.CHANNEL_OPEN)[0] for part in text.split(g.CHANNEL_CLOSE)]
    return "".join(kept).strip()


def _plain(part: Part) -> str:
    if not isinstance(part, Text):
        raise PartRefused("instructions can only be text", param=part.path)
    return part.text.strip()


def _text_of(part: Part) -> str:
    return part.text if isinstance(part, Text) else ""


def _arguments(call: ToolCall) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        value = None
    if not isinstance(value, dict):
        raise BadRequest("the arguments of this call are not the text of a JSON object", param=call.path or "messages")
    return value
