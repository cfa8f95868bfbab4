"""Media made ready for one target: what is elsewhere is fetched, what it does not take is converted.

A new request comes out; the one that came in is what the next attempt starts from. Nothing is copied of media that go
as they are. What becomes of each part is told by its number in the request that came in.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from gateway.canonical.content import (
    Media,
    Segments,
)
from gateway.canonical.facts import Facts
from gateway.canonical.needs import Needs, content_parts, media_in, needs_of
from gateway.canonical.requests import Request, conversation, with_conversation
from gateway.engine.admission import Hold, Memory
from gateway.engine.media.convert import Piece, Workers, installed
from gateway.engine.media.fetch import Fetched, Fetcher, Guard
from gateway.engine.media.making import Making
from gateway.engine.media.pipe import Job
from gateway.engine.media.store import Store
from gateway.errors import GatewayError
from gateway.observe import Metrics
from gateway.routing.conversion import Able, ways_to
from gateway.settings import Settings

KEPT = 64 << 20
"""Octets of what was fetched, and of what was converted, that are kept for retries and other targets."""
_STEP = 4 << 20

T = TypeVar("T")


@dataclass(slots=True)
class Ready:
    """`request` as the target gets it. `fates`: part number -> what became of it. `origin`: the numbers that the parts
    of `request` had before, None where all are the same."""

    request: Request
    fates: dict[int, str] = field(default_factory=dict)
    origin: list[int] | None = None

    def merged(self, fates: dict[int, str]) -> dict[int, str]:
        """All fates by the numbers of the request that came in: these, and what the backend says of what it got."""
        if self.origin is None:
            return {**fates, **self.fates}
        out: dict[int, str] = {}
        for number, fate in fates.items():
            out.setdefault(self.origin[number], fate)
        for number, fate in self.fates.items():
            moved = out.get(number, "").partition(">")[2].partition(",")[0]
            out[number] = f"{fate}>{moved}" if moved in ("first", "last_turn") else fate
        return out


class MediaStage:
    """One per process."""

    def __init__(
        self,
        fetcher: Fetcher | None = None,
        workers: Workers | None = None,
        metrics: Metrics | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._fetched: Store[Fetched] = Store(KEPT)
        self._converted: Store[list[Piece]] = Store(KEPT)
        self._fetcher = fetcher or Fetcher(self._fetched, memory=memory)
        self.workers = workers or Workers(memory=memory)
        self._installed = installed()

    def able(self, settings: Settings) -> Able:
        there = self._installed
        return Able(sound=there, pictures=there, fetch=settings.media.remote != "off")

    async def close(self) -> None:
        self._fetcher.close()
        await self.workers.close()

    async def ready(
        self,
        request: Request,
        facts: Facts,
        settings: Settings,
        hold: Hold | None = None,
        allowed: Callable[[Needs], None] = lambda needs: None,
    ) -> Ready:
        """Raises GatewayError, with the path of the medium that can't be made ready. What was fetched or converted
        counts as held by `hold`, once however often it is asked for. `allowed` is asked, and may raise, once it is
        known what the media that are elsewhere really are."""
        chat = conversation(request)
        if chat is None:
            return Ready(request)
        media = media_in(chat)
        if not media:
            return Ready(request)
        able = self.able(settings)
        ways = ways_to(media, facts, able)
        if all(w.native for w in ways):
            return Ready(request)
        held = hold or Hold()
        making = Making(
            facts,
            settings.limits,
            lambda url, most, path: self.fetch(url, settings, most, path, held),
            lambda job, media, path: self.convert(job, media, path, held),
        )
        whole = await making.fetched(chat, ways)
        if whole is not chat:
            needs = needs_of(whole)
            allowed(needs)
            media = needs.media
        ways = ways_to(media, facts, able)
        whole = await making.converted(whole, ways)
        for number, part in enumerate(content_parts(chat)):
            making.numbers.setdefault(id(part), number)
        origin = [making.numbers[making.came_from.get(id(p), id(p))] for p in content_parts(whole)]
        fates = {making.numbers[key]: fate for key, fate in making.fates.items() if key in making.numbers}
        return Ready(with_conversation(request, whole), fates, origin)

    async def fetch(self, url: str, settings: Settings, limit: int, path: str, hold: Hold) -> Fetched:
        guard = Guard(settings.media.remote, frozenset(settings.media.allow))
        with _timed(self._metrics.fetched):
            found = await self._fetcher.fetch(url, guard, limit, path)
        hold.once(url, found.content.size)
        return found

    async def convert(self, job: Job, media: Media, path: str, hold: Hold) -> list[Piece]:
        key = tuple(sorted((k, str(v)) for k, v in job.items())), await digest(media)

        async def make() -> list[Piece]:
            with _timed(partial(self._metrics.converted, job["do"])):
                return await self.workers.convert(job, media)

        try:
            pieces = await self._converted.get(key, make, _size)
            hold.once(key, _size(pieces))
            return pieces
        except GatewayError as e:
            raise type(e)(e.message, param=path, code=e.code, retry_after=e.retry_after) from None


@contextmanager
def _timed(count: Callable[[int, float], None]) -> Iterator[None]:
    """Counts what is done in it: 200 or its error's status, and how long it took. What nobody waits for any more is not
    counted."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    try:
        yield
    except GatewayError as e:
        count(e.status, clock() - begun)
        raise
    count(200, clock() - begun)


async def digest(media: Media) -> bytes:
    """A hash of the whole medium. Lets others run meanwhile."""
    out = hashlib.blake2b(digest_size=16)
    if media.octets is not None:
        out.update(media.octets)
        return b"o" + out.digest()
    text = media.base64
    if isinstance(text, Segments):
        size = 0
        for chunk in text:
            out.update(chunk)
            size += len(chunk)
            if size > _STEP:
                size = 0
                await asyncio.sleep(0)
    elif text is not None:
        out.update(text.encode("ascii", "replace"))
    return out.digest()


def _size(pieces: list[Piece]) -> int:
    return sum(p.content.size for p in pieces)
