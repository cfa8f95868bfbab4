"""What the SDKs talk to: a gateway in a process of its own, so that clients that block may block this one, and scripted
upstreams whose loop runs in a thread beside the tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.faults.running import Metrics
from tests.faults.wire import Wire

ROOT = Path(__file__).parents[2]
START = 60.0
"""Seconds that a gateway may take to listen and to know its servers."""


@dataclass
class Served:
    """A gateway that listens at `url`. `log` = what it writes to standard error."""

    url: str
    log: Path

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"{self.url}{path}", trust_env=False, timeout=10.0)

    def metrics(self) -> Metrics:
        return Metrics.read(self.get("/metrics").text)

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()


@contextlib.contextmanager
def gateway(settings: Mapping[str, Any], folder: Path, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Serves `settings` until the block ends; then nothing may be under way, and nothing may have gone wrong inside."""
    config, log = folder / "gateway.yaml", folder / "gateway.log"
    config.write_text(yaml.safe_dump({"listen": "127.0.0.1:0", "auth": "none", **settings}, sort_keys=False))
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")}
    with log.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", "--config", str(config)],
            cwd=ROOT,
            env={**kept, "PYTHONPATH": str(ROOT), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=err,
        )
    try:
        served = Served(_listening(process, log), log)
        until(lambda: not served.metrics().labels("gateway_target_state", "state").get("unprobed"), START)
        yield served
        until(lambda: not any(served.metrics().sum(n) for n in ("gateway_in_flight", "gateway_queued")), 5.0)
    finally:
        process.terminate()
        process.wait(30)
    said = log.read_text()
    assert "Traceback" not in said, said[-4000:]
    assert '"status":500' not in said.replace(" ", ""), said[-4000:]


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    def url() -> str:
        assert process.poll() is None, f"it ended before it listened:\n{log.read_text()[-4000:]}"
        return log.read_text().partition("listening at ")[2].partition("\n")[0].strip()

    until(url, START)
    return url()


def until(holds: Any, within: float) -> None:
    """Waits for what another process does; there is nothing to wait on but its effect."""
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, f"it did not happen within {within} s"
        time.sleep(0.02)


class Beside:
    """An event loop in a thread: scripted upstreams answer there while a test blocks here."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstreams", daemon=True)
        self._thread.start()
        self._wires: list[Wire] = []

    def run(self, doing: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(30)

    def upstream(self, **about: Any) -> Wire:
        """A scripted upstream that listens. Give it its rules before the first request: they live in the other
        thread."""
        wire = Wire(**about)
        self.run(wire.start())
        self._wires.append(wire)
        return wire

    def end(self) -> None:
        """Stops the upstreams. Raises what went wrong in their scripts."""
        try:
            for wire in self._wires:
                self.run(wire.stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()
