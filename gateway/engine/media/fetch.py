"""Media by URL: fetched here, guarded, so that no server behind the gateway has to fetch anything.

The URL is parsed once, the name resolved once, every address that it has must be public, and the connection goes to
the very address that was looked at. Redirects go through all of that again. No proxy, no cookie, no coding, no
credential. Fetched media are kept for a while: a retry or another target does not fetch again.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urljoin

import httpx2

from gateway import __version__
from gateway.canonical.content import Segments
from gateway.engine.admission import Hold, Memory
from gateway.engine.media.addresses import Place, is_public, parse_url
from gateway.engine.media.store import Store
from gateway.errors import BadRequest, GatewayError, TooLarge, UnsupportedMedia

REDIRECTS = 3
CONNECT_SECONDS = 5.0
IDLE_SECONDS = 5.0
"""Between two pieces of a medium."""
SLOW_SECONDS = 5.0
SLOWEST = 16 * 1024
"""Octets a second, on average once SLOW_SECONDS are over."""
TOTAL_SECONDS = 120.0
AT_ONCE = 16
PIECE = 64 * 1024
_STEP = PIECE // 4 * 3
"""Octets of a piece that is kept: 64 KiB of base64."""

_INSIDE = (".localhost", ".local", ".internal", ".home.arpa")
"""Ends of names that are never public: RFC 6761, 6762, 8375."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(slots=True, frozen=True)
class Guard:
    """`remote`: guarded (public https only) | off | allow (only the hosts in `allow`: "host" or "host:port", http and
    private ones too)."""

    remote: str = "guarded"
    allow: frozenset[str] = frozenset()


@dataclass(slots=True, frozen=True)
class Fetched:
    """`content` is base64, `mime` what the server said, `url` where it was found in the end."""

    mime: str
    content: Segments = field(repr=False)


class Fetcher:
    """Fetches media. One per process. What is on its way is reserved of `memory`. `transport` and `resolve` are there
    for tests."""

    def __init__(
        self,
        store: Store[Fetched],
        resolve: Resolve | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._memory = memory
        self._store = store
        self._names = Names()
        self._resolve = resolve or self._names
        self._transport = transport
        self._tls: ssl.SSLContext | None = None
        self._busy = asyncio.Semaphore(AT_ONCE)

    def close(self) -> None:
        self._names.close()

    async def fetch(self, url: str, guard: Guard, limit: int, path: str | None = None) -> Fetched:
        """The medium at `url`, of at most `limit` octets. Raises BadRequest, TooLarge, UnsupportedMedia with `path`."""
        place = parse_url(url, path)
        allowed(place, guard, path)  # before the store is asked: what it holds may have been allowed at another time
        key = (f"{place.tls:d}{place.authority}{place.target}", limit)

        async def get() -> Fetched:
            hold = Hold(self._memory)
            try:
                async with self._busy:
                    return await self._get(place, guard, limit, path, hold)
            finally:
                hold.release()

        try:
            return await self._store.get(key, get, lambda f: f.content.size)
        except GatewayError as e:
            # several may have waited for the same medium: each has its own path
            raise type(e)(e.message, param=path, code=e.code, retry_after=e.retry_after) from None

    async def _get(self, place: Place, guard: Guard, limit: int, path: str | None, hold: Hold) -> Fetched:
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                for _ in range(REDIRECTS + 1):
                    found = await self._hop(place, guard, limit, path, hold)
                    if isinstance(found, Fetched):
                        return found
                    place = parse_url(found, path)
                    allowed(place, guard, path)
        except TimeoutError:
            raise _failed("its server is too slow", path) from None
        raise _failed(f"it was redirected more than {REDIRECTS} times", path)

    async def _hop(self, place: Place, guard: Guard, limit: int, path: str | None, hold: Hold) -> Fetched | str:
        """The medium, or the URL that it is redirected to."""
        ip = await self._address(place, guard, path)
        host = f"[{ip}]" if ":" in ip else ip
        url = f"{'https' if place.tls else 'http'}://{host}:{place.port}{place.target}"
        headers = {
            "Host": place.authority,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": f"gateway/{__version__}",
        }
        extensions = {"sni_hostname": place.host} if place.tls else {}
        transport = self._transport or httpx2.AsyncHTTPTransport(verify=self._context(), trust_env=False, retries=0)
        timeout = httpx2.Timeout(IDLE_SECONDS, connect=CONNECT_SECONDS)
        try:
            async with (
                httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False) as client,
                client.stream("GET", url, headers=headers, extensions=extensions, timeout=timeout) as reply,
            ):
                if reply.status_code in (301, 302, 303, 307, 308) and "location" in reply.headers:
                    scheme = "https" if place.tls else "http"
                    return urljoin(f"{scheme}://{place.authority}{place.target}", reply.headers["location"])
                if reply.status_code != 200:
                    raise _failed(f"its server answered {reply.status_code}", path)
                return await _read(reply, limit, path, hold)
        except httpx2.TimeoutException:
            raise _failed("its server is too slow", path) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
            raise _failed("its server can't be reached, or does not speak HTTP", path) from None

    async def _address(self, place: Place, guard: Guard, path: str | None) -> str:
        """The one address that is connected to."""
        if place.address is not None:
            found: Sequence[str] = [str(place.address)]
        else:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    found = await self._resolve(place.host, place.port)
            except (OSError, UnicodeError, TimeoutError):
                found = []
        if not found:
            raise _failed("its server's name is not known", path)
        if guard.remote == "guarded" and not all(map(is_public, found)):
            raise BadRequest("the medium's URL leads to an address that is not public", param=path)
        return found[0]

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


