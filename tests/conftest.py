"""Fixtures that tests of several folders share: scripted upstreams, and a real gateway in front of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import hypothesis
import pytest

from tests.faults.running import Running, running
from tests.faults.wire import Wire

WAITING = ("tests/real/", "tests/contract/", "tests/server/", "tests/faults/", "tests/demo/")
"""Folders whose tests wait for other processes, the longest first."""

Upstreams = Callable[..., Awaitable[list[Wire]]]
GatewayFor = Callable[..., Awaitable[Running]]


class _Brisk:
    """asyncio for uvicorn's server, which looks only ten times a second whether it shall stop, and waits as long again
    for its connections: two tenths of a second for each of hundreds of gateways."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 20)


@pytest.fixture(scope="session", autouse=True)
def brisk_stops() -> Iterator[None]:
    """In this process; gateways in a process of their own (`tests/faults/process.py`) stop as they do in production."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvicorn.server.asyncio", _Brisk())
        yield


@pytest.fixture
async def upstreams() -> AsyncIterator[Upstreams]:
    """`one, two = await upstreams(2, kind="vllm")`: so many scripted upstreams that listen."""
    async with contextlib.AsyncExitStack() as stack:
        wires: list[Wire] = []

        async def start(count: int = 1, **about: Any) -> list[Wire]:
            new = [await stack.enter_async_context(Wire(**about)) for _ in range(count)]
            wires.extend(new)
            return new

        start.wires = wires  # type: ignore[attr-defined]
        yield start


@pytest.fixture
async def gateway_for(upstreams: Upstreams) -> AsyncIterator[GatewayFor]:
    """`gateway = await gateway_for(settings, env={...})`: a gateway that serves these settings (mapping or YAML text).

    When the test is over, everything that must hold after any test is checked (`Running.check`)."""
    async with contextlib.AsyncExitStack() as stack:
        started: list[Running] = []

        async def start(settings: dict[str, Any] | str, *, env: Mapping[str, str] | None = None) -> Running:
            wires: list[Wire] = upstreams.wires  # type: ignore[attr-defined]
            gateway = await stack.enter_async_context(running(settings, wires=wires, env=env))
            started.append(gateway)
            return gateway

        yield start
        for gateway in started:
            await gateway.check()


# ---- test processes side by side (`make test`) -----------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Laws are tried with few examples, the same in every run, so that a change is judged by what it changed;
    `--hypothesis-profile=long` (`make laws`) tries many, other ones each time. How long an example takes depends on
    what else runs on this machine: that is no fault of the code."""
    usual = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
    hypothesis.settings.register_profile("usual", usual, max_examples=25, derandomize=True, database=None)
    hypothesis.settings.register_profile("long", usual, max_examples=1000)
    hypothesis.settings.load_profile(config.getoption("hypothesis_profile", None) or "usual")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay together (they share a gateway), and all on real servers do (they share the servers)."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return WAITING[0] if nodeid.startswith(WAITING[0]) else super()._split_scope(nodeid)

    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest comes first, so that no process has much left to do when the other one is ready."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda i: next((n for n, w in enumerate(WAITING) if i.nodeid.startswith(w)), len(WAITING)))
