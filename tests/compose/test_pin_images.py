"""`make pin-images`, with a registry that a test made up."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.compose.programs import Programs

SCRIPT = Path(__file__).parents[2] / "scripts" / "pin_images.py"


@pytest.fixture
def pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, list[Path], Programs]:
    """The script, copies of the files that it writes, and the programs that it finds."""
    spec = importlib.util.spec_from_file_location("pin_images", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    copies = []
    for path in module.FILES:
        copies.append(tmp_path / path.name)
        copies[-1].write_text(path.read_text())
    monkeypatch.setattr(module, "FILES", tuple(copies))
    return module, copies, Programs(tmp_path, monkeypatch)


def test_every_image_of_others_gets_its_digest_once(pin: tuple[ModuleType, list[Path], Programs]) -> None:
    module, copies, programs = pin
    programs.add("skopeo", 'echo "manifest of $*"')
    assert module.main() == 0
    first = [c.read_text() for c in copies]
    wanted = hashlib.sha256(b"manifest of inspect --raw docker://prom/prometheus:v3.5.0\n").hexdigest()
    for text in first:
        assert f"prom/prometheus:v3.5.0@sha256:{wanted}" in text
        assert "ghcr.io/ggml-org/llama.cpp:server@sha256:" in text
        assert "gemma-gateway:local@" not in text
    assert "ollama/ollama:0.30.0@sha256:" in first[0]
    assert "llama.cpp:server-cuda@sha256:" in first[1]
    assert module.main() == 0
    assert [c.read_text() for c in copies] == first


def test_docker_does_as_well(pin: tuple[ModuleType, list[Path], Programs]) -> None:
    module, copies, programs = pin
    programs.add("docker", f"echo sha256:{'a' * 64}")
    assert module.main() == 0
    assert f"grafana:12.0.2@sha256:{'a' * 64}" in copies[0].read_text()


@pytest.mark.parametrize("program", [None, "skopeo", "docker"])
def test_without_an_answer_nothing_is_changed(
    pin: tuple[ModuleType, list[Path], Programs], program: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    module, copies, programs = pin
    before = [c.read_text() for c in copies]
    if program:
        programs.add(program, "echo 'no route to host' >&2; exit 1")
    assert module.main() == 2
    assert "nothing was changed" in capsys.readouterr().err
    assert [c.read_text() for c in copies] == before
