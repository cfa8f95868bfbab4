"""`gateway serve` as a process of its own over the real fleet: a new configuration comes into force as a whole or not
at all, and streams that are under way do not notice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import yaml

from tests.faults.running import Metrics
from tests.real.conftest import RealFleet, Start, backend, until
from tests.real.content import chat, chunks, endless, error, said
from tests.real.servers import PLAIN, RealServer

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

Reload = Callable[["Process"], Awaitable[None]]


class Process:
    """A gateway, its file, and what it says."""

    def __init__(self, config: Path, log: Path) -> None:
        self.config, self.log = config, log
        self.process: asyncio.subprocess.Process
        self.http: httpx2.AsyncClient

    def write(self, settings: dict[str, Any] | str) -> None:
        """As editors and config maps do it: another file takes the place of the old one."""
        new = self.config.with_suffix(".new")
        new.write_text(settings if isinstance(settings, str) else yaml.safe_dump(settings, sort_keys=False))
        new.replace(self.config)

    async def put(self, settings: dict[str, Any]) -> None:
        """Brings a good configuration into force."""
        self.write(settings)
        before = await self.reloads("applied")
        self.process.send_signal(signal.SIGHUP)

        async def applied() -> bool:
            return await self.reloads("applied") > before

        await until(applied, 5)

    async def start(self) -> None:
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "serve", str(self.config),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "PORT": ""},
            )  # fmt: skip

        async def listens() -> bool:
            assert self.process.returncode is None, self.log.read_text()
            return "listening at http" in self.log.read_text()

        await until(listens, 60)  # it imports everything, on a machine that may be busy
        url = next(x for x in self.log.read_text().splitlines() if "listening at" in x).rpartition(" ")[2]
        self.http = httpx2.AsyncClient(base_url=url, trust_env=False, verify=PLAIN, timeout=60.0)

    async def stop(self) -> None:
        await self.http.aclose()
        if self.process.returncode is None:
            self.process.terminate()
        assert await asyncio.wait_for(self.process.wait(), 10) == 0, self.log.read_text()

    async def kill(self) -> None:
        """Whatever happened, nothing stays behind: uvloop waits for the children of a loop that it closes."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def post(self, body: Any) -> httpx2.Response:
        return await self.http.post("/v1/chat/completions", json=body)

    async def metrics(self) -> Metrics:
        return Metrics.read((await self.http.get("/metrics")).text)

    async def reloads(self, result: str) -> float:
        return (await self.metrics()).sum("gateway_config_reloads_total", result=result)

    async def failed(self) -> float:
        metrics = await self.metrics()
        return metrics.sum("gateway_requests_total") - metrics.sum("gateway_requests_total", code="ok")

    async def digest(self) -> str:
        [digest] = (await self.metrics()).labels("gateway_config_info", "digest")
        return digest

    async def names(self) -> set[str]:
        return {m["id"] for m in (await self.http.get("/v1/models")).json()["data"]}


def config(fleet: RealFleet, **models: str) -> dict[str, Any]:
    """The fleet, with these public names for these backends."""
    return {
        "listen": "127.0.0.1:0",
        "auth": "none",
        "backends": {name: backend(fleet.servers[name]) for name in ("ears", "eyes")},
        "models": {name: {"targets": [{"backend": target}]} for name, target in models.items()},
    }


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def _process(fleet: RealFleet, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Process]:
    folder = tmp_path_factory.mktemp("gateway")
    process = Process(folder / "gateway.yaml", folder / "gateway.log")
    process.write(config(fleet, first="ears"))
    try:
        await process.start()
        yield process
        await process.stop()
    finally:
        await process.kill()
    log = process.log.read_text()
    assert "Traceback" not in log and '"bug"' not in log, log


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(_process: Process, fleet: RealFleet) -> Process:
    """One process for all tests, which each finds with `first` at `ears` and nothing else."""
    await _process.put(config(fleet, first="ears"))
    return _process


async def by_signal(gateway: Process) -> None:
    gateway.process.send_signal(signal.SIGHUP)


async def by_file(gateway: Process) -> None:
    """Nothing: the file is looked at every second."""


@pytest.fixture(params=[by_signal, by_file])
def reload(request: pytest.FixtureRequest) -> Reload:
    found: Reload = request.param
    return found


async def test_a_new_name_appears(gateway: Process, fleet: RealFleet, reload: Reload):
    missing = await gateway.post(chat("second"))
    assert (missing.status_code, error(missing.content)["code"]) == (404, "model_not_found")
    before = await gateway.digest()
    applied = await gateway.reloads("applied")
    gateway.write(config(fleet, first="ears", second="eyes"))
    await reload(gateway)

    async def there() -> bool:
        return "second" in await gateway.names()

    await until(there, 3)
    got = await gateway.post(chat("second"))
    assert (got.status_code, got.headers["x-gateway-target"], got.json()["model"]) == (
        200,
        "eyes/fixture-eyes",
        "second",
    )
    assert (await gateway.post(chat("first"))).status_code == 200
    assert await gateway.digest() != before
    assert await gateway.reloads("applied") > applied
    assert (await gateway.metrics()).sum("gateway_config_last_reload_successful") == 1


