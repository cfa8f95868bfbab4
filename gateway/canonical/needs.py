"""What a request needs from the server that takes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from gateway.canonical.content import (
    MODALITY,
    Audio,
    Document,
    Image,
    MediaPart,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from gateway.canonical.requests import (
    Chat,
    Completion,
    CountTokens,
    Embedding,
    Options,
    Relayed,
    Request,
    Tool,
    Transcription,
)

Operation = Literal[
    "chat",
    "completion",
    "embedding",
    "count_tokens",
    "transcription",
    "translation",
    "rerank",
    "speech",
    "images",
    "infill",
]
Form = Literal["base64", "octets", "url", "file_id"]


@dataclass(slots=True)
class MediaNeed:
    """One medium of the request: where it stands, what it is, and how it was given. `size` in octets, 0 if not here.

    What its header tells, None or 0 = nothing: `seconds`, `width` x `height` in pixels, `frames`, whether a video has a
    `sound` track. `cut` = only a piece of it is meant. `url` where it is elsewhere."""

    path: str
    modality: str
    mime: str
    form: Form
    size: int
    seconds: float | None = None
    width: int = 0
    height: int = 0
    frames: int | None = None
    sound: bool | None = None
    cut: bool = False
    url: str = field(default="", compare=False)


@dataclass(slots=True)
class Needs:
    """`text_size` is the UTF-8 length of all text, an upper bound of its tokens; `tools_size` about that of the
    declared tools. `opaque` = (path, dialect, type)."""

    operation: Operation = "chat"
    modalities: frozenset[str] = frozenset()
    media: list[MediaNeed] = field(default_factory=list)
    tools: bool = False
    forced_tool: bool = False
    json_schema: bool = False
    logprobs: bool = False
    choices: int = 1
    seed: bool = False
    thinking: bool = False
    prefill: bool = False
    audio_out: bool = False
    text_size: int = 0
    messages: int = 0
    opaque: list[tuple[str, str, str]] = field(default_factory=list)
    options: Options = field(default_factory=Options)
    tools_size: int = 0
    timestamps: bool = False


def needs_of(request: Request) -> Needs:
    """Everything that `request` asks of a server, found in one walk over its parts."""
    if isinstance(request, CountTokens):
        needs = needs_of(request.chat)
        needs.operation = "count_tokens"
        return needs
    if isinstance(request, Chat):
        return _chat_needs(request)
    if isinstance(request, Completion):
        sizes = (_text_size(p) if isinstance(p, str) else len(p) for p in request.prompt)
        return Needs(
            "completion",
            choices=request.choices,
            logprobs=request.logprobs is not None,
            seed=request.sampling.seed is not None,
            text_size=max(sizes, default=0),
            messages=1,
            options=request.options,
        )
    if isinstance(request, Transcription):
        return _transcription_needs(request)
    if isinstance(request, Relayed):
        sizes = (_text_size(str(v)) for v in request.fields.get("documents", ()))  # each is a prompt of its own
        size = max(sizes, default=0) + sum(_text_size(str(v)) for k, v in request.fields.items() if k != "documents")
        return Needs(request.operation, text_size=size, messages=1, options=request.options)
    assert isinstance(request, Embedding)
    sizes = (_text_size(p) if isinstance(p, str) else len(p) for p in request.input)
    return Needs("embedding", text_size=max(sizes, default=0), messages=1, options=request.options)


def media_in(request: Request) -> list[MediaNeed]:
    """The media of `needs_of`, in the same order, where nothing else is asked."""
    if isinstance(request, Chat):
        if all(type(part) is Text for message in request.messages for part in message.parts):
            return []
        return _chat_needs(request).media
    return needs_of(request).media


def _chat_needs(chat: Chat) -> Needs:
    needs = Needs(
        "chat",
        tools=bool(chat.tools) and (chat.tool_choice is None or chat.tool_choice.mode != "none"),
        forced_tool=chat.tool_choice is not None and chat.tool_choice.mode in ("required", "named"),
        json_schema=chat.output is not None,
        logprobs=chat.logprobs,
        choices=chat.choices,
        seed=chat.sampling.seed is not None,
        thinking=bool(chat.thinking.enabled),
        prefill=chat.prefill,
        audio_out=chat.audio_out,
        messages=len(chat.messages),
        options=chat.options,
    )
    size = 0
    for message in chat.messages:
        for part in message.parts:
            if type(part) is Text:
                size += _text_size(part.text)
            else:
                size += _part_needs(part, needs)
    needs.text_size = size
    if needs.tools:
        needs.tools_size = sum(_tool_size(tool) for tool in chat.tools)
    if needs.media:
        needs.modalities = frozenset(m.modality for m in needs.media)
    return needs


def _transcription_needs(request: Transcription) -> Needs:
    medium = _media_need(request.sound)
    return Needs(
        request.operation,
        modalities=frozenset({medium.modality}),
        media=[medium],
        text_size=_text_size(request.prompt or ""),
        messages=1,
        options=request.options,
        timestamps=bool(request.timestamps),
    )


def _part_needs(part: Part, needs: Needs) -> int:
    """Adds what one part needs; returns the size of the text in it."""
    if isinstance(part, Image | Audio | Video | Document):
        needs.media.append(_media_need(part))
        return 0
    if isinstance(part, Opaque):
        needs.opaque.append((part.path, part.dialect, part.type))
        return 0
    if isinstance(part, ToolResult):
        if isinstance(part.content, dict):
            return _text_size(str(part.content))
        return sum(_part_needs(inner, needs) for inner in part.content)
    if isinstance(part, ToolCall):
        return _text_size(part.arguments)
    return _text_size(part.text)


def _tool_size(tool: Tool) -> int:
    text = _text_size(tool.name) + _text_size(tool.description or "")
    return text + sum(_text_size(str(x)) for x in (tool.parameters, tool.format) if x is not None)


def _media_need(part: MediaPart) -> MediaNeed:
    media = part.media
    form: Form = (
        "base64"
        if media.base64 is not None
        else "octets"
        if media.octets is not None
        else "url"
        if media.url is not None
        else "file_id"
    )
    need = MediaNeed(part.path, MODALITY[type(part)], media.mime, form, media.size, url=media.url or "")
    header, clip = media.header, media.clip
    if header is not None:
        need.seconds, need.frames, need.sound = header.seconds, header.frames, header.sound
        need.width, need.height = header.width, header.height
    need.cut = clip is not None and (clip.start is not None or clip.end is not None)
    return need


def _text_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def content_parts(chat: Chat) -> Iterator[Part]:
    """The parts that a receipt counts, in request order: content of the messages that are not system or developer
    text; no tool calls, no thinking; the parts inside a tool's result one by one."""
    for message in chat.messages:
        if message.role in ("system", "developer"):
            continue
        for part in message.parts:
            if isinstance(part, ToolResult):
                if isinstance(part.content, dict):
                    yield part
                else:
                    yield from part.content
            elif not isinstance(part, ToolCall | Thinking):
                yield part
