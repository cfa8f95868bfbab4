"""The ASGI app in front of FastAPI's stack: request id, authentication, and the model endpoints, which do not pay for
the framework (docs/decisions/0002). Everything else goes on to FastAPI.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from gateway.dialects.openai.errors import render_error
from gateway.engine.dispatch import receipt
from gateway.engine.record import Record, Recorder
from gateway.errors import ClientGone, GatewayError, Internal, MethodNotAllowed, ShuttingDown
from gateway.server.auth import OPEN_PATHS, Keys
from gateway.server.outlet import AsgiOutlet, Header

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
_HARDENING: list[Header] = [(b"x-content-type-options", b"nosniff")]


class Endpoint:
    """One model endpoint: its operation's name for log and metrics, and what serves it."""

    def __init__(self, operation: str, dialect: str, serve: Callable[..., Awaitable[None]]) -> None:
        self.operation = operation
        self.dialect = dialect
        self.serve = serve


class Front:
    """`endpoints`: exact path -> endpoint, POST only. `rest` gets every other authenticated request."""

    def __init__(
        self, endpoints: dict[str, Endpoint], rest: Asgi, recorder: Recorder, keys: Callable[[], Keys]
    ) -> None:
        self._endpoints = endpoints
        self._rest = rest
        self._recorder = recorder
        self._keys = keys
        self.draining = False
        self.active: dict[asyncio.Task[Any], AsgiOutlet] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        scope["gateway.request_id"] = request_id
        common = [(b"x-request-id", request_id.encode()), *_HARDENING]
        if self.draining:
            common.append((b"connection", b"close"))
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is not None:
            await self._serve(endpoint, scope, headers, receive, AsgiOutlet(send, common))
            return
        if scope["path"] not in OPEN_PATHS:
            try:
                scope["gateway.key"] = self._keys().check(headers)
            except GatewayError as e:
                await say(AsgiOutlet(send, common), e)
                return
        await self._rest(scope, receive, _with_headers(send, common))

    async def dismiss(self) -> None:
        """Tells every request that still runs that the gateway stops, and waits until each has been told."""
        for task, outlet in self.active.items():
            outlet.dismissal = ShuttingDown("this gateway stops now", retry_after=1.0)
            task.cancel()
        if self.active:
            await asyncio.wait(list(self.active), timeout=2.0)

    async def _serve(
        self, endpoint: Endpoint, scope: Scope, headers: dict[bytes, bytes], receive: Receive, outlet: AsgiOutlet
    ) -> None:
        loop = asyncio.get_running_loop()
        record = Record(scope["gateway.request_id"], endpoint.dialect, endpoint.operation, loop.time())
        task = asyncio.current_task()
        assert task is not None
        self.active[task] = outlet
        try:
            key = self._keys().check(headers)
            if scope["method"] != "POST":
                raise MethodNotAllowed(f"{scope['path']} takes POST only")
            if self.draining:
                raise ShuttingDown("this gateway is about to stop", retry_after=1.0)
            await endpoint.serve(scope, headers, receive, outlet, record, key)
        except ClientGone as e:
            record.status, record.code = e.status, e.code
        except GatewayError as e:
            record.status, record.code = e.status, e.code
            await say(outlet, e, record.headers)
        except asyncio.CancelledError:
            if not outlet.gone and outlet.dismissal is None:
                raise
            task.uncancel()
            error: GatewayError = (
                outlet.dismissal if outlet.dismissal is not None and not outlet.gone else ClientGone("")
            )
            record.status, record.code = error.status, error.code
            if not outlet.gone and not outlet.committed:
                await say(outlet, error, record.headers)
        except Exception as e:  # noqa: BLE001  # a bug is answered too, and told to the operator with its place
            record.status, record.code = Internal.status, Internal.code
            self._recorder.log.events.error("bug", request_id=record.request_id, error=_place(e))
            if not outlet.committed:
                await say(outlet, Internal(f"an internal error; the request id is {record.request_id}"))
        finally:
            del self.active[task]
            outlet.unwatch()
            self._recorder.finish(record, loop.time(), receipt(record), time.time())


async def say(outlet: AsgiOutlet, error: GatewayError, headers: list[Header] | None = None) -> None:
    """Answers with the error, in OpenAI's shape."""
    extra: list[Header] = list(headers or [])
    retry_after = error.retry_after
    if retry_after is None and error.status in (429, 503):
        retry_after = 1.0
    if retry_after is not None:
        extra.append((b"retry-after", str(max(1, round(retry_after))).encode()))
    if isinstance(error, MethodNotAllowed):
        extra.append((b"allow", b"POST"))
    extra.append((b"x-should-retry", b"true" if error.should_retry else b"false"))
    if error.status in (400, 408, 413):
        extra.append((b"connection", b"close"))  # what is left of the body is not read
    await outlet.whole(error.status, extra, msgspec.json.encode(render_error(error)))


def _with_headers(send: Send, common: list[Header]) -> Send:
    async def sender(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *common]
        await send(message)

    return sender


def _place(error: BaseException) -> str:
    """An exception for the operator's log: its type and where it was raised, never its text."""
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    if tb is None:
        return type(error).__name__
    code = tb.tb_frame.f_code
    return f"{type(error).__name__} in {code.co_qualname} line {tb.tb_lineno}"
