"""The worker's HTTP side: chat in OpenAI's dialect, its models, its health. A plain ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from hmac import compare_digest
from itertools import count
from typing import Any

import msgspec

from gateway import __version__, errors
from gateway.canonical.events import Folder, Start
from gateway.canonical.requests import Chat
from gateway.dialects.openai import answers, chat
from gateway.dialects.openai.encoder import ChatEncoder
from gateway.dialects.openai.errors import render_error
from gateway.worker.keras.engine import Engine, Job, Reading, Running

Json = dict[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_log = logging.getLogger("gateway.worker.keras")

OWNER = "keras-hub"
MOST_OCTETS = 64 << 20
LIFE_SIGN = 5.0
"""Seconds of silence after which a stream shows that it lives."""
_CHAT, _COUNT = "/v1/chat/completions", "/v1/chat/completions/input_tokens"
_ROUTES = {"/health": "GET", "/v1/models": "GET", _CHAT: "POST", _COUNT: "POST"}
_JSON = [(b"content-type", b"application/json")]
_EVENTS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]


@dataclass(slots=True, frozen=True)
class About:
    """What the worker says of itself. `id`: the model's name for clients; `root`: the preset or folder behind it."""

    id: str
    root: str
    dtype: str
    key: str | None = None


class App:
    """Answers 503 until `engine` is set."""

    def __init__(self, about: About) -> None:
        self.engine: Engine | None = None
        self._about = about
        self._created = int(time.time())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = _Exchange(receive, send)
        try:
            await self._route(scope, exchange)
        except errors.ClientGone:
            return
        except errors.GatewayError as e:
            await exchange.fail(e)
        except Exception:  # noqa: BLE001  # a bug: this request's end, not the server's
            _log.exception("a bug")
            await exchange.fail(errors.Internal("this server failed"))

    async def _route(self, scope: Message, exchange: _Exchange) -> None:
        path = scope["path"]
        method = _ROUTES.get(path)
        if method is None:
            raise errors.NotFound(f"there is nothing here; the paths are {', '.join(_ROUTES)}")
        if scope["method"] not in (method, "HEAD" if method == "GET" else method):
            raise errors.MethodNotAllowed(f"use {method}")
        engine = self.engine
        if engine is None:
            raise errors.Overloaded("Loading model", retry_after=5, code="model_loading")
        if path == "/health":
            await exchange.answer({"status": "ok", "requests": engine.places.taken})
            return
        self._check_key(scope)
        if path == "/v1/models":
            await exchange.answer({"object": "list", "data": [self._card(engine)]})
            return
        request = self._parse(await exchange.body())
        if path == _COUNT:
            left = threading.Event()
            async with exchange.watched(left):
                await exchange.answer(
                    {"object": "response.input_tokens", "input_tokens": await engine.count(request, left)}
                )
        else:
            await self._chat(engine, request, exchange)

    def _check_key(self, scope: Message) -> None:
        key = self._about.key
        if key is None:
            return
        given = next((v for k, v in scope["headers"] if k == b"authorization"), b"")
        if not compare_digest(given, b"Bearer " + key.encode()):
            raise errors.InvalidKey("this server wants an API key")

    def _card(self, engine: Engine) -> Json:
        model = engine.model
        modalities = ["text", *(["image", "video"] if model.sees else []), *(["audio"] if model.hears else [])]
        return {
            "id": self._about.id,
            "object": "model",
            "created": self._created,
            "owned_by": OWNER,
            "root": self._about.root,
            "max_model_len": model.context,
            "architecture": {"input_modalities": modalities, "output_modalities": ["text"]},
            "dtype": self._about.dtype,
            "parameters": model.parameters,
            "version": __version__,
        }

    def _parse(self, body: Any) -> Chat:
        if not isinstance(body, dict):
            raise errors.InvalidJson("the body is not a JSON object")
        request = chat.parse_request(body)
        if request.model != self._about.id:
            raise errors.ModelNotFound(f"this server serves {self._about.id} only", param="model")
        _check(request)
        return request

    async def _chat(self, engine: Engine, request: Chat, exchange: _Exchange) -> None:
        engine.places.enter()
        handed = False
        left = threading.Event()
        try:
            async with exchange.watched(left):
                answer_id = uuid.uuid4().hex
                start = Start(f"chatcmpl-{answer_id}", self._about.id, int(time.time()))
                numbers = count()
                job = await engine.prepare(request, left, start, lambda: f"call_{answer_id[:20]}_{next(numbers)}")
                running = engine.start(job)
                handed = True
                try:
                    await (_stream if request.stream else _whole)(job, running, exchange)
                finally:
                    running.stop()
        finally:
            if not handed:
                engine.places.leave(None)


