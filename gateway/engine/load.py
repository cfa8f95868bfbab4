"""How busy servers are with what others gave them, asked beside their liveness."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator

from gateway.backends import Call, Load, Reply
from gateway.engine.servers import Deployment, Server

Send = Callable[[Call], Awaitable[Reply]]


async def measure(server: Server, send: Send) -> None:
    """Asks a server that is up about each of its models that are, and notes what it says. A server that answers for all
    of its models at once is asked once. What could not be asked now stays as it was."""
    backend = server.backend
    assert backend is not None
    up = [d for d in server.deployments.values() if d.listed]
    replies: dict[tuple[str, str], Reply] = {}
    together: dict[tuple[tuple[str, str], ...], list[tuple[Deployment, Load | None]]] = {}
    before = {d.gate: d.candidate.in_flight for d in up}
    for d in up:
        if d.candidate.state != "ready":
            _note([(d, None)], 0)
            continue
        asked, load = await _ask(backend.busy(d.candidate.target.model), send, replies)
        if asked is not None:
            together.setdefault(asked, []).append((d, load))
    for found in together.values():
        gates = {d.gate: d.candidate.in_flight for d, _ in found}
        _note(found, sum(max(before[gate], now) for gate, now in gates.items()))


async def _ask(
    steps: Generator[Call, Reply, Load | None], send: Send, replies: dict[tuple[str, str], Reply]
) -> tuple[tuple[tuple[str, str], ...] | None, Load | None]:
    """(what was asked, what came of it); None for the first if there was no answer."""
    asked: list[tuple[str, str]] = []
    try:
        call = next(steps)
        while True:
            key = (call.method, call.path)
            if key not in replies:
                replies[key] = await send(call)
            if replies[key].status == 0:
                steps.close()
                return None, None
            asked.append(key)
            call = steps.send(replies[key])
    except StopIteration as stop:
        return tuple(asked), stop.value


def _note(found: list[tuple[Deployment, Load | None]], ours: int) -> None:
    """`ours` = how many of the requests there are the gateway's: what was under way at any time while the server was
    asked. What may be either counts as ours: a load that is not there would send requests elsewhere for nothing."""
    for d, load in found:
        at_work = 0 if load is None else (load.running or 0) + (load.waiting or 0)
        d.candidate.others = max(0, at_work - ours)
        d.candidate.cache = None if load is None else load.cache
