"""A real gateway server in this process's event loop, on a port of its own, and what must hold after every test.

`Running` counts what is sent through it and keeps every answer, so that `check` can judge them: one outcome per
request, every counter back at rest, nothing of an upstream's request left open, no task left over, nothing secret in
any answer or log line, never a 500.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.faults import rawclient
from tests.faults.rawclient import RawClient, Response
from tests.faults.wire import Wire, moments

CANARY = "sk-canary-7f3a9c"
"""The client's key: it may appear nowhere, and travels to no upstream."""
KEY = "the-right-key-d41d"
"""The gateway's own key, where it wants one."""
PROMPT = "prompt-canary-51c2"
"""A word of the prompt: in no log line, no error."""
CHAT = "/v1/chat/completions"
PUBLIC = "gemma-4"
"""The public name that the tests' targets stand behind."""

FAST: dict[str, float] = {
    "connect": 1.0,
    "first_byte": 0.8,
    "first_byte_unknown": 0.8,
    "idle": 0.8,
    "total": 5.0,
    "life_sign": 3.0,
    "liveness": 5.0,
    "facts": 60.0,
    "probe": 2.0,
}
"""Limits at a scale that tests can wait for: for tests of limits. No life sign before the first-byte limit unless a
test wants one."""

CALM: dict[str, float] = {
    "connect": 10.0,
    "first_byte": 30.0,
    "first_byte_unknown": 30.0,
    "idle": 30.0,
    "total": 120.0,
    "life_sign": 60.0,
    "liveness": 5.0,
    "facts": 60.0,
    "probe": 10.0,
}
"""For all other tests: whatever else this machine does meanwhile, no limit is passed."""

EXPECTED = ("Invalid HTTP request received.", "Unsupported upgrade request.")
"""What the HTTP server itself says of bytes that are no request."""

COUNTED = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/audio/speech",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
    "/infill",
    "/v1/route/explain",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/api/chat",
    "/api/generate",
    "/api/embed",
    "/api/embeddings",
)


def config(*wires: Wire | str, timeouts: Mapping[str, float] | None = None, **more: Any) -> dict[str, Any]:
    """One public name with the wires (or URLs) as its targets, `one`, `two`, `three`. A key whose value is a mapping is
    merged with what stands here."""
    backends: dict[str, Any] = {}
    for name, wire in zip(("one", "two", "three"), wires, strict=False):
        if isinstance(wire, str):
            backends[name] = {"kind": "openai", "url": wire}
        else:
            backends[name] = {"kind": wire.kind, "url": wire.url}
    out: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "auth": "none",
        "backends": backends,
        "models": {PUBLIC: {"targets": [{"backend": name} for name in backends]}},
        "timeouts": {**CALM, **(timeouts or {})},
    }
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            for inner, given in value.items():
                known = out[key].get(inner)
                out[key][inner] = {**known, **given} if isinstance(known, dict) and isinstance(given, dict) else given
        else:
            out[key] = value
    return out


def ask(text: str = PROMPT, **fields: Any) -> dict[str, Any]:
    """A chat request's body."""
    return {"model": PUBLIC, "messages": [{"role": "user", "content": text}], **fields}


@dataclass
class Metrics:
    """`/metrics`, read: (name, labels) -> value."""

    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    @classmethod
    def read(cls, text: str) -> Metrics:
        samples = {}
        for line in text.splitlines():
            found = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", line)
            if found and not line.startswith("#"):
                labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or "")
                samples[(found[1], frozenset(labels))] = float(found[3])
        return cls(samples)

    def sum(self, name: str, **labels: str) -> float:
        wanted = set(labels.items())
        return sum(v for (n, have), v in self.samples.items() if n == name and wanted <= have)

    def labels(self, name: str, label: str) -> dict[str, float]:
        """What is counted under each value of one label, what a counter has not seen yet left out."""
        out: dict[str, float] = {}
        for (n, have), value in self.samples.items():
            if n == name and (value or not name.endswith("_total")):
                key = dict(have).get(label, "")
                out[key] = out.get(key, 0.0) + value
        return out


