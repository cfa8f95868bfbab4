"""Answers of any dialect, and other ways to cut their events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from gateway.canonical.content import Opaque, Refusal, Text, Thinking, ToolCall
from gateway.canonical.events import Answer, Choice, Event, PartDelta, Usage

texts = st.text(max_size=8)
maybe = st.none() | texts
fields = st.dictionaries(texts, st.integers(), min_size=1, max_size=2)


def extras(*keys: str) -> st.SearchStrategy[Any]:
    return st.none() | st.dictionaries(st.sampled_from(keys), fields, min_size=1)


part_extras = extras("openai.part", "gemini.part")
parts = (
    st.builds(Text, texts, st.none() | st.lists(st.integers(), min_size=1, max_size=2), maybe, part_extras)
    | st.builds(Thinking, texts, st.none() | st.lists(texts, min_size=1, max_size=2), maybe, maybe, part_extras)
    | st.builds(Refusal, texts, maybe, part_extras)
    | st.builds(ToolCall, texts, texts, texts, st.sampled_from(["function", "custom"]), maybe, part_extras)
    | st.builds(Opaque, texts, texts, fields, maybe, part_extras)
)
logprobs = (
    st.none()
    | st.lists(st.integers(), max_size=3)
    | st.fixed_dictionaries({"content": st.lists(st.integers(), max_size=3), "refusal": st.none()})
)
choices = st.builds(
    Choice,
    st.lists(parts, max_size=4),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter", "error"]),
    maybe,
    logprobs,
    extras("openai.choice", "openai.message"),
    maybe,
    maybe,
)
counts = st.none() | st.integers(0, 100)
answers = st.builds(
    Answer,
    texts,
    texts,
    st.none() | st.integers(0, 2**40),
    st.lists(choices, max_size=3),
    st.none() | st.builds(Usage, counts, counts, counts, counts, extras("openai.usage"), counts),
    extras("openai", "gemini"),
)


@st.composite
def recut(draw: Any, events: list[Event]) -> list[Event]:
    """The same answer in other deltas: texts cut anywhere, and empty deltas between."""
    out: list[Event] = []
    for e in events:
        if not isinstance(e, PartDelta):
            out.append(e)
            continue
        key = "arguments" if e.arguments else "text"
        whole: str = getattr(e, key)
        at = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=3)))
        pieces = [whole[a:b] for a, b in zip((0, *at), (*at, len(whole)), strict=True)]
        # what is not text comes once, with any of the pieces
        carrier = draw(st.integers(0, len(pieces) - 1))
        for i, piece in enumerate(pieces):
            bare = PartDelta(e.choice, e.part)
            out.append(replace(e if i == carrier else bare, **{key: piece}))
    return out


@st.composite
def interleaved(draw: Any, events: list[Event]) -> list[Event]:
    """The events of all choices in another order: each choice's own order is kept."""
    lanes: dict[int, list[Event]] = {}
    head, tail = [], []
    for e in events:
        choice = getattr(e, "choice", None)
        if choice is not None:
            lanes.setdefault(choice, []).append(e)
        else:
            (tail if lanes else head).append(e)
    order = draw(st.permutations([c for c, lane in lanes.items() for _ in lane]))
    return [*head, *(lanes[c].pop(0) for c in order), *tail]
