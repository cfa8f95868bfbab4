"""What of the conversation so far a model may see: its own thoughts only while its turn lasts, and nobody else's words
as its control tokens."""

from __future__ import annotations

from dataclasses import replace

from gateway.canonical.content import Message, Part, Text, Thinking, ToolResult
from gateway.canonical.identity import same
from gateway.canonical.needs import content_parts
from gateway.canonical.requests import Chat
from gateway.families.markers import neutralised


def without_old_thoughts(chat: Chat) -> Chat:
    """Without the thoughts of turns before the last user message: every family's template leaves them out, and a server
    that does not would pay for them. Between tool calls they stay (https://ai.google.dev/gemma/docs/core)."""
    last = max((i for i, m in enumerate(chat.messages) if m.role == "user"), default=-1)
    changed: list[Message] | None = None
    for i, message in enumerate(chat.messages[: max(last, 0)]):
        if message.role == "assistant" and any(isinstance(p, Thinking) for p in message.parts):
            kept: list[Part] = [p for p in message.parts if not isinstance(p, Thinking)]
            changed = changed or list(chat.messages)
            changed[i] = replace(message, parts=kept or [Text("", path=message.path)])
    return chat if changed is None else replace(chat, messages=changed)


def without_markers(chat: Chat, family: str | None) -> tuple[Chat, list[int]]:
    """With the control tokens of the family broken in what users and tools say; and the numbers of the content parts
    that held some, as the receipt counts them."""
    if family is None or not any(_spoken(m, family) is not m for m in chat.messages):
        return chat, []
    messages = [_spoken(m, family) for m in chat.messages]
    before, after = content_parts(chat), content_parts(replace(chat, messages=messages))
    touched = [n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a is not b]
    return replace(chat, messages=messages), touched


def _spoken(message: Message, family: str) -> Message:
    if message.role not in ("user", "tool"):
        return message
    parts = [_part(p, family) for p in message.parts]
    return message if same(parts, message.parts) else replace(message, parts=parts)


def _part(part: Part, family: str) -> Part:
    if isinstance(part, Text):
        text = neutralised(part.text, family)
        return part if text is part.text or text == part.text else replace(part, text=text)
    if isinstance(part, ToolResult):
        if isinstance(part.content, dict):
            value = {neutralised(k, family): _value(v, family) for k, v in part.content.items()}
            return part if value == part.content else replace(part, content=value)
        content = [_part(p, family) for p in part.content]
        return part if same(content, part.content) else replace(part, content=content)
    return part


def _value(value: object, family: str) -> object:
    if isinstance(value, str):
        return neutralised(value, family)
    if isinstance(value, dict):
        return {neutralised(k, family): _value(v, family) for k, v in value.items()}
    if isinstance(value, list):
        return [_value(v, family) for v in value]
    return value
