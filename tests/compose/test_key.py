from __future__ import annotations

from pathlib import Path

import pytest

from gateway.compose.command import main
from gateway.compose.key import make


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "api-key"
    assert make(path)
    first = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(first.strip()) > 40
    assert not make(path)
    assert path.read_text() == first
    assert make(tmp_path / "other")
    assert (tmp_path / "other").read_text() != first


def test_an_empty_file_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "api-key"
    path.touch(0o644)
    assert make(path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_key_is_never_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "api-key"
    assert main(["key", str(path)]) == 0
    assert main(["key", str(path)]) == 0
    said = capsys.readouterr()
    assert path.read_text().strip() not in said.out + said.err
    assert "a new key is in" in said.out
    assert "the key stays in" in said.out


def test_where_it_can_t_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", str(tmp_path / "none" / "api-key")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
