"""Values that are kept under an id, for the key that made them: bounded, for a while, on disk where there is a folder.

The index is in memory, in the order of the last use: the least used go first when there is no more room, and what
nobody used for `ttl` seconds goes anyway. With a folder each value is one file, written by a thread of its own:
`put` does not wait, and until its file stands a value is served from memory. A file whose length is not what its first
line says was cut by a crash and is not read back.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from gateway.canonical.content import Segments

Pieces = Sequence[bytes | Segments]
"""A value in pieces, in order; long ones are not joined."""

MOST_ENTRIES: Final = 20_000
READ: Final = 256 * 1024
"""Octets of one read."""
SHARE: Final = 4
"""No value may take more than this part of the room: one must not drive out all others."""


class _Head(msgspec.Struct):
    """The first line of a file. `size`: octets behind it."""

    owner: str
    id: str
    size: int


@dataclass(slots=True)
class _Entry:
    size: int
    used: float
    value: list[bytes] | None
    """None = on disk."""


class Shelf:
    """`folder` None = in memory. `worker` runs what touches the disk, one job after the other. `clock` in Unix seconds:
    the times of files outlive the process. `failed` is told what the disk refused."""

    def __init__(
        self,
        limit: int,
        ttl: float,
        folder: Path | None = None,
        worker: Executor | None = None,
        clock: Callable[[], float] = time.time,
        failed: Callable[[OSError], None] = lambda error: None,
    ) -> None:
        if (folder is None) != (worker is None):
            raise ValueError("a folder needs a worker, and nothing else does")
        self.limit = limit
        self._ttl = ttl
        self._folder = folder
        self._worker = worker
        self._clock = clock
        self._failed = failed
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def lasting(self) -> bool:
        """What it holds is there after a restart."""
        return self._folder is not None

    @property
    def largest(self) -> int:
        """Octets of the largest value that is taken."""
        return self.limit // SHARE

    # ---- what it is asked

    def put(self, owner: str, name: str, pieces: Pieces) -> bool:
        """Keeps the value in the place of an older one; False, and nothing is kept, if it is too large."""
        value = [c for p in pieces for c in (p.chunks if isinstance(p, Segments) else (p,)) if c]
        size = sum(map(len, value))
        key = (owner, name)
        if size > self.largest:
            self.remove(owner, name)
            return False
        old = self._entries.pop(key, None)
        self.size += size - (old.size if old is not None else 0)
        entry = self._entries[key] = _Entry(size, self._clock(), value)
        self.sweep()
        if self._folder is not None and self._worker is not None:
            loop = asyncio.get_running_loop()
            written = loop.run_in_executor(self._worker, _write, self._path(key), _Head(owner, name, size), value)
            written.add_done_callback(lambda done: self._written(key, entry, done))
        return True

    async def get(self, owner: str, name: str) -> list[bytes] | None:
        """The value in pieces, and it counts as used; None if it is not there (any more), or another key's."""
        key = (owner, name)
        entry = self._entries.get(key)
        now = self._clock()
        if entry is None:
            return None
        if now - entry.used > self._ttl:
            self._drop(key)
            return None
        entry.used = now
        self._entries.move_to_end(key)
        if entry.value is not None:
            return entry.value
        assert self._worker is not None
        found = await asyncio.get_running_loop().run_in_executor(self._worker, _read, self._path(key), now)
        if found is None and self._entries.get(key) is entry:
            self._forget(key)
        return found

    def remove(self, owner: str, name: str) -> bool:
        """False if it was not there."""
        if (owner, name) not in self._entries:
            return False
        self._drop((owner, name))
        return True

    def sweep(self) -> None:
        """Lets go of what is too old, and of the least used while there is too much."""
        now = self._clock()
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            crowded = self.size > self.limit or len(self._entries) > MOST_ENTRIES
            if not crowded and now - entry.used <= self._ttl:
                return
            self._drop(key)

    # ---- its folder

    def load(self) -> None:
        """Finds again what an earlier process left. Raises OSError if the folder can't be used. It waits for the disk:
        call it before anything else."""
        if self._folder is None:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found: list[tuple[float, tuple[str, str], int]] = []
        for path in self._folder.glob("??/*"):
            head = None if path.suffix else _head(path)
            if head is None or self._path((head.owner, head.id)) != path:
                path.unlink(missing_ok=True)
                continue
            found.append((path.stat().st_mtime, (head.owner, head.id), head.size))
        for used, key, size in sorted(found):
            self._entries[key] = _Entry(size, used, None)
            self.size += size

    def stored(self) -> Iterator[tuple[str, str, bytes]]:
        """(owner, id, value) of all that `load` found, the least used first. It waits for the disk."""
        for key, entry in list(self._entries.items()):
            value = _read(self._path(key), None) if entry.value is None else entry.value
            if value is not None:
                yield *key, b"".join(value)

    def _path(self, key: tuple[str, str]) -> Path:
        assert self._folder is not None
        name = blake2b("\0".join(key).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return self._folder / name[:2] / name

    def _written(self, key: tuple[str, str], entry: _Entry, done: asyncio.Future[None]) -> None:
        error = done.exception() if not done.cancelled() else None
        current = self._entries.get(key) is entry
        if error is None:
            entry.value = None if current else entry.value
            return
        if current:
            self._forget(key)
        if not isinstance(error, OSError):
            raise error
        self._failed(error)

    def _drop(self, key: tuple[str, str]) -> None:
        self._forget(key)
        if self._worker is not None:
            self._worker.submit(_unlink, self._path(key))

    def _forget(self, key: tuple[str, str]) -> None:
        self.size -= self._entries.pop(key).size


def _write(path: Path, head: _Head, value: list[bytes]) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    part = path.with_suffix(".part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(head) + b"\n")
            for piece in value:
                file.write(piece)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _read(path: Path, now: float | None) -> list[bytes] | None:
    """The value; `now` becomes the time of its last use."""
    try:
        with path.open("rb") as file:
            file.readline()
            out = []
            while piece := file.read(READ):
                out.append(piece)
        if now is not None:
            os.utime(path, (now, now))
        return out
    except OSError:
        return None


def _head(path: Path) -> _Head | None:
    try:
        with path.open("rb") as file:
            line = file.readline(64 * 1024)
            head = msgspec.json.decode(line, type=_Head)
            return head if path.stat().st_size == len(line) + head.size else None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass  # the next start looks at it again
