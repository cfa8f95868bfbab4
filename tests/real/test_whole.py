"""Whole answers are asked for as streams and folded: they are what the server itself says when asked for the whole."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.real.conftest import Client, RealFleet
from tests.real.content import CITY, CLOCK, WEATHER, Json, chat, endless, user
from tests.real.servers import LIMIT, PLAIN

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

MODEL = "fixture-ears"
TOOLS: Json = {"tools": [WEATHER], "tool_choice": "required"}
THINKING: Json = {"enable_thinking": True}
LOGPROBS: Json = {"logprobs": True, "top_logprobs": 2}

CHATS: dict[str, Json] = {
    "text": chat(MODEL),
    "thoughts": chat(MODEL, **THINKING),
    "a tool": chat(MODEL, **TOOLS),
    "a tool after thoughts": chat(MODEL, **TOOLS, **THINKING),
    "tools in parallel": chat(MODEL, tools=[WEATHER, CLOCK], tool_choice="required", parallel_tool_calls=True),
    "a tool that is not called": chat(MODEL, tools=[WEATHER]),
    "a schema": chat(MODEL, response_format=CITY),
    "a JSON object": chat(MODEL, response_format={"type": "json_object"}),
    "a stop": chat(MODEL, stop=[" and"]),
    "cut short": endless(MODEL, 40),
    "cut in a thought": chat(MODEL, max_tokens=5, **THINKING),
    "one token": chat(MODEL, max_tokens=1),
    "timings of each token": chat(MODEL, timings_per_token=True),
    "logprobs": chat(MODEL, **LOGPROBS),
    "logprobs of thoughts": chat(MODEL, **LOGPROBS, **THINKING),
    "logprobs and tools": chat(MODEL, **LOGPROBS, tools=[WEATHER]),
    "logprobs of two choices": chat(MODEL, **LOGPROBS, n=2),
}
COMPLETIONS: dict[str, Json] = {
    "text": {"prompt": "x"},
    "cut short": {"prompt": "x", "max_tokens": 4},
    "a stop": {"prompt": "x", "stop": [" and"]},
    "logprobs": {"prompt": "x", "logprobs": 2},
    "logprobs, cut short": {"prompt": "x", "logprobs": 0, "max_tokens": 4},
}


async def direct(fleet: RealFleet, path: str, body: Json) -> Json:
    """The server's own whole answer to what the gateway asks for."""
    asked = {k: v for k, v in body.items() if k != "enable_thinking"}
    asked["chat_template_kwargs"] = {"enable_thinking": body.get("enable_thinking", False)}
    async with httpx2.AsyncClient(trust_env=False, verify=PLAIN, timeout=LIMIT) as http:
        got = await http.post(fleet.servers["ears"].url + path, json=asked)
    assert got.status_code == 200, got.text
    found: Json = got.json()
    return found


def plain(value: Any) -> Any:
    """Without what says nothing, and with what differs from one answer to the next only as something that is there."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    if not isinstance(value, dict):
        return value
    out = {k: plain(v) for k, v in value.items() if v is not None}
    for key in ("created", "model"):
        out.pop(key, None)
    if "id" in out and isinstance(out["id"], str):
        out["id"] = bool(out["id"])
    if out.get("content") == "" and "tool_calls" in out:
        del out["content"]
    if "timings" in out:
        out["timings"] = {k: v if k.endswith("_n") else v >= 0 for k, v in out["timings"].items()}
    return out


def same(body: Json) -> Json:
    """The request in a way that the second answer is that to the first."""
    return {**body, "temperature": 0, "seed": 1, "cache_prompt": False}


@pytest.mark.parametrize("name", CHATS)
async def test_a_chat(name: str, client: Client, fleet: RealFleet):
    body = same(CHATS[name])
    got = await client.post(body)
    assert plain(got.json()) == plain(await direct(fleet, "/v1/chat/completions", body))


@pytest.mark.parametrize("name", COMPLETIONS)
async def test_a_completion(name: str, client: Client, fleet: RealFleet):
    body = same({"model": MODEL, **COMPLETIONS[name]})
    got = await client.post(body, "/v1/completions")
    assert plain(got.json()) == plain(await direct(fleet, "/v1/completions", body))


async def test_the_usage_of_two_choices_is_of_both(client: Client, fleet: RealFleet):
    """The server itself counts the first one only."""
    body = same(chat(MODEL, n=2))
    got = plain((await client.post(body)).json())
    own = plain(await direct(fleet, "/v1/chat/completions", body))
    assert got["choices"] == own["choices"] and len(got["choices"]) == 2
    assert got["usage"]["completion_tokens"] == 2 * own["usage"]["completion_tokens"]
    assert got["usage"]["prompt_tokens"] == own["usage"]["prompt_tokens"]
    assert got["usage"]["total_tokens"] == got["usage"]["prompt_tokens"] + got["usage"]["completion_tokens"]


async def test_a_begun_answer_is_gone_on_with_and_not_repeated(client: Client):
    """As in a stream, and as other servers do; the server itself repeats it in a whole answer."""
    body = chat(MODEL, messages=[*user(), {"role": "assistant", "content": "Begun"}])
    whole = (await client.post(body)).json()["choices"][0]["message"]["content"]
    assert whole and "Begun" not in whole
