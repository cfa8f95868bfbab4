from __future__ import annotations

import asyncio
import socket
import threading
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx2
import pytest

from gateway.engine.media import fetch as module
from gateway.engine.media.fetch import Fetched, Fetcher, Guard
from gateway.engine.media.store import Store
from gateway.errors import BadRequest, GatewayError, TooLarge, UnsupportedMedia

GUARDED = Guard()
PATH = "messages[0].content[1].image_url.url"
PUBLIC = "93.184.216.34"


async def streamed(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


class Web:
    """Names, and what is served where; remembers every request and every look-up."""

    def __init__(self) -> None:
        self.names: dict[str, Sequence[str]] = {}
        self.pages: dict[str, Any] = {}
        self.asked: list[httpx2.Request] = []
        self.looked_up: list[str] = []
        self.store: Store[Fetched] = Store(1 << 20)
        self.fetcher = Fetcher(self.store, self.resolve, httpx2.MockTransport(self.answer))

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.looked_up.append(host)
        return self.names.get(host, [PUBLIC])

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        page = self.pages.get(request.url.path)
        if page is None:
            return httpx2.Response(200, content=streamed(b"med", b"ium"))
        return page(request) if callable(page) else page

    async def fetch(self, url: str, guard: Guard = GUARDED, limit: int = 1000) -> Fetched:
        return await self.fetcher.fetch(url, guard, limit, PATH)


@pytest.fixture
def web() -> Web:
    return Web()


def moved(to: str) -> Callable[[httpx2.Request], httpx2.Response]:
    return lambda _: httpx2.Response(302, headers={"location": to})


async def refused(web: Web, url: str, kind: type[GatewayError] = BadRequest, **more: Any) -> GatewayError:
    with pytest.raises(kind) as caught:
        await web.fetch(url, **more)
    assert caught.value.param == PATH
    for leak in (PUBLIC, "127.0.0.1", "10.0.0.1"):
        assert leak not in caught.value.message
    return caught.value


async def test_the_connection_goes_to_the_address_that_was_looked_at(web: Web) -> None:
    got = await web.fetch("https://cats.example/a.png?x=1#top")
    assert b64decode(got.content.text()) == b"medium"
    [request] = web.asked
    assert str(request.url) == f"https://{PUBLIC}/a.png?x=1" or str(request.url) == f"https://{PUBLIC}:443/a.png?x=1"
    assert request.headers["host"] == "cats.example"
    assert request.extensions["sni_hostname"] == "cats.example"
    assert request.headers["accept-encoding"] == "identity"
    assert "cookie" not in request.headers and "authorization" not in request.headers
    assert web.looked_up == ["cats.example"]


REFUSED = [
    "http://cats.example/",
    "https://cats.example:8443/",
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[2002:a9fe:a9fe::]/",
    "https://100.64.0.1/",
    "https://[fd00:ec2::254]/",
    "https://224.0.0.1/",
    "https://localhost/",
    "https://localhost./",
    "https://printer/",
    "https://a.local/",
    "https://metadata.google.internal/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://127.1/",
    "https://0/",
    "file:///etc/passwd",
    "https://a@b:80@127.0.0.1/",
    "https://ok\\@127.0.0.1/",
    "gs://bucket/a.mp4",
]


@pytest.mark.parametrize("url", REFUSED)
async def test_C34_not_even_looked_up(web: Web, url: str) -> None:
    await refused(web, url)
    assert (web.asked, web.looked_up) == ([], [])


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["10.0.0.1"], [PUBLIC, "10.0.0.1"], ["::1"], ["64:ff9b::7f00:1"]])
async def test_names_that_lead_inside(web: Web, addresses: list[str]) -> None:
    web.names["evil.example"] = addresses
    await refused(web, "https://evil.example/")
    assert web.asked == []


