"""The fleet through reloads: what is known of its servers stays, and each name leads where it says."""

from __future__ import annotations

import pytest
import yaml

from gateway.backends import Discovery, Model
from gateway.engine.fleet import Fleet
from gateway.errors import ModelNotFound
from gateway.settings import parse
from tests.engine.fleets import OPEN, configured, fleet_of, only, serves


@pytest.mark.parametrize("target", [OPEN, {"model": "a"}, {"model": "alias-of-a"}], ids=str)
def test_a_reload_finds_the_deployment_that_is_there(target):
    fleet, server = fleet_of(target)
    serves(fleet, Model("a", aliases=["alias-of-a"]))
    d = only(fleet, "m0")
    slot = d.gate.try_enter()
    d.candidate.rate = 77.0
    for _ in range(2):
        fleet.apply(configured(target))
        assert fleet.servers["one"] is server and only(fleet, "m0") is d is only(fleet, "a")
        assert list(fleet.deployments()) == [d]
        assert (d.candidate.state, d.candidate.in_flight, d.candidate.rate) == ("ready", 1, 77.0)
        assert serves(fleet, Model("a", aliases=["alias-of-a"])) == []
    assert slot is not None
    slot.leave()
    assert d.candidate.in_flight == 0


@pytest.mark.parametrize("named", [OPEN, {"model": "a"}, {"model": "alias"}, {"model": "/m/a.bin"}], ids=str)
def test_what_was_discovered_is_what_a_reload_names(named):
    fleet, _ = fleet_of()
    serves(fleet, Model("a", aliases=["alias"], root="/m/a.bin"))
    d = only(fleet, "a")
    fleet.apply(configured(named))
    assert only(fleet, "m0") is d and list(fleet.deployments()) == [d] and d.candidate.state == "ready"
    fleet.apply(configured())
    assert only(fleet, "a") is d and list(fleet.deployments()) == [d] and not d.named
    with pytest.raises(ModelNotFound):
        fleet.resolve("m0")


def test_an_open_target_leaves_to_others_what_they_ask_for_by_name():
    fleet, _ = fleet_of()
    serves(fleet, "a", "b")
    a, b = only(fleet, "a"), only(fleet, "b")
    fleet.apply(configured(OPEN, {"model": "a"}))
    assert (only(fleet, "m0"), only(fleet, "m1")) == (b, a)


def test_two_targets_of_one_server_stay_two():
    fleet, _ = fleet_of(OPEN, {"model": "a"})
    serves(fleet, "a", "b")
    first, second = only(fleet, "m0"), only(fleet, "m1")
    assert first is not second and [d.candidate.target.model for d in (first, second)] == ["a", "a"]
    fleet.apply(configured(OPEN, {"model": "a"}))
    serves(fleet, "a", "b")
    assert (only(fleet, "m0"), only(fleet, "m1")) == (first, second)
    assert len(list(fleet.deployments())) == 3


def test_a_target_that_a_reload_adds_waits_for_the_next_look():
    fleet, _ = fleet_of({"model": "a"})
    serves(fleet, "a")
    fleet.apply(configured({"model": "a"}, {"model": "b"}))
    assert [only(fleet, m).candidate.state for m in ("m0", "m1")] == ["ready", "unprobed"]
    serves(fleet, "a", "b")
    assert [only(fleet, m).candidate.state for m in ("m0", "m1")] == ["ready", "ready"]


def test_a_reload_opens_a_mismatch_also_when_nothing_else_is_known():
    fleet, server = fleet_of(OPEN)
    serves(fleet, "a")
    server.learn(Discovery("ready", []))
    fleet.apply(configured(OPEN))
    serves(fleet, "c")
    assert only(fleet, "m0").candidate.target.model == "c" and len(list(fleet.deployments())) == 1


# ---- names that are paths ----


def test_where_a_model_lies_is_nobodys_business():
    fleet, _ = fleet_of()
    serves(fleet, "/home/me/models/tiny-gemma4", "org/model")
    assert [n.public for n in fleet.names()] == ["org/model", "tiny-gemma4", "auto"]
    d = only(fleet, "tiny-gemma4")
    assert d.candidate.target.model == "/home/me/models/tiny-gemma4", "the server is asked for what it knows"
    assert fleet.public_name(d) == "tiny-gemma4" and only(fleet, "/home/me/models/tiny-gemma4") is d
    with pytest.raises(ModelNotFound) as unknown:
        fleet.resolve("tiny-gemma5")
    assert "/home" not in str(unknown.value) and "tiny-gemma4" in str(unknown.value)
    with pytest.raises(ModelNotFound):
        fleet.resolve("/elsewhere/tiny-gemma4")


def test_a_configured_name_goes_before_the_last_part_of_a_path():
    fleet = Fleet()
    backends = {"one": {"kind": "vllm", "url": "http://127.0.0.1:9"}}
    models = {"gemma": {"targets": [{"backend": "one", "model": "other"}]}}
    fleet.apply(parse(yaml.safe_dump({"backends": backends, "models": models}), {}))
    serves(fleet, "/m/gemma", "other")
    assert only(fleet, "gemma").candidate.target.model == "other"
    assert [n.public for n in fleet.names()] == ["gemma", "other", "auto"]


def test_auto_has_one_model_of_one_server_once():
    fleet, _ = fleet_of({"model": "a"}, {"model": "alias"}, {"model": "b"})
    serves(fleet, Model("a", aliases=["alias"]), "b")
    assert sorted(d.candidate.target.model for d in fleet.resolve("auto").deployments) == ["a", "b"]


# ---- reloads ----


@pytest.mark.parametrize("other", [{"url": "http://127.0.0.1:10"}, {"kind": "llamacpp"}], ids=str)
def test_another_address_or_kind_is_another_server(other):
    fleet, server = fleet_of(OPEN)
    serves(fleet, "a")
    fleet.apply(configured(OPEN, backend=other))
    assert fleet.servers["one"] is not server
    assert only(fleet, "m0").candidate.state == "unprobed"


def test_a_configuration_that_can_not_be_used_changes_nothing(monkeypatch):
    fleet, server = fleet_of(OPEN)
    serves(fleet, "a")

    def broken(kind):
        raise ImportError(kind)

    monkeypatch.setattr("gateway.engine.fleet.load", broken)
    with pytest.raises(ImportError):
        fleet.apply(configured(OPEN, backend={"url": "http://127.0.0.1:10"}))
    assert fleet.servers["one"] is server and only(fleet, "m0").candidate.state == "ready"
