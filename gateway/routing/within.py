"""Limits of a request that are higher than a target can go: brought down to what it can, and named.

Agents write limits for the models that they were made for: 32,000 tokens of answer to a model whose whole context is
8,192, or more thinking than answer. Some servers refuse that, although nobody asked for so many tokens: it only says
that none should be left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway.canonical.facts import Facts
from gateway.canonical.needs import Needs
from gateway.canonical.requests import Chat, Completion, Request
from gateway.routing.fit import likely

LEAST: Final = 256
"""Tokens of answer that are asked for however long the prompt seems to be: servers stop where their context ends."""


def within(request: Request, needs: Needs, facts: Facts) -> tuple[Request, list[str]]:
    """(the request, the same object if all of it fits; what was brought down, as `max_tokens>4096`)."""
    if not isinstance(request, Chat | Completion):
        return request, []
    named: list[str] = []
    most = _most(request.sampling.max_tokens, needs, facts)
    if most is not None:
        named.append(f"max_tokens>{most}")
        request = replace(request, sampling=replace(request.sampling, max_tokens=most))
    if isinstance(request, Chat):
        budget = _budget(request)
        if budget is not None:
            named.append(f"thinking_budget>{budget}")
            request = replace(request, thinking=replace(request.thinking, budget=budget))
    return request, named


def _most(asked: int | None, needs: Needs, facts: Facts) -> int | None:
    """How many tokens of answer there is room for, if that is less than what is asked for. The prompt's length is an
    estimate: what seems to fit is left alone, what does not leaves a quarter of the prompt to the doubt."""
    if asked is None or facts.context is None:
        return None
    prompt = likely(needs)
    if asked + prompt <= facts.context:
        return None
    room = max(facts.context - prompt * 5 // 4, min(LEAST, facts.context))
    return room if room < asked else None


def _budget(chat: Chat) -> int | None:
    """Fewer tokens of thinking than of answer, which they are part of; None if it is so, or nothing was asked."""
    budget, most = chat.thinking.budget, chat.sampling.max_tokens
    if budget is None or most is None or budget < most:
        return None
    return max(1, most - max(1, most // 4))
