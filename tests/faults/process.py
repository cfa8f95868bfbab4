"""A gateway as a process of its own, for what only a process can show: signals, exit codes, reloads, a hard kill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.faults import rawclient
from tests.faults.rawclient import Response
from tests.faults.running import CHAT, Metrics, ask

ROOT = Path(__file__).parents[2]
START = 30.0
"""Seconds that a start may take: importing everything on a busy machine."""


class Process:
    """`url` is set once it listens. `lines` is what it wrote to standard error so far."""

    def __init__(self, config: Path, child: asyncio.subprocess.Process) -> None:
        self.config = config
        self.child = child
        self.url = ""
        self.lines: list[str] = []
        self._listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(), name="reader")

    async def _read(self) -> None:
        assert self.child.stderr is not None
        async for line in self.child.stderr:
            text = line.decode().rstrip("\n")
            self.lines.append(text)
            if "listening at http" in text and not self._listening.done():
                self._listening.set_result(text.split("listening at ")[1].strip())
        if not self._listening.done():
            self._listening.set_exception(AssertionError("it ended before it listened:\n" + "\n".join(self.lines)))

    async def listening(self) -> str:
        self.url = await asyncio.wait_for(self._listening, START)
        return self.url

    def send(self, sig: signal.Signals) -> None:
        self.child.send_signal(sig)

    async def ended(self, within: float = START) -> int:
        """Its exit code."""
        code = await asyncio.wait_for(self.child.wait(), within)
        await self._reader
        return code

    async def close(self) -> None:
        if self.child.returncode is None:
            self.child.kill()
            await self.child.wait()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        with contextlib.suppress(asyncio.InvalidStateError):
            self._listening.exception()

    async def chat(self, **fields: Any) -> Response:
        return await rawclient.post(self.url, CHAT, ask(**fields))

    async def metrics(self) -> Metrics:
        return Metrics.read((await rawclient.get(self.url, "/metrics")).body.decode())

    def write(self, settings: dict[str, Any] | str) -> None:
        """Puts another configuration in place, whole: written beside it, then renamed."""
        beside = self.config.with_suffix(".new")
        beside.write_text(settings if isinstance(settings, str) else yaml.safe_dump(settings, sort_keys=False))
        beside.replace(self.config)

    async def until_logged(self, word: str, within: float = 10.0) -> dict[str, Any]:
        """The first log line in which `word` stands, waiting for it."""
        end = asyncio.get_running_loop().time() + within
        while True:
            for line in self.lines:
                if word in line and line.startswith("{"):
                    found: dict[str, Any] = json.loads(line)
                    return found
            assert asyncio.get_running_loop().time() < end, f"{word!r} was not logged:\n" + "\n".join(self.lines)
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def process(
    config: Path,
    settings: dict[str, Any] | str | None,
    *args: str,
    env: Mapping[str, str] | None = None,
    wait: bool = True,
) -> AsyncIterator[Process]:
    """`python -m gateway serve --config FILE`, or with `args` and no file where `settings` is None; killed at the end
    if it still runs. `wait` = until it listens."""
    if settings is not None:
        config.write_text(settings if isinstance(settings, str) else yaml.safe_dump(settings, sort_keys=False))
        args = ("--config", str(config), *args)
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "serve", *args),
        cwd=ROOT if settings is not None else config.parent,
        env={**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    running = Process(config, child)
    try:
        if wait:
            await running.listening()
        yield running
    finally:
        await running.close()
