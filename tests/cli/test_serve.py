"""`gateway serve` where no file names a server: a real process, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from gateway import app
from gateway.cli import run
from gateway.cli.nofile import spots
from gateway.cli.serve import _Told
from gateway.engine import scan as engine_scan
from gateway.engine.fleet import Fleet
from gateway.engine.scan import LOOPBACK, PORTS, Scan, Spot
from gateway.report.refused import Refused
from gateway.settings import defaults
from tests.conftest import Upstreams
from tests.faults.process import process
from tests.faults.rawclient import post
from tests.faults.running import CHAT, ask

REFUSED_ENV = ("GATEWAY_CONFIG", "GATEWAY_LISTEN", "PORT", "GEMINI_API_KEY")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a configuration, and an environment that names nothing."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("GATEWAY_BACKEND_") or n in REFUSED_ENV]:
        monkeypatch.delenv(name)
    return tmp_path


async def test_a_server_is_found_shown_and_used(upstreams: Upstreams, tmp_path: Path) -> None:
    [wire] = await upstreams()
    args = ("--scan", f"127.0.0.1:{wire.port}", "--port", "0")
    async with process(tmp_path / "gateway.yaml", None, *args) as gateway:
        answer = await post(gateway.url, CHAT, ask(model=wire.model))
        assert answer.status == 200
        name = f"llamacpp-{wire.port}"
        assert answer.header("x-gateway-target") == f"{name}/{wire.model}"
        [row] = [line for line in gateway.lines if line.startswith(name)]
        assert row.split()[1:8] == ["llamacpp", wire.model, "pictures", "video", "yes", "4,096", "ready:"]
        assert f'  {name}: {{kind: llamacpp, url: "{wire.url}"}}' in gateway.lines, "the file that says the same"
        assert not (tmp_path / "gateway.yaml").exists()


async def test_one_that_comes_later_is_served_without_a_restart(
    upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_scan, "EVERY", 0.05)
    [wire] = await upstreams()
    await wire.stop()
    scan = Scan([Spot(wire.port)])
    await scan.look()
    up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop, later = asyncio.Event(), asyncio.Event()
    fleets: list[list[str]] = []

    def looked(fleet: Fleet) -> None:
        fleets.append(list(fleet.servers))
        if fleet.servers:
            later.set()

    settings = defaults({"PORT": "0"}, scan.backends())
    serving = asyncio.ensure_future(
        app.serve(settings, scan=scan, env={"PORT": "0"}, looked=looked, ready=up.set_result, stop=stop)
    )
    try:
        async with asyncio.timeout(30):
            url = await up
            refused = await post(url, CHAT, ask(model="auto"))
            assert refused.status == 503, refused.body
            await wire.start()
            await later.wait()
            assert fleets == [[], [f"llamacpp-{wire.port}"]]
            while (answer := await post(url, CHAT, ask(model="auto"))).status == 503:
                await asyncio.sleep(0.02)  # the new one is looked at
            assert answer.status == 200
    finally:
        stop.set()
        assert await serving == 0


def test_with_a_file_the_file_alone_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gateway.yaml").write_text("backends: {}\n")
    assert run(["serve", "--scan", "gpu1"]) == 2
    assert capsys.readouterr().err == (
        "gateway serve: gateway.yaml says which servers there are: take --scan and --no-scan out, or the file away\n"
    )
    assert run(["serve", "--port", "0"]) == 2
    assert "gateway.yaml names no backends: `gateway init` writes" in capsys.readouterr().err


def test_no_scan_and_nothing_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--no-scan", "--port", "0"]) == 2
    assert "gateway serve: nothing names a backend: `gateway init`" in capsys.readouterr().err
    assert run(["serve", "--no-scan", "--scan", "gpu1", "--json", "--port", "0"]) == 2
    assert json.loads(capsys.readouterr().out)["problems"][0]["fix"] == "leave one out"


def test_a_taken_port_names_its_holder_and_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["serve", "--port", str(port)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"gateway serve: port {port} is in use by process {os.getpid()}: ")
    assert "gateway serve --port " in told and len(told.splitlines()) == 1


def test_an_address_that_is_not_this_machine_s(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("GATEWAY_LISTEN", "192.0.2.1:4000")
    monkeypatch.setenv("GATEWAY_API_KEY", "k")
    (Path.cwd() / "gateway.yaml").write_text(
        "auth: {api_key_env: GATEWAY_API_KEY}\nbackends: {a: 'http://127.0.0.1:9'}\n"
    )
    assert run(["serve"]) == 2
    assert "can't listen at 192.0.2.1:4000: Cannot assign requested address" in capsys.readouterr().err


def test_which_spots() -> None:
    assert [s.port for s in spots([], defaults({}))] == list(PORTS)
    own = defaults(
        {"PORT": "8080", "GATEWAY_BACKEND_A": "http://localhost:8000", "GATEWAY_BACKEND_B": "http://gpu:1234"}
    )
    assert [s.port for s in spots([], own)] == [8081, 11434, 1234, 30000], "not its own, not what is named already"
    far = spots(["GPU1", "gpu1:8000", "localhost:9001", "127.0.0.1:8000"], own)[4:]
    assert far == [*(Spot(p, ("gpu1",)) for p in PORTS), Spot(9001, LOOPBACK)]


@pytest.mark.parametrize("text", ["http://gpu1", "gpu1:0", "gpu1:99999", "", "a b", "gpu1:8000/v1", "-"])
def test_what_is_no_host(text: str) -> None:
    if text == "-":
        assert spots([text], defaults({})), "odd, but a name"
        return
    with pytest.raises(Refused, match="such as --scan gpu1"):
        spots([text], defaults({}))


def test_of_a_file_a_person_sees_the_table_and_a_log_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet()
    fleet.apply(defaults({"GATEWAY_BACKEND_MAC": "http://mac.local:8080"}))
    for terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        _Told(None, Path("gateway.yaml"), as_json=False).looked(fleet)
        lines = capsys.readouterr().err.splitlines()
        assert lines[:1] == (["gateway.yaml: 1 model server"] if terminal else [])
        assert any("mac" in line for line in lines) == terminal
