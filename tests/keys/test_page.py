"""docs/operations/keys.md: its commands are run, its YAML is read, its codes are those of the errors."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from gateway import errors
from gateway.cli import run
from gateway.server import auth, door
from gateway.settings import Settings, parse, read_keys

PAGE = Path(__file__).parents[2] / "docs/operations/keys.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found


def test_its_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATEWAY_CONFIG", raising=False)
    for line in blocks("sh")[0].splitlines():
        program, *args = shlex.split(line)
        assert program == "gateway" and run(args) == 0, line
    kiosk = next(k for k in read_keys(tmp_path / "keys.yaml")[0] if k.name == "kiosk")
    assert kiosk.revoked is not None and kiosk.requests_per_minute == 20
    assert capsys.readouterr().out.count("gw-") == 2


def test_its_yaml_is_read(tmp_path: Path):
    (tmp_path / "tls").mkdir()
    for name in ("cert", "key"):
        (tmp_path / f"tls/{name}.pem").write_text("x")
    for block in blocks("yaml"):
        settings = parse(block, {}, base=tmp_path)
        assert all(getattr(settings, name) != getattr(Settings(), name) for name in yaml.safe_load(block))


def test_its_codes_are_those_of_the_errors():
    told = set(re.findall(r"`(\w+_\w+)`", TEXT[TEXT.index("| status | code |") :].partition("\n## ")[0]))
    known = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "code")}
    given = re.findall(r'code="(\w+)"', Path(auth.__file__).read_text() + Path(door.__file__).read_text())
    assert told == (told & known) | set(given)


def test_every_right_is_explained():
    from gateway.settings import KeySettings

    assert [
        n for n in KeySettings.key_names() if f"`{n}`" not in TEXT and n not in ("name", "digest", "created", "revoked")
    ] == []
