"""Messages, both ways.

The order of parts that this dialect can say: an assistant's thoughts, media, one text, calls. Several texts are written
as one, a line each. Calls of older versions have no ids: results then belong to the first open call of their name.
Source: https://docs.ollama.com/api/chat
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Final, cast

import msgspec

from gateway.canonical.content import (
    Audio,
    Base64,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Part,
    Refusal,
    Role,
    Segments,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
    whole_text,
)
from gateway.dialects import Limits
from gateway.dialects.data_url import parse_base64, parse_data_url
from gateway.dialects.fields import (
    Json,
    field_name,
    fields,
    items,
    long_text,
    one_of,
    rest,
    text_or_none,
    tool_name,
    wrong_type,
)
from gateway.dialects.openai.messages import check_images
from gateway.errors import BadRequest, PartRefused

_KNOWN: Final = frozenset({"role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id", "name"})
_SOUND: Final = (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")


def parse_messages(value: object, limits: Limits, dropped: list[str]) -> list[Message]:
    """Raises BadRequest with the path of what is wrong; names fields that nobody reads in `dropped`."""
    entries = items(value, "messages", limits.messages)
    if not entries:
        raise BadRequest("`messages` is empty", param="messages")
    calls = _Calls()
    out = []
    for i, entry in enumerate(entries):
        path = f"messages[{i}]"
        message = fields(entry, path)
        for key in rest(message, _KNOWN) or ():
            if (name := f"messages[].{field_name(key)}") not in dropped:
                dropped.append(name)
        out.append(_message(message, path, limits, calls))
    check_images(out, limits.images)
    return out


class _Calls:
    """The calls that have no result yet, and ids for those that came without: the same in every turn."""

    __slots__ = ("_made", "_open")

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []
        self._made = 0

    def call(self, given: str | None, name: str) -> str:
        self._made += 1
        made = given or f"call_{self._made}"
        self._open.append((name, made))
        return made

    def result(self, given: str | None, name: str | None, path: str) -> tuple[str, str | None]:
        """(the id of the call that is answered, the name of its tool)."""
        for i, (called, made) in enumerate(self._open):
            if given == made if given else name in (None, called):
                del self._open[i]
                return made, name
        if given:
            return given, name
        raise BadRequest("this result belongs to no call before it", param=path)


def _message(message: Json, path: str, limits: Limits, calls: _Calls) -> Message:
    role = one_of(message.get("role"), f"{path}.role", ("system", "user", "assistant", "tool", "developer"))
    parts: list[Part] = []
    thoughts = text_or_none(message.get("thinking"), f"{path}.thinking")
    if thoughts:
        parts.append(Thinking(thoughts, path=f"{path}.thinking"))
    parts += parse_images(message.get("images"), f"{path}.images", limits)
    words = text_or_none(message.get("content"), f"{path}.content") or ""
    given = message.get("tool_calls")
    called = [] if given is None else items(given, f"{path}.tool_calls", limits.parts)
    if words or not (parts or called):
        parts.append(Text(words, path=f"{path}.content"))
    if role == "tool":
        name = text_or_none(message.get("tool_name"), f"{path}.tool_name")
        name = name or text_or_none(message.get("name"), f"{path}.name")
        told = text_or_none(message.get("tool_call_id"), f"{path}.tool_call_id")
        call_id, name = calls.result(told, name, path)
        return Message("tool", [ToolResult(call_id, parts, name, path=path)], path=path)
    parts += [_call(entry, f"{path}.tool_calls[{i}]", calls) for i, entry in enumerate(called)]
    return Message(cast(Role, role), parts, text_or_none(message.get("name"), f"{path}.name"), path=path)


def parse_images(value: object, path: str, limits: Limits) -> list[Part]:
    """Base64 texts, each a picture or a sound: models that hear get sounds in the same list."""
    entries = [] if value is None else items(value, path, limits.parts)
    out: list[Part] = []
    for i, entry in enumerate(entries):
        where = f"{path}[{i}]"
        data = long_text(entry, where)
        mime = ""
        if _head(data, 5).lower() == "data:":
            mime, data = parse_data_url(data, where)
        media = Media(mime, parse_base64(data, where))
        out.append(Audio(media, path=where) if _is_sound(media) else Image(media, path=where))
    return out


def _head(data: Base64, n: int) -> str:
    return data[:n] if isinstance(data, str) else data.head(n)


def _is_sound(media: Media) -> bool:
    if media.mime:
        return media.mime.startswith("audio/")
    assert media.base64 is not None
    text = _head(media.base64, 16)
    try:
        head = b64decode(text[: len(text) & ~3], validate=True)
    except ValueError:
        return False
    return head.startswith(_SOUND) or (head[:4] == b"RIFF" and head[8:12] == b"WAVE")


def _call(value: object, path: str, calls: _Calls) -> ToolCall:
    call = fields(value, path)
    inner = fields(call.get("function"), f"{path}.function")
    name = tool_name(inner.get("name"), f"{path}.function.name")
    given = inner.get("arguments")
    if isinstance(given, dict):
        arguments = msgspec.json.encode(given, enc_hook=whole_text).decode()
    elif given is None or isinstance(given, str):
        arguments = given or "{}"
    else:
        raise wrong_type(f"{path}.function.arguments", "an object", given)
    return ToolCall(calls.call(text_or_none(call.get("id"), f"{path}.id"), name), name, arguments, path=path)


def render_messages(messages: list[Message]) -> list[Json]:
    """One canonical message gives one of the dialect's, or several if it holds several results. Raises PartRefused."""
    out: list[Json] = []
    for message in messages:
        results = [p for p in message.parts if isinstance(p, ToolResult)]
        others: list[Part] = [p for p in message.parts if not isinstance(p, ToolResult)]
        out += [_render_result(r) for r in results]
        if others or not results:
            role = "user" if results else "system" if message.role == "developer" else message.role
            out.append(_render(role, others))
    return out


