"""The look-out for model servers where no file names any: which ports, what answers there, and what comes up later.

A look costs a server one or a few GETs, and a port where nobody listens one refused connection. What was found is left
to the prober; what is no model server is looked at ever more seldom.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gateway.backends import Reply
from gateway.backends.wire.detect import GUESSED, Detected, detect
from gateway.backends.wire.listing import trouble
from gateway.engine.asker import Asker

PORTS = (8000, 8080, 8081, 11434, 1234, 30000)
"""Where model servers listen unless they are told otherwise."""
LOOPBACK = ("127.0.0.1", "::1")
SECONDS = 1.0
"""A whole look takes at most so long."""
EVERY, EVERY_FAR = 2.0, 10.0
"""Seconds from one look at a silent port to the next: of this machine, of another one."""
SELDOM = 60.0
"""Seconds between two looks at what is no model server."""
NO_NAME = "no machine of that name is known: write its name as `ping` knows it, or its address"
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9.]+")


@dataclass(slots=True, frozen=True)
class Spot:
    """One port of one machine. `hosts`: its addresses, the first one that answers counts."""

    port: int
    hosts: tuple[str, ...] = LOOPBACK

    @property
    def here(self) -> bool:
        return self.hosts == LOOPBACK

    @property
    def name(self) -> str:
        return str(self.port) if self.here else f"{_NOT_IN_A_NAME.sub('-', self.hosts[0])}-{self.port}"


@dataclass(slots=True)
class Found:
    """What answers at a spot. `kind` "" = not known. `sure` False = of the general kind, since nothing tells more.
    `left_out` = why it is no backend; "" = it is one. `locked` = it wants a key."""

    spot: Spot
    url: str
    kind: str = ""
    sure: bool = True
    locked: bool = False
    left_out: str = ""

    @property
    def name(self) -> str:
        """Its name as a backend: it stays the same from one start to the next."""
        return f"{self.kind or 'server'}-{self.spot.name}"[:64]

    def settings(self) -> dict[str, Any]:
        """Its mapping in a configuration."""
        return {"kind": self.kind, "url": self.url} if self.kind and self.sure else {"url": self.url}


@dataclass(slots=True)
class _Turn:
    """When a spot is looked at again."""

    at: float = 0.0
    pause: float = 0.0


@dataclass(slots=True)
class Scan:
    """`found`: what is known of each spot where somebody answers. `now`: seconds, of a clock that never goes back."""

    spots: Sequence[Spot]
    now: Callable[[], float] = time.monotonic
    found: dict[Spot, Found] = field(default_factory=dict)
    took: float = 0.0
    _turns: dict[Spot, _Turn] = field(default_factory=dict)

    def backends(self) -> dict[str, dict[str, Any]]:
        """Name -> its mapping in a configuration, in the order of the spots."""
        known = [self.found[s] for s in self.spots if s in self.found]
        return {f.name: f.settings() for f in known if not f.left_out}

    async def look(self, seconds: float = SECONDS) -> None:
        """Looks at every spot at once."""
        begun = self.now()
        await self._look(self.spots, seconds)
        self.took = self.now() - begun

    async def again(self, is_down: Callable[[str], bool]) -> bool:
        """Looks at the spots whose turn it is. `is_down` tells of a backend, by its URL, that it does not serve:
        another server may have taken its port. True = what `backends` says has changed."""
        before = self.backends()
        now = self.now()
        due = []
        for spot in self.spots:
            known = self.found.get(spot)
            serves = known is not None and not known.left_out and not is_down(known.url)
            if not serves and now >= self._turns.setdefault(spot, _Turn()).at:
                due.append(spot)
        await self._look(due, SECONDS)
        return self.backends() != before

    async def watch(self, is_down: Callable[[str], bool], changed: Callable[[], None]) -> None:
        """Until it is cancelled; calls `changed` whenever `backends` says something else."""
        while True:
            await asyncio.sleep(EVERY)
            news = False
            with suppress(Exception):  # whatever somebody says at a port, the look-out goes on
                news = await self.again(is_down)
            if news:
                changed()

    async def _look(self, spots: Iterable[Spot], seconds: float) -> None:
        asker = Asker()
        try:
            await asyncio.gather(*(self._see(asker, spot, seconds) for spot in spots))
        finally:
            await asker.close()

    async def _see(self, asker: Asker, spot: Spot, seconds: float) -> None:
        new = await _fingerprint(asker, spot, seconds)
        old = self.found.get(spot)
        turn = self._turns.setdefault(spot, _Turn())
        every = EVERY if spot.here else EVERY_FAR
        if new is None:
            turn.pause = every
            if old is not None and old.left_out:
                del self.found[spot]  # a backend stays one: it may come back
        else:
            if old is None or old.left_out or not new.left_out:
                self.found[spot] = _same(old, new)
            turn.pause = min(SELDOM, max(every, 2 * turn.pause))
        turn.at = self.now() + turn.pause


def _same(old: Found | None, new: Found) -> Found:
    """A backend that only can't say any more what it is stays what it was."""
    return old if old is not None and not old.left_out and new.locked and not new.kind else new


async def _fingerprint(asker: Asker, spot: Spot, seconds: float) -> Found | None:
    """Who answers there; None = nobody listens."""
    url = ""
    try:
        async with asyncio.timeout(seconds):
            for host in spot.hosts:
                try:
                    listens = await _listens(host, spot.port)
                except (socket.gaierror, UnicodeError):  # UnicodeError: a name that can't be one
                    return None if spot.here else Found(spot, f"http://{host}", left_out=NO_NAME)
                if listens:
                    url = f"http://{f'[{host}]' if ':' in host else host}:{spot.port}"
                    return _judged(spot, url, await _detected(asker, url, seconds))
    except TimeoutError:
        return Found(spot, url, left_out="something listens there and says nothing") if url else None
    return None


async def _listens(host: str, port: int) -> bool:
    """Raises socket.gaierror or UnicodeError for a host whose address can't be found."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except socket.gaierror:
        raise
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def _detected(asker: Asker, url: str, seconds: float) -> Detected:
    steps = detect()
    call = next(steps)
    while True:
        try:
            call = steps.send(await asker.send(url, call, seconds))
        except StopIteration as stop:
            result: Detected = stop.value
            return result


def _judged(spot: Spot, url: str, seen: Detected) -> Found | None:
    locked = seen.models.status in (401, 403)
    if seen.gateway:
        return Found(spot, url, left_out="a gateway like this one; name it in a file if it shall be a backend")
    if seen.backend is not None:
        return Found(spot, url, seen.backend.kind, seen.sure, locked)
    if seen.models.status == 0:
        return Found(spot, url, left_out="something listens there that does not speak HTTP")
    if locked and _is_api(seen.models):
        return Found(spot, url, locked=True)
    what = trouble(seen.models)
    return Found(spot, url, left_out=what.findings[0].text if what.findings else what.detail)


def _is_api(refusal: Reply) -> bool:
    """Is it an API that wants a key, rather than a page that wants a password?"""
    challenge = refusal.headers.get("www-authenticate", "").lower()
    kind = refusal.headers.get("content-type", "").lower()
    return not challenge.startswith(("basic", "digest", "negotiate")) and "html" not in kind


def remark(found: Found, key_variable: str) -> str:
    """What a person should know of it beside its state; "" = nothing."""
    if found.locked:
        return f"it wants an API key: export {key_variable}=..."
    return "" if found.sure else GUESSED
