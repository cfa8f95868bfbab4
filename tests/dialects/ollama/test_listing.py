from __future__ import annotations

import pytest

from gateway.canonical.facts import Facts
from gateway.dialects.ollama.listing import (
    Model,
    capabilities,
    loaded,
    running,
    show,
    shown_name,
    tags,
    version,
)
from gateway.errors import BadRequest

HEARS = Facts(
    operations=frozenset({"chat", "completion"}),
    image=True,
    audio=True,
    thinking=True,
    tools=True,
    context=8192,
    family="gemma4",
    size=4.5,
    quantization="q4_k_m",
)


def test_models() -> None:
    ears, other = Model("gemma-4", HEARS, True, 5), Model("x", Facts())
    first, second = tags([ears, other])["models"]
    assert (first["name"], first["model"], first["modified_at"]) == ("gemma-4", "gemma-4", "1970-01-01T00:00:05Z")
    assert first["details"] == {
        "parent_model": "",
        "format": "",
        "family": "gemma4",
        "families": ["gemma4"],
        "parameter_size": "4.5B",
        "quantization_level": "q4_k_m",
    }
    assert len(first["digest"]) == 64 and first["digest"] != second["digest"]
    (only,) = running([ears, other])["models"]
    assert only["name"] == "gemma-4" and only["context_length"] == 8192 and only["expires_at"].startswith("9999")


def test_one_model() -> None:
    card = show(Model("gemma-4", HEARS, True, 5))
    assert card["capabilities"] == ["completion", "tools", "vision", "audio", "thinking"]
    assert card["model_info"] == {
        "general.architecture": "gemma4",
        "general.basename": "gemma-4",
        "general.parameter_count": 4_500_000_000,
        "gemma4.context_length": 8192,
    }
    assert show(Model("x", Facts()))["model_info"] == {"general.architecture": "unknown", "general.basename": "x"}


def test_what_a_model_can_do() -> None:
    assert capabilities(Facts()) == ["completion", "tools"]
    assert capabilities(Facts(tools=False)) == ["completion"]
    assert capabilities(Facts(operations=frozenset({"embedding"}))) == ["embedding"]


def test_the_name_that_is_asked_for() -> None:
    assert shown_name({"model": "a"}) == "a" == shown_name({"name": "a"})
    for wrong in ({}, {"model": ""}, {"model": 1}):
        with pytest.raises(BadRequest) as e:
            shown_name(wrong)
        assert e.value.param == "model"


def test_small_replies() -> None:
    major, minor, _ = version()["version"].split(".")
    assert (int(major), int(minor)) >= (0, 7)
    assert loaded("m", "chat", "load", 5) == {
        "model": "m",
        "created_at": "1970-01-01T00:00:05Z",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "load",
    }
    assert loaded("m", "generate", "unload", 5)["response"] == ""
