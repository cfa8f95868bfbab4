"""Canonical requests and answers in the form that this dialect can say: hypothesis makes them up."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from hypothesis import strategies as st

from gateway.canonical.content import (
    Audio,
    Clip,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Refusal,
    Segments,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from gateway.canonical.events import Answer, Choice, Usage
from gateway.canonical.requests import Bound, Chat, OutputFormat, Sampling, ThinkingConfig, Tool, ToolChoice

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.:-]{0,12}", fullmatch=True)
ids = st.from_regex(r"[a-z0-9_-]{1,12}", fullmatch=True)
maybe_name = st.none() | words
base64s = st.binary(min_size=1, max_size=40).map(lambda b: b64encode(b).decode())
both_base64s = base64s | base64s.map(lambda s: Segments([s[:3].encode(), s[3:].encode()]))
signatures = st.none() | st.sampled_from(["c2ln", "+/8="])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8"), max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(words, values, max_size=3)
kept = st.none() | st.just({"gemini": {"partMetadata": {"a": 1}}})
clips = st.none() | st.builds(
    Clip, st.none() | st.integers(0, 80).map(lambda n: n / 8), st.none() | st.integers(81, 99).map(lambda n: n / 8)
).filter(lambda c: c != Clip())


def media(*mimes: str, detail: bool = False, clip: bool = False) -> st.SearchStrategy[Media]:
    def build(mime: str, where: int, data: Any, name: Any, detail: Any, clip: Any) -> Media:
        out = Media(mime, base64=data, name=name, detail=detail, clip=clip)
        if where:
            out.base64 = None
            out.url, out.file_id = ("https://example.com/a.bin", None) if where == 1 else (None, "files/abc-1")
        return out

    details = st.none() | st.sampled_from(["low", "high"]) if detail else st.none()
    return st.builds(
        build,
        st.sampled_from(mimes),
        st.integers(0, 2),
        both_base64s,
        maybe_name,
        details,
        clips if clip else st.none(),
    )


images = st.builds(Image, media("image/png", "image/webp", detail=True), extra=kept)
audios = st.builds(Audio, media("audio/wav", "audio/mpeg", "audio/l16;rate=24000", clip=True), extra=kept)
videos = st.builds(Video, media("video/mp4", "video/webm", clip=True), extra=kept)
documents = st.builds(Document, media("application/pdf", "application/x-thing"), extra=kept)
texts = st.builds(Text, words, extra=kept)
content = texts | images | audios | videos | documents
opaques = st.builds(
    Opaque,
    st.just("gemini"),
    st.sampled_from(["executableCode", "codeExecutionResult", "toolCall", "toolResponse"]),
    objects,
    signatures,
    kept,
)
thoughts = st.builds(Thinking, words, signature=signatures)


def call_text(arguments: Any) -> str:
    return json.dumps(arguments, ensure_ascii=False)


@st.composite
def results(draw: Any, call: ToolCall) -> ToolResult:
    """What a tool said, in one of the forms that stay what they are."""
    shape = draw(st.integers(0, 4))
    if shape == 0:
        return ToolResult(call.id, [Text("plain words, no JSON")])
    if shape == 1:
        held = draw(objects.filter(lambda o: not (set(o) & {"output", "result", "error", "$ref"})))
        return ToolResult(call.id, held)
    if shape == 2:
        return ToolResult(call.id, {"error": draw(values)}, is_error=True)
    if shape == 3:
        pictures = draw(st.lists(images, min_size=1, max_size=2))
        return ToolResult(call.id, [Text("see"), *pictures])
    inner = draw(words.filter(lambda w: w.strip() != ""))
    return ToolResult(call.id, [Text(inner)], extra={"gemini.form": {"wrap": "result"}})


@st.composite
def turns(draw: Any, number: int) -> list[Message]:
    """The user's words, the model's, and where it called, what came back for every call."""
    out = [Message("user", draw(st.lists(content, min_size=1, max_size=3)))]
    parts: list[Any] = draw(st.lists(thoughts | opaques, max_size=2))
    if draw(st.booleans()):
        parts.append(Text(draw(words), signature=draw(signatures)))
    calls = [
        ToolCall(f"{i}_{number}_{n}", name, call_text(arguments), signature=signature)
        for n, (i, name, arguments, signature) in enumerate(
            draw(st.lists(st.tuples(ids, names, objects, signatures), max_size=3))
        )
    ]
    parts += calls
    out.append(Message("assistant", parts or [Text(draw(words))]))
    out += [Message("tool", [draw(results(call))]) for call in calls]
    return out


schemas = st.fixed_dictionaries(
    {
        "type": st.just("object"),
        "properties": st.dictionaries(names, st.just({"type": "string"}), min_size=1, max_size=2),
    }
)
tools = st.builds(
    Tool,
    names,
    maybe_name,
    schemas | st.just({"type": "object", "properties": {}}),
    extra=st.none() | st.just({"gemini": {"behavior": "BLOCKING"}}),
)


@st.composite
def tool_fields(draw: Any) -> dict[str, Any]:
    declared = draw(st.lists(tools, max_size=3, unique_by=lambda t: t.name))
    offer = bool(declared)
    bound = draw(st.lists(st.just(Bound("gemini", "googleSearch", {}, offer)), max_size=1))
    bound += draw(st.lists(st.just(Bound("gemini", "cachedContent", "cachedContents/x")), max_size=1))
    if not declared:
        return {"bound": bound}
    known = [t.name for t in declared]
    shape = draw(st.integers(0, 5))
    choice = None
    if shape == 1:
        choice = ToolChoice(draw(st.sampled_from(["auto", "none", "required"])))
    elif shape == 2:
        choice = ToolChoice("named", [draw(st.sampled_from(known))])
    elif shape == 3 and len(known) > 1:
        choice = ToolChoice("required", known[:2])
    elif shape >= 4:
        choice = ToolChoice("auto", known[:1] if shape == 5 else None)
        for tool in declared:
            tool.strict = True
    return {"tools": declared, "tool_choice": choice, "bound": bound}


def fraction(low: float, high: float) -> st.SearchStrategy[float | None]:
    return st.none() | st.floats(low, high, allow_nan=False)


samplings = st.builds(
    Sampling,
    temperature=fraction(0, 2),
    top_p=fraction(0, 1),
    top_k=st.none() | st.integers(0, 100),
    seed=st.none() | st.integers(-(2**31), 2**31 - 1),
    max_tokens=st.none() | st.integers(1, 2**31 - 1),
    stop=st.none() | st.lists(words, min_size=1, max_size=4),
    presence_penalty=fraction(-2, 2),
    frequency_penalty=fraction(-2, 2),
)
outputs = (
    st.none()
    | st.just(OutputFormat("json_object"))
    | st.builds(OutputFormat, st.just("json_schema"), st.just("response"), schemas)
    | st.builds(OutputFormat, st.just("choice"), choices=st.lists(words, min_size=1, max_size=3, unique=True))
)
thinkings = st.builds(
    lambda asked, include: ThinkingConfig(*asked, include=include and asked[0] is not False),
    st.sampled_from(
        [
            (None, None, None),
            (True, None, None),
            (False, "none", None),
            (True, "minimal", None),
            (True, "xhigh", None),
            (True, "low", 512),
            (True, "medium", 4096),
            (True, "high", 20000),
        ]
    ),
    st.booleans(),
)


@st.composite
def chats(draw: Any) -> Chat:
    logprobs = draw(st.booleans())
    messages: list[Message] = []
    if draw(st.booleans()):
        messages.append(Message("system", [Text(draw(words))]))
    for number in range(draw(st.integers(1, 2))):
        messages += draw(turns(number))
    if draw(st.booleans()):
        messages.append(Message("user", draw(st.lists(content, min_size=1, max_size=2))))
    chat = Chat(
        model=draw(st.from_regex(r"[a-z0-9][A-Za-z0-9._:@+-]{0,20}", fullmatch=True)),
        messages=messages,
        **draw(tool_fields()),
        sampling=draw(samplings),
        choices=draw(st.integers(1, 16)),
        logprobs=logprobs,
        top_logprobs=draw(st.none() | st.integers(0, 20)) if logprobs else None,
        output=draw(outputs),
        thinking=draw(thinkings),
        audio_out=draw(st.booleans()),
        extra=draw(
            st.none()
            | st.just({"gemini": {"safetySettings": [{"category": "C"}], "generationConfig.speechConfig": {"a": 1}}})
        ),
    )
    chat.prefill = chat.messages[-1].role == "assistant"
    return chat


counts = st.integers(0, 10**6)
tokens = st.builds(
    lambda token, p: {"token": token, "logprob": p, "bytes": list(token.encode()), "top_logprobs": []},
    words,
    st.sampled_from([-0.5, -1.25]),
)
logprobs = st.none() | st.lists(tokens, min_size=1, max_size=2).map(lambda content: {"content": content})


@st.composite
def usages(draw: Any) -> Usage:
    out = Usage(draw(counts), draw(counts), draw(st.none() | counts))
    if out.output and draw(st.booleans()):
        out.reasoning = draw(st.integers(1, out.output))
    if draw(st.booleans()):
        out.audio = draw(counts)
        # the details themselves are kept as they came
        out.extra = {"gemini.usage": {"promptTokensDetails": [{"modality": "AUDIO", "tokenCount": out.audio}]}}
    return out


def _apart(given: list[Any]) -> list[Any]:
    parts: list[Any] = []
    for part in given:
        if not (parts and type(parts[-1]) is type(part) and isinstance(part, Text | Thinking)):
            parts.append(part)
    return parts


@st.composite
def choices(draw: Any) -> Choice:
    """No two texts or thoughts side by side: they would be one."""
    parts = _apart(draw(st.lists(answer_parts, max_size=4)))
    called = False
    for n, part in enumerate(parts):
        if isinstance(part, ToolCall):
            part.id, called = f"c{n}", True
    finish, native = draw(
        st.sampled_from(
            [
                ("tool_calls" if called else "stop", None),
                ("length", None),
                ("content_filter", "SAFETY"),
                ("content_filter", "RECITATION"),
                ("tool_calls" if called else "stop", "LANGUAGE"),
                ("stop", "MALFORMED_FUNCTION_CALL"),
            ]
        )
    )
    out = Choice(parts, finish, native=native, note=draw(maybe_name))
    if native == "MALFORMED_FUNCTION_CALL":
        out.parts = _apart([p for p in parts if not isinstance(p, ToolCall)])
    if any(isinstance(p, Text | Thinking) for p in out.parts) and type(out.parts[-1]) in (Text, Thinking):
        out.logprobs = draw(logprobs)
    out.extra = draw(st.none() | st.just({"gemini.choice": {"groundingMetadata": {"a": [1]}}}))
    return out


answer_parts = (
    st.builds(Text, words, extra=st.none() | st.just({"gemini.part": {"partMetadata": {"a": 1}}}))
    | st.builds(Thinking, words, signature=signatures)
    | st.builds(Text, words, signature=st.just("c2ln"))
    | st.builds(lambda name, args, s: ToolCall("c", name, call_text(args), signature=s), names, objects, signatures)
    | st.builds(
        Opaque, st.just("gemini"), st.sampled_from(["executableCode", "inlineData", "codeExecutionResult"]), objects
    )
)
answers = st.builds(
    Answer,
    id=st.text("abc0", max_size=6),
    model=st.text("gemma-4", max_size=8),
    choices=st.lists(choices(), min_size=1, max_size=3),
    usage=st.none() | usages(),
    extra=st.none() | st.just({"gemini": {"createTime": "2026-01-01T00:00:00Z"}}),
)

__all__ = ["Refusal", "answers", "chats", "content", "names", "objects", "words"]
