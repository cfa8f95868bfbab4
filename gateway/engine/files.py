"""Uploaded files: kept for a while for the key that sent them, in memory or as one file each in a folder.

An upload comes in one piece or several; each piece names how much was there before, so that one that broke off can be
gone on with. Whoever knows the id of an upload may write to it: nobody can guess it. Nothing is ever held whole but
where there is no folder. A file is there when its description is: what a crash left behind is thrown away.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from gateway.canonical.content import Segments
from gateway.canonical.files import File
from gateway.errors import BadRequest, TooLarge

UPLOAD_SECONDS: Final = 3600.0
"""How long an upload may rest between two pieces."""
MOST_FILES: Final = 5000
MOST_UPLOADS: Final = 256
WRITE: Final = 256 * 1024
"""Octets that are collected before they are written."""
READ: Final = 192 * 1024
"""Octets of one read: a multiple of 3, so that each read is base64 of its own."""


@dataclass(slots=True)
class Upload:
    """A file that is still coming. `declared` = its whole size, None if nobody said. `held`: what came and is not
    written yet, or all of it where there is no folder."""

    id: str
    file: File
    declared: int | None
    touched: float
    received: int = 0
    busy: bool = False
    digest: Any = field(default_factory=sha256)
    held: list[bytes] = field(default_factory=list)
    waiting: int = 0
    out: BinaryIO | None = None


class Files:
    """`limit`: octets of all files and uploads together. `folder` None = in memory; else `worker` runs what touches
    the disk, one job after the other. `clock` in Unix seconds."""

    def __init__(
        self,
        limit: int,
        ttl: float,
        folder: Path | None = None,
        worker: Executor | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if (folder is None) != (worker is None):
            raise ValueError("a folder needs a worker, and nothing else does")
        self.limit = limit
        self._ttl = ttl
        self._folder = folder
        self._worker = worker
        self._clock = clock
        self._files: dict[str, File] = {}
        self._octets: dict[str, list[bytes]] = {}
        self._uploads: dict[str, Upload] = {}
        self.size = 0

    # ---- uploads

    def begin(self, owner: str, name: str = "", mime: str = "", size: int | None = None, purpose: str = "") -> Upload:
        """Raises TooLarge where there is no room."""
        self.sweep()
        if len(self._files) >= MOST_FILES or len(self._uploads) >= MOST_UPLOADS:
            raise TooLarge("there are as many files as may be kept: delete some", code="file_storage_full")
        self._room(size or 0)
        now = self._clock()
        file = File(secrets.token_hex(10), owner, name, mime, 0, now, now + self._ttl, purpose=purpose)
        upload = Upload(secrets.token_urlsafe(32), file, size, now)
        self._uploads[upload.id] = upload
        return upload

    def upload(self, name: str) -> Upload | None:
        """The upload of that id, None if there is none (any more)."""
        self.sweep()
        return self._uploads.get(name)

    async def write(self, upload: Upload, data: bytes) -> None:
        """Raises TooLarge, and BadRequest if more comes than was declared; what came before stays."""
        if upload.declared is not None and upload.received + len(data) > upload.declared:
            raise BadRequest(f"more octets came than the {upload.declared} that were announced")
        self._room(len(data))
        self.size += len(data)
        upload.received += len(data)
        upload.held.append(data)
        upload.touched = self._clock()
        if self._folder is None:
            upload.digest.update(data)
            return
        upload.waiting += len(data)
        if upload.waiting >= WRITE:
            await self.flush(upload)

    async def flush(self, upload: Upload) -> None:
        """Writes what has come: the next piece may be long in coming."""
        if self._folder is None or (upload.out is not None and not upload.held):
            return
        held, upload.held, upload.waiting = upload.held, [], 0
        upload.out = await self._in_turn(_append, upload.out, self._part(upload.file.id), held, upload.digest)

    async def finish(self, upload: Upload) -> File:
        """The file is complete. Raises BadRequest if less came than was declared."""
        if upload.declared is not None and upload.received != upload.declared:
            raise BadRequest(f"{upload.received} octets came of the {upload.declared} that were announced")
        await self.flush(upload)
        file = upload.file
        file.size, file.sha256 = upload.received, upload.digest.digest()
        if self._folder is None:
            self._octets[file.id] = upload.held
        else:
            await self._in_turn(_complete, upload.out, self._part(file.id), self._path(file.id), file)
        self._uploads.pop(upload.id, None)
        self._files[file.id] = file
        return file

    def cancel(self, upload: Upload) -> None:
        if self._uploads.pop(upload.id, None) is None:
            return
        self.size -= upload.received
        if self._worker is not None:
            self._worker.submit(_throw_away, upload.out, self._part(upload.file.id))

    # ---- files

    def get(self, owner: str, name: str) -> File | None:
        file = self._files.get(name)
        if file is None or file.owner != owner:
            return None
        if file.expires <= self._clock():
            self._drop(file)
            return None
        return file

    def listed(self, owner: str) -> list[File]:
        """The newest first."""
        self.sweep()
        return sorted((f for f in self._files.values() if f.owner == owner), key=lambda f: (-f.created, f.id))

    def delete(self, owner: str, name: str) -> bool:
        file = self.get(owner, name)
        if file is None:
            return False
        self._drop(file)
        return True

    async def read(self, file: File) -> AsyncIterator[bytes]:
        """Its octets, READ at a time. Ends early if the file is deleted meanwhile."""
        if self._folder is None:
            rest = b""
            for piece in self._octets.get(file.id, ()):
                rest += piece
                while len(rest) >= READ:
                    yield rest[:READ]
                    rest = rest[READ:]
            if rest:
                yield rest
            return
        at = 0
        while at < file.size:
            data: bytes = await self._in_turn(_read, self._path(file.id), at)
            if not data:
                return
            yield data
            at += len(data)

    async def base64(self, file: File) -> Segments | None:
        """The file as the long base64 text that a medium in a body is; None if it is gone."""
        chunks = [b64encode(piece) async for piece in self.read(file)]
        whole = Segments(chunks)
        return whole if whole.size == -(-file.size // 3) * 4 else None

    # ---- room and time

    def sweep(self) -> None:
        """Lets go of what is too old."""
        now = self._clock()
        for file in [f for f in self._files.values() if f.expires <= now]:
            self._drop(file)
        for upload in [u for u in self._uploads.values() if now - u.touched > UPLOAD_SECONDS and not u.busy]:
            self.cancel(upload)

    def load(self) -> None:
        """Finds again what an earlier process left, and throws away what is not complete. Raises OSError if the folder
        can't be used. It waits for the disk: call it before anything else."""
        if self._folder is None:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known: set[str] = set()
        for path in self._folder.glob("*.json"):
            file = _described(path)
            if file is not None and self._path(file.id).with_suffix(".json") == path:
                self._files[file.id] = file
                self.size += file.size
                known |= {path.name, self._path(file.id).name}
        for path in self._folder.iterdir():
            if path.name not in known and path.is_file():
                path.unlink(missing_ok=True)
        self.sweep()

    def _room(self, more: int) -> None:
        if self.size + more > self.limit:
            raise TooLarge(
                f"there is no room for {more} octets more: at most {self.limit} are kept, delete some files",
                code="file_storage_full",
            )

    def _drop(self, file: File) -> None:
        del self._files[file.id]
        self._octets.pop(file.id, None)
        self.size -= file.size
        if self._worker is not None:
            path = self._path(file.id)
            self._worker.submit(_throw_away, None, path.with_suffix(".json"), path)

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{name}.octets"

    def _part(self, name: str) -> Path:
        return self._folder / f"{name}.part" if self._folder is not None else Path()

    async def _in_turn(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *args)


def _append(out: BinaryIO | None, path: Path, held: list[bytes], digest: Any) -> BinaryIO:
    if out is None:
        out = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=0)
    for piece in held:
        digest.update(piece)
        view = memoryview(piece)
        while view:
            view = view[out.write(view) :]
    return out


def _complete(out: BinaryIO, part: Path, path: Path, file: File) -> None:
    out.close()
    part.replace(path)
    words = path.with_suffix(".words")
    with os.fdopen(os.open(words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as about:
        about.write(msgspec.json.encode(file))
    words.replace(path.with_suffix(".json"))


def _throw_away(out: BinaryIO | None, *paths: Path) -> None:
    try:
        if out is not None:
            out.close()
        for path in paths:
            path.unlink(missing_ok=True)
    except OSError:
        pass  # the next start looks at it again


def _read(path: Path, at: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(READ)
    except OSError:
        return b""


def _described(path: Path) -> File | None:
    try:
        file = msgspec.json.decode(path.read_bytes(), type=File)
        return file if path.with_suffix(".octets").stat().st_size == file.size else None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
