"""What signals ask of a serving process, and how it stops: what runs may finish, the rest is told."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from gateway.server.front import Front
from gateway.server.listener import FLUSH, HttpServer


@dataclass(slots=True)
class Orders:
    """What signals ask for. `gently` = by SIGTERM, as a supervisor stops a process that others still send to."""

    stop: asyncio.Event
    at_once: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)
    gently: bool = False

    def on_stop(self, gently: bool) -> None:
        if self.stop.is_set():
            self.at_once.set()
        else:
            self.gently = gently
            self.stop.set()


@contextlib.contextmanager
def signals(loop: asyncio.AbstractEventLoop, orders: Orders) -> Any:
    """SIGTERM, SIGINT and SIGHUP are orders while the block runs."""
    acts: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGTERM: lambda: orders.on_stop(gently=True),
        signal.SIGINT: lambda: orders.on_stop(gently=False),
        signal.SIGHUP: orders.reload.set,
    }
    handled = []
    for sig, act in acts.items():
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
            loop.add_signal_handler(sig, act)
            handled.append(sig)
    try:
        yield
    finally:
        for sig in handled:
            loop.remove_signal_handler(sig)


async def either(seconds: float | None, *waits: Coroutine[Any, Any, Any]) -> None:
    """Returns when one of them is done, or after so many seconds."""
    tasks = [asyncio.create_task(wait, name="stop") for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def drain(front: Front, server: HttpServer, orders: Orders, limit: float, grace: float) -> None:
    """What runs may finish within `limit` seconds, or until a second signal; the rest is told that the gateway stops.
    For `grace` seconds before that, new connections are still served, while /readyz tells those who send them that
    they should go elsewhere."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    front.draining = True
    if grace:
        await either(min(grace, limit), orders.at_once.wait())
    front.closed = server.should_exit = True
    if front.active:
        await either(end - loop.time(), orders.at_once.wait(), asyncio.wait(list(front.active)))
    if front.active:
        await front.dismiss()
        await either(FLUSH, server.flush())
    else:
        await either(end - loop.time(), orders.at_once.wait(), server.flush())
    server.abort()
    server.force_exit = True
