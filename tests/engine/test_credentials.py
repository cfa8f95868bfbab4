"""Tokens: found as Application Default Credentials are, cached, renewed early and by one, renewed when a server refuses
them. The endpoints that give them out listen on real sockets; the keys are made here."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.backends import Call
from gateway.backends.vertex import Backend as Vertex
from gateway.engine.credentials import (
    AGAIN,
    EARLY,
    FORCED,
    Credentials,
    Signed,
    Token,
    TokenRefused,
    Tokens,
    application_default,
    exchange,
)
from gateway.engine.upstream import Address, Upstream
from gateway.errors import BadCredentials
from gateway.settings import NoCredentials
from tests.faults.running import running
from tests.faults.steps import Answer, Json
from tests.faults.wire import Wire

SCOPE = Vertex.token_scope
HOUR = 3600.0


# ---- the cache, with a source and a clock of ours


class Bench:
    """Tokens whose source, time and failures are the test's."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fetched = 0
        self.failing: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.told: list[str] = []
        self.tokens = Tokens(lambda: self._fetch, lambda: self.now, self.told.append)

    def _fetch(self) -> Token:
        assert self.gate.wait(10)
        if self.failing is not None:
            raise self.failing
        self.fetched += 1
        return Token({"Authorization": f"Bearer t{self.fetched}"}, self.now + HOUR)

    async def get(self) -> str:
        return (await self.tokens.get()).headers["Authorization"]

    async def at_rest(self) -> None:
        """Until no renewal is under way."""
        while self.tokens._renewal is not None:
            await asyncio.gather(self.tokens._renewal, return_exceptions=True)
            await asyncio.sleep(0)


async def test_a_token_is_fetched_once_until_five_minutes_before_its_end() -> None:
    bench = Bench()
    assert await bench.get() == "Bearer t1"
    bench.now += HOUR - EARLY - 1
    assert await bench.get() == "Bearer t1"
    await bench.at_rest()
    assert bench.fetched == 1
    bench.now += 1
    bench.gate.clear()  # the source is slow, and nobody waits for it
    assert await bench.get() == "Bearer t1" and await bench.get() == "Bearer t1"
    bench.gate.set()
    await bench.at_rest()
    assert await bench.get() == "Bearer t2" and bench.fetched == 2


async def test_a_token_that_has_ended_is_waited_for() -> None:
    bench = Bench()
    await bench.get()
    bench.now += HOUR
    assert await bench.get() == "Bearer t2"


