"""llama.cpp servers that a test can kill, freeze, and start again at the same port."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from gateway.demo.fleet import Server

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used: nothing here speaks TLS. But each HTTP client would load all certificates of the system otherwise, which
takes longer than what it is made for."""
LIMIT = 20.0
"""Seconds that a server may take to come up, and that any other process may take to do what it should."""


class RealServer:
    """One worker process. `about` says what it serves and where; `ctx` tokens of context for all its `slots`; `batch`
    prompt tokens are read between two words of progress."""

    def __init__(self, about: Server, log: Path, *, ctx: int = 8192, slots: int = 2, batch: int = 2048) -> None:
        self.about = self._first = about
        self._before: dict[str, float] = {}
        self.ctx, self.slots, self.batch = ctx, slots, batch
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.about.url

    @property
    def port(self) -> int:
        return self.about.port

    @property
    def argv(self) -> list[str]:
        """The worker's command line as the demo starts it, with this server's own sizes."""
        argv = list(self.about.child().argv)
        argv[argv.index("--ctx") + 1] = str(self.ctx)
        argv[argv.index("--slots") + 1] = str(self.slots)
        return [*argv, "--batch", str(self.batch)]

    def serve_instead(self, **changed: Any) -> None:
        """From the next start on it serves something else at the same port: `model`, `mmproj`, `alias`."""
        self.about = replace(self.about, **changed)

    def launch(self) -> None:
        """Starts the process; it is not ready yet."""
        assert self._process is None, "it is running"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def ready(self) -> bool:
        """Whether it answers. AssertionError with the end of its log if it ended instead."""
        assert self._process is not None
        assert self._process.poll() is None, f"it ended:\n{self._log.read_text()[-2000:]}"
        try:
            answer = httpx2.get(f"{self.url}/health", trust_env=False, verify=PLAIN, timeout=2.0)
            return answer.status_code == 200
        except httpx2.HTTPError:
            return False

    def start(self) -> None:
        """Starts the process and waits until it answers."""
        self.launch()
        self.wait_ready()

    def wait_ready(self) -> None:
        end = time.monotonic() + LIMIT
        while not self.ready():
            assert time.monotonic() < end, f"not ready within {LIMIT} s:\n{self._log.read_text()[-2000:]}"
            time.sleep(0.02)

    async def restart(self) -> None:
        """Starts it while the loop goes on; returns when it answers."""
        await asyncio.to_thread(self.start)

    @property
    def alive(self) -> bool:
        return self._process is not None

    def kill(self) -> None:
        """SIGKILL. Returns when the process is gone, and with it its sockets."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(LIMIT)
            self._process = None
            self._before = {}

    def freeze(self) -> None:
        """SIGSTOP: its sockets stay open, the kernel goes on accepting, and nothing is ever answered."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    async def counters(self) -> dict[str, float]:
        """Its own metrics, as it knows them: what reached it, whatever the gateway says. Totals count from the moment
        in which this test got it."""
        async with httpx2.AsyncClient(trust_env=False, verify=PLAIN, timeout=LIMIT) as http:
            found = _read((await http.get(f"{self.url}/metrics")).text)
        return {name: value - self._before.get(name, 0.0) for name, value in found.items()}

    def reusable(self) -> bool:
        """Whether another test may have it: it answers and has nothing to do. Its totals start anew."""
        if self._process is None or self.about is not self._first:
            return False
        self.thaw()
        try:
            text = httpx2.get(f"{self.url}/metrics", trust_env=False, verify=PLAIN, timeout=1.0).text
        except httpx2.HTTPError:
            return False
        found = _read(text)
        self._before = {name: value for name, value in found.items() if name.endswith("_total")}
        return found.get("requests_processing") == 0

    async def busy(self) -> int:
        """How many requests it works on."""
        return int((await self.counters())["requests_processing"])


def _read(metrics: str) -> dict[str, float]:
    """llama.cpp's metrics, by their names without its own."""
    lines = (line.split() for line in metrics.splitlines() if line and not line.startswith("#"))
    return {name.removeprefix("llamacpp:"): float(value) for name, value in lines}
