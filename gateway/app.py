"""The only place where objects are built and joined, and the life of a serving process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.dialects import anthropic, ollama
from gateway.dialects.openai import (
    RelayedCodec,
    chat_codec,
    completion_codec,
    embedding_codec,
    transcription_codec,
    translation_codec,
)
from gateway.dialects.openai.audio import FILE
from gateway.dialects.openai.responses import responses_codec
from gateway.engine.admission import Memory
from gateway.engine.credentials import Credentials
from gateway.engine.deadlines import Sweep, sweep_interval
from gateway.engine.dispatch import Dispatcher
from gateway.engine.files import Files
from gateway.engine.fleet import Fleet
from gateway.engine.gauges import TargetRow, server_rows, target_rows
from gateway.engine.job import ClientCodec
from gateway.engine.media.stage import MediaStage
from gateway.engine.probe import Prober
from gateway.engine.quota import Meters
from gateway.engine.record import Recorder
from gateway.engine.relay import Relay
from gateway.engine.route import Router
from gateway.engine.scan import Scan
from gateway.engine.servers import Server
from gateway.engine.state import State, StateUnusable
from gateway.engine.upstream import Upstream
from gateway.observe import Log, Metrics
from gateway.server.auth import Keys
from gateway.server.certificate import Certificate
from gateway.server.door import Door
from gateway.server.explain import ExplainPaths
from gateway.server.files import UploadDoor, add_files
from gateway.server.front import Endpoint, Front
from gateway.server.gemini import GeminiPaths
from gateway.server.handlers import ModelEndpoint
from gateway.server.kept import add_kept
from gateway.server.listener import HttpServer, listen, url_of
from gateway.server.ollama import OllamaEndpoint
from gateway.server.protocol import Scope
from gateway.server.relayed import PICTURE_FORMS, RELAYED_PATHS, no_pictures
from gateway.server.reload import follow, states
from gateway.server.responses import Answers, ResponsesEndpoint
from gateway.server.routes import build_routes
from gateway.server.stopping import Orders, drain, either, signals
from gateway.settings import (
    ConfigErrors,
    NoCredentials,
    OtelSettings,
    Settings,
    check_fixed,
    defaults,
    read_header_list,
    refuse_unbuilt,
    secret_path,
)

if TYPE_CHECKING:
    from gateway.observe.trace import Tracer

GRACE = 5.0
"""Seconds for which a gateway that others than this machine can reach still takes connections after a SIGTERM: it takes
a load balancer so long to notice."""


class Gateway:
    """All objects of one process. `front` is the app to serve; `start` and `stop` frame its life."""

    def __init__(self, settings: Settings, log: Log | None = None) -> None:
        refuse_unbuilt(settings)
        self.settings = settings
        self.read = states(self.files())  # before any of them is, that no later change is missed
        self.log = log or Log(level=settings.log.level)
        self.fleet = Fleet(Credentials(told=self._no_token))
        self.metrics = Metrics(self._rows, lambda: server_rows(self.fleet))
        self.tracer = self._tracer(settings.otel)
        self.recorder = Recorder(self.metrics, self.log, self.tracer)
        self.sweep = Sweep(sweep_interval(settings))
        self.memory = Memory(settings.limits.memory)
        self.metrics.bodies(lambda: self.memory.held)
        self.meters = Meters()
        self.keys = Keys(settings, self.meters, now=time.monotonic())
        self.door = Door(settings)
        self.certificate = Certificate(settings.tls) if settings.tls is not None else None
        self.started = int(time.time())
        self._loop: asyncio.AbstractEventLoop
        self.front: Front
        self.upstream: Upstream
        self.prober: Prober
        self.relay: Relay
        self.media: MediaStage
        self.router: Router
        self.dispatcher: Dispatcher
        self.state = State(settings.state, self._disk_refused)
        self.answers = Answers(self.state.answers)

    async def start(self) -> None:
        """Builds what needs the running loop, and looks at every server once, briefly. Raises StateUnusable or
        NoCredentials."""
        self._loop = asyncio.get_running_loop()
        await self.state.open()
        self.fleet.apply(self.settings)
        await self.fleet.open_credentials()
        self.upstream = Upstream()
        self.prober = Prober(self.fleet, self._changed)
        self.relay = Relay(self.upstream, self.sweep)
        self.media = MediaStage(metrics=self.metrics, memory=self.memory)
        self.router = Router(self.fleet, self.relay, self.media, self.memory)
        self.dispatcher = Dispatcher(
            self.fleet, self.router, self.relay, self.prober, self.recorder, self.state.thoughts
        )
        self.front = Front(
            self._endpoints(),
            self._routes(),
            self.recorder,
            lambda: self.keys,
            lambda: self.door,
            lambda: self.settings,
            self._find(),
            UploadDoor(self.state.files).opens,
            admin=bool(self.settings.admin.listen),
        )
        self.metrics.configured(self.settings.digest, self.settings.backends)
        self.sweep.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.timeouts.probe * 2):
                await self.prober.once()
        self.prober.sync()

    async def stop(self) -> None:
        await self.prober.close()
        await self.sweep.stop()
        await self.media.close()
        await self.upstream.close()
        await self.fleet.credentials.close()
        await self.state.close()
        self.recorder.flush()
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close)
        self.log.flush()

    def reload(self, settings: Settings) -> None:
        """Puts a validated configuration in force, as one snapshot: requests under way keep the old one. Raises
        NotBuilt, NeedsRestart or CertificateUnusable, and nothing has changed."""
        refuse_unbuilt(settings)
        check_fixed(self.settings, settings)
        Keys(settings)  # with meters of its own, to see that it can be made
        if self.certificate is not None and settings.tls is not None:
            self.certificate.renew(settings.tls)
        self.fleet.apply(settings)
        self.settings, self.door = settings, Door(settings)
        self.keys = Keys(settings, self.meters, now=time.monotonic())
        self.memory.limit = settings.limits.memory
        self.log.set_level(settings.log.level)
        self.prober.sync()
        self.prober.look_again()
        self.metrics.configured(settings.digest, settings.backends)
        self.metrics.reload("applied")
        self.log.events.info("reloaded", digest=settings.digest)

    def _tracer(self, otel: OtelSettings | None) -> Tracer | None:
        if otel is None:
            return None
        from gateway.observe.trace import Tracer  # needs an extra

        headers = read_header_list(otel.headers.get_secret_value()) if otel.headers is not None else {}
        return Tracer(otel.endpoint, headers, otel.service_name, otel.sample, self.metrics.spans, self._no_spans)

    def _no_spans(self, words: str) -> None:
        """Called in a thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(lambda: self.log.events.error("traces", error=words))

    def _no_token(self, words: str) -> None:
        self.log.events.error("no token for servers that want one", error=words)

    def files(self) -> list[Path]:
        """What the configuration in force is made of, besides its own file."""
        auth, tls = self.settings.auth, self.settings.tls
        keys = auth.keys_file if auth.mode == "keys_file" else auth.api_key_file
        found = [keys, secret_path(keys)] if auth.keys_file is not None and keys is not None else [keys]
        return [path for path in (*found, *((tls.cert, tls.key) if tls is not None else ())) if path is not None]

    def _disk_refused(self, words: str) -> None:
        self.log.events.error("state.dir: something could not be kept", error=words)

    def rejected(self, problems: list[str]) -> None:
        """A reload failed: the old configuration stays."""
        self.metrics.reload("rejected")
        self.log.events.error("reload rejected, the old configuration stays", problems=problems)

    def _endpoints(self) -> dict[str, Endpoint]:
        """The model endpoints, and what says where they would go: path -> who serves it."""
        table: dict[str, tuple[str, ClientCodec]] = {
            "/v1/chat/completions": ("chat", chat_codec),
            "/v1/completions": ("completion", completion_codec),
            "/v1/embeddings": ("embedding", embedding_codec),
        }
        out = {}
        for path, (operation, codec) in table.items():
            out[path] = Endpoint(operation, "openai", ModelEndpoint("openai", codec, *self._rest()))
        sounds: dict[str, tuple[str, ClientCodec]] = {
            "/v1/audio/transcriptions": ("transcription", transcription_codec),
            "/v1/audio/translations": ("translation", translation_codec),
        }
        for path, (operation, codec) in sounds.items():
            out[path] = Endpoint(operation, "openai", ModelEndpoint("openai", codec, *self._rest(), file_field=FILE))
        return out | self._relayed() | self._other_dialects() | self._explain().exact

    def _relayed(self) -> dict[str, Endpoint]:
        """The operations whose answers are passed on, at the paths by which their clients know them."""
        out = {}
        for path, operation in RELAYED_PATHS.items():
            endpoint = ModelEndpoint("openai", RelayedCodec(operation), *self._rest())
            out[path] = Endpoint(operation, "openai", endpoint)
        return out | {path: Endpoint("images", "openai", no_pictures) for path in PICTURE_FORMS}

    def _explain(self) -> ExplainPaths:
        return ExplainPaths(self.fleet, self.answers, *self._rest())

    def _find(self) -> Callable[[Scope], Endpoint | None]:
        """Looks for the endpoint of a path with a model's name in it."""
        paths = (self._explain(), GeminiPaths(*self._rest()))
        return lambda scope: next((found for p in paths if (found := p.find(scope)) is not None), None)

    def _rest(self) -> tuple[Dispatcher, Memory, Sweep, Callable[[], Settings], Files]:
        """What every model endpoint is built with, behind its codec."""
        return self.dispatcher, self.memory, self.sweep, lambda: self.settings, self.state.files

    def _other_dialects(self) -> dict[str, Endpoint]:
        """The model endpoints of all dialects but OpenAI's, and the one that keeps its answers."""
        rest = self._rest()
        responses = ResponsesEndpoint(self.answers, "openai", responses_codec, *rest)
        out = {"/v1/responses": Endpoint("chat", "openai", responses)}
        for path, operation, codec in (
            ("/v1/messages", "chat", anthropic.messages_codec),
            ("/v1/messages/count_tokens", "count_tokens", anthropic.count_codec),
        ):
            out[path] = Endpoint(operation, "anthropic", ModelEndpoint("anthropic", codec, *rest))
        forms: tuple[tuple[str, str, ClientCodec, ollama.Form | None], ...] = (
            ("/api/chat", "chat", ollama.chat_codec, "chat"),
            ("/api/generate", "chat", ollama.generate_codec, "generate"),
            ("/api/embed", "embedding", ollama.embed_codec, None),
            ("/api/embeddings", "embedding", ollama.embeddings_codec, None),
        )
        for path, operation, codec_, form in forms:
            out[path] = Endpoint(operation, "ollama", OllamaEndpoint(self.fleet, form, "ollama", codec_, *rest))
        return out

    def _routes(self) -> Any:
        app = build_routes(self.fleet, self.metrics, self.started, lambda: self.front.draining)
        add_kept(app, self.answers, self.memory)
        add_files(app, self.state.files, lambda: self.settings)
        return app

    def _rows(self) -> list[TargetRow]:
        return target_rows(self.fleet, time.monotonic())

    def _changed(self, event: str, server: Server, words: str, fact: str) -> None:
        level = self.log.events.info if event == "state" else self.log.events.warning
        level(event, backend=server.name, kind=server.kind, change=words)
        if event == "drift":
            self.metrics.drift(server.name, fact)


