from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import Message, Text
from gateway.canonical.facts import Facts
from gateway.canonical.needs import needs_of
from gateway.canonical.requests import Chat, Completion, Embedding, Request, Sampling, ThinkingConfig
from gateway.routing.fit import likely
from gateway.routing.within import LEAST, within


def chat(size: int = 4, **fields: object) -> Chat:
    return Chat("m", [Message("user", [Text("x" * size)])], **fields)  # type: ignore[arg-type]


def brought(request: Request, context: int | None) -> tuple[int | None, int | None, list[str]]:
    out, named = within(request, needs_of(request), Facts(context=context))
    assert isinstance(out, Chat | Completion)
    thinking = out.thinking.budget if isinstance(out, Chat) else None
    return out.sampling.max_tokens, thinking, named


@pytest.mark.parametrize(
    ("size", "asked", "context", "most", "named"),
    [
        (4, 32_000, 8192, 8181, ["max_tokens>8181"]),
        (4, 32_000, None, 32_000, []),
        (4, None, 8192, None, []),
        (4, 8000, 8192, 8000, []),
        (16_000, 4000, 8192, 4000, []),
        (16_000, 4500, 8192, 3182, ["max_tokens>3182"]),
        (32_000, 4000, 8192, LEAST, [f"max_tokens>{LEAST}"]),
        (32_000, 100, 8192, 100, []),
        (400, 1000, 128, 128, ["max_tokens>128"]),
    ],
)
def test_tokens_of_answer(size: int, asked: int | None, context: int | None, most: int | None, named: list[str]):
    asks = chat(size, sampling=Sampling(max_tokens=asked))
    assert brought(asks, context) == (most, None, named)
    assert asks.sampling.max_tokens == asked, "the client's request stays as it was"


def test_completions_and_embeddings():
    assert brought(Completion("m", ["x"], sampling=Sampling(max_tokens=9000)), 512)[2] == ["max_tokens>502"]
    embedding = Embedding("m", ["x"])
    assert within(embedding, needs_of(embedding), Facts(context=1)) == (embedding, [])


@pytest.mark.parametrize(
    ("budget", "most", "left"), [(32_000, 8000, 6000), (8000, 8000, 6000), (7999, 8000, 7999), (9, 1, 1), (9, None, 9)]
)
def test_a_budget_of_thinking_is_less_than_the_answer(budget: int, most: int | None, left: int):
    asks = chat(sampling=Sampling(max_tokens=most), thinking=ThinkingConfig(True, budget=budget))
    named = [] if left == budget else [f"thinking_budget>{left}"]
    assert brought(asks, None) == (most, left, named)


@given(st.integers(0, 60_000), st.integers(1, 100_000), st.integers(1, 50_000), st.integers(1, 100_000))
def test_nothing_is_raised_and_what_fits_is_the_same(size: int, asked: int, context: int, budget: int):
    asks = chat(size, sampling=Sampling(max_tokens=asked), thinking=ThinkingConfig(True, budget=budget))
    out, named = within(asks, needs_of(asks), Facts(context=context))
    assert isinstance(out, Chat) and out.sampling.max_tokens is not None and out.thinking.budget is not None
    assert 1 <= out.sampling.max_tokens <= asked and 1 <= out.thinking.budget <= budget
    assert (out is asks) == (not named)
    if asked + likely(needs_of(asks)) <= context and budget < asked:
        assert out is asks
