from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import run
from gateway.worker.keras import serve


@pytest.mark.parametrize(
    ("preset", "why"),
    [
        ("gemma4_instruct_2b", None),
        ("gemma4_instruct_4b", None),
        ("gemma4_instruct_26b_a4b", None),
        ("gemma4_instruct_31b", None),
        ("gemma4_2b", "use gemma4_instruct_2b"),
        ("gemma4_26b_a4b", "use gemma4_instruct_26b_a4b"),
        ("gemma4_instruct_12b", "no Gemma 4 12B"),
        ("gemma4_instruct_2b_assistant", "only drafts"),
        ("gemma3_4b", "unknown preset"),
    ],
)
def test_presets(preset: str, why: str | None) -> None:
    told = serve.refused(preset)
    assert told is None if why is None else told is not None and why in told


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["--preset", "gemma4_4b"], "use gemma4_instruct_4b"),
        (["--from-dir", "/nowhere"], "no preset in /nowhere"),
        (["--preset", "gemma4_instruct_2b", "--api-key-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE is not set"),
    ],
)
def test_what_can_not_start_says_why(argv: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main(["--port", "1", *argv]) == 2
    told = capsys.readouterr().err
    assert why in told
    assert told.count("\n") == 1


def test_a_taken_port_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert serve.main(["--port", str(port), "--preset", "gemma4_instruct_2b"]) == 2
    told = capsys.readouterr().err
    assert f"port {port} is in use by" in told and "--port" in told


@pytest.mark.parametrize("argv", [["--max-context", "0"], ["--queue", "-1"], ["--dtype", "int8"], []])
def test_wrong_arguments(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as e:
        serve.main(["--port", "1", "--preset", "gemma4_instruct_2b", *argv] if argv else [])
    assert e.value.code == 2
    capsys.readouterr()


def test_the_command_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["worker", "keras", "--port", "1", "--preset", "gemma4_31b"]) == 2
    assert "gateway worker keras: gemma4_31b is a base model" in capsys.readouterr().err
    assert run(["worker", "nothing"]) == 2
    assert "choose from" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="the extra `keras` is installed here")
def test_without_the_extra_the_command_that_adds_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "gateway", "worker", "keras", "--from-dir", str(tmp_path), "--port", str(port)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "pip install 'gemma-gateway[keras]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_install_line_is_what_the_project_pins() -> None:
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert serve.INSTALL.rpartition("&& ")[2] in project
