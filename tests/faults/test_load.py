"""Servers that others use as well: what they say of themselves decides between targets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults.running import KEY, Running, config
from tests.faults.steps import Json, Reply
from tests.faults.wire import Wire

MODEL = 'engine="0",model_name="tiny-gemma4"'


def vllm(running: int, waiting: int, cache: float) -> Reply:
    """The lines of vLLM's metrics that are about load (tests/wire/vllm/metrics.txt)."""
    lines = (
        f"vllm:num_requests_running{{{MODEL}}} {running:.1f}\n"
        f"vllm:num_requests_waiting{{{MODEL}}} {waiting:.1f}\n"
        f"vllm:kv_cache_usage_perc{{{MODEL}}} {cache}\n"
    )
    return Reply(lines.encode(), type="text/plain")


def slots(*at_work: bool) -> Json:
    return Json([{"id": i, "is_processing": x} for i, x in enumerate(at_work)])


async def others(gateway: Running, name: str = "gateway_others") -> dict[str, float]:
    return (await gateway.metrics()).labels(name, "backend")


async def until_told(gateway: Running, want: dict[str, float], name: str = "gateway_others") -> None:
    async with asyncio.timeout(5):
        while await others(gateway, name) != want:
            await asyncio.sleep(0.01)


async def asked(gateway: Running, times: int, **fields: Any) -> None:
    for i in range(times):
        assert (await gateway.chat(f"conversation {i}", **fields)).status == 200


@pytest.mark.parametrize(
    ("full", "idle", "name", "want"),
    [
        (vllm(90, 4, 0.5), vllm(0, 0, 0.1), "gateway_others", {"one": 94, "two": 0}),
        (vllm(0, 0, 0.97), vllm(0, 0, 0.1), "gateway_cache_used_ratio", {"one": 0.97, "two": 0.1}),
    ],
)
async def test_vllm(
    upstreams: Upstreams, gateway_for: GatewayFor, full: Reply, idle: Reply, name: str, want: dict[str, float]
):
    one, two = await upstreams(2, kind="vllm")
    one.answer(full, path="/metrics")
    two.answer(idle, path="/metrics")
    gateway = await gateway_for(config(one, two, timeouts={"liveness": 0.05}))
    await until_told(gateway, want, name)
    await asked(gateway, 8)
    assert (len(one.requests), len(two.requests)) == (0, 8)
    one.answer(idle, path="/metrics")
    two.answer(full, path="/metrics")
    await until_told(gateway, {"one": want["two"], "two": want["one"]}, name)
    await asked(gateway, 8)
    assert (len(one.requests), len(two.requests)) == (8, 8)


async def test_llamacpp_is_not_asked_for_its_metrics_while_a_slot_is_free(
    upstreams: Upstreams, gateway_for: GatewayFor
):
    one, two = await upstreams(2)
    one.answer(slots(True, False), path="/slots")
    gateway = await gateway_for(config(one, two, timeouts={"liveness": 0.05}))
    await until_told(gateway, {"one": 1, "two": 0})
    assert not any(p.path.startswith("/metrics") for p in one.probes + two.probes)
    await asked(gateway, 4)
    assert (len(one.requests), len(two.requests)) == (0, 4)
    one.answer(slots(True, True), path="/slots")
    one.answer(Reply(b"llamacpp:requests_processing 2\nllamacpp:requests_deferred 5\n"), path="/metrics")
    await until_told(gateway, {"one": 7, "two": 0})


async def test_the_tenant_is_the_keys_id_and_nothing_that_a_client_says(upstreams: Upstreams, gateway_for: GatewayFor):
    (wire,) = await upstreams(1, kind="vllm")
    settings = config(wire, auth={"api_key_env": "GATEWAY_API_KEY"})
    gateway = await gateway_for(settings, env={"GATEWAY_API_KEY": KEY})
    gateway.secrets.append(KEY)
    key = {"Authorization": f"Bearer {KEY}"}
    for more in ({}, {"cache_salt": "mine"}, {"user": "somebody else"}):
        assert (await gateway.chat(headers=key, **more)).status == 200
    salts = {body["cache_salt"] for body in wire.bodies}
    assert len(salts) == 1 and not salts & {"mine", "somebody else", KEY}
    refused = await gateway.chat(headers=key, gateway={"tenant": "somebody else"})
    assert refused.status == 400 and refused.json()["error"]["param"] == "gateway.tenant"


async def test_without_keys_there_is_one_tenant(upstreams: Upstreams, gateway_for: GatewayFor):
    (wire,) = await upstreams(1, kind="vllm")
    gateway = await gateway_for(config(wire))
    assert (await gateway.chat()).status == 200
    assert "cache_salt" not in wire.bodies[0]


async def test_drift_is_in_the_log_and_counted_by_what_drifted(upstreams: Upstreams, gateway_for: GatewayFor):
    (wire,) = await upstreams(1)
    gateway = await gateway_for(config(wire, timeouts={"liveness": 0.05, "facts": 0.05}))
    await until_looked(wire, 3)
    assert (await gateway.metrics()).labels("gateway_drift_total", "fact") == {}
    wire.modalities, wire.n_ctx = ("text",), 2048
    async with asyncio.timeout(5):
        while len((await gateway.metrics()).labels("gateway_drift_total", "fact")) < 4:
            await asyncio.sleep(0.01)
    counted = (await gateway.metrics()).labels("gateway_drift_total", "fact")
    assert counted == {"image": 1, "audio": 1, "video": 1, "context": 1}
    told = [line["change"] for line in gateway.log_lines if line["event"] == "drift"]
    assert "one/tiny-gemma4: context 4096 -> 2048" in told and "one/tiny-gemma4: image yes -> no" in told
    assert len(told) == 4


async def until_looked(wire: Wire, times: int) -> None:
    await wire.until(lambda: sum(p.path == "/props" for p in wire.probes) >= times, 5.0)
