"""The demo with real llama.cpp servers and a stand-in for the gateway."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.demo import run, server
from gateway.demo.fleet import free_ports, plan
from gateway.demo.supervisor import ChildFailed, Supervisor

PARTS = {"image_url": ("eyes", "image"), "input_audio": ("ears", "audio"), "video_url": ("eyes", "video")}


class StandIn:
    """Answers each call as the gateway should, from no server at all; `wrong` = it sends all of them to `wrong`."""

    def __init__(self, wrong: str | None = None) -> None:
        self.wrong = wrong
        self.config: dict[str, Any] = {}
        self.seen: list[str] = []
        self.stop: asyncio.Event | None = None

    async def __call__(self, config: str, *, ready: Callable[[str], None], stop: asyncio.Event) -> int:
        self.config = yaml.safe_load(config)
        host, port = self.config["listen"].split(":")
        server = await asyncio.start_server(self._answer, host, int(port))
        async with server:
            self.stop = stop
            ready(f"http://{self.config['listen']}")
            await stop.wait()
        return 0

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One answer a connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(h[15:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:"))
            body = json.loads(await reader.readexactly(length))
            writer.write(self._reply(body["messages"][0]["content"]))
            await writer.drain()
        finally:
            writer.close()
            await writer.wait_closed()

    def _reply(self, content: Any) -> bytes:
        kind = "" if isinstance(content, str) else content[1]["type"]
        self.seen.append(kind)
        backend, part = PARTS.get(kind, ("text" if "text" in self.config["backends"] else "ears", ""))
        reply = json.dumps({"choices": [{"message": {"content": "[fixture] Yes."}}]}).encode()
        head = [
            "HTTP/1.1 200 OK",
            "connection: close",
            f"x-gateway-target: {self.wrong or backend}/m",
            f"x-gateway-parts: 0=text,1={part}" if part else "x-gateway-parts: 0=text",
            f"content-length: {len(reply)}",
        ]
        return "\r\n".join([*head, "", ""]).encode() + reply


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Process ids of all children that a supervisor brought up."""
    pids: list[int] = []
    start = Supervisor.start

    async def watched(self: Supervisor, child: Any) -> None:
        await start(self, child)
        pid = self.pid(child.name)
        assert pid is not None
        pids.append(pid)

    monkeypatch.setattr(Supervisor, "start", watched)
    return pids


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.real
async def test_once_makes_the_calls_and_leaves_no_process(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], started: list[int]
) -> None:
    gateway, fleet = StandIn(), plan(cache)
    assert await run.demo(fleet, free_ports(1)[0], tmp_path, gateway, once=True) == 0
    out = capsys.readouterr().out
    assert gateway.seen == ["", "image_url", "input_audio", *(["video_url"] if fleet.video else [])]
    assert out.count("as expected") == len(gateway.seen)
    assert "x-gateway-target: ears/m" in out
    assert len(started) == len(fleet.servers)
    assert all(map(gone, started))


@pytest.mark.real
async def test_what_comes_back_as_json(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet, stand_in = plan(cache), StandIn(wrong="eyes")
    assert await run.demo(fleet, free_ports(1)[0], tmp_path, stand_in, once=True, as_json=True) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["call"] for line in lines][:3] == ["text", "picture", "sound"]
    assert [line["ok"] for line in lines] == [line["problem"] is None for line in lines]
    assert lines[2]["problem"] == "it went to eyes/m, not to ears"
    assert lines[1]["headers"]["x-gateway-target"] == "eyes/m"


@pytest.mark.real
async def test_an_answer_from_the_wrong_server_is_a_failure(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run.demo(plan(cache), free_ports(1)[0], tmp_path, StandIn(wrong="eyes"), once=True) == 1
    assert "NOT as expected: it went to eyes/m, not to ears" in capsys.readouterr().out


@pytest.mark.real
async def test_it_tells_what_to_paste_and_stops_when_the_gateway_does(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], started: list[int]
) -> None:
    gateway = StandIn()
    port = free_ports(1)[0]
    running = asyncio.create_task(run.demo(plan(cache), port, tmp_path, gateway, once=False))
    out = ""
    while "Any OpenAI client" not in out:
        await asyncio.sleep(0.01)
        out += capsys.readouterr().out
    assert f"curl -si http://127.0.0.1:{port}/v1/chat/completions" in out
    assert str(tmp_path / "sound.json") in out
    assert gateway.stop is not None
    gateway.stop.set()
    assert await running == 0
    assert started
    assert all(map(gone, started))


@pytest.mark.real
async def test_cancelled_it_leaves_no_process(cache: Path, tmp_path: Path, started: list[int]) -> None:
    gateway = StandIn()
    running = asyncio.create_task(run.demo(plan(cache), free_ports(1)[0], tmp_path, gateway, once=False))
    while gateway.stop is None:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert started
    assert all(map(gone, started))


@pytest.mark.real
async def test_a_server_that_does_not_come_up_stops_the_demo(cache: Path, tmp_path: Path, started: list[int]) -> None:
    fleet = plan(cache)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", fleet.servers[-1].port))
        taken.listen()
        with pytest.raises(ChildFailed, match="eyes ended with exit code 2"):
            await run.demo(fleet, free_ports(1)[0], tmp_path, StandIn(), once=True)
    assert all(map(gone, started))


def test_a_taken_port_is_named_with_its_holder_and_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_CACHE", str(tmp_path / "cache"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run.main(["--port", str(port)]) == 2
        told = capsys.readouterr()
        assert f"port {port} is taken by " in told.err
        monkeypatch.setenv("PORT", str(port))
        assert run.main([]) == 2
    assert told.out == ""
    assert not (tmp_path / "cache").exists()


def test_without_the_extra_the_command_that_adds_it_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    assert run.main([]) == 2
    told = capsys.readouterr().err
    assert "xllamacpp and gguf and numpy missing" in told
    assert "pip install 'gemma-gateway[embedded]'" in told


def test_config_only_prints_what_can_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_CACHE", str(tmp_path))
    assert run.main(["--config-only", "--port", "4567"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["listen"] == "127.0.0.1:4567"
    assert {"ears", "eyes"} <= set(config["backends"])


@pytest.mark.real
async def test_the_real_gateway_answers_as_expected(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], needs_ffmpeg: None
) -> None:
    fleet = plan(cache)
    assert await run.demo(fleet, free_ports(1)[0], tmp_path, run.serve_gateway, once=True) == 0, capsys.readouterr().out