async def serve(
    settings: Settings,
    *,
    config: Path | None = None,
    scan: Scan | None = None,
    env: Mapping[str, str] | None = None,
    looked: Callable[[Fleet], None] | None = None,
    ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> int:
    """Serves until SIGTERM, SIGINT or `stop`. `config` is watched: a changed file or SIGHUP reloads it with `env`. So
    is what `scan` finds, where there is no file. `looked` is called when every server was looked at once, and when
    another one was found; `ready` with the base URL once the sockets listen. Raises PortTaken, StateUnusable,
    NoCredentials or CertificateUnusable. Returns the exit code."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a client's broken HTTP is not the operator's concern
    gateway = Gateway(settings)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(listen(a.host, a.port)) for a in settings.listen]
        admin = [stack.enter_context(listen(a.host, a.port)) for a in settings.admin.listen]
        try:
            await gateway.start()
        except (StateUnusable, NoCredentials):
            await gateway.state.close()
            raise
        try:
            looked = looked or (lambda _: None)
            looked(gateway.fleet)
            now = dict(os.environ if env is None else env)
            orders = Orders(stop or asyncio.Event())
            watches = []
            if config is not None:
                reload, rejected = gateway.reload, gateway.rejected
                watches.append(
                    follow(config, now, orders.reload, reload, rejected, gateway.files, settings, gateway.read)
                )
            if scan is not None:
                watches.append(_look_out(scan, gateway, now, looked))
            return await _serve_at(sockets, admin, gateway, watches, ready, orders)
        finally:
            await gateway.stop()


async def _serve_at(
    sockets: list[socket.socket],
    admin: list[socket.socket],
    gateway: Gateway,
    watches: Sequence[Coroutine[Any, Any, None]],
    ready: Callable[[str], None] | None,
    orders: Orders,
) -> int:
    """`watches` run as long as it serves."""
    tls = gateway.certificate.context if gateway.certificate is not None else None
    server, beside = HttpServer(gateway.front, tls), HttpServer(gateway.front.at_admin, tls)
    with signals(asyncio.get_running_loop(), orders):
        tasks = [asyncio.create_task(server.serve(sockets=sockets), name="http server")]
        tasks += [asyncio.create_task(watch, name="watch") for watch in watches]
        try:
            await server.wait_started(tasks[0])
            if admin:
                tasks.append(asyncio.create_task(beside.serve(sockets=admin), name="http server"))
                await beside.wait_started(tasks[-1])
            if ready is not None and not tasks[0].done():
                ready(url_of(sockets[0], "http" if tls is None else "https"))
            await either(None, orders.stop.wait(), asyncio.wait([tasks[0]]))
            if tasks[0].done():
                return _broken(gateway, tasks[0])
            settings = gateway.settings
            exposed = any(not a.loopback for a in settings.listen)
            grace = GRACE if exposed and orders.gently else 0.0
            await drain(gateway.front, server, orders, settings.timeouts.drain, grace)
        finally:
            beside.abort()
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return 0


async def _look_out(scan: Scan, gateway: Gateway, env: Mapping[str, str], looked: Callable[[Fleet], None]) -> None:
    """Takes servers in that come up later, and what takes the port of one that is gone."""

    def is_down(url: str) -> bool:
        return all(s.state == "down" for s in gateway.fleet.servers.values() if s.settings.url == url)

    def changed() -> None:
        try:
            gateway.reload(defaults(env, scan.backends()))
            looked(gateway.fleet)
        except (ConfigErrors, NoCredentials) as e:
            gateway.rejected(str(e).splitlines())

    await scan.watch(is_down, changed)


def _broken(gateway: Gateway, serving: asyncio.Task[Any]) -> int:
    """The HTTP server ended although nobody asked it to. Returns the exit code."""
    error = serving.exception()
    why = "without an error" if error is None else f"{type(error).__name__}: {error}"
    gateway.log.events.critical("the http server ended", error=why)
    return 1
