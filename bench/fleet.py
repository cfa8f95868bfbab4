"""The processes of one run: a fake upstream, the relays and the gateway, each on a free port of the loopback."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench import envoy, machine, upstream
from bench.wire import AnswerReader, request

PUBLIC_MODEL = "bench-model"
KEY_VARIABLE = "GATEWAY_BENCH_KEY"
START_SECONDS = 20.0

# All that costs something per request is on: authentication, rules, the privacy rail, metrics, a log line each.
CONFIG = """\
listen: 127.0.0.1:{port}
auth: {{api_key_env: {key_variable}}}
limits: {{audio: 64MiB}}  # one sound of 37 MB is measured, more than is usual
backends:
  fake: {{kind: llamacpp, url: "http://127.0.0.1:{upstream_port}", max_in_flight: 1024}}
models:
  {model}:
    aliases: ["bench-*"]
    targets:
      - {{backend: fake, model: {upstream_model}}}
"""


class NotReady(Exception):
    """A process of the run did not come up."""


@dataclass(slots=True)
class Server:
    """One running process. `cpu_seconds` and the like take its `pid`."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    key: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def request(self, body: bytes) -> bytes:
        """The bytes of a chat completion request to this server."""
        return request("POST", "/v1/chat/completions", f"127.0.0.1:{self.port}", body, self.key)

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-1500:]


class Fleet:
    """Starts servers and, leaving the `with` block, stops each that it started, by its process id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: list[Server] = []
        self.cpus = machine.processors()

    def __enter__(self) -> Fleet:
        machine.pin(0, self.cpus[1] if self.cpus else None)
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            if server.process.poll() is None:
                server.process.terminate()
        end = time.monotonic() + 5
        for server in self.servers:
            try:
                server.process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait(5)

    def fake(self) -> Server:
        return self._start("direct", ["-m", "bench.upstream"], port_option=True, measured=False)

    def relay(self, name: str, fake: Server) -> Server:
        argv = ["-m", "bench.relays", name.lower(), "--upstream", f"http://127.0.0.1:{fake.port}"]
        return self._start(name, argv, port_option=True)

    def gateway(self, fake: Server) -> Server:
        """The gateway with one public name that has one target: the fake."""
        port = free_port()
        config = self.folder / "gateway.yaml"
        config.write_text(
            CONFIG.format(
                port=port,
                key_variable=KEY_VARIABLE,
                upstream_port=fake.port,
                model=PUBLIC_MODEL,
                upstream_model=upstream.MODEL,
            )
        )
        return self._start("gateway", ["-m", "gateway", "serve", "--config", str(config)], port=port, key=_new_key())

    def envoy(self, fake: Server) -> Server:
        """Raises NotReady where it is not installed."""
        if not envoy.BINARY.exists():
            raise NotReady("Envoy is not installed here (scripts/envoy)")
        port = free_port()
        config = self.folder / "envoy.json"
        config.write_text(envoy.configuration(port, fake.port))
        argv = ["-c", str(config), "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"]
        return self._start("envoy", argv, port=port, program=str(envoy.BINARY))

    def _start(
        self,
        name: str,
        argv: list[str],
        *,
        program: str = sys.executable,
        port: int = 0,
        port_option: bool = False,
        measured: bool = True,
        key: str = "",
    ) -> Server:
        port = port or free_port()
        if port_option:
            argv = [*argv, "--port", str(port)]
        log = self.folder / f"{name}.log"
        environment = {k: v for k, v in os.environ.items() if k not in ("PORT", "GATEWAY_LISTEN")}
        environment[KEY_VARIABLE] = key or "unused"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [program, *argv],
                cwd=Path(__file__).parent.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        server = Server(name, port, process, log, key)
        self.servers.append(server)
        if self.cpus:
            machine.pin(process.pid, self.cpus[0 if measured else 1])
        return server


def _new_key() -> str:
    return "bench-" + secrets.token_hex(16)


def free_port() -> int:
    """A port that was free just now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


async def until_ready(server: Server, body: bytes) -> float:
    """Asks until it answers 200; returns the seconds that took. Raises NotReady with the end of its log."""
    begun = time.monotonic()
    last = "no answer"
    while time.monotonic() - begun < START_SECONDS:
        if server.process.poll() is not None:
            raise NotReady(f"{server.name} ended with {server.process.returncode}:\n{server.last_words()}")
        try:
            status, text = await ask(server.port, server.request(body), seconds=5)
            if status == 200:
                return time.monotonic() - begun
            last = f"{status} {text[-400:].decode(errors='replace')}"
        except (OSError, TimeoutError) as e:
            last = str(e) or type(e).__name__
        await asyncio.sleep(0.05)
    raise NotReady(f"{server.name} is not ready after {START_SECONDS:.0f} s ({last}):\n{server.last_words()}")


async def ask(port: int, data: bytes, seconds: float) -> tuple[int, bytes]:
    """One request over a connection of its own: (status, everything that came)."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(data)
            answer = AnswerReader()
            got = b""
            while piece := await reader.read(65536):
                got += piece
                if answer.feed(piece):
                    break
            return answer.status, got
        finally:
            writer.close()
