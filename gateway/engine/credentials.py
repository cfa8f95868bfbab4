"""Tokens for servers that take no lasting key: found once, cached, renewed before they end.

What there is to find, and where, is Application Default Credentials (https://google.aip.dev/auth/4110): a key file,
what `gcloud` left, a machine's metadata server, workload identity. google-auth knows them all; it waits, so it runs in
a thread, and it comes with the extra `vertex`.

- One renewal at a time, whoever asks. It begins `EARLY` seconds before the end of a token, and nobody waits for it:
  the old token is good until then.
- A token that a server refuses (401) is renewed out of turn, once per request, and not again within `FORCED` seconds:
  who is refused with a new token lacks a permission.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final, TypeVar

import httpx2

from gateway.backends import Call
from gateway.engine.http1 import Exchange
from gateway.engine.upstream import Address, Upstream
from gateway.errors import BadCredentials
from gateway.settings import NoCredentials

R = TypeVar("R")

EARLY: Final = 300.0
"""Seconds before its end at which a token is renewed."""
AGAIN: Final = 10.0
"""Seconds after a renewal that failed before the next try."""
FORCED: Final = 30.0
"""Seconds within which a token is renewed once at most because servers refused it."""
NONE_VALID: Final = "the gateway has no valid credentials for the model server"
PATIENCE: Final = 10.0
"""Seconds that a token's source has for one exchange, unless google-auth gives it less."""


class TokenRefused(Exception):
    """Whoever gives out tokens gave none. The words are for the operator, and hold no secret."""


@dataclass(slots=True, frozen=True, eq=False)
class Token:
    """`headers` carry it. `until`: Unix seconds, infinite where its source does not say."""

    headers: Mapping[str, str]
    until: float


