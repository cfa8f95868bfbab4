"""The kinds of server that the tests of the settings know: which ones exist elsewhere is not their subject."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gateway import backends

KINDS = ["gemini", "llamacpp", "openai", "vllm"]


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    hosted = SimpleNamespace(default_url="https://api.example.com")
    monkeypatch.setattr(backends, "kinds", lambda: list(KINDS))
    monkeypatch.setattr(backends, "load", lambda kind: hosted if kind == "gemini" else SimpleNamespace())
