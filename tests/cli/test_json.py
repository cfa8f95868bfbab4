"""With --json every command prints JSON and nothing else on standard output, whatever comes of it."""

from __future__ import annotations

import argparse
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import cli
from gateway.compose import command as compose
from gateway.connect import command as connect
from gateway.demo import run as demo
from gateway.keys import command as keys
from tests.compose.programs import Programs

GONE = "http://127.0.0.1:9"
LINES = ("serve", "demo")
"""These print one JSON value a line."""
NONE = ("worker",)
"""A model server in the foreground has nothing to print."""

FAILURES = [
    ("serve none.yaml", 2),
    ("serve wrong.yaml", 2),
    ("serve --no-scan", 2),
    ("serve --port TAKEN --no-scan", 2),
    ("serve --port many", 2),
    ("init", 2),  # there is a gateway.yaml
    ("init absent/gateway.yaml", 2),
    ("init other.yaml --no-scan", 1),
    ("init --nope", 2),
    ("check none.yaml", 2),
    ("check wrong.yaml", 2),
    ("check unset.yaml", 2),
    ("explain none.json", 2),
    ("explain wrong.yaml", 2),
    ("explain empty.json -c gateway.yaml", 2),
    (f"explain body.json --url {GONE}", 1),
    ("explain body.json --url gpu1", 2),
    ("explain", 2),
    (f"caps --url {GONE}", 1),
    ("caps -c wrong.yaml", 2),
    ("caps --deep --nope", 2),
    ("doctor none.yaml", 2),
    ("doctor empty.yaml", 2),
    ("doctor --scan http://gpu1", 2),
    (f"connect codex --url {GONE}", 1),
    ("connect codex --url gpu1", 2),
    ("connect codex --write", 2),
    ("connect emacs", 2),
    ("connect", 2),
    ("keys list --file none.yaml", 2),
    ("keys list -c none.yaml", 2),
    ("keys list --file wrong.yaml", 2),
    ("keys new anna --expires never --file k.yaml", 2),
    ("keys new anna --file none", 2),  # which is a folder
    ("keys revoke bert --file bare.yaml", 1),
    ("keys new", 2),
    ("keys", 2),
    ("keys nope", 2),
    ("compose --for nvidia", 2),
    ("compose --for vllm", 2),
    ("compose -o none/here/x.yml", 2),
    ("compose key none/here/key", 2),
    ("compose key", 2),
    ("compose up -f none.yml", 2),
    ("compose up -f compose.yml", 2),  # there is no engine
    ("compose up --nope", 2),
    ("demo --port TAKEN --once", 2),
    ("demo", 2),
    ("demo --port many --once", 2),
    ("nope", 2),
    ("", 2),
]


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for name in [n for n in os.environ if n.startswith("GATEWAY_") or n in ("PORT", "GEMINI_API_KEY")]:
        monkeypatch.delenv(name)
    texts = {
        "gateway.yaml": "listen: 127.0.0.1:0\nbackends: {a: {kind: vllm, url: 'http://127.0.0.1:9'}}\n",
        "wrong.yaml": "modles: {}\nbackends: [\n",
        "empty.yaml": "listen: 127.0.0.1:0\n",
        "unset.yaml": "backends: {a: {kind: vllm, url: 'http://127.0.0.1:9', api_key_env: NOT_SET}}\n",
        "bare.yaml": "keys: []\n",
        "body.json": '{"model": "auto", "messages": [{"role": "user", "content": "hello"}]}',
        "empty.json": '{"model": "auto", "messages": []}',
        "compose.yml": "services: {gateway: {image: 'x:1', ports: ['127.0.0.1:0:4000'], "
        "volumes: ['secrets:/secrets:ro']}}\n",
    }
    for name, text in texts.items():
        Path(name).write_text(text)
    Path("none").mkdir()
    return Programs(tmp_path, monkeypatch)


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        yield str(s.getsockname()[1])


def printed(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> Any:
    """The one value on standard output."""
    assert cli.run([*words, "--json"]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    if words[:1] and words[0] in LINES:
        assert out.count("\n") == 1
    return json.loads(out)


@pytest.mark.parametrize(("command", "code"), FAILURES, ids=[c or "nothing" for c, _ in FAILURES])
def test_what_can_t_be_done(command: str, code: int, taken: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in Path().rglob("*")}
    # what fails later than its arguments goes through the same door: cli.run
    told = printed(command.replace("TAKEN", taken).split(), code, capsys)
    assert told["ok"] is False and told["problems"]
    for problem in told["problems"]:
        assert set(problem) == {"source", "path", "line", "message", "fix"}
        assert problem["message"] and "\n" not in problem["message"]
    assert {p: p.stat().st_mtime_ns for p in Path().rglob("*")} == before


def test_what_is_done(programs: Programs, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def done(command: str, code: int = 0) -> Any:
        return printed(command.split(), code, capfd)

    assert done("check") == {"ok": True, "backends": ["a"], "models": []}
    assert done("caps -c gateway.yaml", 1) == {"deployments": []}
    assert done("explain body.json -c gateway.yaml", 1)["chosen"] is None
    assert done("doctor", 1)["findings"][0]["code"] == "unreachable"

    made = done("keys new anna --file k.yaml")
    assert made["key"].startswith("gw-")
    assert [k["name"] for k in done("keys list --file k.yaml")["keys"]] == ["anna"]
    assert done("keys revoke anna --file k.yaml")["state"] == "revoked"

    assert done("compose key key") == {"ok": True, "file": "key", "made": True}
    assert done("compose key key")["made"] is False
    written = done("compose")
    assert written["files"] == ["gateway-compose.yml", "gateway-compose.config.yaml"]
    assert written["start"] == "gateway compose up -f gateway-compose.yml"
    programs.add("docker", "echo of the engine")
    assert done("compose up -f compose.yml") == {
        "ok": True,
        "services": ["gateway"],
        "published": {"gateway": "http://127.0.0.1:0"},
        "key": "docker compose -f compose.yml exec -T gateway cat /secrets/api-key",
        "down": "docker compose -f compose.yml down",
    }

    Path("gateway.yaml").unlink()
    monkeypatch.setenv("GATEWAY_BACKEND_MAC", GONE)
    found = done("init --no-scan")
    assert (found["file"], [b["backend"] for b in found["backends"]]) == ("gateway.yaml", ["mac"])


def test_every_command_is_walked() -> None:
    """And has --json: what a running gateway answers, and what `serve` and `demo` say, is in their own tests."""
    [top] = [a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    walked = {c.split()[0] for c, _ in FAILURES if c}
    assert set(top.choices) - set(NONE) == walked - {"nope"}
    elsewhere = [connect._parser(), demo._parser(), compose._parser(), compose._key_parser(), compose._up_parser()]
    [acts] = [a for a in keys._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    own = [top.choices[name] for name in cli.OWN]
    for parser in [*elsewhere, *acts.choices.values(), *own]:
        assert "--json" in parser.format_help(), parser.prog


def test_the_client_s_own_json_is_the_client_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["connect", "codex", "--url", "gpu1", "--", "run", "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "--url must begin with" in err
