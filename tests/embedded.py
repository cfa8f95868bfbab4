"""The embedded fleet with a gateway in front of it, in this process: for what is shown to readers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.demo.fleet import free_ports, plan
from gateway.demo.run import serve_gateway
from gateway.demo.supervisor import Supervisor


@contextlib.asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[int]:
    """The port of the gateway. Raises if it ends before it listens, instead of waiting for ever."""
    fleet = plan(folder)
    (chosen,) = free_ports(1)
    stop, up = asyncio.Event(), asyncio.Event()
    async with Supervisor(folder / "logs") as supervisor:
        await supervisor.start_all([s.child() for s in fleet.servers])
        config = fleet.config(f"127.0.0.1:{chosen}")
        serving = asyncio.create_task(serve_gateway(config, ready=lambda url: up.set(), stop=stop))
        listening = asyncio.create_task(up.wait())
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            raise AssertionError(f"it ended before it listened: {serving.exception() or serving.result()}")
        yield chosen
        stop.set()
        await serving