def _render(role: str, parts: list[Part]) -> Json:
    texts: list[str] = []
    thoughts: list[str] = []
    images: list[Base64] = []
    calls: list[Json] = []
    for part in parts:
        if isinstance(part, Text | Refusal):
            texts.append(part.text)
        elif isinstance(part, Thinking):
            thoughts.append(part.text)
        elif isinstance(part, Image | Audio):
            images.append(_base64(part))
        elif isinstance(part, ToolCall):
            calls.append(render_call(part, len(calls)))
        else:
            assert isinstance(part, Video | Document | Opaque | ToolResult)
            raise PartRefused(f"a {type(part).__name__.lower()} can't be sent to this server", param=part.path or None)
    out: Json = {"role": role, "content": "\n".join(texts)}
    if thoughts:
        out["thinking"] = "".join(thoughts)
    if images:
        out["images"] = images
    if calls:
        out["tool_calls"] = calls
    return out


def _render_result(result: ToolResult) -> Json:
    if isinstance(result.content, dict):
        out: Json = {"role": "tool", "content": msgspec.json.encode(result.content).decode()}
    else:
        out = _render("tool", result.content)
    if result.name is not None:
        out["tool_name"] = result.name
    out["tool_call_id"] = result.call_id
    return out


def render_call(call: ToolCall, index: int) -> Json:
    return {
        "id": call.id,
        "function": {"index": index, "name": call.name, "arguments": object_of(call.arguments, call.kind)},
    }


def object_of(arguments: str, kind: str = "function") -> Json:
    """A call's arguments as the object that this dialect has for them; text that is none stays whole in it."""
    if kind == "custom":
        return {"input": arguments}
    if not arguments.strip():
        return {}
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return {"arguments": arguments}
    return value if isinstance(value, dict) else {"arguments": value}


def _base64(part: Image | Audio) -> Base64:
    media = part.media
    if media.base64 is not None:
        return media.base64
    if media.octets is not None:
        return Segments([b64encode(media.octets)])
    raise PartRefused("this server takes media as base64 only", param=part.path or None)
