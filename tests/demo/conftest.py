"""Real servers for the demo's tests: each is started once per module and ended with it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from gateway.demo.fixture import Fixture, ensure
from gateway.demo.fleet import Server, free_ports


@pytest.fixture(scope="session")
def needs_ffmpeg() -> None:
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        pytest.skip("there is no ffmpeg: no video")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def serve_fixture(cache: Path) -> Iterator[Callable[[Fixture], httpx2.Client]]:
    """`client = serve_fixture(Fixture(...))`: a client of a llama.cpp server that runs this fixture."""
    running: list[tuple[subprocess.Popen[bytes], httpx2.Client]] = []

    def start(fixture: Fixture) -> httpx2.Client:
        model, mmproj = ensure(fixture, cache)
        server = Server("fixture", model, "fixture", free_ports(1)[0], mmproj)
        process = subprocess.Popen(server.child().argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = httpx2.Client(base_url=server.url, timeout=30.0, trust_env=False)
        running.append((process, client))
        wait_until(lambda: answers(client))
        return client

    yield start
    for process, client in running:
        client.close()
        process.terminate()
        process.wait(5)


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx2.TransportError:
        return False


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Another process does it; there is nothing here to wait on but its effect."""
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.01)
