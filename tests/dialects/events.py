"""Events for encoders: lists of anything at all, and answers that are told in pieces with their parts interleaved."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from gateway.canonical.content import Opaque, Refusal, Text, Thinking, ToolCall
from gateway.canonical.events import (
    Answer,
    Choice,
    ChoiceEnd,
    End,
    Event,
    Fault,
    PartDelta,
    PartEnd,
    PartStart,
    Progress,
    Start,
    Usage,
    unfold,
)

small = st.integers(0, 3)
words = st.text(max_size=4)
counts = st.none() | st.integers(0, 99)
kinds = st.sampled_from(["text", "thinking", "refusal", "tool_call", "opaque"])
opaques = st.none() | st.builds(
    Opaque, st.sampled_from(["anthropic", "responses", "ollama", "x"]), words, st.just({"type": "t", "a": 1})
)
finishes = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "error"])

anything: st.SearchStrategy[list[Event]] = st.lists(
    st.builds(Start, words, words, counts)
    | st.builds(PartStart, small, small, kinds, words, words, st.sampled_from(["function", "custom"]), opaques)
    | st.builds(
        PartDelta,
        small,
        small,
        words,
        words,
        st.none() | words,
        redacted=st.none() | words,
        summary=st.none() | st.lists(words, max_size=2),
        logprobs=st.none() | st.just({"content": [{"token": "a", "logprob": -1.0, "top_logprobs": []}]}),
    )
    | st.builds(PartEnd, small, small)
    | st.builds(ChoiceEnd, small, finishes, st.none() | words)
    | st.builds(Usage, counts, counts, counts, counts)
    | st.builds(Progress, small, small)
    | st.builds(End)
    | st.builds(Fault, st.sampled_from(["upstream_reset", "context_length_exceeded", "x"]), words, st.just(502)),
    max_size=16,
)

arguments = st.sampled_from(['{"a": 1}', "{}", '{"path": "x", "n": [1, "\\u00e9"]}', ""])
parts = (
    st.builds(Text, st.text(min_size=1, max_size=8))
    | st.builds(Thinking, st.text(min_size=1, max_size=8), signature=st.none() | st.just("sig"))
    | st.builds(Refusal, st.text(min_size=1, max_size=8))
    | st.builds(ToolCall, st.just("call_1"), st.sampled_from(["f", "g"]), arguments)
)
answers = st.builds(
    Answer,
    id=st.just("chatcmpl-1"),
    model=st.just("m"),
    created=st.just(7),
    choices=st.lists(
        st.builds(Choice, st.lists(parts, max_size=4), st.sampled_from(["stop", "length", "tool_calls"])),
        min_size=1,
        max_size=1,
    ),
    usage=st.none() | st.builds(Usage, st.integers(5, 9), st.integers(0, 9), st.none() | st.integers(0, 5)),
)


@st.composite
def streams(draw: Any) -> tuple[Answer, list[list[Event]]]:
    """(an answer, its events: deltas cut into pieces, parts interleaved, in several reads)."""
    answer = draw(answers)
    start, *middle, usage_or_end = unfold(answer)
    tail = [usage_or_end]
    while middle and not isinstance(middle[-1], PartStart | PartDelta | PartEnd):
        tail.insert(0, middle.pop())
    queues: dict[int, list[Event]] = {}
    for e in middle:
        assert isinstance(e, PartStart | PartDelta | PartEnd)
        queue = queues.setdefault(e.part, [])
        queue += _cut(draw, e) if isinstance(e, PartDelta) else [e]
    mixed: list[Event] = []
    begun = 0
    together = draw(st.booleans())
    while any(queues.values()):
        # parts begin in order; what is open may go on in any order
        ready = [p for p, q in queues.items() if q and (p <= begun if together else True)]
        part = draw(st.sampled_from(ready)) if together else ready[0]
        mixed.append(queues[part].pop(0))
        begun = max(begun, part + (1 if len(mixed) and isinstance(mixed[-1], PartStart) else 0))
    events = [start, *mixed, *tail]
    reads: list[list[Event]] = []
    while events:
        n = draw(st.integers(1, len(events)))
        reads.append(events[:n])
        events = events[n:]
    return answer, reads


def _cut(draw: Any, e: PartDelta) -> list[Event]:
    text = e.text or e.arguments
    if len(text) < 2:
        return [e]
    at = draw(st.integers(1, len(text) - 1))
    first = PartDelta(e.choice, e.part, **{_field(e): text[:at]})
    return [first, PartDelta(e.choice, e.part, signature=e.signature, **{_field(e): text[at:]})]


def _field(e: PartDelta) -> Any:
    return "text" if e.text else "arguments"
