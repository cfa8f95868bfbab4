"""The ASGI app in front of FastAPI's stack: request id, authentication, and the model endpoints, which do not pay for
the framework (docs/decisions/0002). Everything else goes on to FastAPI.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.engine.record import Record, Recorder
from gateway.errors import ClientGone, GatewayError, MethodNotAllowed, NotFound, NoWebSocket, Overloaded, ShuttingDown
from gateway.server.answer import CLOSE, HARDENING, Header, Shape, error_answer, internal
from gateway.server.auth import ADMIN_PATHS, OPEN_PATHS, Keys, take_query_key
from gateway.server.door import Door, check_head
from gateway.server.outlet import AsgiOutlet
from gateway.server.protocol import LINGER_OCTETS, Connection, Scope, Send, closing
from gateway.server.shape import error_shape
from gateway.settings import Settings

Receive = Callable[[], Awaitable[Any]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


class Endpoint:
    """One model endpoint: its operation's name for log and metrics, and what serves it."""

    def __init__(self, operation: str, dialect: str, serve: Callable[..., Awaitable[None]]) -> None:
        self.operation = operation
        self.dialect = dialect
        self.serve = serve


class Front:
    """`endpoints`: exact path -> endpoint, POST only; `find` looks for one where the path has a colon in it: the
    model's name is a part of such a path. `rest` gets every other authenticated request; `opens` gives the key id of a
    request that needs no key, because it knows something else. `draining` = about to stop: connections are not kept.
    `closed` = new requests are refused. `admin` = what is the operator's has an address of its own (`at_admin`)."""

    def __init__(
        self,
        endpoints: dict[str, Endpoint],
        rest: Asgi,
        recorder: Recorder,
        keys: Callable[[], Keys],
        door: Callable[[], Door],
        settings: Callable[[], Settings],
        find: Callable[[Scope], Endpoint | None] = lambda _: None,
        opens: Callable[[Scope], str | None] = lambda _: None,
        *,
        admin: bool = False,
    ) -> None:
        self._endpoints = endpoints
        self._find = find
        self._opens = opens
        self._admin = admin
        self._rest = rest
        self._recorder = recorder
        self._keys = keys
        self._door = door
        self._settings = settings
        self._numbers = itertools.count(secrets.randbits(64))
        self.draining = False
        self.closed = False
        self.active: dict[asyncio.Task[Any], AsgiOutlet] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            request_id = given.decode()
        else:
            request_id = f"req_{next(self._numbers):016x}"
        scope["gateway.request_id"] = request_id
        common = [(b"x-request-id", request_id.encode()), *HARDENING]
        if self.draining:
            common.append(CLOSE)
        connection: Connection | None = scope.get("gateway.connection")
        if connection is not None and connection.unread(scope):
            send = closing(scope, send, connection, self._patience)
        try:
            check_head(scope, headers)
        except GatewayError as e:
            common.append(CLOSE)  # where this request ends, others may see differently
            await say(AsgiOutlet(send, common, connection), e, error_shape(scope["path"], headers))
            return
        if b"key=" in scope["query_string"]:
            take_query_key(headers, scope["path"], scope["query_string"])
        if b"origin" in headers:
            allowed = self._door().preflight(scope, headers)
            if allowed is not None:
                await AsgiOutlet(send, common, connection).nothing(allowed)
                return
            common += self._door().shared_with(headers[b"origin"])
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is None and ":" in scope["path"]:
            endpoint = self._find(scope)
        elsewhere = self._admin and _elsewhere(scope)
        if endpoint is not None and not elsewhere:
            await self._serve(endpoint, scope, headers, receive, AsgiOutlet(send, common, connection))
            return
        try:
            self._door().check(scope, headers)
            if elsewhere or scope["path"] not in OPEN_PATHS:
                grant = self._keys().by_id(self._opens(scope) or "") or self._keys().check(headers)
                scope["gateway.key"], scope["gateway.rights"] = grant.id, grant.rights
            if elsewhere:
                raise NotFound("there is nothing at this path of this address")
        except GatewayError as e:
            await say(AsgiOutlet(send, common, connection), e, error_shape(scope["path"], headers))
            return
        try:
            await self._rest(scope, receive, _with_headers(send, common))
        except Exception as e:  # noqa: BLE001  # the framework has answered and raises it again
            self._bug(request_id, e)

    async def at_admin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app of `admin.listen`: what is open without a key, and nothing else."""
        scope["gateway.admin"] = True
        await self(scope, receive, send)

    def _patience(self) -> tuple[int, float]:
        """How much of the body of a request that is refused may still come: octets and seconds. Twice the limit: a
        client that is told 413 is in the middle of sending more than the limit."""
        settings = self._settings()
        return max(2 * settings.limits.body, LINGER_OCTETS), settings.timeouts.client_body

    def _bug(self, request_id: str, error: Exception) -> None:
        self._recorder.metrics.bug()
        self._recorder.log.events.error("bug", request_id=request_id, error=_place(error))

    async def dismiss(self) -> None:
        """Tells every request that still runs that the gateway stops, and waits until each has been told, but not long
        for clients that do not listen."""
        for task, outlet in self.active.items():
            outlet.dismissal = ShuttingDown("this gateway stops now", retry_after=1.0)
            task.cancel()
        if self.active:
            await asyncio.wait(list(self.active), timeout=2.0)
        for outlet in self.active.values():
            outlet.abort()

    async def _serve(
        self, endpoint: Endpoint, scope: Scope, headers: dict[bytes, bytes], receive: Receive, outlet: AsgiOutlet
    ) -> None:
        loop = asyncio.get_running_loop()
        record = Record(scope["gateway.request_id"], endpoint.dialect, endpoint.operation, loop.time())
        if self._recorder.tracer is not None:
            record.trace = self._recorder.tracer.begin(headers.get(b"traceparent"))
        task = asyncio.current_task()
        assert task is not None
        self.active[task] = outlet
        try:
            self._door().check(scope, headers)
            grant = self._keys().check(headers)
            record.key = grant.id
            if grant.meter is not None:
                outlet.meter = grant.meter
                record.ticket = grant.meter.enter(loop.time())
            if scope["method"] != "POST":
                if b"websocket" in headers.get(b"upgrade", b"").lower():
                    raise NoWebSocket("there is no WebSocket here: POST the request")
                raise MethodNotAllowed(f"{scope['path']} takes POST only")
            if self.closed:
                raise ShuttingDown("this gateway is about to stop", retry_after=1.0)
            if len(self.active) > self._settings().limits.in_flight:
                raise Overloaded("the gateway has as many requests under way as it may", retry_after=1.0)
            await endpoint.serve(scope, headers, receive, outlet, record, grant)
        except ClientGone as e:
            record.status, record.code = e.status, e.code
        except GatewayError as e:
            record.status, record.code = e.status, e.code
            await say(outlet, e, error_shape(scope["path"], headers), record.headers)
        except asyncio.CancelledError:
            if not outlet.gone and outlet.dismissal is None:
                raise
            task.uncancel()
            error = ClientGone("") if outlet.gone or outlet.dismissal is None else outlet.dismissal
            record.status, record.code = error.status, error.code
            await say(outlet, error, error_shape(scope["path"], headers), record.headers)
        except Exception as e:  # noqa: BLE001  # a bug is answered too, and told to the operator with its place
            bug = internal(record.request_id)
            record.status, record.code = bug.status, bug.code
            self._bug(record.request_id, e)
            await say(outlet, bug, error_shape(scope["path"], headers))
        finally:
            del self.active[task]
            outlet.unwatch()
            if record.ticket is not None:
                record.ticket.leave(record.used, loop.time())
            self._recorder.finish(record, loop.time(), time.time())


async def say(outlet: AsgiOutlet, error: GatewayError, shape: Shape, headers: list[Header] | None = None) -> None:
    """Answers with the error in its client's `shape`, or breaks off an answer that can't be completed: it must not look
    as if it were. `headers` = what is known about the target."""
    if outlet.done or outlet.gone:
        return
    if outlet.committed:
        outlet.abort()
        return
    status, own, body = error_answer(error, b"POST", shape)
    await outlet.whole(status, [*headers, *own] if headers else own, body)


def _elsewhere(scope: Scope) -> bool:
    """Is the path served at the other one of the gateway's two kinds of addresses only?"""
    if "gateway.admin" in scope:
        return scope["path"] not in OPEN_PATHS
    return scope["path"] in ADMIN_PATHS


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
