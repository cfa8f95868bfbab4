"""Fixtures that tests of several folders share: scripted upstreams, and a real gateway in front of them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from tests.faults.running import Running, running
from tests.faults.wire import Wire

Upstreams = Callable[..., Awaitable[list[Wire]]]
GatewayFor = Callable[..., Awaitable[Running]]


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
