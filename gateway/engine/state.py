"""Everything that outlives a request, in one place: built at the start, swept now and then, closed at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from gateway.engine.files import Files
from gateway.engine.shelf import Shelf
from gateway.engine.thoughts import Thoughts
from gateway.settings import StateSettings

SWEEP_SECONDS: Final = 60.0
ROOM_FOR_THOUGHTS: Final = 8 << 20


class StateUnusable(Exception):
    """The folder of `state.dir` can't be read or written."""


class State:
    """`answers`: stored answers of the Responses API. `thoughts`: what led to a call. `files`: uploads. `failed` is
    told, in words, what the disk refused; `clock` in Unix seconds."""

    def __init__(
        self,
        settings: StateSettings,
        failed: Callable[[str], None] = lambda words: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._dir = settings.dir
        self._worker = ThreadPoolExecutor(1, "state") if settings.dir is not None else None
        self._timer: asyncio.TimerHandle | None = None
        ttl = settings.ttl

        def refused(error: OSError) -> None:
            failed(error.strerror or type(error).__name__)

        def shelf(name: str, room: int) -> Shelf:
            return Shelf(room, ttl, self._folder(name), self._worker, clock, refused)

        self.answers = shelf("answers", settings.room_for_answers)
        self._thoughts = shelf("thoughts", min(ROOM_FOR_THOUGHTS, settings.room_for_answers))
        self.thoughts = Thoughts(shelf=self._thoughts)
        self.files = Files(settings.room_for_files, ttl, self._folder("files"), self._worker, clock)

    def _folder(self, name: str) -> Path | None:
        return self._dir / name if self._dir is not None else None

    async def open(self) -> None:
        """Finds again what an earlier process left. Raises StateUnusable."""
        if self._worker is not None:
            try:
                await asyncio.get_running_loop().run_in_executor(self._worker, self._load)
            except OSError as e:
                raise StateUnusable(f"state.dir can't be used: {e.strerror or type(e).__name__}: {self._dir}") from None
        self._sweep()

    def _load(self) -> None:
        self.answers.load()
        self._thoughts.load()
        self.thoughts.load()
        self.files.load()

    def _sweep(self) -> None:
        """Also where nobody asks for anything: what is too old has no place on a disk."""
        for kept in (self.answers, self._thoughts, self.files):
            kept.sweep()
        self._timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    async def close(self) -> None:
        """Writes what is not written yet."""
        if self._timer is not None:
            self._timer.cancel()
        if self._worker is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._worker.shutdown)
