"""The calls of probes and of the look-out for servers: one after another, each on a connection of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import httpx2

from gateway.backends import Call, Reply

MAX_REPLY = 8 << 20
"""Octets of a reply that are read at most."""


class Asker:
    """Sends calls to any address. Proxies of the environment are never used, redirects never followed."""

    def __init__(self) -> None:
        self._clients: dict[bool, httpx2.AsyncClient] = {}

    async def send(self, url: str, call: Call, timeout: float) -> Reply:
        """The reply; one of status 0 where nobody answers. Raises TimeoutError (`patience`)."""
        async with patience(call, timeout):
            return await self.exchange(url, call, {})

    async def exchange(self, url: str, call: Call, headers: Mapping[str, str]) -> Reply:
        """The same without a limit of time."""
        try:
            async with self._client(url.startswith("https:")).stream(
                call.method,
                url + call.path,
                content=call.octets() if call.body is not None else None,
                headers={"content-type": "application/json", **call.headers, **headers},
                timeout=None,
            ) as response:
                pieces = []
                size = 0
                async for data in response.aiter_raw():
                    pieces.append(data)
                    size += len(data)
                    if size > MAX_REPLY:
                        return Reply(0, error="its reply to a probe is larger than 8 MiB")
                return Reply(response.status_code, dict(response.headers), b"".join(pieces))
        except TimeoutError:  # an OSError, too
            raise
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as e:
            return Reply(0, error=_words(e))

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    def _client(self, tls: bool) -> httpx2.AsyncClient:
        """Whom to trust (the system's authorities or SSL_CERT_FILE, as on the hop) is read when TLS needs it: that
        takes longer than the rest of a start."""
        client = self._clients.get(tls)
        if client is None:
            client = self._clients[tls] = httpx2.AsyncClient(
                trust_env=False,
                verify=ssl.create_default_context() if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                follow_redirects=False,
                headers={"accept-encoding": "identity"},
                # a kept connection that the server drops as it is used would look like a dead server
                limits=httpx2.Limits(max_keepalive_connections=0),
            )
        return client


def patience(call: Call, timeout: float) -> asyncio.Timeout:
    """`timeout` seconds for a GET, five times as long for what may cost a server some thought."""
    return asyncio.timeout(max(timeout, 0.05) * (1 if call.method == "GET" else 5))


def _words(error: Exception) -> str:
    if isinstance(error, httpx2.ConnectError):
        return "nothing listens there, or its name can't be resolved"
    return f"the probe failed ({type(error).__name__})"
