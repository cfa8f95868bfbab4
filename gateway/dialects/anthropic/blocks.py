"""Content blocks of a request -> parts.

A document or search result that is text becomes text: title, context and content in one part, in this order. Blocks of
tools that the maker of the API runs itself are kept as they are (`Opaque`); no other server can read them.
Fields of a block that no server here reads (`cache_control`, `citations`) are named in `Reading.dropped`.
Source: https://docs.claude.com/en/api/messages
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from gateway.canonical.content import (
    Document,
    Image,
    Media,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    whole_text,
)
from gateway.dialects import Limits
from gateway.dialects.data_url import parse_base64, parse_data_url, parse_media
from gateway.dialects.fields import (
    Json,
    boolean_or_none,
    field_name,
    fields,
    items,
    kind_of,
    long_text,
    missing,
    one_of,
    shown,
    text,
    text_or_none,
    tool_name,
    wrong_type,
)
from gateway.errors import BadRequest, PartRefused

DIALECT: Final = "anthropic"
Where = Literal["system", "user", "assistant", "result"]
"""Where a block stands: each place takes some kinds only."""

UNSIGNED: Final = "gateway-unsigned"
"""The signature of a thought whose model does not sign. Clients throw away a thought without a signature, or repeat it
as plain text; then the prompt of the next turn is not the continuation of this one."""

_OPAQUE: Final = frozenset(
    {"server_tool_use", "container_upload", "tool_reference", "compaction", "browser_state", "mcp_tool_use", "fallback"}
)


@dataclass(slots=True)
class Reading:
    """What is known while one request is read. `dropped` gets the names of fields that go no further, each once."""

    limits: Limits
    dropped: list[str] = field(default_factory=list)

    def drop(self, name: str) -> None:
        if name not in self.dropped:
            self.dropped.append(name)

    def drop_others(self, place: str, value: Json, known: Collection[str]) -> None:
        """Names the fields of `value` that are not `known` and not null."""
        for key, entry in value.items():
            if key not in known and entry is not None:
                self.drop(f"{place}.{field_name(key)}")


def parse_content(value: object, path: str, where: Where, reading: Reading) -> list[Part]:
    """A string or an array of blocks. An empty array gives no parts."""
    if isinstance(value, str):
        return [Text(value, path=path)]
    if not isinstance(value, list):
        raise missing(path) if value is None else wrong_type(path, "a string or an array of blocks", value)
    out: list[Part] = []
    for i, block in enumerate(items(value, path, reading.limits.parts)):
        out += _parse_block(block, f"{path}[{i}]", where, reading)
    return out


def _parse_block(value: object, path: str, where: Where, reading: Reading) -> list[Part]:
    if isinstance(value, str):
        return [Text(value, path=path)]
    block = fields(value, path)
    kind = block.get("type")
    if kind is None:
        raise missing(f"{path}.type")
    if not isinstance(kind, str):
        raise wrong_type(f"{path}.type", "a string", kind)
    allowed = _READERS[where]
    if kind in allowed:
        reader, known = allowed[kind]
        reading.drop_others(_PLACE[where], block, known)
        return reader(block, path, reading)
    if where != "system" and (kind in _OPAQUE or kind.endswith("_tool_result")):
        return [Opaque(DIALECT, kind, block, path=path)]
    raise PartRefused(
        f"`{path}.type` is {shown(kind) if kind else kind_of(kind)}: not a kind of content that can stand here "
        f"(choices: {', '.join(allowed)})",
        param=f"{path}.type",
    )


def _text(block: Json, path: str, reading: Reading) -> list[Part]:
    return [Text(text(block.get("text"), f"{path}.text"), path=path)]


def _image(block: Json, path: str, reading: Reading) -> list[Part]:
    where = f"{path}.source"
    source = fields(block.get("source"), where)
    kind = one_of(source.get("type"), f"{where}.type", ("base64", "url", "file"))
    if kind == "base64":
        media = _base64(source, where)
    elif kind == "url":
        media = parse_media(long_text(source.get("url"), f"{where}.url"), f"{where}.url")
    else:
        media = Media(file_id=text(source.get("file_id"), f"{where}.file_id"))
    if media.mime and not media.mime.startswith("image/"):
        raise BadRequest(f"`{where}.media_type` is {shown(media.mime)}, which is not an image", param=where)
    return [Image(media, path=path)]


def _base64(source: Json, path: str) -> Media:
    where = f"{path}.data"
    data = long_text(source.get("data"), where)
    mime = (text_or_none(source.get("media_type"), f"{path}.media_type") or "").strip().lower()
    head = data[:5] if isinstance(data, str) else data.head(5)
    if head.lower() == "data:":
        told, data = parse_data_url(data, where)
        return Media(mime=mime or told, base64=data)
    return Media(mime=mime, base64=parse_base64(data, where))


def _document(block: Json, path: str, reading: Reading) -> list[Part]:
    where = f"{path}.source"
    source = fields(block.get("source"), where)
    kind = one_of(source.get("type"), f"{where}.type", ("base64", "text", "url", "content", "file"))
    title = text_or_none(block.get("title"), f"{path}.title")
    context = text_or_none(block.get("context"), f"{path}.context")
    if kind == "text":
        return [_joined(path, title, context, text(source.get("data"), f"{where}.data"))]
    head: list[Part] = [Text(context, path=f"{path}.context")] if context else []
    if kind == "content":
        if title:
            head.insert(0, Text(title, path=f"{path}.title"))
        return head + parse_content(source.get("content"), f"{where}.content", "result", reading)
    if kind == "base64":
        media = _base64(source, where)
        media.name = title
    elif kind == "url":
        media = parse_media(long_text(source.get("url"), f"{where}.url"), f"{where}.url", title)
    else:
        media = Media(file_id=text(source.get("file_id"), f"{where}.file_id"), name=title)
    return [*head, Document(media, path=path)]


def _search_result(block: Json, path: str, reading: Reading) -> list[Part]:
    where = f"{path}.content"
    pieces = []
    for i, inner in enumerate(items(block.get("content"), where, reading.limits.parts)):
        entry = fields(inner, f"{where}[{i}]")
        one_of(entry.get("type"), f"{where}[{i}].type", ("text",))
        pieces.append(text(entry.get("text"), f"{where}[{i}].text"))
    title = text(block.get("title"), f"{path}.title")
    return [_joined(path, title, text(block.get("source"), f"{path}.source"), *pieces)]


def _joined(path: str, *pieces: str | None) -> Text:
    return Text("\n\n".join(p for p in pieces if p), path=path)


def _thinking(block: Json, path: str, reading: Reading) -> list[Part]:
    signature = text_or_none(block.get("signature"), f"{path}.signature")
    words = text(block.get("thinking"), f"{path}.thinking")
    return [Thinking(words, signature=None if signature in ("", UNSIGNED) else signature, path=path)]


def _redacted(block: Json, path: str, reading: Reading) -> list[Part]:
    return [Thinking("", redacted=text(block.get("data"), f"{path}.data"), path=path)]


def _tool_use(block: Json, path: str, reading: Reading) -> list[Part]:
    call_id = text(block.get("id"), f"{path}.id")
    name = tool_name(block.get("name"), f"{path}.name")
    given = block.get("input")
    arguments = "{}" if given is None else json_text(fields(given, f"{path}.input"), f"{path}.input")
    caller = block.get("caller")
    if caller is not None and (not isinstance(caller, dict) or caller.get("type") != "direct"):
        reading.drop("messages[].content[].caller")
    return [ToolCall(call_id, name, arguments, path=path)]


def json_text(value: object, path: str) -> str:
    """`value` as JSON text; a long string in it may have come in pieces."""
    try:
        return msgspec.json.encode(value, enc_hook=whole_text).decode()
    except UnicodeEncodeError:
        raise BadRequest("a text holds half of a surrogate pair, which is no character", param=path) from None
    except RecursionError:
        raise BadRequest(f"`{path}` is nested too deeply", param=path) from None


def _tool_result(block: Json, path: str, reading: Reading) -> list[Part]:
    call_id = text(block.get("tool_use_id"), f"{path}.tool_use_id")
    failed = bool(boolean_or_none(block.get("is_error"), f"{path}.is_error"))
    where = f"{path}.content"
    content: list[Part] = []
    if block.get("content") is not None:
        content = parse_content(block["content"], where, "result", reading)
    return [ToolResult(call_id, content or [Text("", path=where)], is_error=failed, path=path)]


Reader = Callable[[Json, str, Reading], list[Part]]
_TEXT: Final[tuple[Reader, frozenset[str]]] = _text, frozenset({"type", "text"})
_IMAGE: Final[tuple[Reader, frozenset[str]]] = _image, frozenset({"type", "source"})
_DOCUMENT: Final[tuple[Reader, frozenset[str]]] = _document, frozenset({"type", "source", "title", "context"})
_SEARCH: Final[tuple[Reader, frozenset[str]]] = _search_result, frozenset({"type", "source", "title", "content"})
_RESULT: Final[dict[str, tuple[Reader, frozenset[str]]]] = {
    "text": _TEXT,
    "image": _IMAGE,
    "document": _DOCUMENT,
    "search_result": _SEARCH,
}
_READERS: Final[dict[Where, dict[str, tuple[Reader, frozenset[str]]]]] = {
    "system": {"text": _TEXT},
    "result": _RESULT,
    "user": {**_RESULT, "tool_result": (_tool_result, frozenset({"type", "tool_use_id", "content", "is_error"}))},
    "assistant": {
        "text": _TEXT,
        "image": _IMAGE,
        "thinking": (_thinking, frozenset({"type", "thinking", "signature"})),
        "redacted_thinking": (_redacted, frozenset({"type", "data"})),
        "tool_use": (_tool_use, frozenset({"type", "id", "name", "input", "caller"})),
    },
}
"""Where a block may stand -> its type -> (its reader, the fields that are read)."""
_PLACE: Final[dict[Where, str]] = {
    "system": "system[]",
    "result": "messages[].content[].content[]",
    "user": "messages[].content[]",
    "assistant": "messages[].content[]",
}
