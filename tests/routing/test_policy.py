from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.canonical.needs import Needs
from gateway.canonical.requests import Options
from gateway.routing.candidate import Candidate
from gateway.routing.fit import context_lack, lacks, privacy_lacks
from gateway.routing.policy import Decision, Policy, decide, refusal
from gateway.routing.rules import DEFAULT_RULES, Match, Rule, Selector

from .fleet import asks, candidates, medium, paused, policies, requests, target

NOW = 100.0


def choose(needs: Needs, *fleet: Candidate, auto: bool = False, policy: Policy | None = None, **about: Any) -> Decision:
    policy = policy or Policy()
    return decide(needs, fleet, model="g", auto=auto, dialect="openai", policy=policy, now=NOW, **about)


def names(found: list[Candidate]) -> list[str]:
    return [c.target.backend for c in found]


def lacking(decision: Decision) -> dict[str, list[str]]:
    return {v.candidate.target.backend: [f"{x.kind}:{x.need}" for x in v.lacks] for v in decision.verdicts}


def test_only_what_fits() -> None:
    d = choose(asks(medium("image")), target("a", image=True), target("b", image=False), target("c"))
    assert names(d.order) == ["a"]
    assert lacking(d) == {"a": [], "b": ["need:image"], "c": ["need:image"]}


@pytest.mark.parametrize("state", ["down", "loading", "unprobed", "mismatch"])
def test_states(state: Any) -> None:
    d = choose(asks(), target("a", state=state, detail="http://10.0.0.1:8000 says no"), target("b"))
    assert names(d.order) == ["b"]
    assert lacking(d)["a"] == [f"state:{state}"]
    assert not any("10.0.0.1" in x.reason for v in d.verdicts for x in v.lacks)


def test_cold_is_used_last() -> None:
    assert names(choose(asks(), target("a", state="cold"), target("b", in_flight=3)).order) == ["b", "a"]
    assert names(choose(asks(), target("a", state="cold")).order) == ["a"]


def test_ejected_ones_rest_but_the_last_is_used() -> None:
    a, b = paused(target("a"), 130.0), paused(target("b"), 120.0)
    assert names(choose(asks(), a, b, target("c")).order) == ["c"]
    d = choose(asks(), a, b)
    assert names(d.order) == ["b"]
    assert lacking(d) == {"a": ["state:ejected"], "b": []}
    assert names(choose(asks(), paused(target("a"), NOW)).order) == ["a"]
    # busy is not gone: nobody is spared while somebody can be waited for
    d = choose(asks(), a, target("c", in_flight=4))
    assert names(d.order) == names(d.busy) == ["c"]
    # one that does not fit is not spared
    d = choose(asks(medium("image")), paused(target("a", image=False), 130.0))
    assert d.order == [] and lacking(d)["a"] == ["need:image", "state:ejected"]


def test_busy_ones_wait() -> None:
    d = choose(asks(), target("a", in_flight=4), target("b"))
    assert (names(d.order), names(d.busy)) == (["b", "a"], ["a"])
    assert lacking(d) == {"a": ["busy:slot"], "b": []}


def test_all_requires_hold_and_the_first_prefer_orders() -> None:
    rules = (
        Rule(Match(), Selector(local=True), path="routes[0]"),
        Rule(Match(tools=True), Selector(kind=("vllm", "llamacpp")), (Selector(backend=("c",)),), path="routes[1]"),
        Rule(Match(), prefer=(Selector(backend=("b",)),), path="routes[2]"),
    )
    fleet = [target("a", "mlx_lm"), target("b"), target("c"), target("d", local=False)]
    d = choose(asks(tools=True), *fleet, policy=Policy(rules))
    assert names(d.order) == ["c", "b"]
    assert d.rules == ["routes[0]", "routes[1]", "routes[2]"]
    assert lacking(d)["a"] == ["rule:kind"] and lacking(d)["d"] == ["rule:local"]
    assert d.verdicts[0].lacks[0].reason == "routes[1] requires kind: vllm or llamacpp"
    d = choose(asks(), *fleet, policy=Policy(rules))
    assert names(d.order)[0] == "b" and len(d.order) == 3


