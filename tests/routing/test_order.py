from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.candidate import Candidate
from gateway.routing.order import at_limit, crowded, order
from gateway.routing.rules import Selector

from .fleet import candidates, target


def names(found: list[Candidate]) -> list[str]:
    return [c.target.backend for c in found]


def ready(*fleet: Candidate, auto: bool = False, **about: Any) -> list[str]:
    """Those that may be sent to now."""
    line, busy = order(fleet, auto=auto, **about)
    return [name for name in names(line) if name not in names(busy)]


def test_least_work_per_weight() -> None:
    a = target("a", in_flight=2, limit=9)
    b = target("b", in_flight=3, limit=9, weight=4.0)
    c = target("c", in_flight=1, limit=9)
    assert ready(a, b, c) == ["b", "c", "a"]


def test_a_weight_of_nothing_comes_last() -> None:
    assert ready(target("a", weight=0.0), target("b", in_flight=3)) == ["b", "a"]


def test_ties_are_stable_and_spread() -> None:
    fleet = [target(f"t{i}") for i in range(4)]
    first = Counter(ready(*fleet, affinity=f"session-{i}")[0] for i in range(2000))
    assert sorted(first) == ["t0", "t1", "t2", "t3"]
    assert all(400 < n < 600 for n in first.values())


def test_a_target_that_leaves_moves_only_its_own() -> None:
    fleet = [target(f"t{i}") for i in range(4)]
    for i in range(100):
        before = ready(*fleet, affinity=str(i))
        after = ready(*fleet[:3], affinity=str(i))
        assert after == [n for n in before if n != "t3"]


def test_a_conversation_stays_where_its_prompt_is_in_the_cache() -> None:
    fleet = [target(f"t{i}", limit=4) for i in range(3)]
    for i in range(50):
        assert ready(*fleet, affinity=str(i), home=fleet[2].target.label)[0] == "t2"
    fleet[2].in_flight = 1
    assert ready(*fleet, home=fleet[2].target.label)[0] == "t2", "one request more, such as one aside, is no reason"
    fleet[2].in_flight = 2
    assert ready(*fleet, home=fleet[2].target.label)[0] != "t2"
    fleet[0].in_flight = fleet[1].in_flight = 1
    assert ready(*fleet, home=fleet[2].target.label)[0] == "t2"
    fleet[2].in_flight = 4
    assert ready(*fleet, home=fleet[2].target.label) and "t2" not in ready(*fleet, home=fleet[2].target.label)
    assert ready(*fleet[:2], home=fleet[2].target.label), "a home that is gone"


def test_where_a_prompt_probably_has_no_room_comes_last() -> None:
    small, large, unknown = target("small", context=400), target("large", context=4000), target("unknown", in_flight=1)
    for i in range(20):
        assert ready(small, large, unknown, affinity=str(i), tokens=1500) == ["large", "unknown", "small"]
    assert ready(small, large, tokens=1500, home=small.target.label) == ["large", "small"]
    assert ready(small, large, tokens=400, home=small.target.label) == ["small", "large"]
    assert ready(small, target("large", context=4000, state="cold"), tokens=1500) == ["large", "small"]


def test_what_is_asked_aside_goes_where_a_conversation_is_longest_ago() -> None:
    fleet = [target("a", used=30.0), target("b", used=10.0), target("c", used=20.0)]
    for i in range(20):
        assert ready(*fleet, affinity=str(i), aside=True) == ["b", "c", "a"]
    assert ready(*fleet, affinity="x", aside=True, home=fleet[0].target.label)[0] == "a", "it has been there before"
    fleet[1].in_flight = 1
    assert ready(*fleet, aside=True) == ["c", "a", "b"]
    fresh = [target(n) for n in "abc"]
    assert ready(*fresh, affinity="x", aside=True) == ready(*fresh, affinity="x")


def test_the_hash_never_changes() -> None:
    """Another answer here would move every session when a replica is upgraded."""
    fleet = [target(f"t{i}") for i in range(4)]
    assert ready(*fleet, affinity="a session") == ["t1", "t0", "t3", "t2"]


def test_prefer_and_spill_over() -> None:
    ears, gpu, mac = target("ears"), target("gpu", "vllm"), target("mac", "mlx_vlm")
    prefer = (Selector(kind=("vllm",)), Selector(kind=("llamacpp",)))
    assert ready(ears, gpu, mac, prefer=prefer) == ["gpu", "ears", "mac"]
    gpu.in_flight = 3
    assert ready(ears, gpu, mac, prefer=prefer) == ["gpu", "ears", "mac"]
    gpu.in_flight = 4
    line, busy = order([ears, gpu, mac], auto=False, prefer=prefer)
    assert (names(line), names(busy)) == (["ears", "mac", "gpu"], ["gpu"])


def test_the_requests_wish_stands_above_the_rules() -> None:
    a, b, c = target("a", "vllm"), target("b"), target("c", "vllm", variant="e2b")
    prefer = (Selector(kind=("vllm",)),)
    assert ready(a, b, c, prefer=prefer, wishes=[{"backend": ["b"]}])[0] == "b"
    assert ready(b, c, a, prefer=prefer, wishes=[{"local": ["true"]}, {"backend": ["b"]}])[2] == "b"
    assert ready(a, b, c, prefer=prefer, wishes=[{"variant": ["e2b"]}, {"backend": ["b"]}]) == ["c", "b", "a"]


