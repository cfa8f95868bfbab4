"""Messages of a chat, both ways.

The order of parts that this dialect can say within an assistant message: thinking, content, refusal, tool calls.
"""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Final, Literal, cast

import msgspec

from gateway.canonical.content import (
    Extra,
    Image,
    Message,
    Part,
    Refusal,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    whole_text,
)
from gateway.dialects import Limits
from gateway.dialects.fields import (
    Json,
    boolean_or_none,
    fields,
    items,
    missing,
    one_of,
    rest,
    text,
    text_or_none,
    tool_name,
    wrong_type,
)
from gateway.dialects.openai.parts import DIALECT, parse_content, put_back, render_part
from gateway.dialects.openai.signatures import FIELD, put_signature, take_signature
from gateway.errors import BadRequest

ReasoningField = Literal["reasoning_content", "reasoning", "both"]

ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_PLAIN: Final = ("role", "content", "name")
_ASSISTANT: Final = (*_PLAIN, "tool_calls", "function_call", "refusal", "reasoning_content", "reasoning", "annotations")
_TOOL: Final = (*_PLAIN, "tool_call_id", "is_error")


def parse_messages(value: object, limits: Limits) -> list[Message]:
    """The `messages` of a request. Raises BadRequest with the path of what is wrong."""
    entries = items(value, "messages", limits.messages)
    if not entries:
        raise BadRequest("`messages` is empty", param="messages")
    legacy = _LegacyCalls()
    messages = [_message(entry, f"messages[{i}]", limits, legacy) for i, entry in enumerate(entries)]
    check_images(messages, limits.images)
    return messages


def check_images(messages: list[Message], most: int) -> None:
    """Raises BadRequest for the message with which the images get more than `most`."""
    count = 0
    for message in messages:
        for part in message.parts:
            kind = type(part)
            if kind is Image:
                count += 1
            elif isinstance(part, ToolResult) and isinstance(part.content, list):
                count += sum(type(p) is Image for p in part.content)
        if count > most:
            path = f"{message.path}.content"
            code = "array_above_max_length"
            raise BadRequest(f"`{path}` holds image {most + 1}, at most {most} are allowed", param=path, code=code)


class _LegacyCalls:
    """Ids for calls of the time before calls had ids: the same for a message in every turn of a conversation."""

    __slots__ = ("_open", "_seen")

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []
        self._seen = 0

    def call(self, name: str) -> str:
        self._seen += 1
        made = f"call_function_{self._seen}"
        self._open.append((name, made))
        return made

    def result(self, name: str, path: str) -> str:
        for i, (called, made) in enumerate(self._open):
            if called == name:
                del self._open[i]
                return made
        raise BadRequest("this result belongs to no function call before it", param=path)


def _message(value: object, path: str, limits: Limits, legacy: _LegacyCalls) -> Message:
    message = fields(value, path)
    role = one_of(message.get("role"), f"{path}.role", ROLES)
    if role == "assistant":
        return _assistant(message, path, limits, legacy)
    if role in ("tool", "function"):
        return _tool(message, role, path, limits, legacy)
    parts = parse_content(message.get("content"), f"{path}.content", limits)
    if not parts:
        raise BadRequest(f"`{path}.content` is empty", param=f"{path}.content")
    if len(message) == 2:
        return Message(cast(Role, role), parts, path=path)
    name = text_or_none(message.get("name"), f"{path}.name")
    return Message(cast(Role, role), parts, name, _extra(rest(message, _PLAIN)), path=path)


