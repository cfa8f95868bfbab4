"""The only place where objects are built and joined, and the life of a serving process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from gateway.dialects import anthropic, ollama
from gateway.dialects.openai import chat_codec, completion_codec, embedding_codec
from gateway.dialects.openai.responses import responses_codec
from gateway.engine.admission import Memory
from gateway.engine.deadlines import Sweep
from gateway.engine.dispatch import Dispatcher
from gateway.engine.fleet import Deployment, Fleet, Server
from gateway.engine.job import ClientCodec
from gateway.engine.probe import Prober
from gateway.engine.record import Recorder
from gateway.engine.relay import Relay
from gateway.engine.route import Router
from gateway.engine.upstream import Upstream
from gateway.observe import Log, Metrics
from gateway.server.auth import Keys
from gateway.server.explain import ExplainEndpoint
from gateway.server.front import Endpoint, Front
from gateway.server.handlers import ModelEndpoint
from gateway.server.ollama import OllamaEndpoint
from gateway.server.protocol import Connection
from gateway.server.responses import ResponsesEndpoint
from gateway.server.routes import build_routes
from gateway.settings import ConfigErrors, NotBuilt, Settings, load, refuse_unbuilt

FLUSH = 2.0
"""Seconds that the last words of dismissed requests have to leave for their clients."""
GRACE = 5.0
"""Seconds for which a gateway that others than this machine can reach still takes connections after a SIGTERM: it takes
a load balancer so long to notice."""


class PortTaken(Exception):
    """The address can't be listened at. `address` is what the configuration says."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"can't listen at {address}: {reason}")
        self.address = address


class NeedsRestart(Exception):
    """A configuration that differs in what is fixed at the start. `names` are the paths of the keys."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"{', '.join(names)} changed: that needs a restart")
        self.names = names


def check_fixed(old: Settings, new: Settings) -> None:
    """Raises NeedsRestart. Sockets stay as they were opened: settings that were judged for other ones (`auth: none` on
    loopback) must never come into force on them."""
    same = {
        "listen": set(old.listen) == set(new.listen),
        "admin": old.admin == new.admin,
        "tls": old.tls == new.tls,
        "otel": old.otel == new.otel,
        "state": old.state == new.state,
        "log.format": old.log.format == new.log.format,
    }
    changed = [name for name, is_same in same.items() if not is_same]
    if changed:
        raise NeedsRestart(changed)


@dataclass(slots=True)
class _View:
    """One target for the gauges."""

    backend: str
    state: str
    in_flight: int
    queued: int
    ejected: bool


class Gateway:
    """All objects of one process. `front` is the app to serve; `start` and `stop` frame its life."""

    def __init__(self, settings: Settings, log: Log | None = None) -> None:
        refuse_unbuilt(settings)
        self.settings = settings
        self.fleet = Fleet()
        self.metrics = Metrics(self._views)
        self.log = log or Log(level=settings.log.level)
        self.recorder = Recorder(self.metrics, self.log)
        self.sweep = Sweep(_tick(settings))
        self.memory = Memory(settings.limits.memory)
        self.metrics.bodies(lambda: self.memory.held)
        self.keys = Keys(settings)
        self.started = int(time.time())
        self.front: Front
        self.upstream: Upstream
        self.prober: Prober
        self.relay: Relay
        self.router: Router
        self.dispatcher: Dispatcher

    async def start(self) -> None:
        """Builds what needs the running loop, and looks at every server once, briefly."""
        self.fleet.apply(self.settings)
        self.upstream = Upstream()
        self.prober = Prober(self.fleet, self._changed)
        self.relay = Relay(self.upstream, self.sweep)
        self.router = Router(self.fleet, self.relay)
        self.dispatcher = Dispatcher(self.fleet, self.router, self.relay, self.prober, self.recorder)
        self.front = Front(self._endpoints(), self._routes(), self.recorder, lambda: self.keys, lambda: self.settings)
        self.metrics.configured(self.settings.digest)
        self.sweep.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.timeouts.probe * 2):
                await self.prober.once()
        self.prober.sync()

    async def stop(self) -> None:
        await self.prober.close()
        await self.sweep.stop()
        await self.upstream.close()
        self.recorder.flush()
        self.log.flush()

    def reload(self, settings: Settings) -> None:
        """Puts a validated configuration in force, as one snapshot: requests under way keep the old one. Raises
        NotBuilt or NeedsRestart, and nothing has changed."""
        refuse_unbuilt(settings)
        check_fixed(self.settings, settings)
        keys = Keys(settings)
        self.fleet.apply(settings)
        self.settings, self.keys = settings, keys
        self.memory.limit = settings.limits.memory
        self.log.set_level(settings.log.level)
        self.prober.sync()
        self.prober.look_again()
        self.metrics.configured(settings.digest)
        self.metrics.reload("applied")
        self.log.events.info("reloaded", digest=settings.digest)

    def _endpoints(self) -> dict[str, Endpoint]:
        """The model endpoints, and what says where they would go: path -> who serves it."""
        table: dict[str, tuple[str, ClientCodec, type[ModelEndpoint]]] = {
            "/v1/chat/completions": ("chat", chat_codec, ModelEndpoint),
            "/v1/completions": ("completion", completion_codec, ModelEndpoint),
            "/v1/embeddings": ("embedding", embedding_codec, ModelEndpoint),
            "/v1/responses": ("chat", responses_codec, ResponsesEndpoint),
            "/v1/route/explain": ("explain", chat_codec, ExplainEndpoint),
        }
        out = {}
        for path, (operation, codec, kind) in table.items():
            serve = kind("openai", codec, self.dispatcher, self.memory, self.sweep, lambda: self.settings)
            out[path] = Endpoint(operation, "openai", serve)
        return out | self._other_dialects()

    def _other_dialects(self) -> dict[str, Endpoint]:
        """The model endpoints of all dialects but OpenAI's."""
        rest = self.dispatcher, self.memory, self.sweep, lambda: self.settings
        out = {}
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
        return build_routes(self.fleet, self.metrics, self.started, lambda: self.front.draining)

    def _views(self) -> list[_View]:
        now = time.monotonic()
        return [_view(d, now) for d in self.fleet.deployments()]

    def _changed(self, event: str, server: Server, words: str) -> None:
        level = self.log.events.info if event == "state" else self.log.events.warning
        level(event, backend=server.name, kind=server.kind, change=words)
        if event == "drift":
            self.metrics.drift(server.name)


