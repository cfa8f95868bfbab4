"""A gateway to ask: one that runs, or one that is built for the occasion, looks at its servers, and listens nowhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2

from gateway.settings import Settings
from gateway.settings.address import read_url

if TYPE_CHECKING:
    from gateway.app import Gateway

SECONDS = 600.0
"""How long one answer may take: a model may have to be loaded, or to read a video on a small machine."""


class NoGateway(Exception):
    """There is no gateway to ask. `wrong` = the address or the key is wrong, it is not only that nobody is there.
    `fix` = what to change."""

    def __init__(self, text: str, fix: str = "", *, wrong: bool = True) -> None:
        super().__init__(f"{text}: {fix}" if fix else text)
        self.text, self.fix, self.wrong = text, fix, wrong


def _code(told: dict[str, Any]) -> Any:
    """The code of the error in an answer."""
    error = told.get("error")
    return error.get("code") if isinstance(error, dict) else None


class Asking:
    """What may be asked of a gateway."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def cards(self) -> list[dict[str, Any]]:
        """The models and their targets. Raises NoGateway."""
        status, told = await self._ask("GET", "/v1/models")
        try:
            data: list[dict[str, Any]] = told["data"]
            assert all("targets" in card["gateway"] for card in data)
        except (KeyError, TypeError, AssertionError):
            raise self._other(status, told) from None
        return data

    async def chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        """(status, decoded answer); (0, what happened) if there is none."""
        try:
            return await self._ask("POST", "/v1/chat/completions", body)
        except NoGateway as e:
            return 0, e.text

    async def explain(self, body: Any) -> tuple[int, Any]:
        """Where a request would go: (status, decoded answer). Raises NoGateway."""
        status, told = await self._ask("POST", "/v1/route/explain", body)
        known = isinstance(told, dict) and _code(told) == "model_not_found"
        if status in (401, 405) or (status == 404 and not known) or not isinstance(told, dict):
            raise self._other(status, told)
        return status, told

    async def _ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        url = str(self._http.base_url).rstrip("/")
        try:
            reply = await self._http.request(method, path, json=body)
        except httpx2.ConnectError:
            fix = "start one with `gateway serve`, or say with --url where it is"
            raise NoGateway(f"no gateway answers at {url}", fix, wrong=False) from None
        except httpx2.HTTPError as e:
            raise NoGateway(f"no answer from {url} ({type(e).__name__})", wrong=False) from None
        try:
            return reply.status_code, reply.json()
        except ValueError:
            return reply.status_code, reply.text

    def _other(self, status: int, told: Any) -> NoGateway:
        """What answers, and is no gateway that can be asked."""
        url = str(self._http.base_url).rstrip("/")
        if status == 401:
            return NoGateway(
                f"the gateway at {url} wants its key",
                "put it into GATEWAY_API_KEY, or name the variable with --key-env",
            )
        page = isinstance(told, str) and "<html" in told[:2000].lower()
        what = "a web page" if page else "another API"
        return NoGateway(
            f"what answers at {url} is no gateway but {what}", "correct --url (the gateway's usual port is 4000)"
        )


def gateway_url(text: str) -> str:
    """The address of a gateway as a person may write it, a final /v1 cut. Raises NoGateway."""
    try:
        return read_url(text)
    except ValueError as e:
        raise NoGateway(f"--url {e}") from None


@asynccontextmanager
async def running(url: str, key: str = "") -> AsyncIterator[Asking]:
    """The gateway at that address. Raises NoGateway where that is none."""
    url = gateway_url(url)
    async with httpx2.AsyncClient(base_url=url, headers=_bearing(key), timeout=SECONDS, trust_env=False) as http:
        yield Asking(http)


@asynccontextmanager
async def built(settings: Settings) -> AsyncIterator[tuple[Gateway, Asking]]:
    """A gateway with these settings, in this process."""
    from gateway.app import Gateway  # half a second that who asks a gateway that runs does not have to wait
    from gateway.observe import Log

    gateway = Gateway(settings, Log(level="error"))
    await gateway.start()
    try:
        key = settings.auth.api_key
        headers = _bearing(key.get_secret_value() if key else "")
        transport = httpx2.ASGITransport(app=gateway.front)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:4000", headers=headers, timeout=SECONDS
        ) as http:
            yield gateway, Asking(http)
    finally:
        await gateway.stop()


def _bearing(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}
