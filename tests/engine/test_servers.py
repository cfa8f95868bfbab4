"""One configured server and its models: what a probe makes of them, what is told, how many requests may be there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends import Model
from gateway.canonical.facts import Facts
from gateway.engine.admission import Slot
from gateway.engine.news import News
from gateway.errors import ModelNotFound
from tests.engine.fleets import OPEN, configured, fleet_of, only, serves


def test_an_open_target_stays_with_its_model_until_a_reload():
    fleet, _ = fleet_of(OPEN)
    serves(fleet, "a")
    for _ in range(2):
        serves(fleet, "b")
        assert only(fleet, "m0").candidate.state == "mismatch"
        assert only(fleet, "b").candidate.state == "ready"
    fleet.apply(configured(OPEN))
    d = only(fleet, "m0")
    assert d is only(fleet, "b") and (d.candidate.state, d.candidate.target.model) == ("ready", "b")
    assert list(fleet.deployments()) == [d]
    assert serves(fleet, "b") == []


def test_a_named_model_that_is_gone_is_a_mismatch_through_any_reload():
    fleet, _ = fleet_of({"model": "a"})
    serves(fleet, "a")
    serves(fleet, "b")
    fleet.apply(configured({"model": "a"}))
    assert only(fleet, "m0").candidate.state == "mismatch"
    serves(fleet, "a")
    assert only(fleet, "m0").candidate.state == "ready"


def test_an_alias_is_about_the_alias_and_not_the_id_behind_it():
    fleet, _ = fleet_of({"model": "gemma"})
    serves(fleet, Model("/m/q4.gguf", aliases=["gemma"]))
    serves(fleet, Model("/m/q8.gguf", aliases=["gemma"]))
    d = only(fleet, "m0")
    assert (d.candidate.state, d.candidate.target.model) == ("ready", "/m/q8.gguf")
    assert list(fleet.deployments()) == [d]


def test_an_id_goes_before_an_alias_of_another():
    fleet, _ = fleet_of({"model": "x"})
    serves(fleet, Model("y", aliases=["x"]), Model("x"))
    assert only(fleet, "m0").candidate.target.model == "x"


def test_a_mismatch_is_told_once_and_without_paths():
    fleet, _ = fleet_of({"model": "/home/me/a.gguf"})
    serves(fleet, "/home/me/a.gguf")
    [(event, words, _)] = serves(fleet, "/home/me/b.gguf")
    assert event == "mismatch" and "it now serves b.gguf, not a.gguf" in words
    assert "/home/me" not in only(fleet, "m0").candidate.detail
    assert serves(fleet, "/home/me/b.gguf") == []
    [(event, words, _)] = serves(fleet, "c")
    assert event == "mismatch" and "it now serves c" in words


# ---- what is known ----


@pytest.mark.parametrize(
    ("kind", "said", "image", "source"),
    [
        ("vllm", {}, True, "family"),
        ("mlx_lm", {}, False, "assumed"),
        ("tgi", {}, True, "family"),
        ("mlx_lm", {"image": True}, True, "operator"),
    ],
)
def test_what_a_kind_can_not_do_it_can_not_do_with_any_model(kind: str, said: dict[str, Any], image: bool, source: str):
    fleet, _ = fleet_of(backend={"kind": kind, "facts": said})
    serves(fleet, "google/gemma-4-12B-it")
    facts = only(fleet, "google/gemma-4-12B-it").candidate.facts
    assert (facts.image, facts.sources["image"]) == (image, source)
    assert facts.audio is (kind == "vllm") and facts.family == "gemma4"


# ---- drift ----


def test_what_a_probe_finds_changed_is_told():
    fleet, _ = fleet_of()
    assert serves(fleet, Model("a", facts=Facts(image=True, tools=True, version="1"))) == []
    assert serves(fleet, Model("a", facts=Facts(image=True, tools=True, version="1"))) == []
    news = serves(fleet, Model("a", facts=Facts(image=True, tools=False, version="2", context=100)))
    assert news == [
        News("drift", "one/a: tools yes -> no", "tools"),
        News("drift", "one/a: context unknown -> 100", "context"),
        News("drift", "one/a: version 1 -> 2", "version"),
    ]


def test_also_after_it_was_away():
    fleet, server = fleet_of({"model": "a"})
    serves(fleet, Model("a", facts=Facts(operations=frozenset({"chat"}))))
    server.live("down", "it does not answer")
    server.live("ready")
    [news] = serves(fleet, Model("a", facts=Facts(operations=frozenset({"chat", "completion"}))))
    assert (news.fact, news.words) == ("operations", "one/a: operations chat -> chat+completion")


def test_other_weights_under_the_same_name():
    fleet, _ = fleet_of({"model": "gemma"})
    serves(fleet, Model("gemma", root="google/gemma-4-12B-it"))
    news = serves(fleet, Model("gemma", root="google/gemma-4-31B-it"))
    assert {"variant", "audio", "size"} <= {n.fact for n in news}


def test_a_model_that_is_not_loaded_has_not_drifted():
    fleet, _ = fleet_of({"model": "a"})
    serves(fleet, Model("a", facts=Facts(context=100)))
    assert serves(fleet, Model("a", state="cold")) == []
    assert serves(fleet, Model("a", facts=Facts(context=100))) == []
    assert serves(fleet, Model("a", state="cold")) == []
    assert [n.fact for n in serves(fleet, Model("a", facts=Facts(context=200)))] == ["context"]


def test_what_the_configuration_says_is_no_drift():
    fleet, _ = fleet_of({"model": "a"})
    serves(fleet, Model("a", facts=Facts(context=100)))
    fleet.apply(configured({"model": "a"}, backend={"facts": {"context": 50}}))
    assert serves(fleet, Model("a", facts=Facts(context=100))) == []
    assert [n.fact for n in serves(fleet, Model("a", facts=Facts(context=200)))] == ["context"]
    assert only(fleet, "m0").candidate.facts.context == 50


# ---- what is no longer there ----


def test_what_a_server_no_longer_lists_is_forgotten():
    fleet, _ = fleet_of()
    for k in range(5):
        serves(fleet, f"m{k}")
    assert [n.public for n in fleet.names()] == ["m4", "auto"]
    with pytest.raises(ModelNotFound):
        fleet.resolve("m0")
    assert [d.candidate.target.model for d in fleet.resolve("auto").deployments] == ["m4"]


def test_but_not_while_requests_run_there():
    fleet, server = fleet_of()
    serves(fleet, "a")
    d = only(fleet, "a")
    slot = d.gate.try_enter()
    serves(fleet, "b")
    assert d in fleet.deployments() and d not in fleet.resolve("auto").deployments
    with pytest.raises(ModelNotFound):
        fleet.resolve("a")
    assert slot is not None
    slot.leave()
    serves(fleet, "b")
    assert [x.candidate.target.model for x in server.deployments.values()] == ["b"]


def test_a_model_that_comes_back_while_requests_run_is_the_same():
    fleet, _ = fleet_of()
    serves(fleet, "a")
    d = only(fleet, "a")
    d.gate.try_enter()
    serves(fleet, "b")
    serves(fleet, "a")
    assert only(fleet, "a") is d and d.candidate.state == "ready"


# ---- other settings ----


def test_other_settings_of_the_same_server_change_it_in_place():
    fleet, server = fleet_of(OPEN)
    serves(fleet, Model("a", facts=Facts(context=1000, slots=4)))
    d = only(fleet, "m0")
    assert (d.candidate.limit, d.candidate.queue_limit, d.candidate.local) == (4, 8, True)
    address = server.address
    other = {
        "timeouts": {"idle": 29},
        "max_in_flight": 7,
        "local": False,
        "api_key_env": "KEY",
        "facts": {"context": 50},
        "allow": ["nvfp4-weight-only"],
    }
    fleet.apply(configured({"weight": 2}, backend=other))
    assert fleet.servers["one"] is server and only(fleet, "m0") is d
    c = d.candidate
    assert (c.state, c.limit, c.queue_limit, c.local, c.weight) == ("ready", 7, 14, False, 2.0)
    assert (c.facts.context, c.facts.slots, c.allow) == (50, 4, {"nvfp4-weight-only"})
    assert server.settings.timeouts.idle == 29
    assert server.address is not address and server.address.headers["Authorization"] == "Bearer a-key-of-the-server"
    fleet.apply(configured(OPEN))
    assert (c.limit, c.local, c.weight, c.facts.context) == (4, True, 1.0, 1000)


@pytest.mark.parametrize(("queue", "limit"), [(0, 0), (3, 3), (100, 8)])
def test_the_queue_of_a_target_has_the_configured_cap(queue, limit):
    fleet, _ = fleet_of(OPEN, limits={"queue": queue})
    assert only(fleet, "m0").candidate.queue_limit <= queue
    serves(fleet, Model("a", facts=Facts(slots=1)))
    assert only(fleet, "m0").candidate.queue_limit == limit
    fleet.apply(configured(OPEN, limits={"queue": 5}))
    assert only(fleet, "m0").candidate.queue_limit == 5


# ---- slots ----


def test_targets_that_are_one_model_share_its_slots():
    fleet, _ = fleet_of(OPEN, {"model": "alias"}, {"model": "b"}, backend={"max_in_flight": 2})
    serves(fleet, Model("a", aliases=["alias"]), "b")
    first, second, other = only(fleet, "m0"), only(fleet, "m1"), only(fleet, "m2")
    assert first.gate is second.gate is not other.gate
    slots = [d.gate.try_enter() for d in (first, second)]
    for d in (first, second):
        assert d.candidate.in_flight == 2 and d.gate.try_enter() is None
    assert (other.candidate.in_flight, other.gate.free) == (0, True)
    for slot in slots:
        assert slot is not None
        slot.leave()
    assert [d.candidate.in_flight for d in (first, second)] == [0, 0]


async def test_who_waits_is_counted_at_both():
    fleet, _ = fleet_of({"model": "a"}, {"model": "alias"}, backend={"max_in_flight": 1})
    serves(fleet, Model("a", aliases=["alias"]))
    first, second = only(fleet, "m0"), only(fleet, "m1")
    slot = first.gate.try_enter()
    assert slot is not None
    turn = asyncio.create_task(second.gate.enter(10))
    await asyncio.sleep(0)
    assert [(d.candidate.in_flight, d.candidate.queued) for d in (first, second)] == [(1, 1)] * 2
    slot.leave()
    with await turn:
        assert [(d.candidate.in_flight, d.candidate.queued) for d in (first, second)] == [(1, 0)] * 2
    assert [(d.candidate.in_flight, d.candidate.queued) for d in (first, second)] == [(0, 0)] * 2


def test_a_shared_gate_outlives_the_target_that_had_it_first():
    fleet, server = fleet_of({"model": "a"}, {"model": "alias"}, backend={"max_in_flight": 2})
    serves(fleet, Model("a", aliases=["alias"]))
    slots = [only(fleet, name).gate.try_enter() for name in ("m0", "m1")]
    fleet.apply(configured({"model": "alias"}, backend={"max_in_flight": 3}))
    serves(fleet, Model("a", aliases=["alias"]))
    [d] = server.deployments.values()
    assert (d.candidate.in_flight, d.candidate.limit) == (2, 3)
    slots.append(d.gate.try_enter())
    assert d.gate.try_enter() is None
    for slot in slots:
        assert slot is not None
        slot.leave()
    assert d.candidate.in_flight == 0


def test_targets_that_turn_out_to_be_two_models_part_and_meet_again():
    one_model, two_models = [Model("a", aliases=["alias"])], ["a", "alias"]
    fleet, _ = fleet_of({"model": "a"}, {"model": "alias"})
    serves(fleet, *one_model)
    pair = [only(fleet, "m0"), only(fleet, "m1")]
    old = pair[0].gate.try_enter()
    serves(fleet, *two_models)
    first, second = sorted(pair, key=lambda d: d.candidate.in_flight, reverse=True)
    assert first.gate is not second.gate
    assert (first.candidate.in_flight, second.candidate.in_flight) == (1, 0)
    new = second.gate.try_enter()
    assert old is not None and new is not None
    # while each works through a gate of its own they stay apart
    serves(fleet, *one_model)
    assert first.gate is not second.gate
    assert (first.candidate.in_flight, second.candidate.in_flight) == (1, 1)
    old.leave()
    serves(fleet, *one_model)
    assert first.gate is second.gate
    assert (first.candidate.in_flight, second.candidate.in_flight) == (1, 1)
    new.leave()
    assert (first.candidate.in_flight, second.candidate.in_flight) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from(["probe", "enter", "leave", "reload"]), st.integers(0, 3)), max_size=30))
def test_no_slot_is_lost_however_models_merge_and_part(steps: list[tuple[str, int]]):
    listings = [
        [Model("a", aliases=["alias"])],
        [Model("a"), Model("alias")],
        [Model("alias", aliases=["a"])],
        [Model("a", aliases=["alias"]), Model("b")],
    ]
    configs = [[OPEN, {"model": "alias"}], [{"model": "a"}, {"model": "alias"}], [{"model": "alias"}], [OPEN]]
    fleet, server = fleet_of(*configs[0])
    serves(fleet, *listings[0])
    slots: list[Slot] = []
    for what, k in steps:
        if what == "probe":
            serves(fleet, *listings[k])
        elif what == "reload":
            fleet.apply(configured(*configs[k]))
        elif what == "leave" and slots:
            slots.pop(k % len(slots)).leave()
        elif what == "enter":
            ds = list(server.deployments.values())
            slot = ds[k % len(ds)].gate.try_enter()
            if slot is not None:
                slots.append(slot)
        for d in server.deployments.values():
            gate = d.gate.candidate
            assert (d.candidate.in_flight, d.candidate.queued) == (gate.in_flight, gate.queued)
        owners = [d.gate.candidate for d in server.deployments.values()]
        assert all(any(o is d.candidate for d in server.deployments.values()) for o in owners)
        assert sum({id(o): o.in_flight for o in owners}.values()) <= len(slots)
    for slot in slots:
        slot.leave()
    assert all(d.candidate.in_flight == 0 for d in server.deployments.values())