def _tick(settings: Settings) -> float:
    """Seconds between two looks at who has waited too long: often enough for the shortest of the times."""
    given = [settings.timeouts, *(b.timeouts for b in settings.backends.values())]
    shortest = min(min(t.first_byte, t.idle, t.total, t.first_byte_unknown) for t in given)
    return min(1.0, min(shortest, settings.timeouts.client_body) / 4)


def _view(d: Deployment, now: float) -> _View:
    c = d.candidate
    in_flight, queued = (c.in_flight, c.queued) if d.gate.candidate is c else (0, 0)  # a shared gate counts once
    return _View(c.target.backend, c.state, in_flight, queued, c.ejected_until > now)


async def serve(
    settings: Settings,
    *,
    config: Path | None = None,
    env: Mapping[str, str] | None = None,
    ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> int:
    """Serves until SIGTERM, SIGINT or `stop`. `config` is watched: a changed file or SIGHUP reloads it with `env`.
    `ready` is called with the base URL once the sockets listen. Raises PortTaken. Returns the exit code."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a client's broken HTTP is not the operator's concern
    gateway = Gateway(settings)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(_listen(a.host, a.port)) for a in settings.listen]
        await gateway.start()
        try:
            return await _serve_at(sockets, gateway, config, env, ready, _Orders(stop or asyncio.Event()))
        finally:
            await gateway.stop()


async def _serve_at(
    sockets: list[socket.socket],
    gateway: Gateway,
    config: Path | None,
    env: Mapping[str, str] | None,
    ready: Callable[[str], None] | None,
    orders: _Orders,
) -> int:
    server = _Server(
        uvicorn.Config(
            gateway.front,
            interface="asgi3",
            loop="none",
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
        )
    )
    loop = asyncio.get_running_loop()
    handled = _signals(loop, orders)
    tasks = [asyncio.create_task(server.serve(sockets=sockets), name="http server")]
    if config is not None:
        environment = dict(os.environ if env is None else env)
        tasks.append(asyncio.create_task(_follow(gateway, config, environment, orders.reload), name="config watch"))
    try:
        await server.wait_started(tasks[0])
        if ready is not None and not tasks[0].done():
            host, port = sockets[0].getsockname()[:2]
            ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        await _either(None, orders.stop.wait(), asyncio.wait([tasks[0]]))
        if tasks[0].done():
            return _broken(gateway, tasks[0])
        exposed = any(not a.loopback for a in gateway.settings.listen)
        await _drain(gateway, server, orders, GRACE if exposed and orders.gently else 0.0)
    finally:
        for sig in handled:
            loop.remove_signal_handler(sig)
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return 0


def _broken(gateway: Gateway, serving: asyncio.Task[Any]) -> int:
    """The HTTP server ended although nobody asked it to. Returns the exit code."""
    error = serving.exception()
    why = "without an error" if error is None else f"{type(error).__name__}: {error}"
    gateway.log.events.critical("the http server ended", error=why)
    return 1


@dataclass(slots=True)
class _Orders:
    """What signals ask for. `gently` = by SIGTERM, as a supervisor stops a process that others still send to."""

    stop: asyncio.Event
    at_once: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)
    gently: bool = False

    def on_stop(self, gently: bool) -> None:
        if self.stop.is_set():
            self.at_once.set()
        else:
            self.gently = gently
            self.stop.set()


async def _either(seconds: float | None, *waits: Coroutine[Any, Any, Any]) -> None:
    """Returns when one of them is done, or after so many seconds."""
    tasks = [asyncio.create_task(wait, name="stop") for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the order of a stop is ours."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._up.set()

    async def wait_started(self, serving: asyncio.Task[Any]) -> None:
        """Returns when the sockets are served, or when serving ended before."""
        up = asyncio.create_task(self._up.wait(), name="start-up")
        await asyncio.wait([up, serving], return_when=asyncio.FIRST_COMPLETED)
        up.cancel()

    async def flush(self) -> None:
        """Returns when the last answers have left for their clients, and the connections are closed or had FLUSH
        seconds for that."""
        loop = asyncio.get_running_loop()
        end = loop.time() + FLUSH
        open_ones = self.server_state.connections
        while open_ones and (loop.time() < end or any(map(_unsent, open_ones))):  # noqa: ASYNC110  # no event for it
            await asyncio.sleep(0.05)

    def abort(self) -> None:
        """Closes what is still open."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def _unsent(connection: Any) -> int:
    """Octets that wait for a client to take them."""
    return int(connection.transport.get_write_buffer_size())


async def _drain(gateway: Gateway, server: _Server, orders: _Orders, grace: float) -> None:
    """What runs may finish within `timeouts.drain`, or until a second signal; the rest is told that the gateway stops.
    For `grace` seconds before that, new connections are still served, while /readyz tells those who send them that
    they should go elsewhere."""
    front = gateway.front
    loop = asyncio.get_running_loop()
    limit = gateway.settings.timeouts.drain
    end = loop.time() + limit
    front.draining = True
    if grace:
        await _either(min(grace, limit), orders.at_once.wait())
    front.closed = server.should_exit = True
    if front.active:
        await _either(end - loop.time(), orders.at_once.wait(), asyncio.wait(list(front.active)))
    if front.active:
        await front.dismiss()
        await _either(FLUSH, server.flush())
    else:
        await _either(end - loop.time(), orders.at_once.wait(), server.flush())
    server.abort()
    server.force_exit = True


def _signals(loop: asyncio.AbstractEventLoop, orders: _Orders) -> list[signal.Signals]:
    acts: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGTERM: lambda: orders.on_stop(gently=True),
        signal.SIGINT: lambda: orders.on_stop(gently=False),
        signal.SIGHUP: orders.reload.set,
    }
    handled = []
    for sig, act in acts.items():
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
            loop.add_signal_handler(sig, act)
            handled.append(sig)
    return handled


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # with the protocol named, asyncio sets TCP_NODELAY on what it accepts: 2 ms instead of 46 for a kept connection
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except OSError as e:
        sock.close()
        raise PortTaken(f"{host}:{port}", e.strerror or type(e).__name__) from None
    sock.setblocking(False)
    return sock


async def _follow(gateway: Gateway, config: Path, env: Mapping[str, str], now: asyncio.Event) -> None:
    """Reloads when the file's content changes (looked at every second) or when `now` is set. A configuration with an
    error leaves the old one in force."""
    seen = _content(config)
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(now.wait(), 1.0)
        forced = now.is_set()
        now.clear()
        content = _content(config)
        if content is None or (content == seen and not forced):
            continue
        seen = content
        try:
            gateway.reload(load(config, env))
        except (ConfigErrors, NotBuilt, NeedsRestart) as e:
            _rejected(gateway, str(e).splitlines())
        except Exception as e:  # noqa: BLE001  # a bug in one reload must not be the end of all reloads
            _rejected(gateway, [f"an internal error ({type(e).__name__})"])


def _rejected(gateway: Gateway, problems: list[str]) -> None:
    gateway.metrics.reload("rejected")
    gateway.log.events.error("reload rejected, the old configuration stays", problems=problems)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None  # between two steps of an editor's or a config map's replacement
