"""The prober: what a late, unreadable or missing answer means, and that the watch on a server never ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import yaml

from gateway.backends import Call, Discovery, Load, Model, Reply
from gateway.canonical.facts import Facts, State
from gateway.engine.fleet import Fleet
from gateway.engine.probe import Prober
from gateway.engine.servers import Server
from gateway.settings import parse
from tests.backends.fingerprints import PAGE, SERVERS
from tests.faults.steps import Fin
from tests.faults.wire import Wire
from tests.replay import replaying

FACTS, LIVENESS, BUSY = "/facts", "/alive", "/busy"
GONE = Reply(0, error="refused")
Answer = Reply | Exception | None
"""What a scripted server says; None = too late."""


class Scripted:
    """A kind of server whose facts take one call (its model's name is the body), as does its liveness."""

    kind = "scripted"
    tier, slots, local, names_itself = 1, 2, True, False
    token_scope = ""
    assumed = Facts()
    hints: dict[str, str] = {}

    def probe(self) -> Any:
        reply = yield Call("GET", FACTS)
        if reply.status != 200:
            return Discovery("down", detail=reply.error)
        return Discovery("ready", [Model(reply.body.decode())])

    def placed(self, _: Any) -> Any:
        return self

    def credentials(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def alive(self) -> Any:
        reply = yield Call("GET", LIVENESS)
        state: State = "ready" if reply.status == 200 else "down"
        return state

    def busy(self, model: str) -> Any:
        reply = yield Call("GET", BUSY)
        return Load(running=int(reply.body)) if reply.status == 200 else None


class ScriptedProber(Prober):
    def __init__(self, fleet: Fleet, told: list[tuple[str, str]]) -> None:
        super().__init__(fleet, lambda event, _server, words, _fact: told.append((event, words)))
        self.says: dict[str, Answer] = {FACTS: Reply(200, body=b"m"), LIVENESS: Reply(200), BUSY: Reply(404)}
        self.asked: list[str] = []
        self.on: Callable[[str], None] = lambda _: None

    async def _send(self, server: Server, call: Call) -> Reply:
        self.asked.append(call.path)
        self.on(call.path)
        await asyncio.sleep(0)
        answer = self.says[call.path]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            server.slow = True
            return Reply(0, error="late")
        return answer


class Case:
    def __init__(self, **timeouts: float) -> None:
        self.fleet = Fleet()
        backends = {"one": {"kind": "openai", "url": "http://127.0.0.1:9", "timeouts": timeouts}}
        self.fleet.apply(parse(yaml.safe_dump({"backends": backends}), {}))
        self.server = self.fleet.servers["one"]
        self.server.backend = Scripted()
        self.told: list[tuple[str, str]] = []
        self.prober = ScriptedProber(self.fleet, self.told)

    @property
    def says(self) -> dict[str, Answer]:
        return self.prober.says

    async def look(self) -> State:
        await self.prober.look(self.server)
        return self.server.state

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not true():
                await asyncio.sleep(0.001)


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    it = Case(liveness=0.01, facts=0.02)
    yield it
    await it.prober.close()


# ---- late answers ----


async def test_one_late_look_changes_nothing_and_is_repeated(case: Case):
    assert await case.look() == "ready"
    case.says[FACTS] = None
    assert await case.look() == "ready"
    assert case.server.next_facts == 0.0 and case.told == [("state", "unprobed -> ready")]


async def test_facts_that_are_always_late_leave_life_to_liveness(case: Case):
    await case.look()
    case.says[FACTS] = None
    for _ in range(5):
        assert await case.look() == "ready"
    assert case.prober.asked[-1] == LIVENESS and case.server.next_facts > 0.0
    case.says[LIVENESS] = None
    assert await case.look() == "ready"
    assert await case.look() == "down"


async def test_a_server_that_was_never_up_gets_no_second_chance(case: Case):
    case.says[FACTS] = None
    assert await case.look() == "down"


async def test_a_refused_connection_is_death(case: Case):
    await case.look()
    case.says[FACTS] = GONE
    assert await case.look() == "down"


async def test_a_late_look_with_another_model_counts_the_second_time(case: Case):
    await case.look()

    class Slow(Scripted):
        def probe(self) -> Any:
            found = yield from super().probe()
            yield Call("GET", LIVENESS)
            return found

    case.server.backend = Slow()
    case.says.update({FACTS: Reply(200, body=b"other"), LIVENESS: None})
    await case.look()
    assert [d.candidate.target.model for d in case.fleet.deployments()] == ["m"]
    await case.look()
    assert [d.candidate.target.model for d in case.fleet.deployments()] == ["other"]


# ---- replies that nobody thought of ----


async def test_a_reply_that_can_not_be_read_counts_as_none_and_the_watch_goes_on(case: Case):
    await case.look()
    case.says[FACTS] = OverflowError("10**400")
    case.server.next_facts = 0.0
    case.prober.sync()
    await case.until(lambda: case.server.state == "down")
    seen = len(case.prober.asked)
    await case.until(lambda: len(case.prober.asked) > seen)
    assert [event for event, _ in case.told].count("probe failed") == 1
    case.says[FACTS] = Reply(200, body=b"m")
    case.prober.look_again()
    await case.until(lambda: case.server.state == "ready")


async def test_one_such_reply_is_not_death(case: Case):
    await case.look()
    case.says[FACTS] = OverflowError()
    case.prober._unreadable(case.server, OverflowError())
    assert case.server.state == "ready"


async def test_nor_does_it_stop_the_start(case: Case):
    case.says[FACTS] = OverflowError()
    await case.prober.once()
    assert case.server.state == "down"
    assert ("probe failed", "its reply could not be read (OverflowError)") in case.told


# ---- how busy it is ----


async def test_how_busy_it_is_is_asked_beside_its_liveness(case: Case):
    case.says[BUSY] = Reply(200, body=b"3")
    case.prober.sync()
    await case.until(lambda: case.prober.asked.count(LIVENESS) > 1)
    [d] = case.server.deployments.values()
    await case.until(lambda: d.candidate.others == 3)
    case.says[BUSY] = Reply(200, body=b"none of your business")
    seen = len(case.prober.asked)
    await case.until(lambda: case.prober.asked[seen:].count(BUSY) > 2)
    assert case.server.state == "ready" and case.server.failures == 0
    assert [event for event, _ in case.told] == ["state"]


async def test_one_that_is_down_is_not_asked(case: Case):
    case.says[FACTS] = GONE
    case.prober.sync()
    await case.until(lambda: len(case.prober.asked) > 1)
    assert BUSY not in case.prober.asked


# ---- when to look ----


async def test_a_reload_is_followed_by_a_look_at_every_server():
    it = Case(liveness=600, facts=600)
    it.prober.sync()
    await it.until(lambda: it.server.state == "ready")
    seen = len(it.prober.asked)
    it.prober.look_again()
    await it.until(lambda: it.prober.asked[seen:] == [FACTS, BUSY])
    await it.prober.close()


async def test_a_look_that_is_asked_for_during_a_look_is_not_lost():
    it = Case(liveness=600, facts=600)
    it.prober.on = lambda _: it.prober.look_again() if len(it.prober.asked) == 1 else None
    it.prober.sync()
    await it.until(lambda: it.prober.asked == [FACTS, BUSY, FACTS, BUSY])
    await it.prober.close()


async def test_a_backend_has_its_own_times():
    it = Case(liveness=0.01, facts=600)  # 5 s at the top level
    it.prober.sync()
    await it.until(lambda: it.prober.asked.count(LIVENESS) >= 3)
    assert it.prober.asked.count(FACTS) == 1
    await it.prober.close()


async def test_only_a_mismatch_that_is_new_is_told(case: Case):
    case.fleet.apply(
        parse(
            "backends: {one: {kind: openai, url: 'http://127.0.0.1:9'}}\n"
            "models: {a: {targets: [{backend: one, model: m}]}}",
            {},
        )
    )
    await case.look()
    case.says[FACTS] = Reply(200, body=b"other")
    for _ in range(3):
        await case.look()
    assert [event for event, _ in case.told].count("mismatch") == 1


# ---- on a real socket ----


async def test_a_dropped_connection_that_was_kept_is_nobodys_death():
    """Each probe opens its own: a server that closes idle connections would else look dead now and then."""
    async with Wire() as wire:
        fleet = Fleet()
        fleet.apply(parse(yaml.safe_dump({"backends": {"one": {"kind": "llamacpp", "url": wire.url}}}), {}))
        prober = Prober(fleet, lambda *_: None)
        wire.answer(Fin(), turn=1, path="/v1/models")
        for _ in range(3):
            await prober.look(fleet.servers["one"])
            assert fleet.servers["one"].state == "ready"
        assert {p.turn for p in wire.probes} == {0}
        await prober.close()


async def test_the_probe_limit_of_a_backend_holds():
    async with Wire() as wire:
        fleet = Fleet()
        about = {"kind": "llamacpp", "url": wire.url, "timeouts": {"probe": 0.05}}
        fleet.apply(parse(yaml.safe_dump({"backends": {"one": about}}), {}))
        prober = Prober(fleet, lambda *_: None)
        await wire.blackhole()
        async with asyncio.timeout(1.5):  # 2 s at the top level
            await prober.look(fleet.servers["one"])
        assert fleet.servers["one"].detail == "it did not answer a probe within 0.05 s"
        await prober.close()


# ---- kinds that nobody named ----


@pytest.mark.parametrize("name", ["llama.cpp", "NIM 2.x", "vLLM behind a key", "somebody", "a gateway"])
async def test_the_kind_of_a_url_alone_is_detected(name: str):
    says = SERVERS[name]
    async with replaying(says.replies) as replay:
        fleet = Fleet()
        fleet.apply(parse(yaml.safe_dump({"backends": {"mac": replay.url}}), {}))
        prober = Prober(fleet, lambda *_: None)
        await prober.once()
        await prober.close()
    assert fleet.servers["mac"].kind == (says.kind or "openai")
    if "key" in name:
        assert fleet.servers["mac"].detail.startswith("it wants an API key")


async def test_what_is_of_no_kind_stays_so():
    async with replaying({"/v1/models": PAGE}) as replay:
        fleet = Fleet()
        fleet.apply(parse(yaml.safe_dump({"backends": {"mac": replay.url}}), {}))
        prober = Prober(fleet, lambda *_: None)
        await prober.once()
        await prober.close()
    server = fleet.servers["mac"]
    assert (server.kind, server.state) == ("unknown", "down")
    assert server.detail.startswith("a web page answers there")


@pytest.mark.parametrize(("reply", "seldom"), [(PAGE, True), (Reply(503), False)])
async def test_who_answers_and_is_of_no_kind_is_asked_seldom(reply: Reply, seldom: bool, monkeypatch: Any):
    paused: list[float] = []

    async def pause(waiting: Any, seconds: float) -> None:
        waiting.close()
        paused.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(asyncio, "wait_for", pause)
    async with replaying({"/v1/models": reply}) as replay:
        fleet = Fleet()
        fleet.apply(parse(yaml.safe_dump({"backends": {"mac": replay.url}, "timeouts": {"liveness": 100}}), {}))
        prober = Prober(fleet, lambda *_: None)
        prober.sync()
        async with asyncio.timeout(20):
            while len(paused) < 2:
                await asyncio.sleep(0.001)
        await prober.close()
    assert all(80 <= p <= 120 for p in paused) if seldom else set(paused) == {1.0}
