"""A chat as a server of `generateContent` takes it: canonical in, canonical out, for `dialects/gemini` to write."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from gateway.backends.wire.media import fit_media
from gateway.backends.wire.prepare import MEANING, foreign_fields
from gateway.canonical.content import (
    Audio,
    Document,
    Image,
    Message,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from gateway.canonical.custom import FIELD, as_function
from gateway.canonical.facts import Facts
from gateway.canonical.identity import same
from gateway.canonical.requests import Chat, Embedding, ThinkingConfig
from gateway.dialects.gemini.fields import DIALECT
from gateway.dialects.gemini.models import is_gemma, no_system
from gateway.dialects.gemini.receiver import Receiver
from gateway.errors import PartRefused, UnsupportedParameter

_SAFETY_ONLY: Final = frozenset({"safetySettings"})
_INT32: Final = 2**31 - 1
STOPS: Final = 5
"""Stop texts that it takes. Where there are more it is asked for a stream, which is ended here."""


def many_stops(chat: Chat) -> bool:
    """Has it more stop texts than such a server takes?"""
    return len(chat.sampling.stop or ()) > STOPS


def ready(chat: Chat, model: str, facts: Facts, receiver: Receiver, dropped: list[str]) -> Chat:
    """The chat as the target takes it; names in `dropped` what it does not get. Nothing of `chat` is changed."""
    gemma = is_gemma(model)
    bound = []
    for field in chat.bound:
        if field.dialect == DIALECT and not gemma:
            bound.append(field)
        elif field.offer:
            dropped.append(field.path)
        else:
            raise UnsupportedParameter(f"{field.name} is not enabled for models/{chat.model}", param=field.path)
    if (
        gemma
        and chat.output is not None
        and chat.tools
        and (chat.tool_choice is None or chat.tool_choice.mode != "none")
    ):
        raise UnsupportedParameter("this server can't call tools while it keeps to a format: ask for one of the two")
    sampling = chat.sampling
    if many_stops(chat):
        sampling = replace(sampling, stop=(sampling.stop or [])[:STOPS])
    if sampling.seed is not None and not -_INT32 - 1 <= sampling.seed <= _INT32:
        sampling = replace(sampling, seed=sampling.seed & _INT32)  # the same seed, the same answer
    dropped += [n for n in ("min_p", "repetition_penalty", "logit_bias") if getattr(chat.sampling, n) is not None]
    if chat.parallel_tool_calls is False:
        dropped.append("parallel_tool_calls")
    foreign(chat, dropped)
    for tool in chat.tools:
        dropped += foreign_fields(tool.extra, DIALECT)
    messages = [_message(m, facts, receiver, dropped) for m in chat.messages]
    if no_system(model):
        messages = _without_system(messages)
    return replace(
        chat,
        messages=messages,
        tools=[as_function(t) for t in chat.tools],  # and a filter turns their calls back
        sampling=sampling,
        bound=bound,
        thinking=_thinking(chat.thinking, model, facts, receiver, dropped),
        extra=_own_extra(chat, gemma, dropped),
    )


def foreign(request: Chat | Embedding, dropped: list[str]) -> list[str]:
    """Names the fields that other dialects brought. Raises UnsupportedParameter for one that changes the answer."""
    for dialect, keys in (request.extra or {}).items():
        if dialect == DIALECT or "." in dialect:
            continue
        for key in keys:
            if key in MEANING:
                raise UnsupportedParameter(f"this server does not have `{key}`", param=key)
            dropped.append(key)
    return dropped


def _own_extra(chat: Chat, gemma: bool, dropped: list[str]) -> Any:
    own = (chat.extra or {}).get(DIALECT) or {}
    if not gemma:
        return chat.extra
    dropped += [key for key in own if key not in _SAFETY_ONLY]
    kept = {key: value for key, value in own.items() if key in _SAFETY_ONLY}
    return {DIALECT: kept} if kept else None


def _thinking(
    asked: ThinkingConfig, model: str, facts: Facts, receiver: Receiver, dropped: list[str]
) -> ThinkingConfig:
    """Nothing asked is off, said outright; where a model can't be told that, it does what it does."""
    if asked.enabled and (facts.thinking is False or not (receiver.levels or receiver.budget)):
        dropped.append("thinking")
        return ThinkingConfig(include=asked.include)
    if asked.enabled is None and (receiver.levels or (receiver.budget and "-pro" not in model)):
        return ThinkingConfig(enabled=False, include=asked.include)
    return asked


def _message(message: Message, facts: Facts, receiver: Receiver, dropped: list[str]) -> Message:
    if not receiver.thoughts and any(isinstance(p, Thinking) for p in message.parts):
        dropped.append("thinking of earlier turns")
    if message.name is not None:
        dropped.append("messages[].name")
    dropped += foreign_fields(message.extra, DIALECT)
    parts = [_part(p, facts, receiver, dropped) for p in message.parts]
    return message if same(parts, message.parts) else replace(message, parts=parts)


def _part(part: Part, facts: Facts, receiver: Receiver, dropped: list[str]) -> Part:
    dropped += foreign_fields(part.extra, DIALECT)
    if isinstance(part, Image | Audio | Video | Document):
        if not receiver.resolution and part.media.detail not in (None, "auto"):
            dropped.append("detail")
        media = fit_media(part, facts)
        return part if media is part.media else replace(part, media=media)
    if isinstance(part, ToolResult) and isinstance(part.content, list):
        return replace(part, content=[_part(p, facts, receiver, dropped) for p in part.content])
    if isinstance(part, ToolCall) and part.kind == "custom":
        arguments = msgspec.json.encode({FIELD: part.arguments}).decode()
        return replace(part, kind="function", arguments=arguments)
    if isinstance(part, Opaque) and part.dialect != DIALECT:
        raise PartRefused(f"no server of this kind knows a part of type {part.type[:40]!r}", param=part.path)
    return part


def _without_system(messages: list[Message]) -> list[Message]:
    """The instructions at the beginning of the user's first words."""
    system = [p for m in messages if m.role in ("system", "developer") for p in m.parts if isinstance(p, Text)]
    others = [m for m in messages if m.role not in ("system", "developer")]
    if not system:
        return messages
    words: list[Part] = [Text("\n".join(p.text for p in system) + "\n\n", path=system[0].path)]
    for i, message in enumerate(others):
        if message.role == "user":
            return [*others[:i], replace(message, parts=[*words, *message.parts]), *others[i + 1 :]]
    return [Message("user", words, path=system[0].path), *others]