async def test_C35_rebinding(web: Web) -> None:
    """The second answer of the name server is never asked for."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])

    async def resolve(host: str, port: int) -> Sequence[str]:
        return next(answers)

    web.fetcher._resolve = resolve
    await web.fetch("https://evil.example/")
    assert web.asked[0].url.host == PUBLIC
    assert next(answers) == ["127.0.0.1"]


async def test_C36_redirects_are_looked_at_like_any_url(web: Web) -> None:
    web.pages |= {"/1": moved("/2"), "/2": moved("https://dogs.example/3"), "/3": moved("//cats.example/4")}
    assert b64decode((await web.fetch("https://cats.example/1")).content.text()) == b"medium"
    assert web.looked_up == ["cats.example", "cats.example", "dogs.example", "cats.example"]
    web.pages["/4"] = moved("https://cats.example/5")
    assert "redirected" in (await refused(web, "https://cats.example/1?again")).message


@pytest.mark.parametrize(
    "to", ["http://cats.example/", "https://127.0.0.1/", "https://evil.example/", "file:///etc/passwd", "https://a@b/"]
)
async def test_redirects_that_lead_inside(web: Web, to: str) -> None:
    web.names["evil.example"] = ["10.0.0.1"]
    web.pages["/1"] = moved(to)
    await refused(web, "https://cats.example/1")
    assert len(web.asked) == 1


async def test_too_large(web: Web) -> None:
    web.pages["/told"] = httpx2.Response(200, headers={"content-length": "10000000000"}, content=b"x")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(100)

    web.pages["/endless"] = lambda _: httpx2.Response(200, content=endless())
    await refused(web, "https://cats.example/told", TooLarge)
    await refused(web, "https://cats.example/endless", TooLarge)


async def test_what_a_server_may_answer_instead(web: Web) -> None:
    web.pages["/none"] = httpx2.Response(404, content=b"no")
    assert "404" in (await refused(web, "https://cats.example/none")).message
    web.pages["/empty"] = lambda _: httpx2.Response(200, content=streamed())
    await refused(web, "https://cats.example/empty")

    web.pages["/coded"] = lambda _: httpx2.Response(
        200, headers={"content-encoding": "gzip"}, content=streamed(b"\x1f\x8b")
    )
    await refused(web, "https://cats.example/coded", UnsupportedMedia)

    def broken(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError(f"no way to {PUBLIC}")

    web.pages["/broken"] = broken
    await refused(web, "https://cats.example/broken")


async def test_slow_ones(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """An octet now and then never lasts longer than a few seconds."""
    loop = asyncio.get_running_loop()
    offset = 0.0
    clock = loop.time

    async def drip() -> AsyncIterator[bytes]:
        nonlocal offset
        while True:
            offset += 1.0
            yield b"x"

    monkeypatch.setattr(loop, "time", lambda: clock() + offset)
    web.pages["/drip"] = lambda _: httpx2.Response(200, content=drip())
    assert "slow" in (await refused(web, "https://cats.example/drip")).message
    assert offset < 8


async def test_off_and_a_list_of_hosts(web: Web) -> None:
    assert "not fetched" in (await refused(web, "https://cats.example/", guard=Guard("off"))).message
    few = Guard("allow", frozenset({"cats.example:8080", "127.0.0.1"}))
    web.names["cats.example"] = ["10.0.0.1"]
    for url in ("http://cats.example:8080/a", "http://127.0.0.1:99/b", "https://127.0.0.1/c"):
        await web.fetch(url, few)
    for url in ("http://cats.example/", "https://dogs.example/", "http://cats.example:8081/", "http://10.0.0.1/"):
        await refused(web, url, guard=few)
    web.pages["/moved"] = moved("https://dogs.example/")
    await refused(web, "http://127.0.0.1/moved", guard=few)
    assert [r.url.host for r in web.asked] == ["10.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"]


async def test_kept_for_retries_but_not_for_those_who_may_not(web: Web) -> None:
    for _ in range(3):
        await web.fetch("https://cats.example/a")
    assert len(web.asked) == 1
    await refused(web, "https://cats.example/a", guard=Guard("off"))
    await asyncio.gather(*(web.fetch("https://cats.example/b") for _ in range(4)))
    assert len(web.asked) == 2


async def test_a_real_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long content comes in pieces that fit together; the environment's proxies are not asked."""
    body = bytes(range(256)) * 2000
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: audio/ogg; codecs=opus\r\nSet-Cookie: a=b\r\nContent-Length: %d\r\n\r\n"
        )
        writer.write(head % len(body) + body)
        await writer.drain()
        writer.close()

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        fetcher = Fetcher(Store(0))
        guard = Guard("allow", frozenset({f"localhost:{port}"}))
        for _ in range(2):
            got = await fetcher.fetch(f"http://localhost:{port}/a", guard, 1 << 20)
            assert (got.mime, b64decode(got.content.text())) == ("audio/ogg", body)
            assert max(map(len, got.content.chunks)) == 65536
        assert b"ookie" not in seen[1] and f"Host: localhost:{port}".lower().encode() in seen[1].lower()
        with pytest.raises(BadRequest):  # the guard as it is by default
            await fetcher.fetch(f"http://localhost:{port}/a", Guard(), 1 << 20)
    assert len(seen) == 2
    assert module.TOTAL_SECONDS >= module.SLOW_SECONDS


async def test_a_slow_name_service_does_not_keep_others_from_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's own threads, in which servers' names are looked up, stay free."""
    answer, real, asked = threading.Event(), socket.getaddrinfo, threading.Semaphore(0)

    def look_up(host: Any, *args: Any, **more: Any) -> Any:
        if str(host).endswith(".example"):
            asked.release()
            answer.wait(10)
            raise socket.gaierror("no such name")
        return real(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    fetcher = Fetcher(Store(0))
    try:
        waiting = [asyncio.create_task(fetcher.fetch(f"https://h{i}.example/", GUARDED, 9)) for i in range(50)]
        for _ in range(4):
            while not asked.acquire(blocking=False):
                await asyncio.sleep(0)
        async with asyncio.timeout(2):
            assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    finally:
        answer.set()
        fetcher.close()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(e, BadRequest) for e in ended)