class Tokens:
    """The token of one scope. `find` looks for credentials (NoCredentials) and returns what fetches a token
    (TokenRefused); both wait for the disk or the network and run in a thread. `clock` in Unix seconds. `told` is given
    what went wrong, in words for the operator."""

    def __init__(
        self,
        find: Callable[[], Callable[[], Token]],
        clock: Callable[[], float] = time.time,
        told: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._find = find
        self._clock = clock
        self._told = told
        self._fetch: Callable[[], Token] | None = None
        self._token: Token | None = None
        self._renewal: asyncio.Task[Token] | None = None
        self._not_before = 0.0
        self._forced = float("-inf")
        self.trouble = ""
        """What went wrong at the newest renewal, in words for the operator; "" if nothing did."""

    async def open(self) -> None:
        """Looks for the credentials, and fetches no token yet. Raises NoCredentials."""
        if self._fetch is None:
            self._fetch = await asyncio.to_thread(self._find)

    async def get(self) -> Token:
        """One that is good now. Raises BadCredentials."""
        token, now = self._token, self._clock()
        if token is None or now >= token.until:
            if now < self._not_before and self._renewal is None:
                raise BadCredentials(NONE_VALID)
            return await self._renewed()
        if now >= token.until - EARLY and now >= self._not_before:
            self._renew()
        return token

    async def instead_of(self, refused: Token) -> Token | None:
        """Another one than that, which a server did not take; None if one was fetched for that reason just now. Raises
        BadCredentials."""
        if self._token is not refused:
            return await self.get()
        now = self._clock()
        if self._renewal is None:
            if now - self._forced < FORCED:
                return None
            self._forced = now
        return await self._renewed()

    async def close(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def _renewed(self) -> Token:
        try:
            return await asyncio.shield(self._renew())
        except (NoCredentials, TokenRefused) as e:
            raise BadCredentials(NONE_VALID) from e

    def _renew(self) -> asyncio.Task[Token]:
        """The renewal that is under way, or a new one. A client that leaves does not end it: others wait for it."""
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._fetch_one(), name="token")
            self._renewal.add_done_callback(self._over)
        return self._renewal

    async def _fetch_one(self) -> Token:
        await self.open()
        assert self._fetch is not None
        self._token = await asyncio.to_thread(self._fetch)
        return self._token

    def _over(self, renewal: asyncio.Task[Token]) -> None:
        self._renewal = None
        if renewal.cancelled():
            return
        error = renewal.exception()  # taken note of, also where nobody waited
        before, self.trouble = self.trouble, "" if error is None else str(error) or type(error).__name__
        if error is not None:
            self._not_before = self._clock() + AGAIN
            if self.trouble != before:
                self._told(self.trouble)


class Credentials:
    """The tokens of every scope that a server wants, shared by all servers that want it."""

    def __init__(
        self, tokens: Callable[[str], Tokens] | None = None, told: Callable[[str], None] = lambda words: None
    ) -> None:
        self._make = tokens or (lambda scope: Tokens(lambda: application_default(scope), told=told))
        self._of: dict[str, Tokens] = {}

    def of(self, scope: str) -> Tokens:
        if scope not in self._of:
            self._of[scope] = self._make(scope)
        return self._of[scope]

    async def close(self) -> None:
        for tokens in self._of.values():
            await tokens.close()


class Signed:
    """A server's address for one call after another: with a token where the server wants one."""

    __slots__ = ("_at", "_token", "plain", "tokens")

    def __init__(self, address: Address, tokens: Tokens | None) -> None:
        self.plain = address
        self.tokens = tokens
        self._token: Token | None = None
        self._at = address

    def carrying(self, token: Token) -> Address:
        """The address with that token. It is the same object as long as the token is."""
        if token is not self._token:
            plain = self.plain
            self._at = Address(plain.url, {**plain.headers, **token.headers}, plain.connect)
            self._token = token
        return self._at

    async def send(self, upstream: Upstream, call: Call, request_id: str, trace: bytes = b"") -> Exchange:
        """`Upstream.send` there. A token that is refused is renewed, and the call sent once more. Raises
        BadCredentials, and what `Upstream.send` raises."""
        if self.tokens is None:
            return await upstream.send(call, self.plain, request_id, trace)
        return await self.through(
            lambda address: upstream.send(call, address, request_id, trace), lambda e: e.status, lambda e: e.close()
        )

    async def through(
        self,
        send: Callable[[Address], Awaitable[R]],
        status: Callable[[R], int],
        close: Callable[[R], object] = lambda reply: None,
    ) -> R:
        """What `send` gives at this address. `status` tells a reply's, `close` lets go of one that is not used."""
        if self.tokens is None:
            return await send(self.plain)
        token = await self.tokens.get()
        reply = await send(self.carrying(token))
        if status(reply) != 401:
            return reply
        try:
            other = await self.tokens.instead_of(token)
        except BaseException:  # cancelled, too: the client has left, and the reply is given up
            close(reply)
            raise
        if other is None:
            return reply
        close(reply)
        return await send(self.carrying(other))


def application_default(scope: str, transport: Any = None) -> Callable[[], Token]:
    """Looks for Application Default Credentials; what it returns fetches a token of that scope. Both wait: call them
    in a thread. Raises NoCredentials. `transport`: google-auth's interface for one HTTP exchange."""
    try:
        import google.auth
        from google.auth import exceptions
    except ImportError:
        raise NoCredentials("google-auth is not installed: pip install 'gemma-gateway[vertex]'") from None
    request: Any = transport or exchange
    try:
        found: Any = google.auth.default(scopes=[scope], request=request)[0]
    except exceptions.DefaultCredentialsError as e:
        raise NoCredentials(_not_found(e)) from None
    except exceptions.GoogleAuthError as e:
        raise NoCredentials(f"Application Default Credentials can't be read ({type(e).__name__}); {_LOGIN}") from None

    def fetch() -> Token:
        try:
            found.refresh(request)
        except exceptions.GoogleAuthError as e:
            raise TokenRefused(_refused(e)) from None
        headers: dict[str, str] = {}
        found.apply(headers)
        # google-auth tells times in UTC and without a zone
        until = found.expiry.replace(tzinfo=UTC).timestamp() if found.expiry is not None else float("inf")
        return Token({_NAMES.get(k, k): v for k, v in headers.items()}, until)

    return fetch


_NAMES: Final = {"authorization": "Authorization"}
_LOGIN: Final = (
    "type `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to the path of a service "
    "account's key file"
)


def _not_found(error: Exception) -> str:
    """google-auth's words name the file that it could not use, and hold nothing of what is in it."""
    said = str(error.args[0]) if error.args else ""
    if "were not found" in said and "File" not in said:
        return f"there are no Application Default Credentials on this machine: {_LOGIN}"
    return f"Application Default Credentials can't be used: {said.splitlines()[0][:200] if said else ''}; {_LOGIN}"


def _refused(error: Exception) -> str:
    """What kind of refusal it was: the reply itself may name accounts, and is not repeated."""
    said = " ".join(map(str, error.args))
    code = next((c for c in ("invalid_grant", "invalid_client", "invalid_scope", "access_denied") if c in said), "")
    if code:
        return f"the token was refused ({code}): {_LOGIN}"
    return f"no token could be fetched ({type(error).__name__}): it is tried again"


def exchange(
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    **_: Any,
) -> _Reply:
    """One HTTP exchange, as google-auth wants it: no redirects, no proxy of the environment. Raises its
    TransportError."""
    from google.auth.exceptions import TransportError

    try:
        with httpx2.Client(trust_env=False, follow_redirects=False, timeout=timeout or PATIENCE) as client:
            reply = client.request(method, url, content=body, headers=dict(headers or {}))
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as e:
        raise TransportError(f"the exchange failed ({type(e).__name__})") from None  # type: ignore[no-untyped-call]
    return _Reply(reply.status_code, reply.headers, reply.content)


@dataclass(slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    data: bytes
