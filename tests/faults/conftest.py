"""The fault tests run on the loop that serves in production, and share a gateway where a test leaves no trace in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest_asyncio
import uvloop

from tests.faults.running import KEY, Running, config, running
from tests.faults.wire import Wire


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def _shared() -> AsyncIterator[Running]:
    async with Wire() as wire, running(config(wire), wires=[wire]) as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def _locked() -> AsyncIterator[Running]:
    async with contextlib.AsyncExitStack() as stack:
        wire = await stack.enter_async_context(Wire())
        settings = config(wire, auth={"api_key_env": "GATEWAY_API_KEY"})
        gateway = await stack.enter_async_context(running(settings, wires=[wire], env={"GATEWAY_API_KEY": KEY}))
        gateway.secrets.append(KEY)
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def shared(_shared: Running) -> AsyncIterator[Running]:
    """One gateway for all tests of a module, for what leaves no trace in it. What must hold after any test is checked
    after each."""
    _shared.wires[0].forget()
    yield _shared
    await _shared.check()
    _shared.answers.clear()


@pytest_asyncio.fixture(loop_scope="module")
async def locked(_locked: Running) -> AsyncIterator[Running]:
    """The same with a key (`KEY`)."""
    _locked.wires[0].forget()
    yield _locked
    await _locked.check()
    _locked.answers.clear()