async def _whole(job: Job, running: Running, exchange: _Exchange) -> None:
    folder = Folder()
    while (what := await running.next()) is not None:
        if not isinstance(what, Reading):
            folder.feed(what)
    await exchange.answer(answers.render_answer(folder.answer, reasoning_field=job.chat.options.reasoning_field))


async def _stream(job: Job, running: Running, exchange: _Exchange) -> None:
    chat = job.chat
    encoder = ChatEncoder(job.start.model, chat.include_usage, chat.options.reasoning_field)
    sign = b": waiting\n\n"
    await exchange.begin(_EVENTS)
    try:
        while True:
            try:
                what = await running.next(LIFE_SIGN)
            except TimeoutError:
                await exchange.write(sign)
                continue
            if what is None:
                break
            if isinstance(what, Reading):
                # a comment that the gateway reads as progress: other servers write it so
                sign = b": keepalive %d/%d\n\n" % (what.done, what.total)
                await exchange.write(sign if what.done < what.total else b"")
            else:
                await exchange.write(encoder.encode(what))
    except errors.Internal as e:
        await exchange.write(encoder.fault(e))
    await exchange.end()


def _check(request: Chat) -> None:
    """Refuses what would change the answer's meaning if it were ignored."""
    if request.choices > 1:
        raise errors.UnsupportedParameter("this server gives one choice", param="n")
    if request.logprobs:
        raise errors.UnsupportedParameter("this server tells no logprobs", param="logprobs")
    if request.output is not None:
        raise errors.UnsupportedParameter("this server keeps to no format", param="response_format")
    if request.audio_out:
        raise errors.UnsupportedParameter("this server does not speak", param="modalities")
    for i, tool in enumerate(request.tools):
        if tool.kind != "function":
            raise errors.UnsupportedParameter("this server has no custom tools", param=f"tools[{i}]")
    for key in (request.extra or {}).get("openai") or ():
        if key in chat.BINDING_EXTRAS:
            raise errors.UnsupportedParameter(f"this server does not have `{key}`", param=key)


class _Exchange:
    """One request and its answer."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._begun = False
        self._gone = False

    async def body(self) -> Any:
        """The decoded JSON. Raises TooLarge, InvalidJson, ClientGone."""
        pieces, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise errors.ClientGone("the client left")
            piece = message.get("body", b"")
            pieces.append(piece)
            size += len(piece)
            if size > MOST_OCTETS:
                raise errors.TooLarge(f"at most {MOST_OCTETS} octets are taken")
            if not message.get("more_body", False):
                break
        try:
            return msgspec.json.decode(b"".join(pieces))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise errors.InvalidJson("the body is not valid JSON") from None

    @contextlib.asynccontextmanager
    async def watched(self, left: threading.Event) -> Any:
        """While the block runs, a client that leaves sets `left` and ends the block with ClientGone."""
        task = asyncio.current_task()
        assert task is not None
        watch = asyncio.ensure_future(self._watch(left, task))
        try:
            yield
        except asyncio.CancelledError:
            if not self._gone:
                raise
            task.uncancel()
            raise errors.ClientGone("the client left") from None
        finally:
            watch.cancel()

    async def _watch(self, left: threading.Event, task: asyncio.Task[Any]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        left.set()
        self._gone = True
        task.cancel()

    async def begin(self, headers: list[tuple[bytes, bytes]], status: int = 200) -> None:
        self._begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": data})

    async def answer(self, body: Json, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        data = msgspec.json.encode(body)
        length = (b"content-length", b"%d" % len(data))
        await self.begin([*_JSON, length, *(headers or [])], status)
        await self.end(data)

    async def fail(self, error: errors.GatewayError) -> None:
        if self._begun:
            return  # the stream said it
        more = []
        if error.retry_after is not None:
            more.append((b"retry-after", b"%d" % max(1, round(error.retry_after))))
        await self.answer(render_error(error), error.status, more)
