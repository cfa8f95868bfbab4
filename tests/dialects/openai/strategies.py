"""Canonical requests and answers in the form that this dialect can say: hypothesis makes them up."""

from __future__ import annotations

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
from gateway.canonical.requests import Chat, OutputFormat, Sampling, ThinkingConfig, Tool, ToolChoice

texts = st.text(max_size=12)
words = st.text(min_size=1, max_size=12)
names = st.from_regex(r"[A-Za-z0-9_.-]{1,16}", fullmatch=True)
maybe_text = st.none() | words
base64s = st.binary(min_size=1, max_size=40).map(lambda b: b64encode(b).decode())
both_base64s = base64s | base64s.map(lambda s: Segments([s[:3].encode(), s[3:].encode()]))
urls = st.sampled_from(["https://example.com/a.png", "http://host:8080/x?y=z#w", "HTTPS://EXAMPLE.com/%20"])
extras = st.none() | st.fixed_dictionaries({"openai": st.fixed_dictionaries({"cache_control": st.just({"type": "e"})})})


def media(*mimes: str) -> st.SearchStrategy[Media]:
    return st.builds(Media, mime=st.sampled_from(mimes), base64=both_base64s) | st.builds(Media, url=urls)


images = st.builds(
    Image,
    st.builds(
        lambda m, d: Media(m.mime, m.base64, m.octets, m.url, m.file_id, detail=d),
        media("image/png", "image/jpeg", "", "image/webp") | st.builds(Media, file_id=names),
        st.none() | st.sampled_from(["low", "high", "auto"]),
    ),
    extra=extras,
)
audios = st.builds(
    Audio, media("audio/wav", "audio/mpeg", "audio/ogg", "application/ogg", "", "audio/mp4"), extra=extras
)
clips = st.builds(Clip, st.none() | st.just(1.5), st.just(20.0), st.none() | st.just(2.0))
videos = st.builds(
    Video,
    st.builds(
        lambda m, c: Media(m.mime, m.base64, m.octets, m.url, m.file_id, clip=c),
        media("video/mp4", "video/webm", ""),
        st.none() | clips,
    ),
    extra=extras,
)
documents = st.builds(
    Document,
    st.builds(
        lambda m, n: Media(m.mime, m.base64, m.octets, m.url, m.file_id, name=n),
        media("application/pdf", "text/plain", "") | st.builds(Media, file_id=names),
        maybe_text,
    ),
    extra=extras,
)
plain_texts = st.builds(Text, texts, extra=extras)
content = plain_texts | images | audios | videos | documents
signatures = st.none() | st.sampled_from(["c2ln", "+/8="])
tool_calls = st.builds(ToolCall, names, names, texts, st.sampled_from(["function", "custom"]), signatures, extra=extras)


@st.composite
def assistant_parts(draw: Any) -> list[Any]:
    """Thinking, content, refusal, calls: in that order, and no empty text beside something else."""
    parts: list[Any] = []
    if draw(st.booleans()):
        parts.append(Thinking(draw(words)))
    shape = draw(st.integers(0, 3))
    if shape == 1:
        parts.append(Text(draw(words), draw(st.none() | st.just([{"type": "url_citation"}])), draw(signatures)))
    elif shape == 2:
        parts += draw(st.lists(st.builds(Text, words, extra=extras), min_size=2, max_size=3))
    if draw(st.booleans()):
        parts.append(Refusal(draw(words)))
    parts += draw(st.lists(tool_calls, max_size=2))
    return parts or [Text(draw(texts))]


messages = (
    st.builds(
        Message,
        st.sampled_from(["system", "developer", "user"]),
        st.lists(content, min_size=1, max_size=3),
        maybe_text,
        extras,
    )
    | st.builds(Message, st.just("assistant"), assistant_parts(), maybe_text, extras)
    | st.builds(
        Message,
        st.just("tool"),
        st.builds(ToolResult, names, st.lists(content, min_size=1, max_size=2), maybe_text, st.booleans()).map(
            lambda r: [r]
        ),
        extra=extras,
    )
)
schemas = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(names, st.just({}), max_size=2)}
)
tools = st.builds(Tool, names, maybe_text, st.none() | schemas, st.none() | st.booleans(), extra=extras) | st.builds(
    Tool, names, maybe_text, kind=st.just("custom"), format=st.none() | st.just({"type": "text"}), extra=extras
)


