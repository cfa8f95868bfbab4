"""Keeps the fleet's state true: liveness every few seconds, facts and identity less often and whenever a server comes
back. A probe is a generator of calls (gateway/backends); this is what sends them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

from gateway.backends import Call, Discovery, Reply, load
from gateway.backends.wire.detect import GENERAL, Detected, detect
from gateway.backends.wire.listing import trouble
from gateway.canonical.facts import State
from gateway.engine.asker import Asker, patience
from gateway.engine.fleet import Fleet
from gateway.engine.load import measure
from gateway.engine.servers import Server
from gateway.errors import BadCredentials

STEADY: tuple[State, ...] = ("ready", "cold")


class Prober:
    """`changed` is told (event, server, words, fact) whenever something is not as it was; `fact` = which one drifted,
    "" if it is not about one."""

    def __init__(self, fleet: Fleet, changed: Callable[[str, Server, str, str], None]) -> None:
        self._fleet = fleet
        self._changed = changed
        self._asker = Asker()
        self._strangers: set[str] = set()
        """Who answers and is of no known kind: nothing is urgent about them, and each look takes many calls."""
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
        self._look_now(server)

    def loaded(self, server: Server) -> None:
        """A request made it load a model: what that one can do can be seen now, and which one had to go for it."""
        self._look_now(server)

    def look_again(self) -> None:
        """The configuration changed: look at every server now."""
        for server in self._fleet.servers.values():
            self._look_now(server)

    def _look_now(self, server: Server) -> None:
        server.again, server.next_facts = True, 0.0
        event = self._wake.get(server.name)
        if event is not None:
            event.set()

    async def once(self) -> None:
        """Probes every server one time, all at once."""
        servers = list(self._fleet.servers.values())
        outcomes = await asyncio.gather(*(self.look(s) for s in servers), return_exceptions=True)
        for server, outcome in zip(servers, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self._unreadable(server, outcome)

    async def close(self) -> None:
        for _, task in self._loops.values():
            task.cancel()
        for _, task in self._loops.values():
            with suppress(asyncio.CancelledError):
                await task
        self._loops.clear()
        await self._asker.close()

    async def _watch(self, server: Server) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                # a server with the wrong model is looked at in full: nothing else tells that it has the right one again
                wrong = any(d.candidate.state == "mismatch" for d in server.deployments.values())
                if wrong or loop.time() >= server.next_facts:
                    await self.look(server)
                else:
                    await self._check(server)
                if server.state in STEADY:
                    with suppress(Exception):  # how busy it is can be unknown: no reason to think less of it
                        await measure(server, partial(self._send, server))
            except Exception as e:  # noqa: BLE001  # whatever a server says, the watch on it goes on
                self._unreadable(server, e)
            liveness = server.settings.timeouts.liveness
            calm = server.state in STEADY or server.name in self._strangers
            pause = liveness * random.uniform(0.8, 1.2) if calm else min(1.0, liveness)
            event = self._wake[server.name]
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), pause)
            event.clear()

    def _unreadable(self, server: Server, error: Exception) -> None:
        """A probe failed in a way that nobody thought of: it counts as one that was not answered."""
        if server.failures == 0:
            self._changed("probe failed", server, f"its reply could not be read ({type(error).__name__})", "")
        server.next_facts = 0.0
        self._failed(server, "down", "what it says to a probe can't be read", certain=False)

    async def _check(self, server: Server) -> None:
        """Liveness. A server that is back is probed in full at once, before it is used again."""
        assert server.backend is not None
        before = server.state
        state: State
        if words := await _without_token(server):
            server.slow = False
            state = "down"
        else:
            state = await self._run(server, server.backend.alive())
        if state not in STEADY:
            words = words or ("it does not answer" if state == "down" else "it is loading its model")
            self._failed(server, state, words, certain=not server.slow)
        elif before in STEADY:
            server.failures = 0
        else:
            await self.look(server)

    def _failed(self, server: Server, state: State, detail: str, *, certain: bool) -> None:
        """A probe found no usable server. `certain`: the connection was refused, or the server said so itself. One late
        answer of a busy server is not death, nor is one that can't be read."""
        before = server.state
        server.failures += 1
        if before in STEADY and not certain and server.failures < 2:
            return
        if state != before:
            server.live(state, detail)
            self._fleet.rename()
            self._changed("state", server, f"{before} -> {state}", "")

    async def look(self, server: Server) -> None:
        """The full probe: facts and identity."""
        before, detail = server.state, server.detail
        suspected, server.suspected, server.again = server.suspected, False, False
        if server.backend is None:
            await self._detect(server)
            if server.backend is None:
                server.live("down", server.detail)
                server.next_facts = 0.0
                self._tell(server, before, detail)
                return
        found: Discovery
        if words := await _without_token(server):
            found = Discovery("down", detail=words)
        else:
            found = await self._run(server, server.backend.probe())
        if server.slow and before in STEADY and await self._late(server, found):
            server.suspected = server.suspected or suspected
            return
        news = server.learn(found)
        server.failures = server.late = 0
        usable = server.state in STEADY
        now = asyncio.get_running_loop().time()
        server.next_facts = now + server.settings.timeouts.facts if usable and not server.again else 0.0
        self._fleet.rename()
        self._tell(server, before, detail)
        for event, words, fact in news:
            self._changed(event, server, words, fact)
        recovered = before not in STEADY
        if usable and (recovered or not suspected):
            # a look that a failed request asked for proves nothing: a server may answer probes and fail its requests
            for d in server.deployments.values():
                d.breaker.reset()
                d.rest_until = 0.0 if recovered else d.rest_until
                d.note_rest()

    def _tell(self, server: Server, before: State, detail: str) -> None:
        if server.state != before or server.detail != detail:
            words = f"{before} -> {server.state}" + (f": {server.detail}" if server.detail else "")
            self._changed("state", server, words, "")

    async def _late(self, server: Server, found: Discovery) -> bool:
        """A busy server answered late, or not at all: whether to leave what is known of it as it is. Once it is asked
        again; from then on what it said counts, and if it said nothing, liveness decides about its life."""
        server.late += 1
        if server.late == 1:
            server.next_facts = 0.0
            return True
        if found.state in STEADY:
            return False
        server.next_facts = asyncio.get_running_loop().time() + server.settings.timeouts.facts
        await self._check(server)
        return True

    async def _detect(self, server: Server) -> None:
        """Finds out what kind of server answers at an address whose kind was not given."""
        found: Detected = await self._run(server, detect())
        self._strangers.discard(server.name)
        if found.backend is not None:
            server.detected(found.backend)
        elif found.gateway:
            server.detected(load(GENERAL))  # somebody wants one behind the other
        else:
            if found.models.status not in (0, 503):
                self._strangers.add(server.name)
            what = trouble(found.models)
            server.detail, server.findings = what.detail, what.findings

    async def _run(self, server: Server, steps: Generator[Call, Reply, Any]) -> Any:
        """Afterwards `slow` tells whether any of its calls was answered too late."""
        server.slow = False
        try:
            call = next(steps)
            while True:
                call = steps.send(await self._send(server, call))
        except StopIteration as stop:
            return stop.value

    async def ask(self, server: Server, call: Call) -> Reply:
        """One call beside the probes, for who wants to know more. Never raises."""
        return await self._send(server, call)

    async def _send(self, server: Server, call: Call) -> Reply:
        timeout = server.settings.timeouts.probe
        try:
            async with patience(call, timeout):
                reply = await server.signed.through(
                    lambda address: self._asker.exchange(address.url, call, address.headers), lambda r: r.status
                )
        except BadCredentials as e:
            return Reply(0, error=_trouble_with_token(server, e))
        except TimeoutError:
            server.slow = True
            return Reply(0, error=f"it did not answer a probe within {timeout:g} s")
        _note_clock(server, reply.headers.get("date"))
        return reply


async def _without_token(server: Server) -> str:
    """Why no token can be had, where the server wants one; "" if all is well. Kinds whose servers are asked nothing
    would look well otherwise."""
    if server.signed.tokens is None:
        return ""
    try:
        await server.signed.tokens.get()
    except BadCredentials as e:
        return _trouble_with_token(server, e)
    return ""


def _trouble_with_token(server: Server, error: BadCredentials) -> str:
    tokens = server.signed.tokens
    return tokens.trouble if tokens is not None and tokens.trouble else error.message


def _note_clock(server: Server, date: str | None) -> None:
    """What the `Date` of a reply says about the server's clock. It is a whole second that was cut off."""
    if date is None:
        return
    with suppress(ValueError):
        server.skew = parsedate_to_datetime(date).timestamp() + 0.5 - time.time()
