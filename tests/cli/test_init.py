"""`gateway init` writes what it finds, and never over what is there."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway.backends import Reply
from gateway.cli import run
from gateway.settings import load
from tests.backends.fingerprints import SERVERS
from tests.replay import octets


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("GATEWAY_") or n in ("PORT", "GEMINI_API_KEY")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def server() -> Iterator[int]:
    """The port of a recorded llama.cpp."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(octets(SERVERS["llama.cpp"].replies.get(self.path, Reply(404, {}, b"{}"))))

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield http.server_port
        http.shutdown()
        thread.join()


def test_it_writes_what_can_be_served(server: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "--scan", f"127.0.0.1:{server}"]) == 0
    told = capsys.readouterr().out
    assert f"llamacpp-{server}  llamacpp  tiny-gemma4" in told
    assert told.endswith("wrote gateway.yaml; now:  gateway serve\n")
    written = load(tmp_path / "gateway.yaml", {}).backends[f"llamacpp-{server}"]
    assert (written.kind, written.url) == ("llamacpp", f"http://127.0.0.1:{server}")
    assert run(["check"]) == 0

    before = (tmp_path / "gateway.yaml").read_bytes()
    capsys.readouterr()
    assert run(["init", "--scan", f"127.0.0.1:{server}"]) == 2
    assert capsys.readouterr().err == (
        "gateway init: gateway.yaml is there already: `gateway init --force gateway.yaml` writes over it\n"
    )
    assert (tmp_path / "gateway.yaml").read_bytes() == before
    assert run(["init", "--force", "--json", "--scan", f"127.0.0.1:{server}"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert (seen["ok"], seen["file"]) == (True, "gateway.yaml")
    [mine] = [b for b in seen["backends"] if b["backend"] == f"llamacpp-{server}"]
    assert mine["models"][0] | {"context": 0} == {
        "model": "tiny-gemma4", "state": "ready", "image": True, "audio": True, "video": True, "tools": True,
        "context": 0, "variant": None, "test_stand_in": True,
    }  # fmt: skip
    assert seen["yaml"] == (tmp_path / "gateway.yaml").read_text()


def test_nothing_is_written_where_nothing_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "--no-scan", "other.yaml"]) == 1
    assert "no model server was found, nothing was written: start one" in capsys.readouterr().err
    assert run(["init", "--no-scan", "none/other.yaml"]) == 2
    assert "there is no folder none: mkdir -p none" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
