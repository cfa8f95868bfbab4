"""The list of kinds: unknown ones, and those that need more than is installed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway import backends
from gateway.backends import kinds, load, missing
from gateway.cli import run
from gateway.settings import ConfigErrors, parse


def test_every_kind_can_be_used_with_what_is_installed_here() -> None:
    assert {kind: load(kind).kind for kind in kinds()} == {kind: kind for kind in kinds()}


def test_an_unknown_one() -> None:
    with pytest.raises(KeyError, match="choices: gemini, "):
        load("gemnii")


@pytest.mark.parametrize(
    ("requires", "words"),
    [
        ({}, ""),
        ({"json": "vertex"}, ""),
        ({"json.decoder": "vertex"}, ""),
        ({"nothing_of_that_name": "vertex"}, "nothing_of_that_name"),
        ({"nothing_of_that_name.auth": "vertex"}, "nothing_of_that_name.auth"),
    ],
)
def test_what_is_missing(monkeypatch: pytest.MonkeyPatch, requires: dict[str, str], words: str) -> None:
    monkeypatch.setattr(backends, "import_module", lambda _: SimpleNamespace(REQUIRES=requires))
    assert bool(missing("vllm")) is bool(words)
    if words:
        assert (
            missing("vllm")
            == f"the kind vllm needs {words}, which is not installed: pip install 'gemma-gateway[vertex]'"
        )


def test_it_is_an_error_at_the_start_beside_all_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    import gateway.backends.vllm

    monkeypatch.setattr(gateway.backends.vllm, "REQUIRES", {"nothing_of_that_name": "vertex"}, raising=False)
    text = "backends:\n  a: {kind: vllm, url: 'http://a'}\n  b: {kind: llamacp, url: 'http://b'}\n"
    with pytest.raises(ConfigErrors) as errors:
        parse(text, {})
    assert {p.path for p in errors.value.problems} == {"backends.a.kind", "backends.b.kind"}
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    for command in ("serve", "check", "caps", "doctor"):
        assert run([command, "-c", str(file)]) == 2
        said = capsys.readouterr().err
        assert "backends.a.kind: the kind vllm needs nothing_of_that_name" in said
        assert "pip install 'gemma-gateway[vertex]'" in said and "did you mean llamacpp?" in said
