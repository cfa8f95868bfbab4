"""Conversion in worker processes: a few, started when they are needed, each at one job at a time.

A worker whose job is given up, takes too long, fails or says more than it may is killed and forgotten; so is one that
has done many jobs, or has had none for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import gateway
from gateway.canonical.content import Base64, Media, Segments
from gateway.engine.admission import Hold, Memory
from gateway.engine.media.pipe import HEAD_LIMIT, LENGTHS, PIECE, Job, pack, unpack
from gateway.errors import BadRequest, Overloaded

AT_ONCE = 2
WAITING = 64
"""Jobs that may wait for a worker."""
SECONDS = 60.0
"""For one job, with its start."""
OUTPUT = 96 << 20
"""Octets that one job may give, in base64."""
JOBS = 200
IDLE_SECONDS = 60.0
_MODULE = "gateway.worker.media.serve"


@dataclass(slots=True)
class Piece:
    """What a medium was converted to, or a piece of it. `kind`: sound | picture | frame. `seconds`: a sound's length, a
    frame's time. `of` = how many pictures the medium had."""

    kind: str
    mime: str
    content: Segments = field(repr=False)
    seconds: float = 0.0
    of: int = 1


def installed() -> bool:
    """Whether the libraries are there that workers need (the extra `media`)."""
    return find_spec("av") is not None and find_spec("PIL") is not None


class NotConverted(BadRequest):
    """A medium that could not be converted: another target, which takes it as it is, may still do."""

    code = "media_not_converted"
    failover = "next"


class Workers:
    """The workers of one process. What they give is reserved of `memory` until it is handed on."""

    def __init__(
        self, at_once: int = AT_ONCE, seconds: float = SECONDS, output: int = OUTPUT, memory: Memory | None = None
    ) -> None:
        self._memory = memory
        self._room = asyncio.Semaphore(at_once)
        self._seconds = seconds
        self._output = output
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._reapers: set[asyncio.Task[int]] = set()
        self._waiting = 0
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def pids(self) -> list[int]:
        return [w.process.pid for w in self._all]

    async def convert(self, job: Job, media: Media) -> list[Piece]:
        """Raises NotConverted, or Overloaded when too many wait. A caller that is cancelled takes its worker along."""
        if self._waiting >= WAITING:
            raise Overloaded("too many media wait for their conversion", retry_after=5.0)
        self._waiting += 1
        try:
            await self._room.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self._run(job, media)
        finally:
            self._room.release()

    async def _run(self, job: Job, media: Media) -> list[Piece]:
        worker = await self._take()
        fine = False
        hold = Hold(self._memory)
        try:
            async with asyncio.timeout(self._seconds):
                found = await worker.do(job, media, self._output, hold)
            fine = True
            if isinstance(found, str):
                raise NotConverted(found)
            return found
        except TimeoutError:
            raise NotConverted("this medium takes too long to convert; send a shorter one") from None
        except (OSError, EOFError, ValueError):
            raise NotConverted("this medium can't be converted: decoding it took too much, or failed") from None
        finally:
            hold.release()
            if fine and worker.jobs < JOBS:
                self._give_back(worker)
            else:
                self._end(worker)

    async def _take(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.returncode is None:
                return worker
            self._end(worker)
        try:
            worker = await _Worker.start()
        except OSError:
            raise Overloaded("no process could be started to convert media", retry_after=5.0) from None
        self._all.add(worker)
        return worker

    def _give_back(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        worker.since = loop.time()
        self._idle.append(worker)
        if self._sweeper is None:
            self._sweeper = loop.call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE_SECONDS
        for worker in [w for w in self._idle if w.since <= oldest]:
            self._end(worker)
        self._sweeper = loop.call_later(IDLE_SECONDS, self._sweep) if self._idle else None

    def _end(self, worker: _Worker) -> None:
        self._all.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        reaper = worker.kill()
        self._reapers.add(reaper)
        reaper.add_done_callback(self._reapers.discard)

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for worker in list(self._all):
            self._end(worker)
        await asyncio.gather(*self._reapers)


class _Worker:
    __slots__ = ("jobs", "process", "since")

    def __init__(self, process: Process) -> None:
        self.process = process
        self.jobs = 0
        self.since = 0.0

    @classmethod
    async def start(cls) -> _Worker:
        """Without the environment: there are keys in it."""
        root = str(Path(gateway.__file__).parents[1])
        env = {"PYTHONPATH": root, "PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", _MODULE, str(os.getpid())),
            stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=env, cwd="/", limit=2 * PIECE,
        )  # fmt: skip
        return cls(process)

    async def do(self, job: Job, media: Media, most: int, hold: Hold) -> list[Piece] | str:
        """What it made, or why it did not. Raises EOFError or OSError where it ended, ValueError for nonsense,
        Overloaded where there is no room for what comes."""
        self.jobs += 1
        pieces, size = _text(media)
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(pack(job, size))
        for piece in pieces:
            stdin.write(piece)
            await stdin.drain()
        out: list[Piece] = []
        while True:
            head_size, body = LENGTHS.unpack(await stdout.readexactly(LENGTHS.size))
            if head_size > HEAD_LIMIT or body > most:
                raise ValueError("more than it may say")
            head = unpack(await stdout.readexactly(head_size))
            if head["kind"] == "end":
                return out
            if head["kind"] == "refused":
                return str(head["why"])
            most -= body
            hold.grow(body)
            chunks = []
            while body > 0:
                chunk = await stdout.read(min(PIECE, body))
                if not chunk:
                    raise EOFError
                chunks.append(chunk)
                body -= len(chunk)
            out.append(Piece(head["kind"], head["mime"], Segments(chunks), head.get("seconds", 0.0), head.get("of", 1)))

    def kill(self) -> asyncio.Task[int]:
        """Gives what waits for its end."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        return asyncio.create_task(self.process.wait(), name="media worker's end")


def _text(media: Media) -> tuple[Iterator[bytes], int]:
    """The medium in base64, piece by piece, and how long that is."""
    if media.octets is not None:
        octets = media.octets
        step = PIECE // 4 * 3
        pieces = (b64encode(octets[at : at + step]) for at in range(0, len(octets), step))
        return pieces, (len(octets) + 2) // 3 * 4
    text: Base64 | None = media.base64
    assert text is not None
    if isinstance(text, Segments):
        return iter(text), text.size
    return (text[at : at + PIECE].encode("ascii", "replace") for at in range(0, len(text), PIECE)), len(text)
