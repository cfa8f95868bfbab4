"""The gateway as a process: what it says when it can't start, how it stops, and how it takes another configuration."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import run
from tests.conftest import Upstreams
from tests.faults import answers
from tests.faults.process import process
from tests.faults.rawclient import RawClient, Response, get, json_request, post
from tests.faults.running import CHAT, PUBLIC, Metrics, ask, config
from tests.faults.steps import Events, Finish, Gate, Hang, Head, Json
from tests.faults.wire import Wire

LONG = {"first_byte": 30, "first_byte_unknown": 30, "idle": 30}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.yaml"


MANY_ERRORS = "backends:\n  a: {kind: nonsense, url: 'http://h'}\n  b: {kind: vllm, url: x, colour: red}\nmodles: {}\n"
ALL_OF_THEM = ["backends.a.kind", "backends.b.url", "backends.b.colour", "modles"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("backends: [", ["gateway.yaml:1"]),
        (MANY_ERRORS, ALL_OF_THEM),
        (
            "auth: {api_key_env: NO_SUCH_VARIABLE}\nbackends: {a: {kind: vllm, url: 'http://h:1'}}\n",
            ["NO_SUCH_VARIABLE"],
        ),
        ("listen: 0.0.0.0:4000\nauth: none\nbackends: {a: {kind: vllm, url: 'http://h:1'}}\n", ["auth"]),
    ],
    ids=["O1 no YAML", "O1 many errors", "O2 no secret", "O2 open to the world"],
)
def test_what_is_wrong_is_said_at_once_and_the_exit_code_is_2(
    settings: str, said: list[str], file: Path, capsys: pytest.CaptureFixture[str]
):
    file.write_text(settings)
    assert run(["serve", "--config", str(file)]) == 2
    told = capsys.readouterr()
    for word in said:
        assert word in told.err, told
    assert len(told.err.splitlines()) >= len(said) and not told.out


async def test_O1_a_process_that_can_t_start_says_why_and_nothing_else(file: Path):
    async with process(file, MANY_ERRORS, wait=False) as gateway:
        assert await gateway.ended() == 2
        text = "\n".join(gateway.lines)
        assert "Traceback" not in text
        for word in ALL_OF_THEM:
            assert word in text, text


async def test_O21_a_taken_port_is_one_line_and_exit_code_2(upstreams: Upstreams, file: Path):
    [wire] = await upstreams()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = config(wire, listen=f"127.0.0.1:{taken.getsockname()[1]}")
        async with process(file, settings, wait=False) as gateway:
            assert await gateway.ended() == 2
            [line] = gateway.lines
            assert str(taken.getsockname()[1]) in line


@contextlib.asynccontextmanager
async def begun(wire: Wire, url: str, gate: asyncio.Event) -> AsyncIterator[tuple[RawClient, Response]]:
    """A stream that has said its first word and waits for `gate` to say the rest."""
    rest = [" wire", answers.chunk({}, finish="stop"), None]
    wire.answer(Head(), Events(["Hello"]), Gate(gate), Events(rest), Finish())
    async with RawClient(url) as client:
        await client.send(json_request(CHAT, ask(stream=True)))
        response = await client.read_head()
        await client.read_until(response, b"Hello")
        yield client, response


async def test_O7_a_stop_lets_streams_finish(upstreams: Upstreams, file: Path):
    [wire] = await upstreams()
    gate = asyncio.Event()
    async with (
        process(file, config(wire, timeouts={**LONG, "drain": 20})) as gateway,
        begun(wire, gateway.url, gate) as (client, response),
    ):
        gateway.send(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert gateway.child.returncode is None
        gate.set()
        await client.read_until(response, b"[DONE]")
        assert response.text == "Hello wire"
        assert await gateway.ended(5) == 0
        assert not [line for line in gateway.lines if "Traceback" in line]


async def test_O7_what_does_not_finish_in_time_is_told_so(upstreams: Upstreams, file: Path):
    [wire] = await upstreams()
    async with (
        process(file, config(wire, timeouts={**LONG, "drain": 0.5})) as gateway,
        begun(wire, gateway.url, asyncio.Event()) as (client, response),
    ):
        start = time.monotonic()
        gateway.send(signal.SIGTERM)
        async for piece in client.pieces(response):
            response.body += piece
        assert await gateway.ended(5) == 0
        assert time.monotonic() - start < 3.0
        assert not response.done
        assert response.clean and response.error is not None, response.body[-300:]
        assert response.error["code"] == "server_shutting_down"
        await wire.closed(wire.requests[0])


async def test_O8_a_second_signal_stops_at_once(upstreams: Upstreams, file: Path):
    [wire] = await upstreams()
    async with (
        process(file, config(wire, timeouts={**LONG, "drain": 60})) as gateway,
        begun(wire, gateway.url, asyncio.Event()),
    ):
        gateway.send(signal.SIGTERM)
        await asyncio.sleep(0.3)
        assert gateway.child.returncode is None
        gateway.send(signal.SIGTERM)
        await gateway.ended(3)


async def test_O8_killed_hard_it_starts_again_at_the_same_port(upstreams: Upstreams, file: Path):
    [wire] = await upstreams()
    settings = config(wire, timeouts=LONG)
    async with process(file, settings) as gateway, begun(wire, gateway.url, asyncio.Event()):
        port = int(gateway.url.rsplit(":", 1)[1])
        gateway.send(signal.SIGKILL)
        await gateway.ended(5)
        await wire.until(lambda: wire.requests[0].closed_at is not None)
    async with process(file, {**settings, "listen": f"127.0.0.1:{port}"}) as again:
        wire.forget()
        assert (await again.chat()).text == answers.TEXT


async def test_O3_O4_O6_reload(upstreams: Upstreams, file: Path):
    one, two = await upstreams(2)
    two.model = "another-model"
    gate = asyncio.Event()
    async with (
        process(file, config(one, timeouts=LONG)) as gateway,
        begun(one, gateway.url, gate) as (client, response),
    ):
        # a configuration with an error changes nothing (by signal: at once)
        gateway.write("backends: {one: {kind: nonsense}}\nbackend: 5\n")
        gateway.send(signal.SIGHUP)
        rejected = await gateway.until_logged("reload rejected")
        assert len(rejected["problems"]) >= 2
        metrics = await gateway.metrics()
        assert metrics.sum("gateway_config_reloads_total", result="rejected") >= 1
        assert metrics.sum("gateway_config_last_reload_successful") == 0
        assert (await gateway.chat(model="no-such")).status == 404

        # a good one is taken by the changed file alone; what runs on the backend that is gone goes on
        gateway.write(config(two, timeouts=LONG))
        await gateway.until_logged('"reloaded"')
        end = time.monotonic() + 5
        while (got := await gateway.chat()).status != 200 and time.monotonic() < end:
            await asyncio.sleep(0.05)
        assert got.header("x-gateway-target") == "one/another-model"
        assert (await gateway.metrics()).sum("gateway_config_last_reload_successful") == 1
        assert len(two.requests) == 1
        gate.set()
        await client.read_until(response, b"[DONE]")
        assert response.text == "Hello wire"

        # half a file for a moment is no configuration, and no reason to stop
        gateway.config.write_text("backends:\n  one: {kind: llam")
        await asyncio.sleep(1.5)
        assert (await gateway.chat()).status == 200
        probes = len(one.probes)
        await asyncio.sleep(0.5)
        assert len(one.probes) <= probes, "nobody asks a server that is no longer configured"


def exposed(settings: dict[str, Any], env: str = "KEY") -> dict[str, Any]:
    """The same, reachable from other machines, so with a key."""
    return {**settings, "listen": "0.0.0.0:0", "auth": {"api_key_env": env}}


async def test_a_reload_can_not_change_what_is_fixed_at_the_start(upstreams: Upstreams, file: Path):
    """`auth: none` is judged for the address in the file: the open socket stays what it was opened as."""
    [wire] = await upstreams()
    settings = config(wire, timeouts=LONG)
    async with process(file, exposed(settings), env={"KEY": "the-right-key"}) as gateway:
        url = gateway.url.replace("0.0.0.0", "127.0.0.1")
        assert (await post(url, CHAT, ask())).status == 401
        gateway.write({**settings, "listen": "127.0.0.1:0", "auth": "none"})
        rejected = await gateway.until_logged("reload rejected")
        assert rejected["problems"] == ["listen changed: that needs a restart"]
        assert (await post(url, CHAT, ask())).status == 401
        metrics = Metrics.read((await get(url, "/metrics")).body.decode())
        assert metrics.sum("gateway_config_last_reload_successful") == 0
        assert metrics.sum("gateway_config_reloads_total", result="rejected") == 1


async def test_a_reload_changes_the_level_of_the_log_and_the_time_of_a_drain(upstreams: Upstreams, file: Path):
    [wire] = await upstreams()
    async with (
        process(file, config(wire, timeouts={**LONG, "drain": 60})) as gateway,
        begun(wire, gateway.url, asyncio.Event()),
    ):
        gateway.write(config(wire, timeouts={**LONG, "drain": 0.3}, log={"level": "error"}))
        end = time.monotonic() + 5
        while (await gateway.metrics()).sum("gateway_config_reloads_total", result="applied") < 1:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        assert (await gateway.chat(model="no-such")).status == 404
        gateway.send(signal.SIGTERM)
        assert await gateway.ended(5) == 0
        told = ("no-such", '"reloaded"', '"status":404')
        assert not [line for line in gateway.lines if any(word in line for word in told)]


async def test_a_stop_of_an_exposed_gateway_still_serves_for_a_moment(upstreams: Upstreams, file: Path):
    """A load balancer sees 503 at /readyz before the port is closed: nobody's connection is refused meanwhile."""
    [wire] = await upstreams()
    env = {"KEY": "the-right-key"}
    key = {"Authorization": "Bearer the-right-key"}
    async with process(file, exposed(config(wire, timeouts={**LONG, "drain": 1.0})), env=env) as gateway:
        url = gateway.url.replace("0.0.0.0", "127.0.0.1")
        assert (await get(url, "/readyz")).status == 200
        start = time.monotonic()
        gateway.send(signal.SIGTERM)
        while (ready := await get(url, "/readyz")).status == 200:
            await asyncio.sleep(0.01)
        assert (ready.status, ready.header("connection"), ready.json()["status"]) == (503, "close", "draining")
        got = await post(url, CHAT, ask(), key)
        assert (got.status, got.text, got.header("connection")) == (200, answers.TEXT, "close")
        assert await gateway.ended(5) == 0
        assert 0.9 < time.monotonic() - start < 4.0


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
async def test_nobody_waits_where_no_load_balancer_is(sig: signal.Signals, upstreams: Upstreams, file: Path):
    [wire] = await upstreams()
    settings = config(wire, timeouts=LONG)
    settings = exposed(settings) if sig == signal.SIGINT else settings
    async with process(file, settings, env={"KEY": "the-right-key"}) as gateway:
        start = time.monotonic()
        gateway.send(sig)
        assert await gateway.ended(10) == 0
        assert time.monotonic() - start < 3.0


