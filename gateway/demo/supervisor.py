"""Child processes that serve: started, watched, started again when they end by themselves, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import httpx2

RECENT = 60.0
"""Seconds in which a child's ends count against it."""
ENDS = 5
"""More ends than that within RECENT, and it is left alone."""
GRACE = 1.5
"""Seconds between SIGTERM and SIGKILL."""

State = Literal["starting", "ready", "waiting", "stopped", "failed"]
"""waiting: ended by itself, and starts again after a pause. failed: ended too often, left alone."""


@dataclass(slots=True, frozen=True)
class Child:
    """One process to run. `env` comes on top of this process's own. It is ready when a GET of `ready_url` answers 200,
    within `ready_within` seconds; without a URL as soon as it runs. `restart` = start it again when it ends."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready_url: str | None = None
    ready_within: float = 60.0
    restart: bool = True


class ChildFailed(Exception):
    """A child did not come up. `tail` holds the last lines that it wrote."""

    def __init__(self, name: str, why: str, tail: Sequence[str], log: Path) -> None:
        super().__init__(f"{name} {why}")
        self.name, self.why, self.tail, self.log = name, why, list(tail), log

    def report(self) -> str:
        lines = "".join(f"  | {line}\n" for line in self.tail)
        return f"{self.name} {self.why}. The end of {self.log}:\n{lines}"


def restart_delay(ends: Sequence[float], now: float) -> float | None:
    """How many seconds to wait before a child starts again that ended at the moments `ends` (the last one is now);
    None = it ended too often lately, leave it alone."""
    recent = sum(1 for end in ends if now - end < RECENT)
    return None if recent > ENDS else 0.1 * 3.0 ** (recent - 1)


def how_it_ended(returncode: int) -> str:
    """`ended with exit code 2`, `was ended by SIGKILL`."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    known = {s.value: s.name for s in signal.Signals}
    return f"was ended by {known.get(-returncode, f'signal {-returncode}')}"


def last_lines(path: Path, count: int = 12) -> list[str]:
    """The end of a text file; no lines if there is none."""
    try:
        with path.open("rb") as f:
            f.seek(max(0, path.stat().st_size - 16_384))
            return f.read().decode("utf-8", "replace").splitlines()[-count:]
    except OSError:
        return []


class _Run:
    """A child and what became of it so far."""

    def __init__(self, child: Child, log: Path) -> None:
        self.child, self.log = child, log
        self.state: State = "starting"
        self.process: asyncio.subprocess.Process | None = None
        self.watch: asyncio.Task[None] | None = None
        self.ends: list[float] = []


class Supervisor:
    """Runs children by name. `async with` stops them all at the end, however it comes.

    Their output goes to `logs/<name>.log`. `notify` gets a line whenever a child ends, comes back or is given up.
    """

    def __init__(
        self,
        logs: Path,
        notify: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logs, self._notify, self._clock = logs, notify, clock
        self._runs: dict[str, _Run] = {}
        # No proxy of the environment: children are on this machine.
        self._http = httpx2.AsyncClient(trust_env=False, timeout=2.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_all()
        await self._http.aclose()

    async def start(self, child: Child) -> None:
        """Starts it and returns when it is ready. Raises ChildFailed (and nothing of it is left), or ValueError while
        one of that name runs."""
        if child.name in self._runs and self.state(child.name) not in ("stopped", "failed"):
            raise ValueError(f"{child.name} is running")
        run = self._runs[child.name] = _Run(child, self._logs / f"{child.name}.log")
        self._logs.mkdir(parents=True, exist_ok=True)
        run.log.write_bytes(b"")
        try:
            await self._bring_up(run)
        except BaseException:  # cancelled, too: no process stays behind
            run.state = "failed"
            await _end(run.process)
            raise
        run.watch = asyncio.create_task(self._keep(run), name=f"watch {child.name}")

    async def start_all(self, children: Sequence[Child]) -> None:
        """Starts them side by side. Raises the first failure, after the others are up or down."""
        results = await asyncio.gather(*(self.start(c) for c in children), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def stop(self, name: str) -> None:
        """SIGTERM, SIGKILL after 1.5 s. Returns when it is gone."""
        run = self._runs[name]
        run.state = "stopped"
        if run.watch is not None:
            run.watch.cancel()
            await asyncio.gather(run.watch, return_exceptions=True)
        await _end(run.process)

    async def stop_all(self) -> None:
        await asyncio.gather(*(self.stop(name) for name in self._runs))

    def state(self, name: str) -> State:
        return self._runs[name].state

    def pid(self, name: str) -> int | None:
        """Its process id; None while there is no such process."""
        process = self._runs[name].process
        return process.pid if process is not None and process.returncode is None else None

    def log(self, name: str) -> Path:
        return self._runs[name].log

    async def _bring_up(self, run: _Run) -> None:
        child, run.state = run.child, "starting"
        with run.log.open("ab") as out:
            try:
                # A session of its own: Ctrl+C in the terminal must reach us alone, who stop the children in order.
                run.process = await asyncio.create_subprocess_exec(
                    *child.argv,
                    env={**os.environ, **child.env},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=out,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as e:
                raise ChildFailed(child.name, f"could not be started: {e}", [], run.log) from e
        if child.ready_url is not None:
            await self._until_ready(run, run.process, child.ready_url)
        run.state = "ready"

    async def _until_ready(self, run: _Run, process: asyncio.subprocess.Process, url: str) -> None:
        give_up = self._clock() + run.child.ready_within
        pause = 0.02
        while not await self._answers(url):
            if process.returncode is not None:
                why = how_it_ended(process.returncode)
                raise ChildFailed(run.child.name, why, last_lines(run.log), run.log)
            if self._clock() > give_up:
                why = f"was not ready within {run.child.ready_within:g} s"
                raise ChildFailed(run.child.name, why, last_lines(run.log), run.log)
            await asyncio.sleep(pause)
            pause = min(0.25, pause * 1.5)

    async def _answers(self, url: str) -> bool:
        try:
            return (await self._http.get(url)).status_code == 200
        except httpx2.HTTPError:
            return False

    async def _keep(self, run: _Run) -> None:
        """Waits for the child's end and starts it again, until it is stopped or ended too often."""
        while run.process is not None:
            why = how_it_ended(await run.process.wait())
            run.ends.append(self._clock())
            delay = restart_delay(run.ends, self._clock())
            if not run.child.restart or delay is None:
                run.state = "failed"
                self._notify(f"{run.child.name} {why}: not started again; its output is in {run.log}")
                return
            run.state = "waiting"
            self._notify(f"{run.child.name} {why}: starting it again in {delay:.1f} s")
            await asyncio.sleep(delay)
            try:
                await self._bring_up(run)
                self._notify(f"{run.child.name} is ready again")
            except ChildFailed:
                await _end(run.process)  # and count that as one more end


async def _end(process: asyncio.subprocess.Process | None) -> None:
    if process is None:
        return
    if process.returncode is None:
        _signal_group(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), GRACE)
        except TimeoutError:
            pass
    if process.returncode is None:
        _signal_group(process, signal.SIGKILL)
        await process.wait()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """To the child and what it started itself (llama.cpp starts ffmpeg)."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