@dataclass
class Running:
    """`uncounted` = requests that never became one for the gateway (their bytes were no HTTP)."""

    url: str
    wires: list[Wire]
    log: io.StringIO
    idle_tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    sent: int = 0
    answers: list[Response] = field(default_factory=list)
    secrets: list[str] = field(default_factory=lambda: [CANARY, PROMPT])

    async def send(self, data: bytes, *, counts: bool = True, no_body: bool = False) -> Response:
        self.sent += counts
        response = await rawclient.send(self.url, data, no_body=no_body)
        self.answers.append(response)
        return response

    async def post(self, path: str, value: Any, headers: dict[str, str] | None = None) -> Response:
        given = {"Authorization": f"Bearer {CANARY}", **(headers or {})}
        return await self.send(rawclient.json_request(path, value, given), counts=path in COUNTED)

    async def get(self, path: str, headers: dict[str, str] | None = None) -> Response:
        return await self.send(rawclient.request_bytes("GET", path, headers), counts=False)

    async def chat(self, text: str = PROMPT, *, headers: dict[str, str] | None = None, **fields: Any) -> Response:
        return await self.post(CHAT, ask(text, **fields), headers)

    @contextlib.asynccontextmanager
    async def client(
        self, value: Any = None, *, path: str = CHAT, window: int | None = None
    ) -> AsyncIterator[RawClient]:
        """A connection on which, if `value` is given, a request was sent; its answer is the test's to read."""
        async with RawClient(self.url, window) as client:
            if value is not None:
                self.sent += 1
                await client.send(rawclient.json_request(path, value))
            yield client

    async def metrics(self) -> Metrics:
        response = await rawclient.get(self.url, "/metrics")
        assert response.status == 200, response
        return Metrics.read(response.body.decode())

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines() if line.startswith("{")]

    async def take_count(self) -> None:
        """Takes the gateway's own count of requests for right, once none is under way: where it is its choice what it
        counts."""
        async for _ in moments(2.0, 0.03):
            metrics = await self.metrics()
            before, self.sent = self.sent, int(metrics.sum("gateway_requests_total"))
            if self.sent == before and not metrics.sum("gateway_in_flight"):
                return

    async def settled(self, within: float = 1.0) -> Metrics:
        """Waits until every counter is at rest and every request has its outcome; AssertionError names what is not."""
        open_ends: list[str] = []
        async for _ in moments(within):
            metrics = await self.metrics()
            open_ends = self._unrest(metrics)
            if not open_ends:
                return metrics
        stories = "\n".join(f"{w.url}:\n{w.story()}" for w in self.wires)
        raise AssertionError(f"not at rest {within} s after the last request: {open_ends}\n{stories}")

    def _unrest(self, metrics: Metrics) -> list[str]:
        out = [
            f"{name} = {metrics.sum(name):g}"
            for name in ("gateway_in_flight", "gateway_queued", "gateway_body_bytes")
            if metrics.sum(name) != 0
        ]
        counted = metrics.sum("gateway_requests_total")
        if counted != self.sent:
            out.append(f"gateway_requests_total = {counted:g}, sent {self.sent}")
        logged = sum("status" in line and "request_id" in line for line in self.log_lines)
        if logged != self.sent:
            out.append(f"{logged} log lines for {self.sent} requests")
        for wire in self.wires:
            out += [f"upstream request {r.nth} on connection {r.conn} is open" for r in wire.unsettled()]
        tasks = [t for t in asyncio.all_tasks() if t not in self.idle_tasks and t is not asyncio.current_task()]
        return out + [f"task {t.get_name()} {t.get_coro()!r}" for t in tasks if not _in_the_background(t)]

    async def check(self) -> None:
        """The invariants of every test."""
        await self.settled()
        for answer in self.answers:
            check_answer(answer, [*self.secrets, *(f":{w.port}" for w in self.wires)])
        for wire in self.wires:
            for request in wire.requests + wire.probes:
                assert not any(CANARY in value for _, value in request.headers), "the client's key went upstream"
        text = self.log.getvalue()
        for secret in self.secrets:
            assert secret not in text, f"a secret is in the log: {secret}"
        strangers = [x for x in text.splitlines() if x and not x.startswith("{") and x not in EXPECTED]
        assert not strangers, f"what a library had to complain about: {strangers[-30:]}"