async def test_a_stop_does_not_cut_what_a_slow_client_still_reads(upstreams: Upstreams, file: Path):
    [wire] = await upstreams()
    text = "x" * 6_000_000
    wire.answer(Json(answers.chat(text)))
    async with (
        process(file, config(wire, timeouts=LONG)) as gateway,
        RawClient(gateway.url, 4096) as client,
    ):
        await client.send(json_request(CHAT, ask()))
        response = await client.read_head()
        end = time.monotonic() + 5
        while not (await gateway.metrics()).sum("gateway_requests_total"):
            assert time.monotonic() < end
            await asyncio.sleep(0.02)
        gateway.send(signal.SIGTERM)
        await asyncio.sleep(2.5)  # longer than the last words may take
        assert gateway.child.returncode is None
        async for piece in client.pieces(response):
            response.body += piece
        assert response.clean and response.text == text
        assert await gateway.ended(5) == 0


async def test_O10_O19_a_deaf_log_and_a_proxy_in_the_environment_change_nothing(upstreams: Upstreams, file: Path):
    [wire] = await upstreams()
    dead = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    async with process(file, config(wire, timeouts={"liveness": 0.3}), env=dead) as gateway:
        assert (await gateway.chat()).text == answers.TEXT
        transport = gateway.child._transport.get_pipe_transport(2)  # type: ignore[attr-defined]
        transport.close()  # nobody reads the log any more
        for _ in range(50):
            assert (await gateway.chat()).status == 200
        assert (await get(gateway.url, "/healthz")).status == 200
        # a server that dies and comes back, and a reload, are things to log
        await wire.stop()
        end = time.monotonic() + 5
        while not (await gateway.metrics()).sum("gateway_target_state", state="down"):
            assert time.monotonic() < end
            await asyncio.sleep(0.05)
        await wire.start()
        while (await gateway.chat()).status != 200:
            assert time.monotonic() < end + 5
            await asyncio.sleep(0.05)
        for name in (PUBLIC, "error"):
            gateway.write(config(wire, unknown_model=name))
            while ((await gateway.chat(model="zz")).status == 200) != (name == PUBLIC):
                assert time.monotonic() < end + 12
                await asyncio.sleep(0.1)


async def test_readiness_follows_the_fleet(upstreams: Upstreams, file: Path):
    [wire] = await upstreams(state="loading")
    async with process(file, config(wire, timeouts={"liveness": 0.1})) as gateway:
        assert (await get(gateway.url, "/healthz")).status == 200
        assert (await get(gateway.url, "/readyz")).status == 503
        wire.state = "ready"
        end = time.monotonic() + 3
        while (ready := await get(gateway.url, "/readyz")).status != 200 and time.monotonic() < end:
            await asyncio.sleep(0.05)
        assert ready.status == 200


async def test_a_hung_upstream_is_no_reason_to_hang_at_the_start(upstreams: Upstreams, file: Path):
    one, two = await upstreams(2)
    one.answer(Hang(), path="/v1/models")
    one.answer(Hang(), path="/health")
    async with process(file, config(one, two, timeouts={"probe": 0.5})) as gateway:
        got = await gateway.chat()
        assert (got.status, got.header("x-gateway-target")) == (200, f"two/{two.model}")
