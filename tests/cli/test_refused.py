"""What a person does wrong in the first hour: one line that says what was found and what to type, and the exit code.
Nothing has started then, and nothing is left behind."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import run
from tests.backends.fingerprints import PAGE, UNAUTHORIZED
from tests.replay import octets

GONE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("GATEWAY_") or n in ("PORT", "GEMINI_API_KEY")]:
        monkeypatch.delenv(name)
    (tmp_path / "body.json").write_text('{"model": "auto", "messages": []}')
    before = set(tmp_path.iterdir())
    yield tmp_path
    assert set(tmp_path.iterdir()) == before


@pytest.fixture
def answering() -> Iterator[str]:
    """Where /page is a web page, /locked wants a key, and everything else is another API."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("content-length", 0))
            self.rfile.read(size)
            reply = PAGE if "/page" in self.path else UNAUTHORIZED
            body = octets(reply)
            if "/api" in self.path:
                body = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]"
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


WORDS = ["serve", "init", "check", "explain", "caps", "doctor", "keys", "connect", "compose", "demo", "worker"]
NO_FILE = "there is no such file: `gateway init` looks for model servers and writes one"
SCHEME = "--url must begin with http:// or https://, such as"
CORRECT = "correct --url (the gateway's usual port is 4000)"
START = "start one with `gateway serve`, or say with --url where it is"
LET = "let -c FILE look at a configuration's servers: gateway caps -c gateway.yaml"
KEY = "put it into GATEWAY_API_KEY, or name the variable with --key-env"

HELP = "`gateway --help` shows what it takes"

CASES: list[tuple[str, int, str]] = [
    ("serve none.yaml", 2, f"none.yaml: {NO_FILE}"),
    (
        "serve --port 99999",
        2,
        "gateway serve: argument --port: must be a port number from 0 to 65535: "
        "`gateway serve --help` shows what it takes",
    ),
    ("", 2, f"gateway: the following arguments are required: COMMAND: {HELP}"),
    ("check .", 2, ".: is a folder: name the file in it"),
    ("caps --url gpu1:4000", 2, f'gateway caps: {SCHEME} "http://gpu1:4000"'),
    (f"caps --url {GONE}", 1, f"gateway caps: no gateway answers at {GONE}: {START}; or {LET}"),
    ("caps --url URL/page", 2, f"gateway caps: what answers at URL/page is no gateway but a web page: {CORRECT}"),
    ("caps --url URL/api", 2, f"gateway caps: what answers at URL/api is no gateway but another API: {CORRECT}"),
    ("caps --url URL/locked", 2, f"gateway caps: the gateway at URL/locked wants its key: {KEY}"),
    (
        "explain body.json --url URL/page",
        2,
        f"gateway explain: what answers at URL/page is no gateway but a web page: {CORRECT}",
    ),
    ("explain nobody.json", 2, "gateway explain: can't read nobody.json: No such file or directory"),
    (
        "connect codex --url URL/page",
        2,
        f"gateway connect: what answers at URL/page is no gateway but a web page: {CORRECT}",
    ),
    ("connect codex --url gpu1", 2, f'gateway connect: {SCHEME} "http://gpu1"'),
    (
        "doctor --no-scan",
        2,
        "gateway doctor: no server is known: start one, name a configuration, or look elsewhere with --scan HOST; "
        "`gateway caps` shows those of a gateway that runs",
    ),
    (
        "worker llamacpp --model no.gguf --port 0",
        2,
        "gateway worker llamacpp: there is no file no.gguf: name a GGUF file that you have with --model",
    ),
]


@pytest.mark.parametrize(("command", "code", "said"), CASES, ids=[c[0] for c in CASES])
def test_one_line_and_the_exit_code(
    command: str, code: int, said: str, answering: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command.replace("URL", answering).split()) == code
    out = capsys.readouterr()
    assert (out.err, out.out) == (said.replace("URL", answering) + "\n", "")


def test_a_variable_is_named_that_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GATEWAY_BACKEND_MAC", "mac.local:8080")
    for command in ("serve", "init", "check", "doctor"):
        assert run([command]) == 2
        assert capsys.readouterr().err == (
            'environment: GATEWAY_BACKEND_MAC: must begin with http:// or https://, such as "http://mac.local:8080"\n'
        )


@pytest.mark.parametrize("url", ["user:secret@gpu1", "sk-secret://x", "gpu1:8000?key=secret"])
def test_what_may_be_a_secret_is_not_repeated(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_BACKEND_MAC", url)
    assert run(["serve"]) == 2 and run(["caps", "--url", url]) == 2
    assert "secret" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "check", "doctor", "caps", "explain"])
def test_as_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    body = ["body.json"] if command == "explain" else []
    assert run([command, *body, "--json", "-c", "none.yaml"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert told["problems"][0]["message"].startswith("there is no such file: `gateway init`")


def test_a_model_server_s_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["worker", "llamacpp", "--model", str(Path(__file__)), "--port", str(port)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"gateway worker llamacpp: port {port} is in use by process {os.getpid()}: ")
    assert len(told.splitlines()) == 1
