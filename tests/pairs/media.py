"""Media as the clients of each dialect send them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.dialects import anthropic, gemini, ollama
from gateway.dialects.openai import chat_codec
from gateway.dialects.openai.responses import responses_codec

Json = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """One part: a medium by its base64 or by a URL, under the type that the client says it has; or words. `piece`: from
    second to second, where only that is meant."""

    mime: str = ""
    data: str = ""
    url: str = ""
    words: str = ""
    piece: tuple[float, float] | None = None


class CannotSay(Exception):
    """The dialect has no words for that."""


def openai(p: Given) -> Json:
    if p.piece:
        raise CannotSay
    if p.words:
        return {"type": "text", "text": p.words}
    where = p.url or f"data:{p.mime};base64,{p.data}"
    if p.mime.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": where}}
    if p.mime.startswith("audio/"):
        return {"type": "audio_url", "audio_url": {"url": where}}
    if p.mime.startswith("video/"):
        return {"type": "video_url", "video_url": {"url": where}}
    return {"type": "file", "file": {"file_url": p.url} if p.url else {"file_data": where, "filename": "a"}}


def chat(parts: Sequence[Given]) -> Json:
    return {"messages": [{"role": "user", "content": [openai(p) for p in parts]}]}


def in_a_result(parts: Sequence[Given]) -> Json:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return {
        "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": [openai(p) for p in parts]},
        ]
    }


def responses(parts: Sequence[Given]) -> Json:
    return {"input": [{"type": "message", "role": "user", "content": [openai(p) for p in parts]}], "store": False}


def messages(parts: Sequence[Given]) -> Json:
    blocks: list[Json] = []
    for p in parts:
        if p.piece:
            raise CannotSay
        if p.words:
            blocks.append({"type": "text", "text": p.words})
            continue
        kind = "image" if p.mime.startswith("image/") else "document"
        given: Json = {"type": "base64", "media_type": p.mime, "data": p.data}
        blocks.append({"type": kind, "source": {"type": "url", "url": p.url} if p.url else given})
    return {"messages": [{"role": "user", "content": blocks}], "max_tokens": 9}


def contents(parts: Sequence[Given]) -> Json:
    out: list[Json] = []
    for p in parts:
        if p.words:
            out.append({"text": p.words})
        elif p.url:
            out.append({"fileData": {"mimeType": p.mime, "fileUri": p.url}})
        else:
            out.append({"inlineData": {"mimeType": p.mime, "data": p.data}})
        if p.piece:
            out[-1]["videoMetadata"] = {"startOffset": f"{p.piece[0]}s", "endOffset": f"{p.piece[1]}s"}
    return {"contents": [{"role": "user", "parts": out}]}


def images(parts: Sequence[Given]) -> Json:
    """It has one text, which comes behind its media, and no URLs."""
    if any(p.url or p.piece for p in parts):
        raise CannotSay
    words = "\n".join(p.words for p in parts if p.words)
    message = {"role": "user", "content": words, "images": [p.data for p in parts if not p.words]}
    return {"messages": [message], "stream": False}


@dataclass(frozen=True)
class Dialect:
    """`name`: the gateway's own. Raises CannotSay in `write`."""

    name: str
    codec: Any
    write: Callable[[Sequence[Given]], Json]


DIALECTS: dict[str, Dialect] = {
    "chat": Dialect("openai", chat_codec, chat),
    "chat, a tool's result": Dialect("openai", chat_codec, in_a_result),
    "responses": Dialect("openai", responses_codec, responses),
    "messages": Dialect("anthropic", anthropic.messages_codec, messages),
    "gemini": Dialect("gemini", gemini.generate_codec, contents),
    "ollama": Dialect("ollama", ollama.chat_codec, images),
}