def check_answer(answer: Response, secrets: list[str]) -> None:
    """What holds for any answer, whatever was asked."""
    whole = answer.raw_head + answer.body
    for word in [*secrets, "Traceback", "aiohttp", "site-packages", "/home/", "127.0.0.1"]:
        assert word.encode() not in whole, f"{word!r} is in an answer: {whole[-1500:]!r}"
    assert answer.status != 500 or (b'"status":"INTERNAL"' in whole and b"an internal error" not in whole), whole
    kind = (answer.header("content-type") or "").partition(";")[0]
    if answer.status >= 400 and answer.body:
        assert answer.header("x-request-id"), whole
        assert kind == "application/json", whole
        check_error(answer.json())
    if answer.status == 503:
        assert float(answer.header("retry-after") or "0") > 0, whole
    if kind == "text/event-stream" and answer.clean:
        if any(e.startswith('{"type":') for e in answer.events):
            last = json.loads(answer.events[-1])
            assert "error" in last or last["type"] in _LAST, f"a stream has no end: {answer.events[-3:]}"
            return
        if any(e.startswith('{"candidates":') for e in answer.events):
            last = json.loads(answer.events[-1])
            assert "error" in last or last["candidates"][0]["finishReason"], (
                f"a stream has no end: {answer.events[-3:]}"
            )
            return
        failed = answer.error is not None
        assert failed != answer.done, f"a stream ends with an error or with [DONE]: {answer.events[-3:]}"
        if failed:
            assert answer.events[-1] != "[DONE]" and "error" in json.loads(answer.events[-1]), answer.events[-3:]


_LAST = ("message_stop", "response.completed", "response.incomplete", "transcript.text.done", "error")
"""How the streams end whose events have a type."""


def check_error(body: Any) -> None:
    """An error in the shape of some dialect, complete."""
    error = body["error"]
    if isinstance(error, str):
        assert error and body["code"], body
        return
    if "status" in error:
        assert isinstance(error["code"], int) and error["status"].isupper() and error["message"], error
        return
    if body.get("type") != "error":
        assert {"message", "type", "param", "code"} <= set(error), error
    assert error["message"] and error["type"] and error["code"], error


def _in_the_background(task: asyncio.Task[Any]) -> bool:
    """A task that belongs to no request: of the gateway itself, or of a scripted upstream."""
    coro = getattr(task.get_coro(), "__qualname__", "")
    return (
        task.get_name() in ("gateway", "http server", "deadlines", "stop", "config watch")
        or task.get_name().startswith(("probe ", "anyio."))  # what opens a probe's connection
        or coro.startswith(("_Connection.", "Event.wait"))
    )


@contextlib.asynccontextmanager
async def running(
    settings: dict[str, Any] | str,
    *,
    wires: list[Wire] | None = None,
    env: Mapping[str, str] | None = None,
    within: float = 20.0,
) -> AsyncIterator[Running]:
    """A gateway that listens; stopped at the end. Does not check the invariants: `gateway_for` does."""
    from gateway.app import serve
    from gateway.settings import parse

    text = settings if isinstance(settings, str) else yaml.safe_dump(settings, sort_keys=False)
    log = io.StringIO()
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    libraries = logging.StreamHandler(log)
    libraries.setLevel(logging.WARNING)
    logging.getLogger().addHandler(libraries)
    with contextlib.redirect_stderr(log):
        parsed = parse(text, dict(env or {}))
        task = asyncio.create_task(serve(parsed, ready=listening.set_result, stop=stop), name="gateway")
        await asyncio.wait([task, listening], timeout=within + 5, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            task.cancel()
            await task
    gateway = Running(listening.result(), wires or [], log)
    try:
        await _known(gateway, within)
        gateway.idle_tasks = set(asyncio.all_tasks())
        yield gateway
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)
        logging.getLogger().removeHandler(libraries)
        print(log.getvalue()[-8000:])


async def _known(gateway: Running, within: float) -> None:
    """Waits until the gateway has looked at every upstream once: what it can't reach by then is down."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        state = (await gateway.metrics()).labels("gateway_target_state", "state")
        if not state.get("unprobed"):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"targets were not probed within {within} s: {state}")
