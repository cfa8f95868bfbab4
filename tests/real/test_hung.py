"""Servers that hang: SIGSTOP leaves their sockets open and nothing is ever said."""

from __future__ import annotations

import asyncio

import pytest

from gateway.demo.fleet import EARS
from tests.real.conftest import Client, ClientFor, Start, broken_stream, until
from tests.real.content import chat, chunks, endless, error, said

pytestmark = pytest.mark.real

LIMITS = {"first_byte": 0.8, "first_byte_unknown": 0.8, "idle": 0.8, "liveness": 60.0, "facts": 60.0}
"""Seconds that a server may be silent here. The prober stays out of it."""
PAIR = {"gemma": {"targets": [{"backend": "one"}, {"backend": "two"}]}}
FIRST = {"gateway": {"prefer": [{"backend": "one"}]}}


async def test_hung_before_its_first_word_alone(start: Start, client_for: ClientFor):
    one = start("one")
    client = await client_for({"one": one}, timeouts=LIMITS)
    one.freeze()
    got = await client.post(chat("one", stream=True))
    assert (got.status_code, error(got.content)["code"]) == (504, "upstream_timeout")
    assert got.headers["x-gateway-target"] == "one/one"
    assert 0.7 < got.elapsed.total_seconds() < 3
    one.thaw()
    got = await client.post(chat("one"))
    assert got.status_code == 200


async def test_hung_before_its_first_word_with_another(start: Start, client_for: ClientFor):
    one, two = start("one"), start("two")
    client = await client_for({"one": one, "two": two}, models=PAIR, timeouts=LIMITS)
    one.freeze()
    got = await client.post(chat("gemma", **FIRST))
    assert (got.status_code, got.headers["x-gateway-target"], got.headers["x-gateway-attempts"]) == (
        200,
        "two/two",
        "2",
    )
    assert got.json()["choices"][0]["message"]["content"] == EARS.reply
    metrics = await client.gateway.settled()
    assert metrics.labels("gateway_attempts_total", "outcome") == {"upstream_timeout": 1, "ok": 1}


async def test_hung_with_signs_of_life_for_the_client(start: Start, client_for: ClientFor):
    """The stream is committed by then: failover goes on behind it, and the client sees one clean answer."""
    one, two = start("one"), start("two")
    limits = {**LIMITS, "first_byte": 1.5, "first_byte_unknown": 1.5, "life_sign": 0.3}
    client = await client_for({"one": one, "two": two}, models=PAIR, timeouts=limits)
    one.freeze()
    got = await client.post(chat("gemma", stream=True, **FIRST))
    assert got.status_code == 200
    assert got.text.startswith(":")
    assert got.text.endswith("data: [DONE]\n\n")
    assert said(got.content) == EARS.reply


async def test_hung_in_the_middle_of_its_answer(start: Start, client_for: ClientFor):
    one = start("one")
    client = await client_for({"one": one}, timeouts=LIMITS)
    words, broken = await broken_stream(client, one.freeze)
    assert broken.code == "upstream_timeout"
    assert words.startswith(EARS.reply)
    one.thaw()
    await until(lambda: _idle(one), 3)
    assert (await client.post(chat("one"))).status_code == 200


async def test_the_client_leaves_a_hung_server(start: Start, client_for: ClientFor):
    """Nothing keeps the request: not at the gateway, and not at the server once it is back."""
    one = start("one")
    limits = {**LIMITS, "first_byte": 30.0, "first_byte_unknown": 30.0}
    client = await client_for({"one": one}, timeouts=limits)
    one.freeze()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.post(endless("one")), 0.5)
    metrics = await client.gateway.settled()
    assert metrics.sum("gateway_requests_total", code="client_disconnected") == 1
    one.thaw()
    await until(lambda: _idle(one), 4, 1.3)  # seldom: see test_clients_leave.POLL
    assert (await one.counters())["tokens_predicted_total"] < 20_000


async def test_the_prober_takes_it_out_and_back(start: Start, client_for: ClientFor):
    """One late answer is a busy server; two are a dead one. Then no request waits for it any more."""
    one = start("one")
    client = await client_for({"one": one}, timeouts={"liveness": 0.3, "probe": 0.4})
    one.freeze()
    await until(lambda: _is(client, "down"), 5)
    got = await client.post(chat("one"))
    assert (got.status_code, error(got.content)["code"]) == (503, "no_healthy_backend")
    assert got.elapsed.total_seconds() < 0.5
    one.thaw()

    async def answers() -> bool:
        return (await client.post(chat("one"))).status_code == 200

    assert await until(answers) < 2.0
    assert not any(c.get("error") for c in chunks((await client.post(chat("one", stream=True))).content))


async def _is(client: Client, state: str) -> bool:
    return await client.state("one") == state


async def _idle(server: object) -> bool:
    return await server.busy() == 0  # type: ignore[attr-defined,no-any-return]
