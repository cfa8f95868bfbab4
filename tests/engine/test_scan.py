"""The look-out, over real sockets: what is found, what is left out, what comes later, and how seldom it asks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.backends import Reply
from gateway.engine import scan as scan_module
from gateway.engine.fleet import Fleet
from gateway.engine.scan import EVERY, LOOPBACK, NO_NAME, SELDOM, Found, Scan, Spot
from gateway.report.found import view
from gateway.settings import defaults
from tests.backends.fingerprints import PAGE, SERVERS, UNAUTHORIZED, Says, card, listed
from tests.replay import Replay, replaying

LLAMA = SERVERS["llama.cpp"].replies
MLX = SERVERS["mlx_lm"].replies


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def free() -> Iterator[int]:
    """A port where nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
    yield port


@asynccontextmanager
async def servers(*replies: dict[str, Reply | None]) -> AsyncIterator[list[Replay]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(replaying(r)) for r in replies]


def scan_of(*ports: int) -> Scan:
    return Scan([Spot(p) for p in ports], Clock())


def never(_: str) -> bool:
    return False


async def test_every_kind_at_once_over_sockets() -> None:
    """Each is found as what it is, named by its kind and port, or left out with the reason; in a second at most."""
    async with servers(*(s.replies for s in SERVERS.values())) as running:
        scan = scan_of(*(r.port for r in running))
        await scan.look(seconds=20)  # this machine may be busy: the limit is another test's
    for (name, says), replay in zip(SERVERS.items(), running, strict=True):
        found = scan.found[Spot(replay.port)]
        assert (found.kind, found.url) == (says.kind, replay.url), name
        assert bool(found.left_out) == (says.gateway or not (says.kind or "key" in name)), (name, found)
        if not says.gateway:
            assert found.sure == (says.sure or not says.kind), name


def mapping(says: Says) -> dict[str, str]:
    return {"kind": says.kind} if says.sure and says.kind else {}


@pytest.mark.parametrize("name", ["llama.cpp", "somebody", "somebody behind a key", "vLLM behind a key"])
async def test_what_becomes_a_backend(name: str) -> None:
    says = SERVERS[name]
    async with servers(says.replies) as [replay]:
        scan = scan_of(replay.port)
        await scan.look(20)
        expected = f"{says.kind or 'server'}-{replay.port}"
        assert scan.backends() == {expected: {**mapping(says), "url": replay.url}}
        assert scan.found[Spot(replay.port)].locked == ("key" in name)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (PAGE, "a web page answers there, not an API"),
        (Reply(401, {"www-authenticate": 'Basic realm="x"'}, b""), "it wants an API key"),
        (Reply(401, {"content-type": "text/html"}, b"<html>log in</html>"), "it wants an API key"),
        (Reply(302, {"location": "/login"}), "it redirects (status 302), which is not followed"),
        (Reply(503, {}, b'{"error":{"message":"Loading model"}}'), "Loading model"),
        (listed(), "it lists no models"),
        (listed({**card("x"), "gateway": {}}), "a gateway like this one; name it in a file if it shall be a backend"),
    ],
)
async def test_what_is_left_out(reply: Reply, why: str) -> None:
    async with servers({"/v1/models": reply}) as [replay]:
        scan = scan_of(replay.port)
        await scan.look(20)
        assert scan.backends() == {}
        assert scan.found[Spot(replay.port)].left_out == why


async def test_who_says_nothing_costs_the_second_and_no_more() -> None:
    async with servers({"/v1/models": None}, LLAMA) as [silent, llama]:
        scan = Scan([Spot(silent.port), Spot(llama.port)])
        await scan.look(seconds=0.5)
        assert scan.found[Spot(silent.port)].left_out == "something listens there and says nothing"
        assert 0.5 <= scan.took < 5


async def test_who_speaks_something_else() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.7\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        scan = scan_of(port)
        await scan.look(20)
        assert scan.found[Spot(port)].left_out == "something listens there that does not speak HTTP"


