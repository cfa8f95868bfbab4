from __future__ import annotations

import yaml

from gateway.backends import Discovery, Model
from gateway.engine.fleet import Fleet
from gateway.engine.gauges import ServerRow, server_rows, target_rows
from gateway.settings import parse


def test_what_targets_share_is_counted_once():
    fleet = Fleet()
    fleet.apply(parse(yaml.safe_dump({
        "backends": {"one": {"kind": "vllm", "url": "http://127.0.0.1:9"}},
        "models": {name: {"targets": [{"backend": "one", "model": name}]} for name in ("a", "alias", "b")},
    }), {}))  # fmt: skip
    fleet.servers["one"].learn(Discovery("ready", [Model("a", aliases=["alias"]), Model("b")]))
    fleet.rename()
    [shared], [other] = (fleet.resolve(name).deployments for name in ("alias", "b"))
    slots = [shared.gate.try_enter(), other.gate.try_enter()]
    other.candidate.ejected_until = 50.0
    rows = target_rows(fleet, 10.0)
    assert len(rows) == 3 and {r.state for r in rows} == {"ready"}
    assert (sum(r.in_flight for r in rows), sum(r.queued for r in rows), sum(r.ejected for r in rows)) == (2, 0, 1)
    assert sum(r.limit for r in rows) == shared.candidate.limit + other.candidate.limit
    other.candidate.others, other.candidate.cache = 3, 0.5
    assert {(r.others, r.cache) for r in target_rows(fleet, 10.0)} == {(0, None), (3, 0.5)}
    assert not any(r.ejected for r in target_rows(fleet, 50.0))
    assert all(slots)


def test_a_server_is_up_when_it_has_something_to_offer():
    fleet = Fleet()
    fleet.apply(parse("backends: {one: 'http://127.0.0.1:9', two: {kind: vllm, url: 'http://127.0.0.1:9'}}", {}))
    fleet.servers["two"].learn(Discovery("ready", [Model("a")]))
    assert server_rows(fleet) == [ServerRow("one", False), ServerRow("two", True)]
