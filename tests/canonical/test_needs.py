from __future__ import annotations

from typing import Any

import pytest

from gateway.canonical.content import (
    Audio,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Part,
    Refusal,
    Segments,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from gateway.canonical.needs import MediaNeed, content_parts, needs_of
from gateway.canonical.requests import (
    Chat,
    Completion,
    CountTokens,
    Embedding,
    Options,
    OutputFormat,
    Sampling,
    ThinkingConfig,
    Tool,
    ToolChoice,
)

PNG = Image(Media("image/png", base64="AAAA"), path="messages[0].content[1]")
WAV = Audio(Media("audio/wav", octets=b"12345"), path="messages[0].content[2]")
MP4 = Video(Media("video/mp4", url="https://h/v.mp4"), path="messages[0].content[3]")
PDF = Document(Media("application/pdf", file_id="f"), path="messages[1].content[0]")


def chat(*parts: Part, role: Any = "user", **fields: Any) -> Chat:
    return Chat("m", [Message(role, list(parts))], **fields)


def test_media() -> None:
    needs = needs_of(chat(Text("look"), PNG, WAV, MP4, ToolResult("c", [PDF])))
    assert needs.modalities == {"image", "audio", "video", "document"}
    assert needs.media == [
        MediaNeed(PNG.path, "image", "image/png", "base64", 3),
        MediaNeed(WAV.path, "audio", "audio/wav", "octets", 5),
        MediaNeed(MP4.path, "video", "video/mp4", "url", 0),
        MediaNeed(PDF.path, "document", "application/pdf", "file_id", 0),
    ]
    long = Video(Media("video/mp4", base64=Segments([b"A" * 4000, b"A" * 4000])))
    assert needs_of(chat(long)).media[0].size == 6000


def test_plain_text_needs_nothing() -> None:
    needs = needs_of(chat(Text("Hi é")))
    assert (needs.operation, needs.modalities, needs.choices, needs.messages) == ("chat", frozenset(), 1, 1)
    flags = (needs.tools, needs.forced_tool, needs.json_schema, needs.logprobs, needs.seed, needs.thinking)
    assert not any(flags) and not needs.prefill and not needs.audio_out
    assert needs.text_size == 5


def test_all_text_counts() -> None:
    parts = (Text("é"), Thinking("ab"), Refusal("cd"), ToolCall("i", "f", "{}"), ToolResult("i", [Text("xyz")]))
    assert needs_of(chat(*parts)).text_size == 2 + 2 + 2 + 2 + 3
    assert needs_of(chat(ToolResult("i", {"a": 1}))).text_size >= 7
    assert needs_of(chat(Text("\ud800"))).text_size == 3


@pytest.mark.parametrize(
    ("fields", "need", "value"),
    [
        ({"tools": [Tool("f")]}, "tools", True),
        ({"tools": [Tool("f")], "tool_choice": ToolChoice("none")}, "tools", False),
        ({"tools": [Tool("f")], "tool_choice": ToolChoice("auto", ["f"])}, "forced_tool", False),
        ({"tools": [Tool("f")], "tool_choice": ToolChoice("required")}, "forced_tool", True),
        ({"tools": [Tool("f")], "tool_choice": ToolChoice("named", ["f"])}, "forced_tool", True),
        ({"output": OutputFormat("json_object")}, "json_schema", True),
        ({"logprobs": True}, "logprobs", True),
        ({"choices": 3}, "choices", 3),
        ({"sampling": Sampling(seed=0)}, "seed", True),
        ({"thinking": ThinkingConfig(True)}, "thinking", True),
        ({"thinking": ThinkingConfig(False)}, "thinking", False),
        ({"prefill": True}, "prefill", True),
        ({"audio_out": True}, "audio_out", True),
        ({"options": Options(strict_parts=True)}, "options", Options(strict_parts=True)),
    ],
)
def test_what_a_chat_asks_for(fields: dict[str, Any], need: str, value: Any) -> None:
    assert getattr(needs_of(chat(Text("x"), **fields)), need) == value


def test_opaque_parts_are_named() -> None:
    part = Opaque("gemini", "grounding", {}, path="messages[0].content[0]")
    assert needs_of(chat(part)).opaque == [("messages[0].content[0]", "gemini", "grounding")]


def test_other_operations() -> None:
    needs = needs_of(Completion("m", ["ab", "abcd"], choices=2, logprobs=0, sampling=Sampling(seed=1)))
    assert (needs.operation, needs.text_size, needs.choices) == ("completion", 4, 2)
    assert needs.logprobs and needs.seed
    assert needs_of(Completion("m", [[1, 2, 3]])).text_size == 3
    assert (needs_of(Embedding("m", ["é"])).operation, needs_of(Embedding("m", ["é"])).text_size) == ("embedding", 2)
    counted = CountTokens(chat(PNG))
    assert (needs_of(counted).operation, needs_of(counted).modalities) == ("count_tokens", {"image"})
    assert (counted.model, counted.options) == ("m", Options())


def test_what_a_receipt_counts() -> None:
    messages = [
        Message("system", [Text("rules")]),
        Message("developer", [Text("more rules")]),
        Message("user", [Text("a"), PNG]),
        Message("assistant", [Thinking("t"), Text("b"), ToolCall("i", "f", "{}")]),
        Message("tool", [ToolResult("i", [Text("c"), WAV]), ToolResult("j", {"d": 1})]),
        Message("assistant", [Refusal("no")]),
    ]
    result = messages[4].parts[1]
    wanted = [Text("a"), PNG, Text("b"), Text("c"), WAV, result, Refusal("no")]
    assert list(content_parts(Chat("m", messages))) == wanted
