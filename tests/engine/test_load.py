"""How busy servers are: whose requests are whose, and how often they are asked."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gateway.backends import Call, Discovery, Load, Model, Reply
from gateway.engine.fleet import Fleet
from gateway.engine.load import measure
from gateway.engine.servers import Server
from gateway.settings import parse

Told = dict[str, tuple[int, int, float | None]]
GONE = Reply(0, error="refused")


class Crowd:
    """Says of each model, or of the server (`apart` False), how much runs, how much waits and how full its cache is.
    `meanwhile` happens while it is asked."""

    def __init__(self, apart: bool) -> None:
        self.apart = apart
        self.asked: list[str] = []
        self.says: dict[str, Reply] = {}
        self.meanwhile: Any = lambda: None

    def busy(self, model: str) -> Any:
        path = f"/load?model={model}" if self.apart else "/load"
        reply = yield Call("GET", path)
        if reply.status != 200:
            return None
        running, waiting, cache = reply.body.decode().split()
        return Load(int(running), int(waiting) if waiting != "-" else None, float(cache) if cache != "-" else None)

    async def send(self, call: Call) -> Reply:
        self.asked.append(call.path)
        self.meanwhile()
        return self.says[call.path]


def server_of(apart: bool, *models: Model | str) -> tuple[Server, Crowd]:
    fleet = Fleet()
    fleet.apply(parse(yaml.safe_dump({"backends": {"one": {"kind": "vllm", "url": "http://127.0.0.1:9"}}}), {}))
    server = fleet.servers["one"]
    server.learn(Discovery("ready", [Model(m) if isinstance(m, str) else m for m in models]))
    crowd = Crowd(apart)
    server.backend = crowd  # type: ignore[assignment]
    return server, crowd


def told(server: Server) -> list[tuple[int, float | None]]:
    return [(d.candidate.others, d.candidate.cache) for d in server.deployments.values()]


@pytest.mark.parametrize(
    ("says", "ours", "want"),
    [
        (b"5 2 0.4", 0, (7, 0.4)),
        (b"5 2 0.4", 3, (4, 0.4)),
        (b"1 0 0.0", 3, (0, 0.0)),  # ours have not all arrived there yet
        (b"2 - -", 0, (2, None)),
    ],
)
async def test_what_is_not_ours_is_others(says: bytes, ours: int, want: tuple[int, float | None]):
    server, crowd = server_of(False, "a")
    [d] = server.deployments.values()
    d.candidate.in_flight = ours
    crowd.says = {"/load": Reply(200, body=says)}
    await measure(server, crowd.send)
    assert told(server) == [want]


async def test_one_of_ours_that_ends_or_begins_meanwhile_is_ours():
    server, crowd = server_of(False, "a")
    [d] = server.deployments.values()
    crowd.says = {"/load": Reply(200, body=b"2 0 -")}
    for before, after in ((2, 1), (1, 2)):
        d.candidate.in_flight = before
        crowd.meanwhile = lambda after=after: setattr(d.candidate, "in_flight", after)
        await measure(server, crowd.send)
        assert told(server) == [(0, None)]


async def test_a_server_that_speaks_for_all_its_models_is_asked_once():
    server, crowd = server_of(False, "a", "b", "c")
    a, b, _ = server.deployments.values()
    a.candidate.in_flight, b.candidate.in_flight = 2, 1
    crowd.says = {"/load": Reply(200, body=b"4 0 0.5")}
    await measure(server, crowd.send)
    assert crowd.asked == ["/load"] and told(server) == [(1, 0.5)] * 3


async def test_one_that_speaks_for_each_is_asked_for_those_that_are_loaded():
    server, crowd = server_of(True, "a", Model("b", state="cold"), "c")
    a, b, _ = server.deployments.values()
    a.candidate.in_flight, b.candidate.others = 2, 9
    crowd.says = {"/load?model=a": Reply(200, body=b"2 0 -"), "/load?model=c": Reply(200, body=b"1 0 -")}
    await measure(server, crowd.send)
    assert crowd.asked == ["/load?model=a", "/load?model=c"] and told(server) == [(0, None), (0, None), (1, None)]


async def test_no_answer_leaves_what_was_known_and_one_that_says_nothing_clears_it():
    server, crowd = server_of(False, "a")
    crowd.says = {"/load": Reply(200, body=b"3 0 0.9")}
    await measure(server, crowd.send)
    crowd.says = {"/load": GONE}
    await measure(server, crowd.send)
    assert told(server) == [(3, 0.9)]
    crowd.says = {"/load": Reply(404)}
    await measure(server, crowd.send)
    assert told(server) == [(0, None)]
