"""Files that a request names by their id -> the media that they are: from here on they are like any sent with it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from gateway.canonical.content import (
    Audio,
    Document,
    Image,
    Media,
    MediaPart,
    Message,
    Part,
    Segments,
    Text,
    ToolResult,
    Video,
)
from gateway.canonical.files import File
from gateway.canonical.identity import same
from gateway.canonical.requests import Chat, CountTokens, Request
from gateway.dialects.gemini.files import mime_of_name
from gateway.engine.files import Files
from gateway.errors import BadRequest
from gateway.server.body import Held

PREFIXES = ("files/", "file-", "file_")
"""What dialects put before an id: a file that was sent in one may be named in another."""
_TEXTS = frozenset({"application/json", "application/xml", "application/yaml", "application/x-yaml"})
_KINDS: dict[str, type[MediaPart]] = {"image": Image, "audio": Audio, "video": Video}
_NO_CLAIM = ("", "application/octet-stream")


def file_name(given: str) -> str:
    """The id without its dialect's prefix."""
    for prefix in PREFIXES:
        if given.startswith(prefix):
            return given[len(prefix) :]
    return given


async def attached(request: Request, files: Files, key: str, held: Held) -> Request:
    """The request with its key's files in it, whose octets count as `held`; the same one if it names none. Raises
    BadRequest with the path of a file that is not there."""
    chat = request.chat if isinstance(request, CountTokens) else request
    named = [entry for m in chat.messages for entry in _named(m.parts)] if isinstance(chat, Chat) else []
    if not named or not isinstance(chat, Chat):
        return request
    found: dict[str, tuple[File, Segments]] = {}
    for part, name in named:
        if name not in found:
            found[name] = await _fetch(part, name, files, key, held)
    messages = [_message(m, found) for m in chat.messages]
    whole = replace(chat, messages=messages)
    return replace(request, chat=whole) if isinstance(request, CountTokens) else whole


def _named(parts: list[Part]) -> Iterator[tuple[MediaPart, str]]:
    """The media that are named by a file's id, with it."""
    for part in parts:
        if isinstance(part, Image | Audio | Video | Document):
            if part.media.file_id is not None:
                yield part, part.media.file_id
        elif isinstance(part, ToolResult) and isinstance(part.content, list):
            yield from _named(part.content)


async def _fetch(part: MediaPart, name: str, files: Files, key: str, held: Held) -> tuple[File, Segments]:
    file = files.get(key, file_name(name))
    if file is not None and not file.size:
        raise BadRequest(f"the file {name[:80]!r} is empty", param=part.path or None)
    if file is not None:
        held.grow(-(-file.size // 3) * 4)
        content = await files.base64(file)
        if content is not None:
            return file, content
    raise BadRequest(f"there is no file {name[:80]!r} (any more)", param=part.path or None, code="file_not_found")


def _message(message: Message, found: dict[str, tuple[File, Segments]]) -> Message:
    parts = _parts(message.parts, found)
    return message if same(parts, message.parts) else replace(message, parts=parts)


def _parts(parts: list[Part], found: dict[str, tuple[File, Segments]]) -> list[Part]:
    out: list[Part] = []
    for part in parts:
        if isinstance(part, Image | Audio | Video | Document) and part.media.file_id is not None:
            out.append(_with(part, *found[part.media.file_id]))
        elif isinstance(part, ToolResult) and any(True for _ in _named([part])):
            out.append(replace(part, content=_parts(cast(list[Part], part.content), found)))
        else:
            out.append(part)
    return out


def _with(part: MediaPart, file: File, content: Segments) -> Part:
    """The part as the file's own type has it; what the request says of the type counts where the upload said none."""
    media = part.media
    mime = file.mime if file.mime not in _NO_CLAIM else media.mime or mime_of_name(file.name) or file.mime
    if mime.startswith("text/") or mime in _TEXTS:
        words = _words(content)
        if words is not None:
            return Text(words, signature=part.signature, extra=part.extra, path=part.path)
    name = media.name or file.name or None
    new = Media(mime, base64=content, name=name, detail=media.detail, clip=media.clip)
    kind = type(part) if mime in _NO_CLAIM else _KINDS.get(mime.partition("/")[0], Document)
    if kind is not Document:
        new.name = None
    return kind(new, part.signature, part.extra, part.path)


def _words(content: Segments) -> str | None:
    try:
        return b"".join(map(b64decode, content)).decode()
    except UnicodeDecodeError:
        return None
