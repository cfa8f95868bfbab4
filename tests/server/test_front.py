"""The door: request ids, one shape for every error, refusals that a client in the middle of an upload gets to see."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import openai
import pytest
import uvicorn

from gateway.app import Gateway
from gateway.observe import Log
from gateway.server.protocol import Connection
from gateway.settings import parse
from tests.conftest import GatewayFor, Upstreams
from tests.faults import rawclient
from tests.faults.rawclient import request_bytes
from tests.faults.running import CHAT, KEY, PUBLIC, Running, ask, config
from tests.faults.steps import Body, Head, Repeat, event_bytes

JSON = {"Content-Type": "application/json"}
GIVEN = {**JSON, "Authorization": f"Bearer {KEY}"}
UPLOAD = b'{"x":"' + b"A" * 20_000_000 + b'"}'
LIMIT = 1_000_000


@contextlib.asynccontextmanager
async def served(**more: Any) -> AsyncIterator[tuple[Gateway, str, io.StringIO]]:
    """A gateway in our hands, without backends, with the key KEY; its URL and its log."""
    log = io.StringIO()
    text = {"auth": {"api_key_env": "K"}, "backends": {"a": {"kind": "vllm", "url": "http://127.0.0.1:9"}}, **more}
    gateway = Gateway(parse(json.dumps(text), {"K": KEY}), Log(stream=log))
    await gateway.start()
    config = uvicorn.Config(
        gateway.front, http=Connection, interface="asgi3", lifespan="off", log_config=None, port=0, ws="none"
    )
    server = uvicorn.Server(config)
    with contextlib.redirect_stderr(log):
        sock = config.bind_socket()
        task = asyncio.create_task(server._serve(sockets=[sock]))
        try:
            while not server.started:
                await asyncio.sleep(0.005)
            yield gateway, f"http://127.0.0.1:{sock.getsockname()[1]}", log
        finally:
            server.should_exit = server.force_exit = True
            await task
            await gateway.stop()
            sock.close()


# ---- refusals in the middle of an upload ----


async def by_httpx(url: str, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    async with httpx2.AsyncClient(trust_env=False) as client:
        reply = await client.request(method, url + path, content=UPLOAD, headers=headers)
        return reply.status_code, reply.json()["error"]["code"]


async def by_urllib(url: str, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        request = urllib.request.Request(url + path, UPLOAD, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as reply:
                return reply.status, ""
        except urllib.error.HTTPError as e:
            with e:
                return e.code, json.loads(e.read())["error"]["code"]

    return await asyncio.to_thread(ask)


async def by_the_sdk(url: str, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    key = headers.get("Authorization", "Bearer none").removeprefix("Bearer ")
    kind = {"Content-Type": headers["Content-Type"]}
    async with openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=10) as sdk:
        act = sdk.put if method == "PUT" else sdk.post
        with pytest.raises(openai.APIStatusError) as raised:
            await act(path, cast_to=object, body={"x": "A" * 20_000_000}, options={"headers": kind})
        return raised.value.status_code, str(raised.value.code)


CLIENTS: list[Callable[..., Awaitable[tuple[int, str]]]] = [by_httpx, by_urllib, by_the_sdk]

EARLY: dict[str, tuple[str, str, dict[str, str], tuple[int, str]]] = {
    "401": ("POST", CHAT, JSON, (401, "invalid_api_key")),
    "401 elsewhere": ("POST", "/v1/nothing", JSON, (401, "invalid_api_key")),
    "404": ("POST", "/v1/nothing", GIVEN, (404, "not_found")),
    "405": ("PUT", CHAT, GIVEN, (405, "method_not_allowed")),
    "405 elsewhere": ("POST", "/v1/models", GIVEN, (405, "method_not_allowed")),
    "413": ("POST", CHAT, GIVEN, (413, "request_too_large")),
    "413 of explain": ("POST", "/v1/route/explain", GIVEN, (413, "request_too_large")),
    "415": ("POST", CHAT, {**GIVEN, "Content-Type": "text/plain"}, (415, "unsupported_media_type")),
}


@pytest.mark.parametrize("client", CLIENTS, ids=lambda c: c.__name__)
async def test_every_early_refusal_is_seen(client: Callable[..., Awaitable[tuple[int, str]]]):
    async with served(limits={"body": LIMIT}) as (gateway, url, log):
        for name, (method, path, headers, wanted) in EARLY.items():
            assert await client(url, method, path, headers) == wanted, name
        gateway.front.draining = gateway.front.closed = True
        assert await client(url, "POST", CHAT, GIVEN) == (503, "server_shutting_down")
        gateway.front.draining = gateway.front.closed = False
        gateway.reload(parse("auth: {api_key_env: K}\nbackends: {}\nlimits: {memory: 1000000}\n", {"K": KEY}))
        assert await client(url, "POST", CHAT, GIVEN) == (503, "server_is_overloaded")
        assert gateway.memory.held == 0
        assert "Traceback" not in log.getvalue() and "ASGI" not in log.getvalue(), log.getvalue()


async def test_the_sdk_uploads_a_body_that_is_too_large_once(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, limits={"body": LIMIT}))
    gateway.sent = 1
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x", max_retries=2, timeout=10) as sdk:
        with pytest.raises(openai.APIStatusError) as raised:
            await sdk.chat.completions.create(model=PUBLIC, messages=[{"role": "user", "content": "A" * 20_000_000}])
    assert raised.value.status_code == 413
    await gateway.settled()


async def test_a_client_that_waits_to_be_asked_for_its_body_is_refused_without_it():
    async with served() as (_, url, _), rawclient.RawClient(url) as client:
        head = {**JSON, "Content-Length": "5000", "Expect": "100-continue"}
        await client.send(request_bytes("POST", CHAT, head))
        got = await client.read()
        assert (got.status, got.header("connection")) == (401, "close")
        assert await client.ended(1.0) == b""


@pytest.mark.parametrize(
    "value", [{}, {"model": 5}, ask(model="nothing"), ask(temperature="hot"), [], {"model": PUBLIC, "messages": []}]
)
async def test_a_refusal_of_a_body_that_was_read_keeps_the_connection(
    value: Any, upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    async with gateway.client() as client:
        for _ in range(2):
            gateway.sent += 1
            await client.send(rawclient.json_request(CHAT, value))
            got = await client.read()
            assert 400 <= got.status < 500 and got.header("connection") is None, got


# ---- one shape ----


def shape(got: rawclient.Response) -> dict[str, Any]:
    """What must not depend on who answers: header names, and the error without its words."""
    names = {k for k, _ in got.headers} - {"date"}
    error = got.json()["error"]
    return {
        "status": got.status,
        "names": sorted(names),
        "keys": sorted(error),
        "type": error["type"],
        "code": error["code"],
        "param": error["param"],
        "content-type": got.header("content-type"),
        "retry": got.header("x-should-retry"),
    }


FAULTS: dict[str, tuple[dict[str, str], str]] = {
    "no key": (JSON, "POST"),
    "a wrong key": ({**JSON, "Authorization": "Bearer wrong"}, "POST"),
    "a method that is not taken": (GIVEN, "DELETE"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_the_same_fault_looks_the_same_on_every_path(name: str):
    headers, method = FAULTS[name]
    async with served() as (_, url, _):
        shapes = [
            shape(await rawclient.send(url, request_bytes(method, path, headers, b"{}")))
            for path in (CHAT, "/v1/embeddings", "/v1/route/explain", "/v1/models", "/v1/models/x")
        ]
    assert all(s == shapes[0] for s in shapes), shapes
    assert shapes[0]["keys"] == ["code", "message", "param", "type"]
    assert "x-request-id" in shapes[0]["names"]


async def test_a_model_that_is_not_there_looks_the_same_on_every_path():
    async with served() as (_, url, _):
        asked = await rawclient.send(url, rawclient.json_request(CHAT, ask(model="nothing"), GIVEN))
        looked_up = await rawclient.send(url, request_bytes("GET", "/v1/models/nothing", GIVEN))
        explained = await rawclient.send(url, rawclient.json_request("/v1/route/explain", ask(model="nothing"), GIVEN))
    assert shape(asked) == shape(looked_up) == shape(explained)
    assert asked.status == 404


async def test_a_bug_looks_the_same_on_every_path_and_is_told_to_the_operator():
    async with served() as (gateway, url, log):

        def broken(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("secret-text")

        gateway.router.route = gateway.fleet.resolve = gateway.fleet.names = broken  # type: ignore[method-assign]
        got = [
            await rawclient.send(url, rawclient.json_request(CHAT, ask(), GIVEN)),
            await rawclient.send(url, rawclient.json_request("/v1/route/explain", ask(), GIVEN)),
            await rawclient.send(url, request_bytes("GET", "/v1/models", GIVEN)),
            await rawclient.send(url, request_bytes("GET", "/v1/models/x", GIVEN)),
        ]
        text = log.getvalue()
        assert b"gateway_bugs_total 4.0\n" in gateway.metrics.render()
    for answer in got:
        assert shape(answer) == shape(got[0]) and answer.status == 500
        assert answer.header("x-request-id") in answer.error["message"]
        assert b"secret-text" not in answer.body
    assert text.count('"event":"bug"') == 4 and "ZeroDivisionError in" in text
    assert "secret-text" not in text and "Traceback" not in text


# ---- ids, heads, paths ----


async def test_request_ids_are_all_different_and_a_given_one_is_kept():
    async with served() as (_, url, _), httpx2.AsyncClient(trust_env=False) as client:
        ids = [(await client.get(f"{url}/healthz")).headers["x-request-id"] for _ in range(10)]
        given = await client.get(f"{url}/healthz", headers={"x-request-id": "mine_1"})
    assert len(set(ids)) == 10 and all(i.startswith("req_") for i in ids)
    assert given.headers["x-request-id"] == "mine_1"


@pytest.fixture
async def gateway(upstreams: Upstreams, gateway_for: GatewayFor) -> Running:
    [wire] = await upstreams()
    return await gateway_for(config(wire))


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v1/models", f"/v1/models/{PUBLIC}"])
async def test_HEAD_is_GET_without_the_body(path: str, gateway: Running):
    asked = await gateway.get(path)
    head = await gateway.send(request_bytes("HEAD", path), counts=False, no_body=True)
    assert asked.status == head.status == 200
    assert head.header("content-type") == asked.header("content-type")
    if path != "/metrics":  # which changes
        assert head.header("content-length") == str(len(asked.body))


@pytest.mark.parametrize("path", ["/v1/models/", "/healthz/", "/v1/route/explain/", "/v1/chat/completions/"])
async def test_no_path_is_answered_with_a_redirect(path: str, gateway: Running):
    for method in ("GET", "POST"):
        data = request_bytes(method, path, {**JSON, "Host": "evil.localhost"}, b"{}" if method == "POST" else None)
        got = await gateway.send(data, counts=False)
        assert got.status in (404, 405) and got.header("location") is None, got


async def test_methods_that_a_path_takes_are_named(gateway: Running):
    got = await gateway.send(request_bytes("DELETE", "/v1/models"), counts=False)
    assert (got.status, got.header("allow")) == (405, "GET, HEAD")
    got = await gateway.send(request_bytes("GET", "/v1/route/explain"))
    assert (got.status, got.header("allow")) == (405, "POST")


# ---- clients that do not listen, models that are called anything ----


async def test_a_stop_does_not_wait_for_clients_that_do_not_read():
    async with served() as (gateway, url, _):
        stuck = asyncio.Event()

        async def endless(_scope: Any, _headers: Any, receive: Any, outlet: Any, *_: Any) -> None:
            outlet.watch(receive)
            await outlet.begin([], "text/event-stream")
            try:
                while True:
                    if outlet._connection.flow.write_paused:
                        stuck.set()
                    await outlet.write(b"x" * 65536)
            except asyncio.CancelledError:
                await outlet.write(b"last words")  # as the engine does
                raise

        gateway.front._endpoints[CHAT].serve = endless
        async with rawclient.RawClient(url, 4096) as client:
            await client.send(rawclient.json_request(CHAT, ask(), GIVEN))
            await asyncio.wait_for(stuck.wait(), 5)
            [outlet] = gateway.front.active.values()
            await asyncio.wait_for(gateway.front.dismiss(), 5)
            assert outlet.gone
            for _ in range(100):
                if not gateway.front.active:
                    break
                await asyncio.sleep(0.01)
            assert not gateway.front.active


async def test_a_model_that_is_called_anything_breaks_no_head(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(model="bad\nname: größe")
    gateway = await gateway_for(config(wire))
    for stream in (False, True):
        got = await gateway.chat(stream=stream)
        assert got.status == 200
        assert got.header("x-gateway-target") == "one/bad%0Aname: gr%C3%B6%C3%9Fe"


async def test_the_connection_of_a_client_that_stops_reading_is_reset(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(Head(), Repeat([Body(event_bytes("x" * 4000))], 0))
    gateway = await gateway_for(config(wire, timeouts={"idle": 0.5, "send_stall": 0.5}))
    async with gateway.client(ask(stream=True), window=4096) as client:
        response = await client.read_head()
        await gateway.settled(5.0)
        got = 0
        async for piece in client.pieces(response):
            got += len(piece)
        assert not response.clean and got < 1_000_000, "what was not sent is not offered any more"
    assert [x["code"] for x in gateway.log_lines if "status" in x] == ["client_stalled"]
