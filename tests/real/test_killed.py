"""Servers that die: `kill -9` while they answer and between requests, and how they come back."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from gateway.demo.fleet import EARS
from gateway.demo.supervisor import Child, Supervisor
from tests.real.conftest import Client, ClientFor, Start, broken_stream, until
from tests.real.content import chat, chunks, endless, error, long, said

pytestmark = pytest.mark.real

QUICK = {"liveness": 0.3, "probe": 0.5}
"""Seconds: a gateway that looks often."""
SLOW = {"liveness": 60.0, "facts": 60.0}
"""A gateway that does not look again while a test runs: what happens then, requests tell."""


def models(**targets: Any) -> dict[str, Any]:
    """`gemma` with these backends behind it."""
    return {"models": {"gemma": {"targets": [{"backend": name} for name in targets]}}}


def first(backend: str) -> dict[str, Any]:
    """The request's own wish where to go."""
    return {"gateway": {"prefer": [{"backend": [backend]}]}}


async def test_killed_in_the_middle_of_a_stream(start: Start, client_for: ClientFor):
    """What was said is delivered, then the SDK raises: a cut is never a clean end."""
    one = start("one")
    client = await client_for({"one": one}, timeouts=SLOW)
    words, broken = await broken_stream(client, one.kill)
    assert broken.code in ("upstream_truncated", "upstream_reset")
    assert words.startswith(f"{EARS.reply} {EARS.reply}")
    metrics = await client.gateway.settled()
    assert metrics.sum("gateway_requests_total", code=str(broken.code)) == 1


async def test_nothing_of_a_cut_stream_is_an_end(start: Start, client_for: ClientFor):
    """On the wire: an error as the last event, no `[DONE]`, finish or usage, and no failover after the first word."""
    one, two = start("one"), start("two")
    client = await client_for({"one": one, "two": two}, **models(one=one, two=two), timeouts=SLOW)
    body = b""
    async with client.http.stream(
        "POST", "/v1/chat/completions", json=endless("gemma", stream=True, **first("one"))
    ) as got:
        assert got.headers["x-gateway-target"] == "one/one"
        async for piece in got.aiter_raw():
            body += piece
            if one.alive and len(body) > 10_000:
                one.kill()
    *events, last = chunks(body)
    assert last["error"]["code"] in ("upstream_truncated", "upstream_reset")
    assert b"[DONE]" not in body
    assert not any(e.get("usage") or e["choices"][0]["finish_reason"] for e in events)
    assert "".join(e["choices"][0]["delta"].get("content") or "" for e in events).startswith(EARS.reply)
    assert (await two.counters())["tokens_predicted_total"] == 0


async def test_killed_before_the_first_word(start: Start, client_for: ClientFor):
    """While it reads a long prompt: the other target answers and the client sees nothing of it."""
    one, two = start("one"), start("two")
    client = await client_for({"one": one, "two": two}, **models(one=one, two=two), timeouts=SLOW)
    body = chat("gemma", long("kill", 12_000), stream=True, **first("one"))
    asked = asyncio.create_task(client.post(body))
    await until(one.busy)
    one.kill()
    got = await asked
    assert got.status_code == 200
    assert (got.headers["x-gateway-target"], got.headers["x-gateway-attempts"]) == ("two/two", "2")
    assert said(got.content) == EARS.reply
    assert got.text.endswith("data: [DONE]\n\n")


async def test_killed_while_it_works_on_a_whole_answer(start: Start, client_for: ClientFor):
    one, two = start("one"), start("two")
    client = await client_for({"one": one, "two": two}, **models(one=one, two=two), timeouts=SLOW)
    asked = asyncio.create_task(client.post(endless("gemma", 4_000, **first("one"))))
    await until(one.busy)
    one.kill()
    got = await asked
    assert (got.status_code, got.headers["x-gateway-attempts"]) == (200, "2")
    assert got.json()["usage"]["completion_tokens"] == 4_000