def allowed(place: Place, guard: Guard, path: str | None) -> None:
    """Raises BadRequest for a place that must not even be looked up."""
    if guard.remote == "off":
        raise BadRequest("media are not fetched here: send them as base64", param=path)
    if guard.remote == "allow":
        if place.host not in guard.allow and f"{place.host}:{place.port}" not in guard.allow:
            raise BadRequest("media are fetched from a few hosts only, and this is none of them", param=path)
        return
    if not place.tls or place.port != 443:
        raise BadRequest("media are fetched by https only, from port 443: send this one as base64", param=path)
    if place.address is not None and not is_public(str(place.address)):
        raise BadRequest("the medium's URL leads to an address that is not public", param=path)
    if place.address is None and ("." not in place.host or place.host.endswith(_INSIDE)):
        raise BadRequest("the medium's URL leads to a host that is not public", param=path)


async def _read(reply: httpx2.Response, limit: int, path: str | None, hold: Hold) -> Fetched:
    """The body as base64, in pieces that were never joined. `hold` grows with it."""
    if reply.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMedia("the medium's server sends it coded, which was not asked for", param=path)
    length = reply.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise TooLarge(f"the medium has {int(length)} octets; at most {limit} are fetched", param=path)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    chunks: list[bytes] = []
    rest = bytearray()
    size = 0
    async for data in reply.aiter_raw():
        size += len(data)
        if size > limit:
            raise TooLarge(f"the medium has more than {limit} octets, which is all that is fetched", param=path)
        past = loop.time() - begun
        if past > SLOW_SECONDS and size < SLOWEST * past:
            raise _failed("its server is too slow", path)
        rest += data
        while len(rest) >= _STEP:
            hold.grow(PIECE)
            chunks.append(b64encode(rest[:_STEP]))
            del rest[:_STEP]
    if not size:
        raise _failed("it is empty", path)
    if rest:
        chunks.append(b64encode(rest))
    mime = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Fetched(mime if len(mime) < 100 and mime.isascii() and mime.isprintable() else "", Segments(chunks))


def _failed(why: str, path: str | None) -> BadRequest:
    return BadRequest(f"the medium could not be fetched: {why}", param=path, code="media_not_fetched")


class Names:
    """Looks names up, in threads of its own: a name service that is slow, or made to be, would take those in which the
    addresses of servers are looked up."""

    def __init__(self) -> None:
        self._threads: Executor | None = None

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(AT_ONCE, "names of media")
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        # more machines have a way to the one of the old kind
        return sorted(dict.fromkeys(str(info[4][0]) for info in found), key=lambda ip: ":" in ip)

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