async def test_the_other_loopback_address(free: int) -> None:
    try:
        replay = Replay(dict(LLAMA))
        server = await asyncio.start_server(replay.serve, "::1", free)
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with server:
        scan = scan_of(free)
        await scan.look(20)
        assert [f.url for f in scan.found.values()] == [f"http://[::1]:{free}"]


async def test_what_comes_later_is_found_and_then_left_alone(free: int) -> None:
    scan = scan_of(free)
    clock = scan.now
    assert isinstance(clock, Clock)
    await scan.look(20)
    assert scan.found == {}
    async with replaying(LLAMA, free) as replay:
        assert not await scan.again(never), "not before its turn"
        assert replay.asked == []
        clock.now += EVERY
        assert await scan.again(never)
        assert list(scan.backends()) == [f"llamacpp-{free}"]
        asked = len(replay.asked)
        clock.now += 1000
        assert not await scan.again(never)
        assert len(replay.asked) == asked, "a backend is the prober's concern"
    clock.now += 1000
    assert not await scan.again(lambda _: True), "gone: it may come back"
    assert list(scan.backends()) == [f"llamacpp-{free}"]


async def test_another_server_at_the_port_of_one_that_is_gone(free: int) -> None:
    scan = scan_of(free)
    clock = scan.now
    assert isinstance(clock, Clock)
    async with replaying(LLAMA, free):
        await scan.look(20)
    async with replaying(MLX, free):
        clock.now += EVERY
        assert not await scan.again(never)
        assert await scan.again(lambda url: url == f"http://127.0.0.1:{free}")
        assert list(scan.backends()) == [f"mlx_lm-{free}"]
    async with replaying({"/v1/models": UNAUTHORIZED}, free):
        clock.now += SELDOM
        assert not await scan.again(lambda _: True), "what can't say any more what it is stays what it was"
    async with replaying({"/v1/models": PAGE}, free):
        clock.now += SELDOM
        assert not await scan.again(lambda _: True), "nor does a page take it away"


async def test_what_is_no_model_server_is_asked_ever_more_seldom() -> None:
    async with servers({"/v1/models": PAGE}) as [replay]:
        scan = scan_of(replay.port)
        clock = scan.now
        assert isinstance(clock, Clock)
        await scan.look(20)
        for _ in range(600):
            clock.now += 1.0
            await scan.again(never)
        assert 1 + 600 / SELDOM <= len(replay.asked) <= 18
        replay.replies = dict(LLAMA)
        clock.now += SELDOM
        assert await scan.again(never)


async def test_the_watch_tells_of_changes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.engine.scan.EVERY", 0.0)
    told: asyncio.Queue[list[str]] = asyncio.Queue()
    async with servers(LLAMA) as [replay]:
        scan = scan_of(replay.port)
        watching = asyncio.create_task(scan.watch(never, lambda: told.put_nowait(list(scan.backends()))))
        async with asyncio.timeout(20):
            assert await told.get() == [f"llamacpp-{replay.port}"]
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert told.empty()


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")])
async def test_a_name_that_nobody_knows(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(host: str, port: int) -> bool:
        raise error

    monkeypatch.setattr(scan_module, "_listens", unknown)
    spots = [Spot(8000, ("gpu9",)), Spot(8080, ("gpu9",)), Spot(8000)]
    scan = Scan(spots)
    await scan.look()
    assert scan.backends() == {}
    assert [(f.url, f.left_out) for f in scan.found.values()] == [("http://gpu9", NO_NAME)] * 2
    fleet = Fleet()
    fleet.apply(defaults({}))
    [said] = view(fleet, scan)["left_out"]
    assert said["url"] == "http://gpu9"


def test_names() -> None:
    assert Found(Spot(8080), "", "llamacpp").name == "llamacpp-8080"
    assert Found(Spot(8000, ("gpu1",)), "", "vllm").name == "vllm-gpu1-8000"
    assert Found(Spot(8000, ("10.0.0.7",)), "").name == "server-10.0.0.7-8000"
    assert Found(Spot(8000, ("fe80::1",)), "", "vllm").name == "vllm-fe80-1-8000"
    assert Spot(1).hosts == LOOPBACK and Spot(1).here and not Spot(1, ("gpu1",)).here
