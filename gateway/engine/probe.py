"""Keeps the fleet's state true: liveness every few seconds, facts and identity less often and whenever a server comes
back. A probe is a generator of calls (gateway/backends); this is what sends them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import httpx2

from gateway.backends import Call, Discovery, Reply, kinds, load
from gateway.canonical.facts import State
from gateway.engine.fleet import Fleet, Server

MAX_REPLY = 8 << 20


class Prober:
    """`changed` is told (event, server, words) whenever something is not as it was."""

    def __init__(self, fleet: Fleet, changed: Callable[[str, Server, str], None]) -> None:
        self._fleet = fleet
        self._changed = changed
        self._client = httpx2.AsyncClient(
            trust_env=False, follow_redirects=False, headers={"accept-encoding": "identity"}
        )
        self._loops: dict[str, tuple[Server, asyncio.Task[None]]] = {}
        self._wake: dict[str, asyncio.Event] = {}

    def sync(self) -> None:
        """Starts a loop for every server that has none, and ends those of servers that are gone."""
        for name, (server, task) in list(self._loops.items()):
            if self._fleet.servers.get(name) is not server:
                task.cancel()
                del self._loops[name]
        for name, server in self._fleet.servers.items():
            if name not in self._loops:
                self._wake[name] = asyncio.Event()
                self._loops[name] = (server, asyncio.create_task(self._watch(server), name=f"probe {name}"))

    def suspect(self, server: Server) -> None:
        """A request met something unexpected: look again now."""
        server.suspected = True
        server.next_facts = 0.0
        event = self._wake.get(server.name)
        if event is not None:
            event.set()

    async def once(self) -> None:
        """Probes every server one time, all at once."""
        await asyncio.gather(*(self.look(s) for s in self._fleet.servers.values()))

    async def close(self) -> None:
        for _, task in self._loops.values():
            task.cancel()
        for _, task in self._loops.values():
            with suppress(asyncio.CancelledError):
                await task
        self._loops.clear()
        await self._client.aclose()

    async def _watch(self, server: Server) -> None:
        loop = asyncio.get_running_loop()
        timeouts = self._fleet.settings.timeouts
        while True:
            now = loop.time()
            if now >= server.next_facts:
                await self.look(server)
            else:
                await self._check(server)
            steady = server.state in ("ready", "cold")
            pause = timeouts.liveness * random.uniform(0.8, 1.2) if steady else min(1.0, timeouts.liveness)
            event = self._wake[server.name]
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), pause)
            event.clear()

    async def _check(self, server: Server) -> None:
        """Liveness. A server that is back is probed in full at once, before it is used again."""
        assert server.backend is not None
        before = server.state
        state: State = await self._run(server, server.backend.alive())
        if state in ("ready", "cold") and before in ("ready", "cold"):
            server.failures = 0
            return
        if state in ("ready", "cold"):
            await self.look(server)
            return
        server.failures += 1
        if before in ("ready", "cold") and server.slow and server.failures < 2:
            return  # one late answer of a busy server is not death; a refused connection is
        if state != before:
            server.live(state, "it does not answer" if state == "down" else "it is loading its model")
            self._fleet.rename()
            self._changed("state", server, f"{before} -> {state}")

    async def look(self, server: Server) -> None:
        """The full probe: facts and identity."""
        loop = asyncio.get_running_loop()
        before, detail = server.state, server.detail
        if server.backend is None:
            await self._detect(server)
            if server.backend is None:
                server.live("down", server.detail)
                server.next_facts = 0.0
                return
        found: Discovery = await self._run(server, server.backend.probe())
        news = server.learn(found)
        server.failures = 0
        usable = server.state in ("ready", "cold")
        server.next_facts = loop.time() + self._fleet.settings.timeouts.facts if usable else 0.0
        self._fleet.rename()
        if server.state != before or server.detail != detail:
            self._changed(
                "state", server, f"{before} -> {server.state}" + (f": {server.detail}" if server.detail else "")
            )
        for line in news:
            self._changed("drift", server, line)
        for d in server.deployments.values():
            if d.candidate.state == "mismatch":
                self._changed("mismatch", server, d.candidate.detail)
        recovered = before not in ("ready", "cold")
        if usable and (recovered or not server.suspected):
            # a look that a failed request asked for proves nothing: a server may answer probes and fail its requests
            for d in server.deployments.values():
                d.breaker.reset()
                d.rest_until = 0.0 if recovered else d.rest_until
                d.note_rest()
        server.suspected = False

    async def _detect(self, server: Server) -> None:
        """Finds out what kind of server answers at an address whose kind was not given."""
        reply = await self._send(server, Call("GET", "/v1/models"))
        if reply.status == 0:
            server.detail = reply.error
            return
        for kind in [*(k for k in kinds() if k != "openai"), "openai"]:
            backend = load(kind)
            if backend.claims(reply):
                server.backend = backend
                return
        server.detail = f"it answers {reply.status} to GET /v1/models: no kind of server that is known here"

    async def _run(self, server: Server, steps: Generator[Call, Reply, Any]) -> Any:
        try:
            call = next(steps)
            while True:
                call = steps.send(await self._send(server, call))
        except StopIteration as stop:
            return stop.value

    async def _send(self, server: Server, call: Call) -> Reply:
        timeout = self._fleet.settings.timeouts.probe
        server.slow = False
        try:
            async with asyncio.timeout(max(timeout, 0.05) * (1 if call.method == "GET" else 5)):
                async with self._client.stream(
                    call.method,
                    server.address.url + call.path,
                    content=call.octets() if call.body is not None else None,
                    headers={"content-type": "application/json", **call.headers, **server.address.headers},
                    timeout=None,
                ) as response:
                    pieces = []
                    size = 0
                    async for data in response.aiter_raw():
                        pieces.append(data)
                        size += len(data)
                        if size > MAX_REPLY:
                            return Reply(0, error="its reply to a probe is larger than 8 MiB")
                    return Reply(response.status_code, dict(response.headers), b"".join(pieces))
        except TimeoutError:
            server.slow = True
            return Reply(0, error=f"it did not answer a probe within {timeout:g} s")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as e:
            return Reply(0, error=_words(e))


def _words(error: Exception) -> str:
    if isinstance(error, httpx2.ConnectError):
        return "nothing listens there, or its name can't be resolved"
    return f"the probe failed ({type(error).__name__})"
