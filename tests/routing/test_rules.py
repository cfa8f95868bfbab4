from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.needs import Needs
from gateway.canonical.requests import Options
from gateway.routing.candidate import Candidate
from gateway.routing.rules import DEFAULT_RULES, Match, Rule, Selector, matching, selects, unmet, unmet_wishes

from .fleet import asks, candidates, medium, target, words

FP4 = [target("a", "vllm", quantization="nvfp4"), target("b", "vllm", quantization="nvfp4")]
MIXED = [target("a", "vllm", quantization="nvfp4"), target("b", "llamacpp", quantization="q4_0", variant="e2b")]


@pytest.mark.parametrize(
    ("match", "needs", "fleet", "holds"),
    [
        (Match(), asks(), MIXED, True),
        (Match(), asks(), [], True),
        (Match(modality=("audio", "video")), asks(medium("video")), MIXED, True),
        (Match(modality=("audio",)), asks(medium("video")), MIXED, False),
        (Match(modality=("text",)), asks(), MIXED, True),
        (Match(modality=("text",)), asks(medium("video")), MIXED, False),
        (Match(tools=True), asks(tools=True), MIXED, True),
        (Match(tools=True), asks(), MIXED, False),
        (Match(tools=False), asks(), MIXED, True),
        (Match(context=1000), asks(text_size=8000), MIXED, True),
        (Match(context=1000), asks(text_size=400), MIXED, False),
        (Match(model=("gemma", "auto")), asks(), MIXED, True),
        (Match(model=("other",)), asks(), MIXED, False),
        (Match(dialect=("openai",)), asks(), MIXED, True),
        (Match(dialect=("gemini",)), asks(), MIXED, False),
        (Match(quantization=("nvfp4",)), asks(), FP4, True),
        (Match(quantization=("nvfp4",)), asks(), MIXED, False),
        (Match(quantization=("nvfp4", "q4_0")), asks(), MIXED, True),
        (Match(quantization=("nvfp4",)), asks(), [], False),
        (Match(kind=("vllm",)), asks(), FP4, True),
        (Match(kind=("vllm",)), asks(), MIXED, False),
        (Match(variant=("e2b",)), asks(), MIXED, False),
        (Match(hardware=("blackwell",)), asks(), FP4, False),
        (Match(tools=True, quantization=("nvfp4",)), asks(), FP4, False),
        (Match(tools=True, quantization=("nvfp4",)), asks(tools=True), FP4, True),
    ],
)
def test_match(match: Match, needs: Needs, fleet: list[Candidate], holds: bool) -> None:
    found = matching([Rule(match)], needs, "gemma", "openai", needs.options, fleet)
    assert bool(found) is holds


@pytest.mark.parametrize(
    ("require", "holds"),
    [
        ({"quantization": ["nvfp4"]}, True),
        ({"quantization": ["NVFP4"]}, True),
        ({"quantization": ["nvfp4", "q4_0"]}, False),
        ({"quantization": ["q4_0"]}, False),
        ({"kind": ["vllm"]}, False),
    ],
)
def test_a_match_holds_when_the_request_requires_it(require: dict[str, list[str]], holds: bool) -> None:
    options = Options(require=require)
    found = matching([Rule(Match(quantization=("nvfp4",)))], asks(), "m", "openai", options, MIXED)
    assert bool(found) is holds


def test_the_default_rules() -> None:
    def paths(needs: Needs, fleet: list[Candidate]) -> list[str]:
        return [r.path for r in matching(DEFAULT_RULES, needs, "m", "openai", Options(), fleet)]

    assert paths(asks(), MIXED) == []
    assert paths(asks(), FP4) == ["default[0]"]
    assert paths(asks(medium("video"), medium("audio")), MIXED) == ["default[1]", "default[2]"]
    assert paths(asks(medium("image")), MIXED) == []


ALL = target("gpu", "vllm", "google/gemma-4-12b", variant="12b", quantization="fp8", hardware="hopper", family="gemma4")


@pytest.mark.parametrize(
    ("selector", "yes"),
    [
        (Selector(), True),
        (Selector(kind=("llamacpp", "vllm")), True),
        (Selector(kind=("llamacpp",)), False),
        (Selector(variant=("12b",), quantization=("fp8",), hardware=("hopper",), family=("gemma4",)), True),
        (Selector(variant=("12b",), quantization=("nvfp4",)), False),
        (Selector(backend=("gpu",), model=("google/gemma-4-12b",), local=True), True),
        (Selector(local=False), False),
        (Selector(model=("gemma",)), False),
    ],
)
def test_selects(selector: Selector, yes: bool) -> None:
    assert selects(selector, ALL) is yes
    assert (not unmet(Rule(Match(), selector), ALL)) is yes


def test_unknown_facts_are_not_selected() -> None:
    assert not selects(Selector(hardware=("blackwell",)), target("a"))


def test_unmet_says_what() -> None:
    rule = Rule(Match(), Selector(kind=("vllm", "nim"), hardware=("blackwell",), local=False))
    assert unmet(rule, target("a")) == ["kind: vllm or nim", "hardware: blackwell", "local: false"]


@pytest.mark.parametrize(
    ("kind", "quantization", "allow", "want"),
    [
        ("vllm", "nvfp4", ("nvfp4-weight-only",), []),
        ("vllm", "nvfp4", (), ["hardware: blackwell"]),
        ("vllm", "fp8", ("nvfp4-weight-only",), ["hardware: blackwell"]),
        ("tgi", "nvfp4", ("nvfp4-weight-only",), ["kind: vllm"]),
    ],
)
def test_the_operator_may_allow_nvfp4_elsewhere(
    kind: str, quantization: str, allow: tuple[str, ...], want: Any
) -> None:
    c = target("a", kind, quantization=quantization, hardware="hopper", allow=frozenset(allow))
    assert unmet(DEFAULT_RULES[0], c) == want


@pytest.mark.parametrize(
    ("wish", "want"),
    [
        ({}, []),
        ({"kind": ["vllm"]}, []),
        ({"kind": ["VLLM"], "variant": ["E2B", "12B"]}, []),
        ({"kind": ["tgi"]}, ["kind"]),
        ({"local": ["true"]}, []),
        ({"local": ["false"]}, ["local"]),
        ({"local": ["maybe"]}, ["local"]),
        ({"model": ["gpu/google/gemma-4-12b"]}, []),
        ({"model": ["google/gemma-4-12b"]}, []),
        ({"backend": ["cpu"], "hardware": ["hopper"]}, ["backend"]),
        ({"colour": ["red"]}, ["colour"]),
        ({"kind": []}, ["kind"]),
        ({"sources": ["x"], "image": ["None"]}, ["sources", "image"]),
    ],
)
def test_wishes(wish: dict[str, list[str]], want: list[str]) -> None:
    assert unmet_wishes(wish, ALL) == want


def test_a_model_that_is_a_path_is_called_as_clients_see_it() -> None:
    c = target("a", model="/models/gemma.gguf")
    assert unmet_wishes({"model": ["gemma.gguf"]}, c) == []
    assert unmet_wishes({"model": ["a/gemma.gguf"]}, c) == []


selectors = st.builds(
    Selector,
    **{
        k: st.lists(st.sampled_from(words[k]), max_size=2).map(tuple)
        for k in ("kind", "variant", "quantization", "hardware", "backend")
    },
    local=st.sampled_from([None, True, False]),
)


@given(selectors, candidates())
def test_selects_and_unmet_agree(selector: Selector, fleet: list[Candidate]) -> None:
    for c in fleet:
        assert selects(selector, c) is (not unmet(Rule(Match(), selector), c))