def test_cold_comes_after_ready() -> None:
    assert ready(target("a", state="cold"), target("b", in_flight=3)) == ["b", "a"]


def test_one_model_does_not_ask_about_tiers_or_houses() -> None:
    far = target("far", local=False, tier=5)
    near = target("near", in_flight=1)
    assert ready(far, near) == ["far", "near"]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (target("a", tier=9), target("b", local=False)),
        (target("a", "vllm", tier=9), target("b", size=31.0)),
        (target("a", tier=0, size=2.0), target("b", tier=1, size=31.0)),
        (target("a", size=31.0, in_flight=3), target("b", size=2.0)),
        (target("a", size=2.0), target("b")),
        (target("a", size=2.0), target("b", size=2.0, in_flight=1)),
        (target("a", state="ready"), target("b", state="cold", size=31.0)),
    ],
)
def test_auto(better: Candidate, worse: Candidate) -> None:
    prefer = (Selector(kind=("vllm",)),)
    assert ready(worse, better, auto=True, prefer=prefer) == ["a", "b"]
    assert ready(better, worse, auto=True, prefer=prefer) == ["a", "b"]


@pytest.mark.parametrize("auto", [True, False])
def test_a_fixture_is_last_for_text_only(auto: bool) -> None:
    fixture, real = target("fixture", fixture=True, size=99.0), target("real", in_flight=3, state="cold")
    assert ready(fixture, real, auto=auto) == ["real", "fixture"]
    assert ready(fixture, real, auto=auto, text_only=False) == ["fixture", "real"]


def test_for_text_a_busy_real_model_comes_before_a_free_fixture() -> None:
    fixture, real = target("fixture", fixture=True), target("real", limit=1, in_flight=1)
    line, busy = order([fixture, real], auto=True)
    assert (names(line), names(busy)) == (["real", "fixture"], ["real"])
    assert names(order([fixture, real], auto=True, text_only=False)[0]) == ["fixture", "real"]


def test_where_to_wait() -> None:
    full = target("full", limit=1, in_flight=1, queued=2, queue_limit=2)
    slow = target("slow", limit=1, in_flight=1, queued=1)
    wide = target("wide", limit=4, in_flight=4, queued=2)
    line, busy = order([full, slow, wide], auto=False)
    assert names(line) == names(busy) == ["wide", "slow", "full"]


def test_work_of_others_counts() -> None:
    a, b = target("a", in_flight=1, limit=9), target("b", others=2, limit=9)
    assert ready(a, b) == ["a", "b"]
    b.others = 0
    assert ready(a, b) == ["b", "a"]
    a, b = target("a", in_flight=2, limit=9), target("b", others=3, limit=9, weight=3.0)
    assert ready(a, b) == ["b", "a"]


@pytest.mark.parametrize(
    ("told", "crowd"),
    [
        ({}, False),
        ({"others": 3}, False),
        ({"others": 4}, True),
        ({"others": 1, "in_flight": 3}, True),
        ({"in_flight": 3}, False),
        ({"cache": 0.89}, False),
        ({"cache": 0.9}, True),
        ({"cache": 0.0}, False),
    ],
)
def test_crowded(told: dict[str, Any], crowd: bool) -> None:
    assert crowded(target("a", **told)) is crowd


@pytest.mark.parametrize("full", [{"others": 4}, {"cache": 0.97}])
def test_a_tier_that_others_have_filled_spills_over(full: dict[str, Any]) -> None:
    large, small = target("large", "vllm", size=31.0, **full), target("small", size=4.0)
    prefer = [Selector(kind=("vllm",))]
    for auto in (True, False):
        assert ready(large, small, auto=auto, prefer=prefer) == ["small", "large"]
    large.others, large.cache = 0, None
    assert ready(large, small, auto=True, prefer=prefer) == ["large", "small"]


def test_a_crowded_one_is_still_better_than_one_that_must_load() -> None:
    assert ready(target("cold", state="cold"), target("full", cache=1.0)) == ["full", "cold"]
    line, busy = order([target("full", cache=1.0), target("limit", in_flight=4)], auto=False)
    assert (names(line), names(busy)) == (["full", "limit"], ["limit"])


def test_where_to_wait_behind_others() -> None:
    a, b = target("a", limit=2, in_flight=2, others=3), target("b", limit=2, in_flight=2, queued=1)
    assert names(order([a, b], auto=False)[1]) == ["b", "a"]


def test_who_has_a_queue_is_at_the_limit() -> None:
    assert at_limit(target("a", limit=2, in_flight=1, queued=1))
    assert not at_limit(target("a", limit=2, in_flight=1))
    assert names(order([target("a", limit=0)], auto=False)[1]) == ["a"]


@given(candidates(), st.booleans(), st.booleans(), st.text(max_size=4), st.randoms(use_true_random=False))
def test_nobody_is_lost_and_the_given_order_does_not_matter(
    fleet: list[Candidate], auto: bool, text_only: bool, affinity: str, chance: Any
) -> None:
    line, busy = order(fleet, auto=auto, text_only=text_only, affinity=affinity)
    assert sorted(names(line)) == sorted(names(fleet))
    assert busy == [c for c in line if at_limit(c)]
    ranks = [(text_only and c.facts.fixture is True, at_limit(c)) for c in line]
    assert ranks == sorted(ranks)
    mixed = list(fleet)
    chance.shuffle(mixed)
    assert order(mixed, auto=auto, text_only=text_only, affinity=affinity) == (line, busy)
