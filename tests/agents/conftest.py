"""A gateway in front of a scripted model server, and agents that run one after the other in a home folder of their own.

`make test` leaves this folder out: its agents are 1.7 GB, and take minutes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.demo.fixture import ensure
from gateway.demo.fleet import EARS, Server, free_ports
from tests.agents import model
from tests.agents.setups import Setup
from tests.faults.wire import Wire
from tests.real.servers import RealServer
from tests.sdks.replay import Replay
from tests.sdks.serving import ROOT, Beside, Served, gateway

BIN = ROOT / ".cache" / "npm-agents" / "node_modules" / ".bin"
NODE = ROOT / ".cache" / "node" / "bin"
PUBLIC = "gemma-4"
PATIENCE = 180.0
"""Seconds that an agent may take for the whole task."""

collect_ignore = [] if os.environ.get("GATEWAY_TEST_AGENTS") else ["test_agents.py", "test_connect.py"]


@dataclass
class Bench:
    """The gateway, the model server behind it, and the folder that the task is about."""

    served: Served
    wire: Wire | None
    home: Path
    work: Path

    @property
    def bodies(self) -> list[Any]:
        """What reached the scripted model server."""
        assert self.wire is not None
        return self.wire.bodies

    def run(self, setup: Setup) -> subprocess.CompletedProcess[str]:
        """Lays the agent's files and runs it to its end, or AssertionError after `PATIENCE`. All that it started is
        ended with it."""
        setup.lay(self.home)
        for argv in setup.before:
            self._run(argv, setup.env)
        return self._run(setup.argv, setup.env)

    def _run(self, argv: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        given = {
            "PATH": f"{NODE}:{BIN}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_STATE_HOME": str(self.home / ".local/state"),
            "TMPDIR": str(self.home),
            "LANG": "C.UTF-8",
            "CI": "1",
            "NO_COLOR": "1",
            "CLINE_HUB_PORT": str(_free_port()),
            **env,
        }
        process = subprocess.Popen(
            argv,
            cwd=self.work,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            _end(process)
            said, _ = process.communicate()
            raise AssertionError(f"{argv[0]} was not ready after {PATIENCE} s:\n{said[-4000:]}") from None
        finally:
            _end(process)
            _end_daemons(self.home)
        return subprocess.CompletedProcess(argv, process.returncode, said)


def _end_daemons(home: Path) -> None:
    """What an agent left running in a session of its own: processes whose home is this test's folder."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            mine = f"HOME={home}".encode() in environ.read_bytes().split(b"\0")
            if mine:
                os.kill(int(environ.parent.name), signal.SIGKILL)
        except OSError:
            continue  # it ended meanwhile, or is somebody else's


def _end(process: subprocess.Popen[str]) -> None:
    """Ends its session: some agents leave a daemon."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def beside() -> Iterator[Beside]:
    found = Beside()
    yield found
    found.end()


@pytest.fixture(scope="session")
def ears(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A real llama.cpp with room for an agent's prompt: a fixture has a token for every letter."""
    cache = tmp_path_factory.mktemp("ears")
    fixture, mmproj = ensure(EARS, cache)
    about = Server("ears", fixture, "ears", free_ports(1)[0], mmproj, (("fixture", True),))
    server = RealServer(about, cache / "ears.log", ctx=262_144, slots=2)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def real_bench(ears: RealServer, tmp_path: Path) -> Iterator[Bench]:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    settings = {
        "backends": {"ears": {"kind": "llamacpp", "url": ears.url, "facts": {"fixture": True}}},
        "models": {PUBLIC: {"targets": [{"backend": "ears"}]}},
    }
    with gateway(settings, tmp_path) as served:
        yield Bench(served, None, home, work)


@pytest.fixture
def bench(beside: Beside, tmp_path: Path) -> Iterator[Bench]:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    (work / model.FILE).write_text(f"{model.BEFORE}\n", encoding="utf-8")
    wire = beside.upstream(kind="vllm", model="gemma-4-e4b-it", n_ctx=131_072)
    wire.answer(Replay("vllm", model.script(work), words=False))
    settings = {
        "backends": {"one": {"kind": "vllm", "url": wire.url}},
        "models": {PUBLIC: {"aliases": ["gpt-*"], "targets": [{"backend": "one"}]}},
        "log": {"level": "info"},
    }
    with gateway(settings, tmp_path) as served:
        yield Bench(served, wire, home, work)
