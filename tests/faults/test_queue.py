"""Limits and ejection: who waits, who is turned away at once, and which server is left alone."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.running import Running, ask, config
from tests.faults.steps import Answer, Gate, Hang, Json, Sse
from tests.faults.wire import Wire

LONG = {"first_byte": 30, "first_byte_unknown": 30, "idle": 30, "queue": 30, "life_sign": 40}


async def queued(gateway: Running, count: int, within: float = 2.0) -> None:
    end = time.monotonic() + within
    while (now := (await gateway.metrics()).sum("gateway_queued")) != count:
        assert time.monotonic() < end, f"queued: {now}, not {count}"
        await asyncio.sleep(0.005)


def asked(wire: Wire) -> list[str]:
    """The prompts in the order in which they arrived."""
    return [b["messages"][-1]["content"] for b in wire.bodies]


async def test_no_more_than_the_limit_is_in_flight_and_the_queue_is_first_come(
    upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams(slots=1)
    gates = [asyncio.Event() for _ in range(5)]
    for k, gate in enumerate(gates):
        wire.answer(Gate(gate), Json(), nth=k)
    gateway = await gateway_for(config(wire, timeouts=LONG))
    tasks = []
    for k in range(5):
        tasks.append(asyncio.create_task(gateway.chat(f"number {k}")))
        if k == 0:
            await wire.seen()
        else:
            await queued(gateway, k)
    for k, gate in enumerate(gates):
        await wire.seen(k + 1)
        assert len(wire.unsettled()) == 1
        metrics = await gateway.metrics()
        assert (metrics.sum("gateway_in_flight"), metrics.sum("gateway_queued")) == (1, 4 - k)
        gate.set()
    assert [r.status for r in await asyncio.gather(*tasks)] == [200] * 5
    assert asked(wire) == [f"number {k}" for k in range(5)]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_full_queue_turns_away_at_once(stream, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(slots=1)
    gate = asyncio.Event()
    wire.answer(Gate(gate), Sse() if stream else Json())
    gateway = await gateway_for(config(wire, timeouts=LONG, limits={"queue": 2}))
    waiting = [asyncio.create_task(gateway.chat(f"{k}", stream=stream)) for k in range(40)]
    await wire.seen()
    done: set[asyncio.Task] = set()
    end = time.monotonic() + 3.0
    while not done and time.monotonic() < end:
        done, _ = await asyncio.wait(waiting, timeout=0.1)
    start = time.monotonic()
    late = await gateway.chat("late", stream=stream)
    assert time.monotonic() - start < 2.0
    assert (late.status, late.error["code"]) == (503, "server_is_overloaded")
    assert float(late.header("retry-after") or 0) >= 1
    gate.set()
    got = await asyncio.gather(*waiting)
    assert {r.status for r in got} == {200, 503}, "a refusal comes before the 200 of a life sign"
    served = sum(r.status == 200 for r in got)
    assert len(wire.requests) == served < 40


async def test_waiting_has_an_end(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(slots=1)
    gate = asyncio.Event()
    wire.answer(Gate(gate), Json())
    gateway = await gateway_for(config(wire, timeouts={**LONG, "queue": 0.3}))
    first = asyncio.create_task(gateway.chat("first"))
    await wire.seen()
    start = time.monotonic()
    got = await gateway.chat("second")
    assert 0.2 < time.monotonic() - start < 1.5
    assert (got.status, got.error["code"]) == (503, "server_is_overloaded")
    gate.set()
    assert (await first).status == 200
    assert len(wire.requests) == 1


async def test_work_goes_where_there_is_room(upstreams: Upstreams, gateway_for: GatewayFor):
    one, two = await upstreams(2, slots=2)
    gate = asyncio.Event()
    for wire in (one, two):
        wire.answer(Gate(gate), Json())
    gateway = await gateway_for(config(one, two, timeouts=LONG))
    tasks = [asyncio.create_task(gateway.chat(f"{k}")) for k in range(4)]
    await one.seen(2)
    await two.seen(2)
    assert (await gateway.metrics()).sum("gateway_queued") == 0
    gate.set()
    assert [r.status for r in await asyncio.gather(*tasks)] == [200] * 4


async def test_max_in_flight_of_the_operator_wins(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(slots=8)
    gate = asyncio.Event()
    wire.answer(Gate(gate), Json())
    gateway = await gateway_for(config(wire, timeouts=LONG, backends={"one": {"max_in_flight": 3}}))
    tasks = [asyncio.create_task(gateway.chat(f"{k}")) for k in range(5)]
    await wire.seen(3)
    await queued(gateway, 2)
    assert len(wire.requests) == 3
    gate.set()
    await asyncio.gather(*tasks)


# ---- ejection ----

BROKEN = Json(answers.error("out of memory"), 500)


async def test_five_faults_in_a_row_and_the_server_is_left_alone(upstreams: Upstreams, gateway_for: GatewayFor):
    one, two = await upstreams(2)
    one.answer(BROKEN)
    prefer = [{"match": {}, "prefer": [{"backend": "one"}]}]
    gateway = await gateway_for(config(one, two, routes=prefer))
    for _ in range(20):
        got = await gateway.chat()
        assert got.status == 200 and got.text == answers.TEXT, got
    assert len(one.requests) == 5
    assert len(two.requests) == 20
    metrics = await gateway.metrics()
    assert metrics.labels("gateway_ejected", "backend") == {"one": 1, "two": 0}
    assert metrics.sum("gateway_ejections_total", backend="one") == 1


async def test_what_the_client_did_wrong_ejects_nobody(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    for status in (400, 422):
        wire.answer(Json(answers.error("no"), status))
        for _ in range(8):
            assert (await gateway.chat()).status == 400
    assert (await gateway.metrics()).sum("gateway_ejected") == 0
    assert len(wire.requests) == 16


async def test_busy_is_not_broken(upstreams: Upstreams, gateway_for: GatewayFor):
    one, two = await upstreams(2)
    one.answer(Json(answers.error("busy"), 503))
    prefer = [{"match": {}, "prefer": [{"backend": "one"}]}]
    gateway = await gateway_for(config(one, two, routes=prefer))
    for _ in range(8):
        got = await gateway.chat()
        assert got.status == 200 and got.text == answers.TEXT, got
    assert (await gateway.metrics()).sum("gateway_ejections_total") == 0


@pytest.mark.parametrize(
    ("status", "error"),
    [(402, answers.error("pay first")), (429, answers.error("quota", code="insufficient_quota"))],
)
async def test_U12_a_used_up_account_is_not_asked_for_every_request(
    status: int, error: Any, upstreams: Upstreams, gateway_for: GatewayFor
):
    one, two = await upstreams(2, kind="openai")
    one.answer(Json(error, status))
    gateway = await gateway_for(config(one, two, routes=[{"match": {}, "prefer": [{"backend": "one"}]}]))
    assert {(await gateway.chat()).status for _ in range(6)} == {200}
    assert (len(one.requests), len(two.requests)) == (1, 6)


async def test_cut_streams_are_faults_though_they_began_well(upstreams: Upstreams, gateway_for: GatewayFor):
    """A stream is judged at its end."""
    one, two = await upstreams(2)
    one.answer(Sse(finish=None, done=False))
    prefer = [{"match": {}, "prefer": [{"backend": "one"}]}]
    gateway = await gateway_for(config(one, two, routes=prefer))
    codes = []
    for _ in range(8):
        got = await gateway.chat(stream=True)
        codes.append(got.error["code"] if got.error else "ok")
    assert codes == ["upstream_truncated"] * 5 + ["ok"] * 3


async def test_the_last_server_is_not_given_up(upstreams: Upstreams, gateway_for: GatewayFor):
    """With nowhere else to go, an ejected server is still tried now and then, never for every request."""
    [wire] = await upstreams()
    wire.answer(BROKEN)
    gateway = await gateway_for(config(wire))
    got = [await gateway.chat() for _ in range(20)]
    assert {r.status for r in got} <= {502, 503}
    assert 5 <= len(wire.requests) < 20


async def test_a_trial_whose_client_left_frees_its_place(upstreams: Upstreams, gateway_for: GatewayFor):
    """An ejected server is tried by one request; when that one's client leaves, the next one is the trial."""
    one, two = await upstreams(2)
    one.answer(BROKEN)
    prefer = [{"match": {}, "prefer": [{"backend": "one"}]}]
    gateway = await gateway_for(config(one, two, routes=prefer, timeouts={**LONG, "facts": 0.2, "liveness": 0.2}))
    for _ in range(5):
        assert (await gateway.chat()).status == 200
    assert len(one.requests) == 5
    one.answer(Hang())
    end = time.monotonic() + 3.0
    while len(one.requests) == 5:
        assert time.monotonic() < end, "a healthy probe must let a trial start"
        async with gateway.client(ask()) as client:
            reading = asyncio.create_task(client.read())
            await asyncio.wait([reading], timeout=0.3)
            reading.cancel()
    one.answer(Answer())
    end = time.monotonic() + 3.0
    while (await gateway.chat()).header("x-gateway-target") != "one/tiny-gemma4":
        assert time.monotonic() < end, "the server is never tried again"
        await asyncio.sleep(0.05)