def _assistant(message: Json, path: str, limits: Limits, legacy: _LegacyCalls) -> Message:
    parts: list[Part] = []
    thoughts = message.get("reasoning_content")
    where = f"{path}.reasoning_content"
    if not thoughts and message.get("reasoning"):
        thoughts, where = message["reasoning"], f"{path}.reasoning"
    if thoughts:
        parts.append(Thinking(text(thoughts, where), path=where))
    content = message.get("content")
    if content is not None and content != "":
        parts += parse_content(content, f"{path}.content", limits)
    refusal = message.get("refusal")
    if refusal is not None:
        parts.append(Refusal(text(refusal, f"{path}.refusal"), path=f"{path}.refusal"))
    if message.get("tool_calls") is not None:
        where = f"{path}.tool_calls"
        calls = items(message["tool_calls"], where, limits.parts)
        parts += [_call(call, f"{where}[{i}]") for i, call in enumerate(calls)]
    if message.get("function_call") is not None:
        where = f"{path}.function_call"
        call = fields(message["function_call"], where)
        name = tool_name(call.get("name"), f"{where}.name")
        parts.append(ToolCall(legacy.call(name), name, _arguments(call.get("arguments"), where), path=where))
    extra = rest(message, _ASSISTANT)
    if extra is not None and FIELD in extra and (signature := take_signature(extra)) is not None:
        signed = next((p for p in reversed(parts) if isinstance(p, Text)), None)
        if signed is None:
            signed = Text("", path=f"{path}.content")
            parts.append(signed)
        signed.signature = signature
        extra = extra or None
    if not parts:
        parts.append(Text("", path=f"{path}.content"))
    if message.get("annotations"):
        last = next((p for p in reversed(parts) if isinstance(p, Text)), None)
        if last is None:
            extra = {**(extra or {}), "annotations": message["annotations"]}
        elif last.annotations is None:
            last.annotations = message["annotations"]
    name_ = text_or_none(message.get("name"), f"{path}.name")
    return Message("assistant", parts, name_, _extra(extra), path=path)


def _call(value: object, path: str) -> ToolCall:
    call = fields(value, path)
    kind = "function" if call.get("type") is None else one_of(call["type"], f"{path}.type", ("function", "custom"))
    inner = fields(call.get(kind), f"{path}.{kind}")
    call_id = call.get("id")
    if not call_id:
        raise missing(f"{path}.id")
    name = tool_name(inner.get("name"), f"{path}.{kind}.name")
    if kind == "custom":
        arguments = text(inner.get("input"), f"{path}.custom.input")
    else:
        arguments = _arguments(inner.get("arguments"), f"{path}.function")
    extra = rest(call, ("id", "type", "index", kind)) or {}
    more = rest(inner, ("name", "input" if kind == "custom" else "arguments"))
    if more:
        extra[kind] = more
    kind_ = cast(Literal["function", "custom"], kind)
    signature = take_signature(extra) if extra else None
    return ToolCall(text(call_id, f"{path}.id"), name, arguments, kind_, signature, _extra(extra), path)


def _arguments(value: object, path: str) -> str:
    """The arguments as JSON text. Some clients send the object itself."""
    if isinstance(value, dict):
        return msgspec.json.encode(value, enc_hook=whole_text).decode()
    if value is not None and not isinstance(value, str):
        raise wrong_type(f"{path}.arguments", "a string of JSON", value)
    return value or ""


def _tool(message: Json, role: str, path: str, limits: Limits, legacy: _LegacyCalls) -> Message:
    name = text_or_none(message.get("name"), f"{path}.name")
    if role == "function":
        if name is None:
            raise missing(f"{path}.name")
        call_id = legacy.result(name, path)
    else:
        call_id = text(message.get("tool_call_id"), f"{path}.tool_call_id")
        if not call_id:
            raise missing(f"{path}.tool_call_id")
    content = message.get("content")
    parts = parse_content("" if content is None else content, f"{path}.content", limits)
    if not parts:
        parts = [Text("", path=f"{path}.content")]
    failed = bool(boolean_or_none(message.get("is_error"), f"{path}.is_error"))
    result = ToolResult(call_id, parts, name, failed, path=path)
    return Message("tool", [result], None, _extra(rest(message, _TOOL)), path=path)


def _extra(kept: Json | None) -> Extra | None:
    return {DIALECT: kept} if kept else None


