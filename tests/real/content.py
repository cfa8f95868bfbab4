"""Content parts and tools that the tests send, and how answers are read."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from gateway.demo import media
from tests.faults.rawclient import event_data
from tests.faults.running import PROMPT

Json = dict[str, Any]

WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK: Json = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}}}
CITY: Json = {
    "type": "json_schema",
    "json_schema": {
        "name": "place",
        "strict": True,
        "schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def text(words: str = PROMPT) -> Json:
    return {"type": "text", "text": words}


@cache
def image() -> Json:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{b64(media.png())}"}}


@cache
def audio() -> Json:
    return {"type": "input_audio", "input_audio": {"data": b64(media.wav()), "format": "wav"}}


@cache
def video() -> Json:
    return {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{b64(media.mp4())}"}}


def user(content: str | list[Json] = PROMPT) -> list[Json]:
    return [{"role": "user", "content": content}]


def chat(model: str, content: str | list[Json] = PROMPT, **fields: Any) -> Json:
    """A chat request's body; `messages=` replaces the one message."""
    return {"model": model, "messages": user(content), **fields}


def long(name: str, tokens: int) -> str:
    """A prompt of about so many tokens of a fixture. Another name is another prompt: what a server has read before, it
    has in its cache."""
    return (name + "x" * tokens)[:tokens]


def endless(model: str, tokens: int = 60_000, **fields: Any) -> Json:
    """A request that a fixture answers for as long as it has room."""
    return chat(model, max_tokens=tokens, ignore_eos=True, **fields)


def error(body: bytes | str) -> Json:
    found: Json = json.loads(body)["error"]
    return found


def chunks(body: bytes) -> list[Json]:
    """The JSON events of a stream, without `[DONE]`."""
    return [json.loads(data) for data in event_data(body) if data != "[DONE]"]


def said(body: bytes) -> str:
    """The text of a stream's first choice."""
    deltas = (c["choices"][0]["delta"].get("content") for c in chunks(body) if c.get("choices"))
    return "".join(d for d in deltas if d)


def receipt(headers: Mapping[str, str]) -> list[str]:
    """`0-1=text,2=audio` -> one word a part."""
    out: list[str] = []
    for item in filter(None, headers.get("x-gateway-parts", "").split(",")):
        numbers, _, word = item.partition("=")
        first, _, last = numbers.partition("-")
        assert int(first) == len(out), headers["x-gateway-parts"]
        out += [word] * (int(last or first) - int(first) + 1)
    return out


def dropped(headers: Mapping[str, str]) -> list[str]:
    return [name for name in headers.get("x-gateway-dropped", "").split(",") if name]