def test_defaults_send_sound_to_who_hears_best() -> None:
    fleet = [
        target("mac", "mlx_vlm", audio=True),
        target("gpu", "vllm", audio=True, variant="12b"),
        target("ears", audio=True, in_flight=2),
    ]
    assert names(choose(asks(medium("audio")), *fleet).order) == ["ears", "gpu", "mac"]


def test_nvfp4_only_names_need_blackwell() -> None:
    def gpu(name: str, **about: Any) -> Candidate:
        return target(name, "vllm", quantization="nvfp4", **about)

    d = choose(asks(), gpu("new", hardware="blackwell"), gpu("old", hardware="hopper"), gpu("dark"))
    assert names(d.order) == ["new"]
    assert lacking(d)["old"] == ["need:hardware", "rule:hardware"]
    d = choose(asks(), gpu("old", hardware="hopper", allow=frozenset({"nvfp4-weight-only"})))
    assert names(d.order) == ["old"]


def test_a_request_narrows() -> None:
    fleet = [target("a", "vllm"), target("b"), target("c", "vllm", variant="e2b")]
    needs = asks(options=Options(require={"kind": ["vllm"]}, prefer=[{"variant": ["e2b"]}]))
    assert names(choose(needs, *fleet).order) == ["c", "a"]
    d = choose(asks(options=Options(require={"colour": ["red"]})), *fleet)
    assert d.order == [] and lacking(d)["a"] == ["rule:colour"]
    assert "what can be required" in d.verdicts[0].lacks[0].hint


def test_auto_stays_home() -> None:
    hosted = target("far", local=False, image=True, size=400.0)
    home = target("near", image=True)
    deaf = target("deaf", image=False)
    see = asks(medium("image"))
    open_ = Policy(auto_hosted=True)
    assert names(choose(see, hosted, home, auto=True).order) == ["near"]
    assert lacking(choose(see, hosted, deaf, auto=True))["far"] == ["rule:hosted"]
    assert names(choose(see, hosted, deaf, auto=True, policy=open_).order) == ["far"]
    assert names(choose(see, hosted, home, auto=True, policy=open_).order) == ["near"]
    # named, it is used
    assert set(names(choose(see, hosted, home).order)) == {"near", "far"}
    # busy, resting and down are not unfit
    for kept in (replace(home, in_flight=4), replace(home, state="down"), paused(home, 900.0)):
        d = choose(see, hosted, kept, auto=True, policy=open_)
        assert hosted not in d.order
        assert lacking(d)["far"] == ["rule:hosted"]
    # a test stand-in is no reason to keep text home
    assert names(choose(asks(), hosted, target("f", fixture=True), auto=True, policy=open_).order) == ["far", "f"]


def test_a_prompt_that_is_certainly_too_long() -> None:
    fleet = [target("small", context=512), target("large", context=100_000), target("who knows")]
    d = choose(asks(text_size=6000), *fleet)
    assert set(names(d.order)) == {"large", "who knows"}
    assert lacking(d)["small"] == ["context:context"]
    assert d.tokens == (1000, 6000 + 16 + 64)
    assert "small" in names(choose(asks(text_size=600), *fleet).order)
    d = choose(asks(text_size=600), *fleet, tokens=513)
    assert d.tokens == (513, 513) and "small" not in names(d.order)