async def test_a_stream_under_way_is_not_disturbed(gateway: Process, fleet: RealFleet, start: Start, reload: Reload):
    """Its name moves to another server and its own server leaves the configuration: it goes on to its end."""
    one = start("one", slots=2)
    settings = config(fleet)
    settings["backends"]["one"] = backend(one)
    settings["models"] = {"first": {"targets": [{"backend": "one"}]}}
    await gateway.put(settings)

    async def moved() -> bool:
        return (await gateway.post(chat("first"))).headers.get("x-gateway-target") == "one/one"

    await until(moved, 5)
    failed, applied = await gateway.failed(), await gateway.reloads("applied")
    body = b""
    async with gateway.http.stream("POST", "/v1/chat/completions", json=endless("first", 4_000, stream=True)) as got:
        assert got.headers["x-gateway-target"] == "one/one"
        pieces = got.aiter_raw()
        body += await anext(pieces)
        one.freeze()  # in the middle of its answer, until the reload is done
        gateway.write(config(fleet, first="eyes"))
        await reload(gateway)

        async def reloaded() -> bool:
            return await gateway.reloads("applied") > applied

        await until(reloaded, 5)
        assert (await gateway.post(chat("first"))).headers["x-gateway-target"] == "eyes/fixture-eyes"
        one.thaw()
        async for piece in pieces:
            body += piece
    events = chunks(body)
    assert body.endswith(b"data: [DONE]\n\n")
    assert [c["choices"][0]["finish_reason"] for c in events if c["choices"]][-1] == "length"
    assert {c["model"] for c in events} == {"first"}
    assert said(body).count("[fixture]") > 200
    assert await gateway.failed() == failed


BROKEN = {
    "no YAML": "backends: [",
    "an unknown key": "backnds: {}",
    "a target that is not there": "models: {x: {targets: [{backend: nobody}]}}",
    "empty": "\0",
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_file_changes_nothing(gateway: Process, fleet: RealFleet, broken: str):
    before, rejected = await gateway.digest(), await gateway.reloads("rejected")
    gateway.write(BROKEN[broken])
    gateway.process.send_signal(signal.SIGHUP)

    async def told() -> bool:
        return await gateway.reloads("rejected") > rejected

    await until(told, 3)
    assert (await gateway.metrics()).sum("gateway_config_last_reload_successful") == 0
    assert await gateway.digest() == before
    assert (await gateway.post(chat("first"))).headers["x-gateway-target"] == "ears/fixture-ears"
    assert "first" in await gateway.names()
    assert "reload rejected" in gateway.log.read_text()

    await gateway.put(config(fleet, first="ears", second="eyes"))
    assert "second" in await gateway.names()
    assert (await gateway.metrics()).sum("gateway_config_last_reload_successful") == 1


async def test_a_broken_file_is_found_without_a_signal(gateway: Process):
    rejected = await gateway.reloads("rejected")
    gateway.write("models: {x: {}}")

    async def told() -> bool:
        return await gateway.reloads("rejected") == rejected + 1

    await until(told, 3)
    assert "models.x" in gateway.log.read_text(), "with the place"
    assert (await gateway.post(chat("first"))).status_code == 200


async def test_a_file_that_is_gone_for_a_moment(gateway: Process, fleet: RealFleet):
    rejected = await gateway.reloads("rejected")
    gateway.config.rename(gateway.config.with_suffix(".away"))
    assert (await gateway.post(chat("first"))).status_code == 200
    gateway.write(config(fleet, first="ears", second="eyes"))

    async def there() -> bool:
        return "second" in await gateway.names()

    await until(there, 3)
    assert await gateway.reloads("rejected") == rejected


async def test_a_server_that_the_new_file_leaves_alone_keeps_its_state(gateway: Process, fleet: RealFleet):
    """No moment in which its requests are refused while it is probed anew."""
    codes: list[int] = []
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            codes.append((await gateway.post(chat("first"))).status_code)

    asking = [asyncio.create_task(ask()) for _ in range(2)]
    for n in range(5):
        await gateway.put(config(fleet, first="ears", **{f"name{n}": "eyes"}))
        assert f"name{n}" in await gateway.names()
    done.set()
    await asyncio.gather(*asking)
    assert len(codes) > 10
    assert set(codes) == {200}


async def test_a_new_server_is_used_as_soon_as_it_was_looked_at(gateway: Process, fleet: RealFleet, start: Start):
    one: RealServer = start("one")
    settings = config(fleet, first="ears")
    settings["backends"]["one"] = backend(one)
    await gateway.put(settings)

    async def serves() -> bool:
        return (await gateway.post(chat("one"))).status_code == 200

    assert await until(serves, 5) < 2.0
