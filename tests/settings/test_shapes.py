# ruff: noqa: E501 (tables)
from __future__ import annotations

from dataclasses import fields

import pytest
from pydantic import ValidationError

from gateway.canonical.facts import FACT_NAMES, Facts
from gateway.canonical.requests import ThinkingConfig
from gateway.routing.rules import DEFAULT_RULES, Match, Rule, Selector
from gateway.settings.shapes import (
    FactsKeys,
    MatchKeys,
    RouteKeys,
    SelectorKeys,
    ThinkingKeys,
    facts_of,
    rule_of,
    thinking_of,
)


def test_every_field_of_the_canonical_types_is_a_key() -> None:
    assert set(FactsKeys.model_fields) == {*FACT_NAMES, "modalities"}
    assert set(MatchKeys.model_fields) == {f.name for f in fields(Match)}
    assert set(SelectorKeys.model_fields) == {f.name for f in fields(Selector)}
    assert set(ThinkingKeys.model_fields) == {f.name for f in fields(ThinkingConfig)}


def facts(**told: object) -> Facts:
    return facts_of(FactsKeys.model_validate(told))


def test_facts_of_every_type() -> None:
    assert facts(
        operations=["chat", "embedding"],
        audio=True,
        audio_formats="audio/wav",
        image_limit=0,
        forced_tool="verified",
        context=8192,
        variant="E4B",
        size=3.5,
        version="b8000",
        fixture=False,
    ) == Facts(
        operations=frozenset({"chat", "embedding"}),
        audio=True,
        audio_formats=frozenset({"audio/wav"}),
        image_limit=0,
        forced_tool="verified",
        context=8192,
        variant="e4b",
        size=3.5,
        version="b8000",
        fixture=False,
    )
    assert facts() == Facts()
    assert facts(audio=True).sources == {"audio": "operator"}


def test_modalities_say_all_of_them() -> None:
    assert facts(modalities=["text", "image"]) == Facts(image=True, audio=False, video=False, document=False)
    assert facts(modalities="text", audio=False) == Facts(image=False, audio=False, video=False, document=False)
    with pytest.raises(ValueError, match="modalities and audio contradict"):
        facts(modalities=["text"], audio=True)


@pytest.mark.parametrize(
    "told",
    [{"audio": 1}, {"context": 0}, {"context": "8k"}, {"context": True}, {"forced_tool": "maybe"}, {"size": -1},
     {"operations": ["chatt"]}, {"audio_formats": ["wav"]}, {"modalities": ["smell"]}, {"sources": {}}, {"hears": True}],
)  # fmt: skip
def test_facts_that_are_none(told: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FactsKeys.model_validate(told)


@pytest.mark.parametrize(
    ("told", "thinking"),
    [
        ({"enabled": False}, ThinkingConfig(enabled=False)),
        ({"effort": "High"}, ThinkingConfig(enabled=True, effort="high")),
        ({"effort": "none"}, ThinkingConfig(enabled=False, effort="none")),
        ({"budget": 1024}, ThinkingConfig(enabled=True, budget=1024)),
        ({"enabled": True, "include": False}, ThinkingConfig(enabled=True, include=False)),
    ],
)
def test_thinking(told: dict[str, object], thinking: ThinkingConfig) -> None:
    assert thinking_of(ThinkingKeys.model_validate(told)) == thinking


@pytest.mark.parametrize(
    "told", [{"enabled": False, "effort": "high"}, {"enabled": True, "effort": "none"}, {"enabled": False, "budget": 5}]
)
def test_thinking_that_contradicts_itself(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="contradicts"):
        thinking_of(ThinkingKeys.model_validate(told))


def test_the_default_rules_can_be_written() -> None:
    written = [
        {"match": {"quantization": "nvfp4"}, "require": {"kind": "vllm", "hardware": ["blackwell"]}},
        {"match": {"modality": "video"}, "prefer": {"kind": "vllm"}},
        {"match": {"modality": ["audio"]}, "prefer": [{"kind": ["llamacpp"]}, {"kind": "vllm", "variant": ["E2B", "e4b", "12b"]}]},
    ]  # fmt: skip
    rules = [rule_of(RouteKeys.model_validate(w), f"default[{i}]") for i, w in enumerate(written)]
    assert tuple(rules) == DEFAULT_RULES


def test_a_rule_with_everything() -> None:
    route = RouteKeys.model_validate(
        {
            "match": {"tools": True, "context": 1000, "model": ["Gemma"], "dialect": "openai"},
            "require": {"local": False, "backend": "Ears", "model": "A/B", "family": "gemma4"},
        }
    )
    assert rule_of(route, "routes[0]") == Rule(
        Match(tools=True, context=1000, model=("Gemma",), dialect=("openai",)),
        Selector(local=False, backend=("Ears",), model=("A/B",), family=("gemma4",)),
        (),
        "routes[0]",
    )
