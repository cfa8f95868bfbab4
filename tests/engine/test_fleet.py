"""The fleet through reloads and other models: what is under way is never lost, and nothing stays that is not there."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gateway.backends import Discovery, Model
from gateway.canonical.facts import Facts
from gateway.engine.fleet import Deployment, Fleet, Server
from gateway.errors import ModelNotFound
from gateway.settings import parse


def configured(*targets: dict[str, Any], backend: dict[str, Any] | None = None, **more: Any) -> Any:
    """One vLLM server `one`; each target is a public name of its own: m0, m1, ..."""
    one = {"kind": "vllm", "url": "http://127.0.0.1:9", **(backend or {})}
    models = {f"m{k}": {"targets": [{"backend": "one", **target}]} for k, target in enumerate(targets)}
    return parse(yaml.safe_dump({"backends": {"one": one}, "models": models, **more}), {"KEY": "a-key-of-the-server"})


def fleet_of(*targets: dict[str, Any], **more: Any) -> tuple[Fleet, Server]:
    fleet = Fleet()
    fleet.apply(configured(*targets, **more))
    return fleet, fleet.servers["one"]


def serves(fleet: Fleet, *models: str | Model) -> list[tuple[str, str]]:
    """A full probe found these models. Returns what it had to tell."""
    found = [Model(m) if isinstance(m, str) else m for m in models]
    news = fleet.servers["one"].learn(Discovery("ready", found))
    fleet.rename()
    return news


def only(fleet: Fleet, name: str) -> Deployment:
    [d] = fleet.resolve(name).deployments
    return d


OPEN: dict[str, Any] = {}


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


def test_a_reload_opens_a_mismatch_also_when_nothing_else_is_known():
    fleet, server = fleet_of(OPEN)
    serves(fleet, "a")
    server.learn(Discovery("ready", []))
    fleet.apply(configured(OPEN))
    serves(fleet, "c")
    assert only(fleet, "m0").candidate.target.model == "c" and len(list(fleet.deployments())) == 1


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
    [(event, words)] = serves(fleet, "/home/me/b.gguf")
    assert event == "mismatch" and "it now serves b.gguf, not a.gguf" in words
    assert "/home/me" not in only(fleet, "m0").candidate.detail
    assert serves(fleet, "/home/me/b.gguf") == []
    [(event, words)] = serves(fleet, "c")
    assert event == "mismatch" and "it now serves c" in words


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


@pytest.mark.parametrize("other", [{"url": "http://127.0.0.1:10"}, {"kind": "llamacpp"}], ids=str)
def test_another_address_or_kind_is_another_server(other):
    fleet, server = fleet_of(OPEN)
    serves(fleet, "a")
    fleet.apply(configured(OPEN, backend=other))
    assert fleet.servers["one"] is not server
    assert only(fleet, "m0").candidate.state == "unprobed"


@pytest.mark.parametrize(("queue", "limit"), [(0, 0), (3, 3), (100, 8)])
def test_the_queue_of_a_target_has_the_configured_cap(queue, limit):
    fleet, _ = fleet_of(OPEN, limits={"queue": queue})
    assert only(fleet, "m0").candidate.queue_limit <= queue
    serves(fleet, Model("a", facts=Facts(slots=1)))
    assert only(fleet, "m0").candidate.queue_limit == limit
    fleet.apply(configured(OPEN, limits={"queue": 5}))
    assert only(fleet, "m0").candidate.queue_limit == 5


def test_a_configuration_that_can_not_be_used_changes_nothing(monkeypatch):
    fleet, server = fleet_of(OPEN)
    serves(fleet, "a")

    def broken(kind):
        raise ImportError(kind)

    monkeypatch.setattr("gateway.engine.fleet.load", broken)
    with pytest.raises(ImportError):
        fleet.apply(configured(OPEN, backend={"url": "http://127.0.0.1:10"}))
    assert fleet.servers["one"] is server and only(fleet, "m0").candidate.state == "ready"