@pytest.mark.parametrize("stream", [False, True])
async def test_killed_between_requests(start: Start, client_for: ClientFor, stream: bool):
    """On a connection that was kept, too."""
    one, two = start("one"), start("two")
    client = await client_for({"one": one, "two": two}, **models(one=one, two=two), timeouts=SLOW)
    body = chat("gemma", stream=stream, **first("one"))
    assert (await client.post(body)).headers["x-gateway-target"] == "one/one"
    one.kill()
    got = await client.post(body)
    assert (got.status_code, got.headers["x-gateway-target"], got.headers["x-gateway-attempts"]) == (
        200,
        "two/two",
        "2",
    )
    metrics = await client.gateway.settled()
    assert metrics.labels("gateway_attempts_total", "outcome") == {"ok": 2, "upstream_connect_error": 1}


async def test_the_only_server_killed_and_back(start: Start, client_for: ClientFor):
    """Before the gateway has looked: 502. After: 503 with `Retry-After`, at once. Back: used within two seconds."""
    one = start("one")
    client = await client_for({"one": one}, timeouts={**QUICK, "liveness": 1.0})
    assert (await client.post(chat("one"))).status_code == 200
    one.kill()
    got = await client.post(chat("one"))
    assert (got.status_code, error(got.content)["code"]) == (502, "upstream_connect_error")
    await until(lambda: _is(client, "one", "down"), 3)
    got = await client.post(chat("one"))
    assert (got.status_code, error(got.content)["code"]) == (503, "no_healthy_backend")
    assert int(got.headers["retry-after"]) >= 1
    assert (await client.http.get("/readyz")).status_code == 503
    await one.restart()

    async def answers() -> bool:
        return (await client.post(chat("one"))).status_code == 200

    assert await until(answers) < 2.0
    assert (await client.http.get("/readyz")).status_code == 200


async def test_killed_and_back_before_anybody_looked(start: Start, client_for: ClientFor):
    """The kept connection is dead, the server is not: one silent second try, and nobody sees a thing."""
    one = start("one")
    client = await client_for({"one": one}, timeouts=SLOW)
    assert (await client.post(chat("one"))).status_code == 200
    one.kill()
    await one.restart()
    got = await client.post(chat("one"))
    assert (got.status_code, got.headers["x-gateway-attempts"]) == (200, "1")


async def test_the_supervisor_brings_it_back_and_the_gateway_uses_it(
    start: Start, client_for: ClientFor, tmp_path: Any
):
    about = start("one")
    about.kill()
    told: list[str] = []
    async with Supervisor(tmp_path, told.append) as supervisor:
        await supervisor.start(Child("one", about.argv, ready_url=f"{about.url}/health"))
        client = await client_for({"one": about}, timeouts=QUICK)
        assert (await client.post(chat("one"))).status_code == 200
        pid = supervisor.pid("one")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

        async def back() -> bool:
            return any("is ready again" in line for line in told)

        await until(back)

        async def answers() -> bool:
            return (await client.post(chat("one"))).status_code == 200

        assert await until(answers) < 2.0
    assert "SIGKILL" in told[0]


async def test_one_refused_connection_is_enough_to_look_again(start: Start, client_for: ClientFor):
    """The prober would look in a minute only: the request that failed has it look now."""
    one, two = start("one"), start("two")
    client = await client_for({"one": one, "two": two}, **models(one=one, two=two), timeouts=SLOW)
    body = chat("gemma", **first("one"))
    assert (await client.post(body)).headers["x-gateway-target"] == "one/one"
    one.kill()
    assert (await client.post(body)).headers["x-gateway-attempts"] == "2"
    await until(lambda: _is(client, "one", "down"), 1)
    got = await client.post(body)
    assert (got.headers["x-gateway-target"], got.headers["x-gateway-attempts"]) == ("two/two", "1")


async def _is(client: Client, backend: str, state: str) -> bool:
    return await client.state(backend) == state