async def test_many_that_wait_are_one_renewal_and_who_leaves_does_not_end_it() -> None:
    bench = Bench()
    bench.gate.clear()
    waiting = [asyncio.create_task(bench.get()) for _ in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    bench.gate.set()
    assert await asyncio.gather(*waiting[1:]) == ["Bearer t1"] * 19
    assert bench.fetched == 1 and waiting[0].cancelled()


async def test_a_renewal_that_fails_is_said_and_the_old_token_serves_on() -> None:
    bench = Bench()
    await bench.get()
    bench.now += HOUR - EARLY
    bench.failing = TokenRefused("no token could be fetched (TransportError): it is tried again")
    for _ in range(3):
        assert await bench.get() == "Bearer t1"
        await bench.at_rest()
    assert bench.told == ["no token could be fetched (TransportError): it is tried again"] == [bench.tokens.trouble]
    bench.now += AGAIN
    bench.failing = None
    await bench.get()
    await bench.at_rest()
    assert bench.tokens.trouble == "" and await bench.get() == "Bearer t2"


async def test_without_a_token_the_client_is_told_nothing_of_why() -> None:
    bench = Bench()
    bench.failing = TokenRefused("the token was refused (invalid_grant): type this")
    for _ in range(3):  # nor is the source asked by each of them
        with pytest.raises(BadCredentials) as e:
            await bench.get()
        assert e.value.message == "the gateway has no valid credentials for the model server"
        bench.failing = TokenRefused("another reason")
    assert bench.told == ["the token was refused (invalid_grant): type this"]
    bench.now += AGAIN
    bench.failing = None
    assert await bench.get() == "Bearer t1"


async def test_a_refused_token_is_renewed_out_of_turn_but_not_again_at_once() -> None:
    bench = Bench()
    first = await bench.tokens.get()
    second = await bench.tokens.instead_of(first)
    assert second is not None and second.headers["Authorization"] == "Bearer t2"
    assert await bench.tokens.instead_of(first) is second and bench.fetched == 2  # somebody else's renewal serves
    assert await bench.tokens.instead_of(second) is None and bench.fetched == 2
    bench.now += FORCED
    third = await bench.tokens.instead_of(second)
    assert third is not None and third.headers["Authorization"] == "Bearer t3"


async def test_one_scope_is_one_token_for_all_servers() -> None:
    made = Credentials(lambda scope: Bench().tokens)
    assert made.of("a") is made.of("a") is not made.of("b")
    await made.close()


# ---- the call that carries it


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    u = Upstream()
    yield u
    await u.close()


async def test_a_call_that_is_refused_is_sent_once_more_with_a_new_token(upstream: Upstream) -> None:
    bench = Bench()
    async with Wire(kind="openai") as wire:
        wire.answer(Json({}, status=401))
        wire.answer(Json({"good": True}), nth=1)
        signed = Signed(Address(wire.url), bench.tokens)
        for expected in (200, 401):
            got = await signed.send(upstream, Call("POST", "/x", [b"{}"]), "req")
            assert got.status == expected
            await got.read_all()
        assert [r.header("authorization") for r in wire.requests] == ["Bearer t1", "Bearer t2", "Bearer t2"]
        assert [r.body for r in wire.requests] == [b"{}"] * 3
        assert signed.carrying(await bench.tokens.get()) is signed.carrying(await bench.tokens.get())


async def test_without_tokens_a_call_goes_as_it_is(upstream: Upstream) -> None:
    async with Wire(kind="openai") as wire:
        wire.answer(Json({}, status=401))
        got = await Signed(Address(wire.url), None).send(upstream, Call("POST", "/x", [b"{}"]), "req")
        assert got.status == 401 and len(wire.requests) == 1
        assert wire.requests[0].header("authorization") is None


# ---- where tokens come from


@dataclass
class Endpoint:
    """It gives out tokens, as Google's does, and as a machine's metadata server."""

    url: str = ""
    seen: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    """(method and path, headers, form) of each request."""
    refuses: dict[str, Any] | None = None
    count: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
        method, path, _ = head[0].split(" ")
        self.seen.append((f"{method} {path}", headers, {k: v[0] for k, v in parse_qs(body).items()}))
        said: Any = {"access_token": f"token-{self.count}", "expires_in": 3599, "token_type": "Bearer"}
        status = 200
        if path.startswith("/computeMetadata") and "token" not in path:
            said = {"email": "me@p", "scopes": ["x"], "aliases": ["default"]} if "service-accounts" in path else "p"
        elif self.refuses is not None and "token" in path:
            status, said = 400, self.refuses
        elif "token" in path:
            self.count += 1
            said["access_token"] = f"token-{self.count}"
        data = json.dumps(said).encode()
        writer.write(b"HTTP/1.1 %d OK\r\nmetadata-flavor: Google\r\ncontent-type: application/json\r\n" % status)
        writer.write(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(data) + data)
        await writer.drain()
        writer.close()

    def here(self, url: str, **more: Any) -> Any:
        """google-auth's transport, with Google's hosts at this address."""
        assert more.get("timeout") is None or more["timeout"] <= 120
        for host in (
            "https://oauth2.googleapis.com",
            "http://169.254.169.254",
            "http://metadata.google.internal",
        ):
            url = url.replace(host, self.url)
        assert url.startswith(self.url), url
        return exchange(url, **more)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    one = Endpoint()
    server = await asyncio.start_server(one.answer, "127.0.0.1", 0)
    one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield one
    server.close()


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine has no credentials, and no test asks whether it is Google's."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_QUOTA_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setattr("google.auth._cloud_sdk.get_project_id", lambda: None)  # it would run gcloud
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda seconds: None)
    monkeypatch.setattr("google.auth.compute_engine._metadata._NO_GCE_CHECK", True)


def service_account(endpoint: Endpoint, folder: Path) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    file = folder / "key.json"
    told = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "k1",
        "private_key": pem,
        "client_email": "gateway@p.iam.gserviceaccount.com",
        "token_uri": f"{endpoint.url}/token",
    }
    file.write_text(json.dumps(told))
    return file


def authorized_user(folder: Path, **more: str) -> Path:
    file = folder / "application_default_credentials.json"
    file.parent.mkdir(exist_ok=True)
    told = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", **more}
    file.write_text(json.dumps(told))
    return file


async def fetched(transport: Any) -> Token:
    found = await asyncio.to_thread(application_default, SCOPE, transport)
    return await asyncio.to_thread(found)


def about_an_hour(token: Token) -> bool:
    import time

    return abs(token.until - time.time() - 3599) < 60


async def test_a_service_accounts_key(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(endpoint, tmp_path)))
    token = await fetched(endpoint.here)
    assert token.headers == {"Authorization": "Bearer token-1"} and about_an_hour(token)
    ((line, _, form),) = endpoint.seen
    assert line == "POST /token" and form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert len(form["assertion"].split(".")) == 3


async def test_what_gcloud_left(endpoint: Endpoint, tmp_path: Path) -> None:
    authorized_user(tmp_path / "gcloud", quota_project_id="payer")
    token = await fetched(endpoint.here)
    assert token.headers == {"Authorization": "Bearer token-1", "x-goog-user-project": "payer"}
    assert about_an_hour(token)
    ((line, _, form),) = endpoint.seen
    assert line == "POST /token" and form["refresh_token"] == "r" and form["client_secret"] == "s"


