"""Prompts stay cached: of a long tool conversation, the server finds as much in its prefix cache when it comes through
the gateway as when it is asked direct."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.conversation import TOOLS, TURNS, conversation
from tests.real.conftest import ClientFor, Start
from tests.real.servers import PLAIN

pytestmark = pytest.mark.real


async def cached(http: httpx2.AsyncClient, model: str, opening: str, **more: Any) -> list[tuple[int, int]]:
    """(tokens of the prompt, of them found in the cache) for each request of a conversation."""
    out = []
    for messages in conversation(opening):
        body = {"model": model, "messages": messages, "tools": TOOLS, "max_tokens": 1, "temperature": 0, **more}
        answer = (await http.post("/v1/chat/completions", json=body)).raise_for_status().json()
        usage = answer["usage"]
        out.append((usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]))
    return out


async def test_as_much_is_found_in_the_cache_as_direct(start: Start, client_for: ClientFor):
    server = start("one")
    client = await client_for({"one": server})
    through = await cached(client.http, "one", "Conversation A. You read files.")
    plain = {"chat_template_kwargs": {"enable_thinking": False}}  # what the gateway says where nothing was asked
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, verify=PLAIN, timeout=60.0) as http:
        direct = await cached(http, "one", "Conversation B. You read files.", **plain)
    assert [p for p, _ in through] == [p for p, _ in direct]
    total, ours, theirs = sum(p for p, _ in direct), sum(c for _, c in through), sum(c for _, c in direct)
    print(f"{2 * TURNS} requests, {total} prompt tokens; cached: direct {theirs}, through the gateway {ours}")
    assert theirs > 0.8 * total, "the server does not cache: the comparison would say nothing"
    for (prompt, a), (_, b) in zip(through[1:], direct[1:], strict=True):
        assert abs(a - b) <= max(1, 0.01 * prompt)
