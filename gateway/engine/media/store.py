"""What was fetched or converted, kept for a while: bounded, the least recently used goes first, and what several want
at once is made once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

KEEP_SECONDS = 300.0

T = TypeVar("T")


@dataclass(slots=True)
class _Entry(Generic[T]):
    value: T
    size: int
    until: float


@dataclass(slots=True)
class _Making(Generic[T]):
    task: asyncio.Task[T]
    waiting: int = 0


class Store(Generic[T]):
    """`limit` in octets (0 = nothing is kept). What is larger than a quarter of it is handed on and not kept."""

    def __init__(self, limit: int, seconds: float = KEEP_SECONDS) -> None:
        self.limit = limit
        self.size = 0
        self._seconds = seconds
        self._held: OrderedDict[Hashable, _Entry[T]] = OrderedDict()
        self._making: dict[Hashable, _Making[T]] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]], size: Callable[[T], int]) -> T:
        """What is kept under `key`, else what `make` gives. It is made in a task of its own, which ends with the last
        one that waits for it."""
        now = asyncio.get_running_loop().time()
        entry = self._held.get(key)
        if entry is not None:
            if entry.until > now:
                self._held.move_to_end(key)
                return entry.value
            self._drop(key)
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = _Making(asyncio.create_task(self._make(key, make, size), name="medium"))
            making.task.add_done_callback(_look)
        making.waiting += 1
        try:
            return await asyncio.shield(making.task)
        finally:
            making.waiting -= 1
            if not making.waiting and not making.task.done():
                if self._making.get(key) is making:
                    del self._making[key]  # who comes now begins anew
                making.task.cancel()
                await asyncio.wait([making.task])

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[T]], size: Callable[[T], int]) -> T:
        try:
            value = await make()
            self._keep(key, value, size(value))
            return value
        finally:
            making = self._making.get(key)
            if making is not None and making.task is asyncio.current_task():
                del self._making[key]

    def _keep(self, key: Hashable, value: T, size: int) -> None:
        if size > self.limit // 4:
            return
        now = asyncio.get_running_loop().time()
        for old in [k for k, e in self._held.items() if e.until <= now]:
            self._drop(old)
        while self._held and self.size + size > self.limit:
            self._drop(next(iter(self._held)))
        self._held[key] = _Entry(value, size, now + self._seconds)
        self.size += size

    def _drop(self, key: Hashable) -> None:
        entry = self._held.pop(key, None)
        if entry is not None:
            self.size -= entry.size


def _look(task: asyncio.Task[Any]) -> None:
    """Nobody may be left to hear of the error."""
    if not task.cancelled():
        task.exception()