async def test_the_metadata_server_of_a_machine(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("google.auth.compute_engine._metadata._NO_GCE_CHECK", False)
    token = await fetched(endpoint.here)
    assert token.headers == {"Authorization": "Bearer token-1"} and about_an_hour(token)
    asked = [line for line, headers, _ in endpoint.seen if headers.get("metadata-flavor") == "Google"]
    assert any("service-accounts/default/token" in line or "/token" in line for line in asked)


async def test_a_refresh_that_is_refused_names_the_way_out_and_no_secret(endpoint: Endpoint, tmp_path: Path) -> None:
    authorized_user(tmp_path / "gcloud")
    endpoint.refuses = {"error": "invalid_grant", "error_description": "me@example.com has been revoked"}
    with pytest.raises(TokenRefused) as e:
        await fetched(endpoint.here)
    said = str(e.value)
    assert said.startswith("the token was refused (invalid_grant): type `gcloud auth application-default login`")
    assert "example.com" not in said


async def test_an_endpoint_that_cannot_be_reached_is_tried_again(tmp_path: Path) -> None:
    authorized_user(tmp_path / "gcloud")

    def nobody(url: str, **more: Any) -> Any:
        return exchange("http://127.0.0.1:9/token", **more)

    with pytest.raises(TokenRefused, match="no token could be fetched"):
        await fetched(nobody)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there are no Application Default Credentials on this machine: type `gcloud auth"),
        ("", "can't be used: "),
        ("{}", "can't be used: "),
        ('{"type": "service_account", "private_key": "SECRET"}', "can't be used: "),
        ('{"type": "authorized_user", "refresh_token": "SECRET"}', "can't be used: "),
    ],
)
def test_nothing_to_find_and_broken_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "key.json").write_text(content)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(NoCredentials) as e:
        application_default(SCOPE)
    said = str(e.value)
    assert words in said and "gcloud auth application-default login" in said and "SECRET" not in said
    assert "\n" not in said


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(NoCredentials, match=r"missing\.json"):
        application_default(SCOPE)


def test_the_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(NoCredentials, match=r"pip install 'gemma-gateway\[vertex\]'"):
        application_default(SCOPE)


# ---- a whole gateway


def fleet(wire: Wire | None, **more: Any) -> dict[str, Any]:
    google = {
        "kind": "vertex",
        "url": wire.url if wire else "http://127.0.0.1:9",
        "project": "p",
        "local": False,
        **more,
    }
    models = {MODEL: {"targets": [{"backend": "google", "model": MODEL}]}}
    return {"listen": "127.0.0.1:0", "auth": "none", "backends": {"google": google}, "models": models}


MODEL = "google/gemma-4-26b-a4b-it-maas"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/projects/p/locations/global/endpoints/openapi/chat/completions"


async def test_a_gateway_gets_and_renews_its_token(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(endpoint, tmp_path)))
    async with Wire(kind="openai") as wire, running(fleet(wire), wires=[wire]) as gateway:
        wire.answer(Answer())
        wire.answer(Json({"error": {"code": 401, "message": "x", "status": "UNAUTHENTICATED"}}, status=401), nth=1)
        for _ in range(2):
            answer = await gateway.post("/v1/chat/completions", CHAT)
            assert answer.status == 200, answer.body
        assert [r.header("authorization") for r in wire.requests] == [
            "Bearer token-1",
            "Bearer token-1",
            "Bearer token-2",
        ]
        assert {r.path for r in wire.requests} == {PATH}
        assert "token-" not in gateway.log.getvalue()


async def test_a_refused_token_puts_the_server_down_with_the_reason(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service_account(endpoint, tmp_path)))
    endpoint.refuses = {"error": "invalid_grant"}
    settings = fleet(None)
    del settings["models"]
    async with running(settings) as gateway:
        answer = await gateway.post("/v1/chat/completions", CHAT)
        assert answer.status == 404, answer.body
        assert "invalid_grant" in gateway.log.getvalue()


async def test_a_key_of_the_configuration_or_a_server_of_ones_own_gets_no_token() -> None:
    async with Wire(kind="openai") as wire:
        wire.answer(Answer())
        keyed = fleet(wire, api_key_env="KEY")
        for settings, sent in ((keyed, "Bearer mine"), (fleet(wire, local=True), None)):
            wire.requests.clear()
            async with running(settings, wires=[wire], env={"KEY": "mine"}) as gateway:
                assert (await gateway.post("/v1/chat/completions", CHAT)).status == 200
            assert [r.header("authorization") for r in wire.requests] == [sent]


def test_no_credentials_is_an_error_at_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gateway.cli import run

    file = tmp_path / "gateway.yaml"
    file.write_text("listen: 127.0.0.1:0\nbackends: {google: {kind: vertex, project: p}}\n")
    for command in (["serve", str(file)], ["doctor", str(file)]):
        assert run(command) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"gateway {command[0]}: backends.google: there are no Application Default Credentials")
        assert "gcloud auth application-default login" in said and "Traceback" not in said
