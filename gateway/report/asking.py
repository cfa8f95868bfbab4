"""A gateway to ask: one that runs, or one that is built for the occasion, looks at its servers, and listens nowhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from gateway.app import Gateway
from gateway.observe import Log
from gateway.settings import Settings

SECONDS = 600.0
"""How long one answer may take: a model may have to be loaded, or to read a video on a small machine."""


class NoGateway(Exception):
    """Nothing that is a gateway answers there."""


class Asking:
    """What may be asked of a gateway."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def cards(self) -> list[dict[str, Any]]:
        """The models and their targets. Raises NoGateway."""
        try:
            reply = await self._http.get("/v1/models")
            data: list[dict[str, Any]] = reply.json()["data"]
            assert all("targets" in card["gateway"] for card in data)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as e:
            raise NoGateway(f"no gateway answers at {self._http.base_url} ({type(e).__name__})") from e
        except (KeyError, TypeError, AssertionError):
            if reply.status_code == 401:
                raise NoGateway(f"the gateway at {self._http.base_url} wants its key") from None
            raise NoGateway(f"what answers at {self._http.base_url} is no gateway of this kind") from None
        return data

    async def chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        """(status, decoded answer); (0, what happened) if there is none."""
        return await self.post("/v1/chat/completions", body)

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        try:
            reply = await self._http.post(path, json=body)
            return reply.status_code, reply.json()
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as e:
            return 0, f"no answer ({type(e).__name__})"


@asynccontextmanager
async def running(url: str, key: str = "") -> AsyncIterator[Asking]:
    """The gateway at that address."""
    async with httpx2.AsyncClient(base_url=url, headers=_bearing(key), timeout=SECONDS, trust_env=False) as http:
        yield Asking(http)


@asynccontextmanager
async def built(settings: Settings) -> AsyncIterator[tuple[Gateway, Asking]]:
    """A gateway with these settings, in this process."""
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