def test_what_a_request_requires_opens_no_door() -> None:
    near, far = target("near"), target("far", local=False)
    out = asks(options=Options(require={"local": ["false"]}))
    d = choose(out, near, far, auto=True, policy=Policy(auto_hosted=True))
    assert d.order == [] and lacking(d) == {"near": ["rule:local"], "far": ["rule:hosted"]}
    # nor does a rule that holds only because of it
    out = asks(options=Options(require={"quantization": ["fp8"]}))
    rules = (Rule(Match(quantization=("fp8",)), Selector(kind=("vllm",))),)
    far = target("far", "vllm", quantization="fp8", local=False)
    near = target("near", quantization="fp8")
    other = target("other", quantization="q4_0")
    d = choose(out, near, far, other, auto=True, policy=Policy(rules, auto_hosted=True))
    assert d.order == [] and lacking(d)["far"] == ["rule:hosted"] and lacking(d)["near"] == ["rule:kind"]
    a, b = paused(target("a"), 130.0), paused(target("b"), 120.0)
    assert names(choose(asks(options=Options(require={"backend": ["b"]})), a, b).order) == ["b"]
    d = choose(asks(options=Options(require={"backend": ["a"]})), a, b)
    assert d.order == [] and lacking(d)["a"] == ["state:ejected"]
    assert refusal(d, asks(), "g").status == 503


def test_no_candidates() -> None:
    assert choose(asks()) == Decision(tokens=(6, 120))


@settings(max_examples=100)
@given(requests(), candidates(), st.booleans(), policies, st.text(max_size=3), st.randoms(use_true_random=False))
def test_laws(needs: Needs, fleet: list[Candidate], auto: bool, policy: Policy, key: str, chance: Any) -> None:
    before = deepcopy(fleet)
    d = choose(needs, *fleet, auto=auto, policy=policy, affinity=key)
    assert fleet == before
    assert [v.candidate for v in d.verdicts] == fleet
    lacks_of = {v.candidate.target: v.lacks for v in d.verdicts}
    assert [c for c in d.order if c in d.busy] == d.busy
    for c in d.order:
        # never one that lacks something
        assert lacks(needs, c) == [] and privacy_lacks(needs, c, policy.privacy) == []
        assert context_lack(d.tokens[0], c) is None
        assert c.state in ("ready", "cold")
        assert {x.kind for x in lacks_of[c.target]} == ({"busy"} if c in d.busy else set())
        # nothing marked as local leaves
        marked = {m for m, where in policy.privacy.items() if where == "local"}
        assert c.local or not (marked & (needs.modalities | {"text"}))
        assert c.local or not auto or policy.auto_hosted
    for target_, found in lacks_of.items():
        assert found or target_ in {c.target for c in d.order if c not in d.busy}
    # of those that fit, one is always left to try or to wait for, whatever the breakers say
    resting = any(x.need == "ejected" and len(found) == 1 for found in lacks_of.values() for x in found)
    if resting and not needs.options.require:
        assert d.order
    mixed = list(fleet)
    chance.shuffle(mixed)
    again = choose(needs, *mixed, auto=auto, policy=policy, affinity=key)
    assert (again.order, again.busy, again.rules) == (d.order, d.busy, d.rules)
    if not d.order:
        error = refusal(d, needs, "g")
        assert error.status in (400, 403, 415, 503)
        assert len(error.message) <= 1024


@settings(max_examples=100)
@given(requests(), candidates(), st.booleans(), policies)
def test_options_only_narrow(needs: Needs, fleet: list[Candidate], auto: bool, policy: Policy) -> None:
    free = replace(needs, options=Options())
    narrow = choose(needs, *fleet, auto=auto, policy=policy)
    wide = choose(free, *fleet, auto=auto, policy=policy)
    assert all(c in wide.order for c in narrow.order)
    assert all(c in wide.busy for c in narrow.busy)


@given(st.sampled_from(["audio", "image", "video"]), candidates(), st.booleans(), requests())
def test_what_is_local_never_leaves(modality: str, fleet: list[Candidate], auto: bool, needs: Needs) -> None:
    needs.media.append(medium(modality, at=9))
    needs.modalities |= {modality}
    policy = Policy(DEFAULT_RULES, {modality: "local"}, auto_hosted=True)
    d = choose(needs, *fleet, auto=auto, policy=policy)
    assert all(c.local for c in d.order)