def render_messages(
    messages: list[Message], extras: Container[str] | None, reasoning_field: ReasoningField
) -> list[Json]:
    """One canonical message gives one of the dialect's, or several if it holds several tools' results."""
    out: list[Json] = []
    for message in messages:
        results = [p for p in message.parts if isinstance(p, ToolResult)]
        out += [_render_result(message, r, extras) for r in results]
        if not results:
            out.append(_render(message, message.parts, extras, reasoning_field))
        elif len(results) < len(message.parts):
            others: list[Part] = [p for p in message.parts if not isinstance(p, ToolResult)]
            user = Message("user", others, message.name, path=message.path)
            out.append(_render(user, others, extras, reasoning_field))
    return out


def _render(
    message: Message, parts: list[Part], extras: Container[str] | None, reasoning_field: ReasoningField
) -> Json:
    out: Json = {"role": message.role}
    only = parts[0] if len(parts) == 1 else None
    if type(only) is Text and not _own(only) and not only.annotations and only.signature is None:
        out["content"] = only.text
    elif message.role == "assistant":
        _render_assistant(out, parts, extras, reasoning_field)
    else:
        out["content"] = [render_part(p, extras) for p in parts]
    if message.name is not None:
        out["name"] = message.name
    put_back(out, message.extra, extras)
    return out


def _own(part: Part) -> bool:
    """Has it fields of this dialect? They need the form with parts."""
    return bool(part.extra and part.extra.get(DIALECT))


def _render_assistant(
    out: Json, parts: list[Part], extras: Container[str] | None, reasoning_field: ReasoningField
) -> None:
    content: list[Part] = []
    calls: list[Json] = []
    thoughts: list[str] = []
    signature: str | None = None
    for part in parts:
        if isinstance(part, Thinking):
            thoughts.append(part.text)
        elif isinstance(part, ToolCall):
            calls.append(_render_call(part, extras))
        else:
            signature = part.signature or signature
            if not (isinstance(part, Text) and part.text == "" and part.signature is not None):
                content.append(part)
    last = content[-1] if content else None
    if isinstance(last, Refusal) and not _own(last):
        out["refusal"] = last.text
        content.pop()
    if len(content) == 1 and type(content[0]) is Text and not _own(content[0]):
        out["content"] = content[0].text
        if content[0].annotations and (extras is None or "annotations" in extras):
            out["annotations"] = content[0].annotations
    elif content:
        out["content"] = [render_part(p, extras) for p in content]
    else:
        out["content"] = None if calls or "refusal" in out else ""
    if thoughts:
        if reasoning_field != "reasoning":
            out["reasoning_content"] = "".join(thoughts)
        if reasoning_field != "reasoning_content":
            out["reasoning"] = "".join(thoughts)
    if calls:
        out["tool_calls"] = calls
    if extras is None or FIELD in extras:
        put_signature(out, signature)


def _render_call(call: ToolCall, extras: Container[str] | None) -> Json:
    out: Json = {"id": call.id, "type": call.kind}
    if call.kind == "custom":
        out["custom"] = {"name": call.name, "input": call.arguments}
    else:
        out["function"] = {"name": call.name, "arguments": call.arguments}
    put_back(out, call.extra, extras)
    if extras is None or FIELD in extras:
        put_signature(out, call.signature)
    return out


def _render_result(message: Message, result: ToolResult, extras: Container[str] | None) -> Json:
    out: Json = {"role": "tool", "tool_call_id": result.call_id}
    content = result.content
    if isinstance(content, dict):
        # spaced, as every client's own library writes it: the same words give the same prompt
        out["content"] = json.dumps(content, ensure_ascii=False)
    elif len(content) == 1 and type(content[0]) is Text and not _own(content[0]) and not content[0].annotations:
        out["content"] = content[0].text
    else:
        out["content"] = [render_part(p, extras) for p in content]
    if result.name is not None:
        out["name"] = result.name
    if result.is_error and (extras is None or "is_error" in extras):
        out["is_error"] = True
    put_back(out, message.extra, extras)
    return out
