"""Several keys over sockets: what each opens, what it is told at its limits, and what becomes of a changed file."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import trustme
import yaml
from fastapi.routing import APIRoute
from starlette.routing import Route

from gateway.app import Gateway, serve
from gateway.backends.wire import samples
from gateway.canonical.context import EVERYTHING
from gateway.errors import InvalidKey
from gateway.keys.store import Store, Wanted
from gateway.observe import Log
from gateway.server.auth import OPEN_PATHS, Keys
from gateway.settings import Settings, load, parse
from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.rawclient import Response, json_request, request_bytes
from tests.faults.running import CHAT, COUNTED, PUBLIC, Running, ask, config
from tests.faults.steps import Events, Finish, Gate, Head, Json
from tests.faults.wire import Wire

NOW = 1_800_000_000.0
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
PNG = f"data:image/png;base64,{PIXEL}"
PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "keys.yaml")


def made(store: Store, name: str, **rights: Any) -> str:
    return store.create(Wanted(name, rights), NOW)[0]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def settings_for(store: Store, *wires: Wire, **more: Any) -> dict[str, Any]:
    out = config(*wires, **more)
    out["auth"] = {"keys_file": str(store.path)}
    return out


async def started(gateway_for: GatewayFor, store: Store, *wires: Wire, **more: Any) -> Running:
    return await gateway_for(settings_for(store, *wires, **more))


# ---- the check ----


def keys_of(store: Store, wall: float = NOW) -> Keys:
    text = yaml.safe_dump({"auth": {"keys_file": str(store.path)}})
    return Keys(parse(text, {}), wall=lambda: wall)


def test_each_key_is_somebody(store: Store):
    anna, otto = made(store, "anna"), made(store, "otto", models=["gemma-4"], modalities=["image"], in_flight=1)
    keys = keys_of(store)
    one, other = (keys.check({b"authorization": b"Bearer " + k.encode()}) for k in (anna, otto))
    assert one.id != other.id and one.rights is EVERYTHING and one.meter is None
    assert other.rights.models == ("gemma-4",) and other.rights.modalities == {"image"} and other.meter is not None
    for header in (b"x-api-key", b"x-goog-api-key"):
        assert keys.check({header: anna.encode()}) is one
    assert keys.by_id(one.id) is one and keys.by_id("k_nobody") is None and keys.by_id("") is None


@pytest.mark.parametrize("wrong", ["", "gw-", "x", "gw-" + "A" * 43, None])
def test_nobody_else_is(wrong: str | None, store: Store):
    key = made(store, "anna")
    keys = keys_of(store)
    given = key[:-1] if wrong is None else wrong
    for headers in ({}, {b"authorization": f"Bearer {given}".encode()}, {b"x-api-key": given.encode()}):
        with pytest.raises(InvalidKey, match="the API key is missing or wrong"):
            keys.check(headers)
    # who reads the file has nothing to come in with
    for line in store.path.read_text().split() + store.path.with_name("keys.yaml.secret").read_text().split():
        with pytest.raises(InvalidKey):
            keys.check({b"x-api-key": line.strip("\"'").removeprefix("blake2b:").encode()})


def test_another_secret_opens_nothing(store: Store, tmp_path: Path):
    key = made(store, "anna")
    other = Store(tmp_path / "other.yaml")
    made(other, "x")
    secret = store.path.with_name("keys.yaml.secret")
    secret.write_bytes(other.path.with_name("other.yaml.secret").read_bytes())
    with pytest.raises(InvalidKey):
        keys_of(store).check({b"x-api-key": key.encode()})


def test_expired_and_revoked(store: Store):
    key = made(store, "anna", expires="2027-01-16T00:00:00Z")  # some hours after NOW
    given = {b"x-api-key": key.encode()}
    [entry] = store.keys()
    assert entry.expires is not None and entry.expires > NOW
    assert keys_of(store, entry.expires - 1).check(given).id == entry.id
    late = keys_of(store, entry.expires)
    with pytest.raises(InvalidKey, match="has expired") as raised:
        late.check(given)
    assert (raised.value.status, raised.value.code) == (401, "expired_api_key")
    assert late.by_id(entry.id) is None
    store.revoke("anna", NOW)
    with pytest.raises(InvalidKey, match="was revoked"):
        keys_of(store).check(given)
    assert keys_of(store).by_id(entry.id) is None


def test_a_thousand_keys_take_as_long_as_one():
    """A look-up, no walk: measured generously, since the machine may be busy."""
    entries = [{"id": f"k{i}", "name": f"n{i}", "digest": f"blake2b:{i:064x}"} for i in range(1000)]
    auth = parse("auth: none", {}).auth
    from gateway.settings import AuthSettings, KeySettings

    def checked(count: int) -> float:
        made_ = tuple(KeySettings(**e) for e in entries[:count])
        keys = Keys(Settings(auth=AuthSettings(mode="keys_file", keys=made_, secret=b"s" * 32)))
        best = 1.0
        for _ in range(20):
            start = time.perf_counter()
            for _ in range(100):
                with contextlib.suppress(InvalidKey):
                    keys.check({b"x-api-key": b"gw-x"})
            best = min(best, time.perf_counter() - start)
        return best

    assert auth.mode == "none" and checked(1000) < 5 * checked(1)


# ---- every route ----


def every_route(gateway: Gateway) -> set[tuple[str, str]]:
    """(method, path) of each route there is: of the framework, and of the endpoints in front of it."""
    app = gateway.front._rest
    found: set[tuple[str, str]] = set()
    for route in app.routes:  # type: ignore[attr-defined]
        assert isinstance(route, APIRoute | Route), route  # a mount would hide what is below it
        found |= {(method, route.path) for method in route.methods or set()}
    return found | {("POST", path) for path in gateway.front._endpoints}


@pytest.mark.parametrize("auth", ["one", "file"])
async def test_every_route_but_the_open_ones_wants_a_key(auth: str, store: Store):
    """Deny by default: a walk over all routes, hidden ones included."""
    made(store, "anna")
    how = {"api_key_env": "K"} if auth == "one" else {"keys_file": str(store.path)}
    text = json.dumps({"auth": how, "backends": {"a": {"kind": "vllm", "url": "http://127.0.0.1:9"}}})
    gateway = Gateway(parse(text, {"K": "the-key"}), Log(stream=None))
    gateway.fleet.apply(gateway.settings)
    await gateway.start()
    try:
        routes = every_route(gateway)
        assert len(routes) > 45
        assert {p for _, p in routes} >= OPEN_PATHS | set(COUNTED) | {"/openapi.json", "/v1/files", "/api/tags"}
        transport = httpx2.ASGITransport(app=gateway.front)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway.example") as client:
            for method, path in sorted(routes):
                url = path.replace("{model:path}", "x").replace("{", "").replace("}", "")
                for headers in ({}, {"Authorization": "Bearer wrong"}, {"x-goog-api-key": "wrong"}):
                    got = await client.request(method, url, headers=headers)
                    wanted = path not in OPEN_PATHS
                    assert (got.status_code == 401) == wanted, (method, path, got.status_code)
    finally:
        await gateway.stop()


# ---- what a key may ask for ----


@pytest.fixture
async def two(upstreams: Upstreams) -> tuple[dict[str, Any], list[Wire]]:
    """`gemma-4` at one server, `other` at another."""
    wires = await upstreams(2)
    wires[1].model = "other-model"
    out = config(*wires)
    out["models"] = {
        PUBLIC: {"aliases": ["gpt-4o-mini", "claude-*"], "targets": [{"backend": "one"}]},
        "other": {"targets": [{"backend": "two"}]},
    }
    return out, wires


async def test_models(two: Any, store: Store, gateway_for: GatewayFor):
    settings, [one, other] = two
    anna, otto = made(store, "anna", models=[PUBLIC]), made(store, "otto", models=["gpt-*", "nothing"])
    boss = made(store, "boss")
    settings["auth"] = {"keys_file": str(store.path)}
    gateway = await gateway_for(settings)
    gateway.secrets += [anna, otto, boss]

    def ids(got: Response) -> set[str]:
        return {m["id"] for m in got.json()["data"]}

    everything = ids(await gateway.get("/v1/models", bearer(boss)))
    assert {PUBLIC, "gpt-4o-mini", "other", "auto"} <= everything
    assert ids(await gateway.get("/v1/models", bearer(anna))) == {PUBLIC, "gpt-4o-mini", "auto"}
    assert ids(await gateway.get("/v1/models", bearer(otto))) == {"gpt-4o-mini"}
    tags = (await gateway.get("/api/tags", bearer(anna))).json()["models"]
    assert {m["name"].removesuffix(":latest") for m in tags} == {PUBLIC, "gpt-4o-mini", "auto"}
    cards = (await gateway.get("/v1beta/models", {"x-goog-api-key": otto})).json()["models"]
    assert [c["name"] for c in cards] == ["models/gpt-4o-mini"]

    for key, model, status in [
        (anna, PUBLIC, 200), (anna, "gpt-4o-mini", 200), (anna, "claude-x", 200), (anna, "other", 403),
        (otto, "gpt-4o-mini", 200), (otto, PUBLIC, 403), (otto, "auto", 403), (otto, "nothing", 404),
        (boss, "other", 200),
    ]:  # fmt: skip
        got = await gateway.post(CHAT, ask(model=model), bearer(key))
        assert got.status == status, (model, got)
        looked = await gateway.get(f"/v1/models/{model}", bearer(key))
        assert looked.status == status, (model, looked)
        explained = await gateway.post("/v1/route/explain", ask(model=model), bearer(key))
        assert explained.status == status
        if status == 403:
            assert (got.error["code"], got.error["param"]) == ("model_not_allowed", "model")
            assert repr(model) in got.error["message"]
        if status in (403, 404):
            assert "other" not in got.error["message"].replace(repr(model), "")
    # auto = any model that the key may use
    count = len(other.requests)
    for _ in range(3):
        got = await gateway.post(CHAT, ask(model="auto"), bearer(anna))
        assert got.status == 200 and got.header("x-gateway-target") == f"one/{one.model}"
    assert len(other.requests) == count
    [card] = [c for c in (await gateway.get("/v1/models", bearer(anna))).json()["data"] if c["id"] == "auto"]
    assert [t["target"] for t in card["gateway"]["targets"]] == [f"one/{one.model}"]


async def test_what_stands_in_for_an_unknown_name_is_not_what_was_allowed(
    two: Any, store: Store, gateway_for: GatewayFor
):
    settings, [_, other] = two
    key = made(store, "anna", models=["old-*", PUBLIC])
    settings |= {"unknown_model": "other", "auth": {"keys_file": str(store.path)}}
    gateway = await gateway_for(settings)
    assert (await gateway.post(CHAT, ask(model="old-model"), bearer(key))).status == 403
    assert not other.requests


async def test_brackets_in_a_name_are_letters(two: Any, store: Store, gateway_for: GatewayFor):
    """Claude Code asks for `claude-opus-4-6[1m]`; in shells such brackets are wildcards, here they are not."""
    settings, [one, _] = two
    settings["models"][PUBLIC]["aliases"] = ["claude-opus-4-6[1m]", "claude-*[1m]"]
    key = made(store, "anna", models=["claude-opus-4-6[1m]"])
    gateway = await gateway_for({**settings, "auth": {"keys_file": str(store.path)}})
    for model, status in [("claude-opus-4-6[1m]", 200), ("claude-opus-4-6m", 404), ("claude-sonnet-5[1m]", 403)]:
        got = await gateway.post(CHAT, ask(model=model), bearer(key))
        assert got.status == status, (model, got)
    assert len(one.requests) == 1


async def test_modalities(upstreams: Upstreams, store: Store, gateway_for: GatewayFor):
    [wire] = await upstreams()
    words, eyes = made(store, "words", modalities=["text"]), made(store, "eyes", modalities=["image"])
    gateway = await started(gateway_for, store, wire)
    assert (await gateway.chat(headers=bearer(words))).status == 200
    assert (await gateway.chat(headers=bearer(eyes))).status == 200
    assert (await gateway.post(CHAT, ask(messages=PICTURE), bearer(eyes))).status == 200
    asked = len(wire.requests)
    got = await gateway.post(CHAT, ask(messages=PICTURE), bearer(words))
    assert (got.status, got.error["code"]) == (403, "modality_not_allowed")
    assert got.error["param"] == "messages[0].content[0]"
    assert got.error["message"] == "this key may not send image; it may send: text"
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    body = {"model": PUBLIC, "max_tokens": 5, "messages": [{"role": "user", "content": [picture]}]}
    got = await gateway.send(json_request("/v1/messages", body, {"x-api-key": words}))
    assert (got.status, got.json()["error"]["type"]) == (403, "permission_error")
    assert len(wire.requests) == asked


async def test_what_a_url_leads_to_is_held_against_the_rights(
    upstreams: Upstreams, store: Store, gateway_for: GatewayFor
):
    """A sound behind the URL of a picture is a sound; nothing is asked of a server before that is known."""
    [wire] = await upstreams()

    async def give(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = b64decode(PIXEL) if b"/picture" in head else b64decode(samples.WAV)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    elsewhere = await asyncio.start_server(give, "127.0.0.1", 0)
    place = f"127.0.0.1:{elsewhere.sockets[0].getsockname()[1]}"
    eyes, ears = made(store, "eyes", modalities=["image"]), made(store, "ears", modalities=["image", "audio"])
    gateway = await started(gateway_for, store, wire, media={"remote": {"allow": [place]}})

    async def sent(key: str, what: str) -> Response:
        part = {"type": "image_url", "image_url": {"url": f"http://{place}/{what}"}}
        return await gateway.post(CHAT, ask(messages=[{"role": "user", "content": [part]}]), bearer(key))

    async with elsewhere:
        assert (await sent(eyes, "picture")).status == 200
        assert (await sent(ears, "sound")).status == 200
        asked = len(wire.requests)
        got = await sent(eyes, "sound")
        assert (got.status, got.error["code"]) == (403, "modality_not_allowed")
        assert got.error["param"] == "messages[0].content[0]"
        assert len(wire.requests) == asked


async def test_what_is_kept_belongs_to_its_key(upstreams: Upstreams, store: Store, gateway_for: GatewayFor):
    [wire] = await upstreams()
    anna, otto = made(store, "anna"), made(store, "otto")
    gateway = await started(gateway_for, store, wire)
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhi\r\n--x--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    got = await gateway.send(request_bytes("POST", "/v1/files", bearer(anna) | kind, form), counts=False)
    name = got.json()["id"]
    kept = (await gateway.post("/v1/responses", {"model": PUBLIC, "input": "hi"}, bearer(anna))).json()["id"]
    for key, status in ((anna, 200), (otto, 404)):
        assert (await gateway.get(f"/v1/files/{name}", bearer(key))).status == status
        assert (await gateway.get(f"/v1/responses/{kept}", bearer(key))).status == status
    await gateway.settled()
    lines = [x for x in gateway.log_lines if x.get("event") == "request"]
    assert lines[-1]["key"] == store.keys()[0].id


# ---- limits ----


def limits(got: Response) -> dict[str, str]:
    return {k.removeprefix("x-ratelimit-"): v for k, v in got.headers if k.startswith("x-ratelimit-")}


async def test_requests_a_minute(upstreams: Upstreams, store: Store, gateway_for: GatewayFor):
    [wire] = await upstreams()
    key, other = made(store, "anna", requests_per_minute=2), made(store, "otto")
    gateway = await started(gateway_for, store, wire)
    for left in ("1", "0"):
        got = await gateway.chat(headers=bearer(key))
        assert got.status == 200
        assert (limits(got)["limit-requests"], limits(got)["remaining-requests"]) == ("2", left)
    refused = {
        CHAT: json_request(CHAT, ask(), bearer(key)),
        "/v1/messages": json_request("/v1/messages", {}, {"x-api-key": key}),
        "/api/chat": json_request("/api/chat", {}, bearer(key)),
        "/v1beta/models/x:generateContent": json_request(
            "/v1beta/models/x:generateContent", {}, {"x-goog-api-key": key}
        ),
    }
    for path, data in refused.items():
        got = await gateway.send(data)
        assert got.status == 429, (path, got)
        assert 0 < float(got.header("retry-after") or "0") <= 30 and limits(got)["remaining-requests"] == "0"
        error = got.json()["error"]
        if path == CHAT:
            assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
            assert "2 requests a minute" in error["message"]
        elif path == "/v1/messages":
            assert error["type"] == "rate_limit_error"
        elif path != "/api/chat":
            assert error["status"] == "RESOURCE_EXHAUSTED"
    # another key is not touched, nor what asks no model
    got = await gateway.chat(headers=bearer(other))
    assert got.status == 200 and not limits(got)
    assert (await gateway.get("/v1/models", bearer(key))).status == 200
    assert len(wire.requests) == 3


async def test_a_refusal_comes_before_the_body(upstreams: Upstreams, store: Store, gateway_for: GatewayFor):
    [wire] = await upstreams()
    key = made(store, "anna", requests_per_minute=1)
    gateway = await started(gateway_for, store, wire)
    assert (await gateway.chat(headers=bearer(key))).status == 200
    async with gateway.client() as client:
        gateway.sent += 1
        head = {**bearer(key), "Content-Type": "application/json", "Content-Length": "60000000"}
        await client.send(request_bytes("POST", CHAT, head))
        assert (await client.read()).status == 429


async def test_tokens_a_minute_are_those_that_the_server_counted(
    upstreams: Upstreams, store: Store, gateway_for: GatewayFor
):
    [wire] = await upstreams()
    key = made(store, "anna", tokens_per_minute=1000)
    gateway = await started(gateway_for, store, wire)
    got = await gateway.chat(headers=bearer(key))
    usage = got.json()["usage"]
    used = usage["prompt_tokens"] + usage["completion_tokens"]
    assert used > 0
    for stream in (False, True):
        before = 1000 - used
        got = await gateway.chat(headers=bearer(key), stream=stream)
        assert got.status == 200
        guess = before - int(limits(got)["remaining-tokens"])  # what was put aside for this one
        assert 0 <= guess < 100
        used *= 2
    # a prompt that is too long for what is left now
    got = await gateway.chat("word " * 5000, headers=bearer(key))
    assert got.status == 429 and "1000 tokens a minute" in got.error["message"], got
    assert float(got.header("retry-after") or "0") >= 1
    # an answer that turned out long: the debt is paid first
    wire.answer(Json({**answers.chat(), "usage": {"prompt_tokens": 10, "completion_tokens": 5000}}))
    assert (await gateway.chat(headers=bearer(key))).status == 200
    got = await gateway.chat(headers=bearer(key))
    assert (got.status, limits(got)["remaining-tokens"]) == (429, "0")
    assert float(got.header("retry-after") or "0") > 200


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_of_a_failed_attempt_are_counted(
    stream: bool, upstreams: Upstreams, store: Store, gateway_for: GatewayFor
):
    first, second = await upstreams(2)
    key = made(store, "anna", tokens_per_minute=1000)
    gateway = await started(gateway_for, store, first, second)
    cut = answers.chat()
    cut["choices"][0]["finish_reason"] = None
    usage = {"prompt_tokens": 100, "completion_tokens": 300}
    for wire in (first, second):
        fails = (
            [Head(), Events([{"choices": [], "usage": usage}]), Finish()] if stream else [Json({**cut, "usage": usage})]
        )
        wire.answer(*fails)
    got = await gateway.chat(headers=bearer(key), stream=stream)
    assert got.status == 502
    left = int(limits(await gateway.chat(headers=bearer(key)))["remaining-tokens"])
    assert 100 < left <= 200, left  # 1000 less twice 400, and what was put aside for this one


async def test_requests_at_once(upstreams: Upstreams, store: Store, gateway_for: GatewayFor):
    [wire] = await upstreams()
    key = made(store, "anna", in_flight=1)
    gateway = await started(gateway_for, store, wire)
    gate = asyncio.Event()
    wire.answer(Gate(gate), Json(answers.chat()))
    first = asyncio.create_task(gateway.chat(headers=bearer(key)))
    await wire.until(lambda: len(wire.requests) == 1)
    got = await gateway.chat(headers=bearer(key))
    assert got.status == 429 and "1 requests under way at once" in got.error["message"]
    gate.set()
    assert (await first).status == 200
    assert (await gateway.chat(headers=bearer(key))).status == 200
    # one that its client leaves counts no longer
    wire.answer(Gate(asyncio.Event()))
    async with gateway.client() as client:
        gateway.sent += 1
        await client.send(json_request(CHAT, ask(), bearer(key)))
        await wire.until(lambda: len(wire.requests) == 3)
    await gateway.settled()
    wire.answer(Json())
    assert (await gateway.chat(headers=bearer(key))).status == 200


async def test_quotas_hold_where_nobody_needs_a_key(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, quotas={"requests_per_minute": 1}))
    assert (await gateway.chat()).status == 200
    assert (await gateway.chat()).status == 429


async def test_the_sdk_knows_each_refusal(upstreams: Upstreams, store: Store, gateway_for: GatewayFor):
    [wire] = await upstreams()
    key = made(store, "anna", requests_per_minute=2, models=[PUBLIC])
    gateway = await started(gateway_for, store, wire)
    hi: Any = [{"role": "user", "content": "hi"}]
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as sdk:
        raw = await sdk.chat.completions.with_raw_response.create(model=PUBLIC, messages=hi)
        assert raw.headers["x-ratelimit-limit-requests"] == "2"
        for one, model, kind in (
            (sdk.with_options(api_key=f"{key}x"), PUBLIC, openai.AuthenticationError),
            (sdk, "auto-mobile", openai.NotFoundError),
            (sdk, PUBLIC, openai.RateLimitError),
        ):
            with pytest.raises(kind) as raised:
                await one.chat.completions.create(model=model, messages=hi)
        assert int(raised.value.response.headers["retry-after"]) <= 30
        gateway.sent = 4
        assert {m.id async for m in sdk.models.list()} == {PUBLIC, "auto"}


# ---- files that change, HTTPS, an address for the operator ----


@contextlib.asynccontextmanager
async def followed(file: Path, settings: dict[str, Any]) -> AsyncIterator[str]:
    """A gateway that watches its file; its URL."""
    file.write_text(yaml.safe_dump(settings))
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(serve(load(file, {}), config=file, env={}, ready=listening.set_result, stop=stop))
    await asyncio.wait([task, listening], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield listening.result()
    finally:
        stop.set()
        await task


async def until(check: Any) -> None:
    for _ in range(200):
        if await check():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come about within ten seconds")


def certificate(authority: trustme.CA, folder: Path) -> str:
    """Written where `tls` looks for it; its serial number."""
    made_ = authority.issue_cert("localhost", "127.0.0.1")
    made_.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in made_.cert_chain_pems))
    return ssl.PEM_cert_to_DER_cert(made_.cert_chain_pems[0].bytes().decode()).hex()


async def test_keys_and_certificates_are_taken_over_without_a_restart(
    upstreams: Upstreams, store: Store, tmp_path: Path
):
    [wire] = await upstreams()
    anna = made(store, "anna", requests_per_minute=100)
    authority = trustme.CA()
    first = certificate(authority, tmp_path)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    settings = settings_for(store, wire, admin={"listen": "127.0.0.1:0"})
    settings["tls"] = {"cert": "cert.pem", "key": "key.pem"}
    with pytest.MonkeyPatch.context() as patch:
        sockets: list[Any] = []
        from gateway import app
        from gateway.server.listener import listen

        patch.setattr(app, "listen", lambda *a: sockets.append(listen(*a)) or sockets[-1])
        async with followed(tmp_path / "gateway.yaml", settings) as url:
            assert url.startswith("https://")
            admin = f"https://127.0.0.1:{sockets[1].getsockname()[1]}"
            async with httpx2.AsyncClient(verify=trust, trust_env=False) as client:

                async def status(key: str, where: str = url) -> int:
                    got = await client.post(f"{where}{CHAT}", json=ask(), headers=bearer(key))
                    return int(got.status_code)

                assert await status(anna) == 200
                async with client.stream("POST", url + CHAT, json=ask(stream=True), headers=bearer(anna)) as got:
                    assert "[DONE]" in "".join([text async for text in got.aiter_text()])
                # metrics are at the operator's address alone, and nothing else is there
                assert (await client.get(f"{admin}/metrics")).status_code == 200
                assert (await client.get(f"{admin}/healthz")).status_code == 200
                assert (await client.get(f"{admin}/v1/models")).status_code == 401
                assert (await client.get(f"{admin}/v1/models", headers=bearer(anna))).status_code == 404
                assert await status(anna, admin) == 404
                assert (await client.get(f"{url}/metrics")).status_code == 401
                assert (await client.get(f"{url}/metrics", headers=bearer(anna))).status_code == 404
                assert (await client.get(f"{url}/healthz")).status_code == 200
                # a new key, a revoked one
                otto = made(store, "otto")

                async def knows_otto() -> bool:
                    return await status(otto) == 200

                await until(knows_otto)
                store.revoke("anna", NOW)

                async def refuses_anna() -> bool:
                    return await status(anna) == 401

                await until(refuses_anna)
                # what is wrong changes nothing
                good = store.path.read_text()
                store.path.write_text("nonsense")

                async def rejected() -> bool:
                    text = (await client.get(f"{admin}/metrics")).text
                    return "gateway_config_last_reload_successful 0.0" in text

                await until(rejected)
                assert await status(otto) == 200
                store.path.write_text(good)
                # a renewed certificate
                second = certificate(authority, tmp_path)

            async def shown() -> str:
                host, port = sockets[0].getsockname()[:2]
                _, writer = await asyncio.open_connection(host, port, ssl=trust, server_hostname="localhost")
                found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True).hex()
                writer.close()
                return str(found)

            async def renewed() -> bool:
                return await shown() == second

            await until(renewed)
            assert first != second


@pytest.mark.parametrize(
    ("cert", "key", "said"),
    [
        (b"x", b"y", "no PEM certificate with its private key is there"),
        (None, b"y", "no PEM certificate with its private key is there"),
        (None, "other", "the key is not the certificate's"),
        (None, "locked", "wants a password"),
    ],
)
def test_a_certificate_that_is_none_is_one_line_and_exit_code_2(
    cert: bytes | None, key: bytes | str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from cryptography.hazmat.primitives import serialization as pem

    from gateway.cli import run

    one, other = (trustme.CA().issue_cert("localhost") for _ in range(2))
    if key == "locked":
        loaded = pem.load_pem_private_key(one.private_key_pem.bytes(), None)
        how = pem.BestAvailableEncryption(b"word")
        key = loaded.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, how)
    (tmp_path / "cert.pem").write_bytes(one.cert_chain_pems[0].bytes() if cert is None else cert)
    (tmp_path / "key.pem").write_bytes(other.private_key_pem.bytes() if isinstance(key, str) else key)
    file = tmp_path / "gateway.yaml"
    file.write_text("listen: 127.0.0.1:0\ntls: {cert: cert.pem, key: key.pem}\nbackends: {a: 'http://127.0.0.1:9'}\n")
    for command in ("check", "serve"):
        assert run([command, str(file)]) == 2
        told = capsys.readouterr()
        assert said in told.err and len(told.err.splitlines()) == 1 and "Traceback" not in told.err
