"""Both servers of MLX, started once, and a gateway in front of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from gateway.demo.fleet import free_ports
from tests.faults.running import Running, running
from tests.waiting import wait_ready

READY = 120.0
"""Seconds that a server may take to come up: it imports a great deal."""


@dataclass
class Servers:
    """Where the two are, and which folders hold their models."""

    lm: str
    vlm: str
    text: Path
    seeing: Path


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    pytest.importorskip("mlx_lm", reason="no MLX here: make test-mlx", exc_type=ImportError)
    pytest.importorskip("mlx_vlm", reason="no MLX here: make test-mlx", exc_type=ImportError)
    from tests.mlx.tiny import seeing_model, text_model

    folder = tmp_path_factory.mktemp("mlx")
    (folder / "hub").mkdir()
    text, seeing = text_model(folder / "tiny-text"), seeing_model(folder / "tiny-gemma-4-E4B-it")
    ports = free_ports(2)
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder / "hub")}
    started: list[subprocess.Popen[bytes]] = []
    try:
        for module, model, port in (("mlx_lm.server", text, ports[0]), ("mlx_vlm.server", seeing, ports[1])):
            argv = [sys.executable, "-m", module, "--model", str(model), "--host", "127.0.0.1", "--port", str(port)]
            with (folder / f"{module}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
                )
        for process, port, module in zip(started, ports, ("mlx_lm.server", "mlx_vlm.server"), strict=True):
            wait_ready(process, f"http://127.0.0.1:{port}/health", folder / f"{module}.log", READY)
        yield Servers(f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", text, seeing)
    finally:
        for process in started:
            process.kill()
            process.wait(20)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(servers: Servers) -> AsyncIterator[Running]:
    """`lm` and `vlm`; the kind of the second is found out."""
    settings: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "auth": "none",
        "backends": {"lm": {"kind": "mlx_lm", "url": servers.lm}, "vlm": servers.vlm},
        "models": {"text": {"targets": [{"backend": "lm"}]}, "all": {"targets": [{"backend": "vlm"}]}},
        "timeouts": {"probe": 20.0, "first_byte": 120.0, "life_sign": 60.0, "liveness": 1.0},
    }
    async with running(yaml.safe_dump(settings), within=60.0) as it:
        yield it