@st.composite
def tool_fields(draw: Any) -> dict[str, Any]:
    declared = draw(st.lists(tools, max_size=3, unique_by=lambda t: t.name))
    if not declared:
        return {}
    known = st.sampled_from([t.name for t in declared])
    choice = (
        st.none()
        | st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"]))
        | st.builds(ToolChoice, st.just("named"), known.map(lambda n: [n]))
        | st.builds(ToolChoice, st.sampled_from(["auto", "required"]), st.lists(known, min_size=1, max_size=2))
    )
    return {
        "tools": declared,
        "tool_choice": draw(choice),
        "parallel_tool_calls": draw(st.none() | st.booleans()),
    }


def fraction(low: float, high: float) -> st.SearchStrategy[float | None]:
    return st.none() | st.floats(low, high, allow_nan=False)


samplings = st.builds(
    Sampling,
    temperature=fraction(0, 2),
    top_p=fraction(0, 1),
    top_k=st.none() | st.integers(-1, 100),
    min_p=fraction(0, 1),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    max_tokens=st.none() | st.integers(1, 2**31 - 1),
    stop=st.none() | st.lists(words, min_size=1, max_size=4),
    presence_penalty=fraction(-2, 2),
    frequency_penalty=fraction(-2, 2),
    repetition_penalty=fraction(0, 10),
    logit_bias=st.none() | st.dictionaries(names, st.floats(-100, 100), min_size=1, max_size=2),
)
outputs = (
    st.none()
    | st.just(OutputFormat("json_object"))
    | st.builds(OutputFormat, st.just("json_schema"), names, st.none() | schemas, maybe_text, st.none() | st.booleans())
)


@st.composite
def thinkings(draw: Any) -> ThinkingConfig:
    effort = draw(st.none() | st.sampled_from(["none", "minimal", "low", "high", "max"]))
    budget = draw(st.none() | st.integers(0, 1000))
    # whoever says how much also says whether
    unsaid = st.none() if effort is None and budget is None else st.nothing()
    return ThinkingConfig(draw(unsaid | st.booleans()), effort, budget, draw(st.booleans()))


@st.composite
def chats(draw: Any) -> Chat:
    logprobs = draw(st.booleans())
    stream = draw(st.booleans())
    chat = Chat(
        model=draw(st.from_regex(r"[A-Za-z0-9._:/@+-]{1,20}", fullmatch=True)),
        messages=draw(st.lists(messages, min_size=1, max_size=4)),
        **draw(tool_fields()),
        sampling=draw(samplings),
        choices=draw(st.integers(1, 16)),
        logprobs=logprobs,
        top_logprobs=draw(st.none() | st.integers(0, 20)) if logprobs else None,
        output=draw(outputs),
        thinking=draw(thinkings()),
        audio_out=draw(st.booleans()),
        stream=stream,
        include_usage=stream and draw(st.booleans()),
        extra=draw(
            st.none()
            | st.just({"openai": {"cache_salt": "x", "chat_template_kwargs": {"tone": 1}}})
            | st.just({"openai": {"mm_processor_kwargs": {"n": [1, 2]}}})
        ),
    )
    chat.prefill = chat.messages[-1].role == "assistant"
    return chat


numbers = st.integers(0, 10**6)
counts = st.none() | numbers
logprobs = st.none() | st.just({"content": [{"token": "a", "logprob": -0.5}], "refusal": None})
unknown = st.fixed_dictionaries({"x_unknown": st.integers() | st.lists(st.integers(), max_size=2)})


def layered(*names: str) -> st.SearchStrategy[Any]:
    return st.none() | st.dictionaries(st.sampled_from(names), unknown, min_size=1)


@st.composite
def choices(draw: Any) -> Choice:
    parts: list[Any] = []
    if draw(st.booleans()):
        parts.append(Thinking(draw(words)))
    if draw(st.booleans()):
        parts.append(Text(draw(words), draw(st.none() | st.just([{"type": "url_citation"}])), draw(signatures)))
    if draw(st.booleans()):
        parts.append(Refusal(draw(words)))
    parts += draw(st.lists(st.just(Opaque("gemini", "grounding", {"a": [1]})), max_size=1))
    calls = draw(
        st.lists(
            st.builds(
                ToolCall,
                names,
                words,
                texts,
                st.sampled_from(["function", "custom"]),
                signatures,
                extra=layered("openai.part"),
            ),
            max_size=3,
            unique_by=lambda c: c.id,
        )
    )
    return Choice(
        parts + calls,
        draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter", "error"])),
        draw(maybe_text),
        draw(logprobs),
        draw(layered("openai.choice", "openai.message")),
    )


answers = st.builds(
    Answer,
    id=texts,
    model=texts,
    created=st.none() | st.integers(1, 2**40),
    choices=st.lists(choices(), max_size=3),
    usage=st.none()
    | st.builds(Usage, counts, counts, counts, counts, layered("openai.usage"), st.none() | st.integers(1, 99)),
    extra=layered("openai"),
)
