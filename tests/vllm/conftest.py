"""A vLLM server, started once, and a gateway in front of it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from gateway.demo.fleet import free_ports
from tests.faults import rawclient
from tests.faults.running import Running, running
from tests.waiting import wait_ready

READY = 600.0
"""Seconds that it may take to come up: it imports a great deal, and tries its model out with the largest media."""
NAME, ALIAS = "tiny-gemma-4-E4B-it", "tiny"
FLAGS = (
    *("--dtype", "bfloat16", "--max-model-len", "2048", "--max-num-seqs", "8", "--enforce-eager"),
    *("--enable-auto-tool-choice", "--tool-call-parser", "gemma4", "--reasoning-parser", "gemma4"),
    *("--chat-template-content-format", "openai"),  # the tiny model's template hides from it that it takes parts
    *("--limit-mm-per-prompt", '{"image":2,"audio":1,"video":1}', "--enable-prompt-tokens-details"),
)
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "VLLM_SERVER_DEV_MODE": "1",
}


@dataclass
class Server:
    """Where it is, and which folder holds its model."""

    url: str
    model: Path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    told = os.environ.get("GATEWAY_TEST_VLLM")
    if not told:
        pytest.skip("no vLLM here: make test-vllm")
    python = Path(told).absolute()  # not resolved: it is its place that makes it the environment's
    folder = tmp_path_factory.mktemp("vllm")
    model = folder / "tiny"
    subprocess.run([python, "-m", "tests.vllm.tiny", str(model)], env={**os.environ, **ENVIRONMENT}, check=True)
    [port] = free_ports(1)
    argv = [python, python.parent / "vllm", "serve", model, "--host", "127.0.0.1", "--port", port]
    argv += ["--served-model-name", NAME, ALIAS, *FLAGS]
    log = folder / "vllm.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(a) for a in argv],
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it starts processes of its own, which end with it
        )
    try:
        wait_ready(process, f"http://127.0.0.1:{port}/health", log, READY)
        yield Server(f"http://127.0.0.1:{port}", model)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """The first answer of some kinds is late: what constrains it, or counts its probabilities, is compiled for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rawclient, "LIMIT", 120.0)
        yield


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(server: Server) -> AsyncIterator[Running]:
    """`all` leads to it; its kind is found out."""
    settings: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "auth": "none",
        "backends": {"gpu": server.url},
        "models": {"all": {"targets": [{"backend": "gpu"}]}},
        "timeouts": {"probe": 20.0, "first_byte": 120.0, "life_sign": 60.0, "liveness": 1.0, "facts": 600.0},
    }
    async with running(yaml.safe_dump(settings), within=120.0) as it:
        yield it
