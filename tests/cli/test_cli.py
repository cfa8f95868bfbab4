"""The command line says what serving would say, with its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli import run

BACKEND = "backends: {a: {kind: vllm, url: 'http://127.0.0.1:9'}}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.yaml"


@pytest.mark.parametrize("command", ["check", "serve", "explain", "caps", "doctor"])
def test_what_is_not_built_is_said_alike(command: str, file: Path, capsys: pytest.CaptureFixture[str]):
    file.write_text(BACKEND + "log: {format: text}\nlimits: {connections: 1}\n")
    body = file.with_name("body.json")
    body.write_text('{"model": "auto", "messages": []}')
    args = [command, *([str(body)] if command == "explain" else []), "-c", str(file)]
    assert run(args) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert (
        out.err
        == "gateway: this version does not do: log.format, limits.connections; take it out of the configuration\n"
    )


def test_and_as_json(file: Path, capsys: pytest.CaptureFixture[str]):
    file.write_text(BACKEND + "log: {format: text}\n")
    assert run(["check", "--json", "-c", str(file)]) == 2
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "problems": [
            {
                "source": None,
                "path": "log.format",
                "line": None,
                "message": "this version does not do it",
                "fix": "take it out",
            }
        ],
    }


def test_what_is_wrong_has_its_line(file: Path, capsys: pytest.CaptureFixture[str]):
    file.write_text(BACKEND + "timeouts: {queue: 1h}\n")
    assert run(["check", "--json", "-c", str(file)]) == 2
    [problem] = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["path"], problem["line"]) == ("timeouts.queue", 2)


def test_what_is_fine(file: Path, capsys: pytest.CaptureFixture[str]):
    file.write_text(BACKEND)
    assert run(["check", "-c", str(file)]) == 0
    assert "ok" in capsys.readouterr().out


def test_doctor_of_what_is_not_there(file: Path, capsys: pytest.CaptureFixture[str]):
    file.write_text(BACKEND)
    assert run(["doctor", "--json", "-c", str(file)]) == 1
    out = json.loads(capsys.readouterr().out)
    assert out["ok"] is False
    assert [(f["backend"], f["code"], f["level"]) for f in out["findings"]] == [("a", "unreachable", "error")]
    assert run(["doctor", str(file)]) == 1
    assert "error   unreachable" in capsys.readouterr().out
    file.write_text("listen: 127.0.0.1:0\n")
    assert run(["doctor", str(file)]) == 2


def test_caps_of_nothing(file: Path, capsys: pytest.CaptureFixture[str]):
    file.write_text(BACKEND)
    assert run(["caps", "--json", "-c", str(file)]) == 1
    assert json.loads(capsys.readouterr().out) == {"deployments": []}
    body = file.with_name("body.json")
    body.write_text('{"model": "auto", "messages": []}')
    for command in (["caps"], ["explain", str(body)]):
        assert run([*command, "--url", "http://127.0.0.1:9"]) == 1
        assert "no gateway answers at http://127.0.0.1:9" in capsys.readouterr().err
