"""Web pages: what they may do without being asked for a key, what they are told, and by which names one gets here."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest

from gateway.errors import BadRequest, FromElsewhere, GatewayError, NotImplementedHere, UnsupportedMedia
from gateway.server.door import Door, check_head
from gateway.settings import ConfigErrors, parse
from tests.conftest import GatewayFor, Upstreams
from tests.faults.rawclient import Response, request_bytes
from tests.faults.running import CHAT, KEY, PUBLIC, ask, config

BACKENDS = "backends: {a: {kind: vllm, url: 'http://127.0.0.1:1'}}\n"
PAGE = "https://chat.example"
HI = json.dumps(ask()).encode()


def door(text: str = "auth: none\n") -> Door:
    return Door(parse(text + BACKENDS, {"K": KEY}))


def asked(
    headers: dict[str, str], method: str = "GET", path: str = "/v1/models"
) -> tuple[dict[str, Any], dict[Any, Any]]:
    return {"method": method, "path": path}, {k.lower().encode(): v.encode() for k, v in headers.items()}


def head(*fields: tuple[str, str], version: str = "1.1") -> tuple[dict[str, Any], dict[bytes, bytes]]:
    raw = [(name.lower().encode(), value.encode()) for name, value in fields]
    return {"http_version": version, "headers": raw}, dict(raw)


HERE = ["localhost", "localhost:4000", "LOCALHOST:1", "a.localhost:4000", "127.0.0.1", "127.9.9.9:80", "[::1]:4000"]
HERE += ["[::1]", "host.docker.internal:4000", "host.containers.internal", "localhost."]
ELSEWHERE = [
    "evil.example",
    "evil.example:4000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "192.168.1.5:4000",
]
ELSEWHERE += [
    "",
    "0.0.0.0:4000",
    "[::]:4000",
    "[fe80::1]",
    "localhost@evil.example",
    "a/b",
    "[::1",
    "2130706433",
    "x" * 300,
]


@pytest.mark.parametrize("host", HERE)
def test_names_of_this_machine(host: str):
    one = door()
    for _ in range(2):  # as new, and as known
        one.check(*asked({"Host": host}))


@pytest.mark.parametrize("host", ELSEWHERE)
def test_other_names_lead_nowhere_without_a_key(host: str):
    one = door()
    for _ in range(2):
        with pytest.raises(FromElsewhere) as raised:
            one.check(*asked({"Host": host}))
        assert (raised.value.status, raised.value.code) == (403, "host_not_allowed")
    door("auth: {api_key_env: K}\n").check(*asked({"Host": host, "Origin": "https://evil.example"}))


def test_names_are_not_collected_without_end():
    one = door()
    for i in range(1000):
        one.check(*asked({"Host": f"localhost:{i}"}))
    assert len(one._hosts) <= 256


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:8", "http://a.localhost"]
)
def test_pages_that_this_machine_serves_are_not_foreign(origin: str):
    door().check(*asked({"Host": "localhost", "Origin": origin}))


@pytest.mark.parametrize(
    "origin",
    ["null", "", "https://evil.example", "http://localhost.evil.example", "file://", "app://localhost", "http://"],
)
def test_pages_of_other_origins_are(origin: str):
    with pytest.raises(FromElsewhere) as raised:
        door().check(*asked({"Host": "localhost", "Origin": origin}))
    assert raised.value.code == "origin_not_allowed"


def test_what_a_browser_says_where_it_says_no_origin():
    one = door()
    for site in ("cross-site", "same-site"):
        with pytest.raises(FromElsewhere):
            one.check(*asked({"Host": "localhost", "Sec-Fetch-Site": site}, "POST"))
        one.check(*asked({"Host": "localhost", "Sec-Fetch-Site": site}))  # a link to here
    one.check(*asked({"Host": "localhost", "Sec-Fetch-Site": "same-origin"}, "POST"))


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_a_body_is_json_or_a_file(kind: str | None):
    headers = {"Host": "localhost", "Content-Length": "5"} | ({} if kind is None else {"Content-Type": kind})
    for path in (CHAT, "/api/show", "/v1/route/explain"):
        with pytest.raises(UnsupportedMedia):
            door().check(*asked(headers, "POST", path))
        door("auth: {api_key_env: K}\n").check(*asked(headers, "POST", path))
    for path in ("/v1/files", "/v1beta/files", "/upload/v1beta/files"):
        door().check(*asked(headers, "POST", path))
        with pytest.raises(FromElsewhere):
            door().check(*asked({**headers, "Origin": "https://evil.example"}, "POST", path))


def test_a_listed_page_and_its_own_name_are_welcome():
    one = door(f"auth: none\ncors: {{origins: ['{PAGE}', 'vscode-webview://abc']}}\n")
    one.check(*asked({"Host": "localhost", "Origin": PAGE}))
    one.check(*asked({"Host": "localhost", "Origin": "vscode-webview://abc"}))
    one.check(*asked({"Host": "chat.example"}))
    with pytest.raises(FromElsewhere):
        one.check(*asked({"Host": "abc"}))


def test_every_page_without_a_key_is_a_mistake():
    for auth in ("auth: none\n", ""):
        with pytest.raises(ConfigErrors, match=r'cors.origins: "\*" with auth: none lets every web page'):
            parse(f"{auth}cors: {{origins: '*'}}\n", {})
    assert parse("auth: {api_key_env: K}\ncors: {origins: '*'}\n", {"K": KEY}).cors.origins == ("*",)


# ---- heads that do not say clearly where they are for, and where they are from (RFC 9112, 3.2) ----

HOST = ("Host", "localhost")


@pytest.mark.parametrize(
    "name", ["Host", "Origin", "Sec-Fetch-Site", "Authorization", "X-Api-Key", "X-Goog-Api-Key", "Content-Type"]
)
def test_what_decides_is_said_once(name: str):
    for first, second in (("localhost", "evil.example"), ("evil.example", "localhost"), ("localhost", "localhost")):
        with pytest.raises(BadRequest, match=name) as raised:
            check_head(*head(HOST, (name, first), ("Accept", "*/*"), (name, second)))
        assert (raised.value.status, raised.value.code) == (400, "invalid_http")
    check_head(*head(HOST, *([(name, "x")] if name != "Host" else []), ("Cookie", "a"), ("Cookie", "b")))


def test_a_request_names_its_host():
    for version in ("1.1", "2"):
        with pytest.raises(BadRequest, match="no Host"):
            check_head(*head(("Accept", "*/*"), version=version))
    check_head(*head(("Accept", "*/*"), version="1.0"))


@pytest.mark.parametrize("coding", ["gzip, chunked", "identity", "chunked, chunked", "xchunked"])
def test_a_body_is_chunked_or_as_it_is(coding: str):
    with pytest.raises(NotImplementedHere):
        check_head(*head(HOST, ("Transfer-Encoding", coding)))
    with pytest.raises(GatewayError):
        check_head(*head(HOST, ("Transfer-Encoding", coding), ("Transfer-Encoding", "chunked")))
    check_head(*head(HOST, ("Transfer-Encoding", "Chunked")))


def test_any_host_is_one():
    check_head(*head(("Host", "")))  # what it may be is another question


# ---- over sockets ----


def preflight(path: str, origin: str = PAGE, **more: str) -> bytes:
    """As Chrome sends it."""
    headers = {
        "Accept": "*/*",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
        "Origin": origin,
        "Sec-Fetch-Mode": "cors",
        "Sec-Fetch-Site": "cross-site",
        **more,
    }
    return request_bytes("OPTIONS", path, headers)


def shared(got: Response) -> dict[str, str]:
    return {k: v for k, v in got.headers if k.startswith("access-control-") or k == "vary"}


async def test_a_page_that_is_listed(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, auth={"api_key_env": "K"}, cors={"origins": [PAGE]}), env={"K": KEY})
    gateway.secrets.append(KEY)
    for path in (CHAT, "/v1/models", "/v1beta/models/x:generateContent", "/nothing"):
        got = await gateway.send(preflight(path, **{"Access-Control-Request-Private-Network": "true"}), counts=False)
        assert (got.status, got.body) == (204, b"")
        assert shared(got) == {
            "access-control-allow-origin": PAGE,
            "access-control-allow-methods": "GET, HEAD, POST, DELETE",
            "access-control-allow-headers": "authorization,content-type,x-stainless-lang",
            "access-control-max-age": "600",
            "access-control-allow-private-network": "true",
            "vary": "origin",
        }
    given = {"Authorization": f"Bearer {KEY}", "Origin": PAGE}
    got = await gateway.post(CHAT, ask(), given)
    assert got.status == 200 and got.header("access-control-allow-origin") == PAGE
    told = (got.header("access-control-expose-headers") or "").split(", ")
    ours = {k for k, _ in got.headers if k.startswith("x-") and k != "x-content-type-options"}
    assert ours <= set(told) and {"x-gateway-target", "x-gateway-parts"} <= ours
    got = await gateway.post(CHAT, ask(stream=True), given)
    assert got.done and got.header("access-control-allow-origin") == PAGE
    got = await gateway.get("/v1/models", given)
    assert got.status == 200 and got.header("access-control-allow-origin") == PAGE
    # an error is readable, too; a page is told no more than its key allows
    got = await gateway.post(CHAT, ask(), {"Authorization": "Bearer wrong", "Origin": PAGE})
    assert got.status == 401 and got.header("access-control-allow-origin") == PAGE
    assert "access-control-allow-credentials" not in dict(got.headers)


async def test_a_page_that_is_not(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, auth={"api_key_env": "K"}, cors={"origins": [PAGE]}), env={"K": KEY})
    for origin in ("https://evil.example", "null", f"{PAGE}.evil.example", f"{PAGE}:444", "http://chat.example"):
        got = await gateway.send(preflight("/v1/models", origin), counts=False)
        assert got.status == 401 and shared(got) == {"vary": "origin"}
        got = await gateway.get("/v1/models", {"Origin": origin, "Authorization": f"Bearer {KEY}"})
        assert got.status == 200 and shared(got) == {"vary": "origin"}  # the browser keeps it from the page


async def test_every_page_where_it_is_said(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, auth={"api_key_env": "K"}, cors={"origins": ["*"]}), env={"K": KEY})
    got = await gateway.send(preflight(CHAT, "https://any.example"), counts=False)
    assert (got.status, got.header("access-control-allow-origin")) == (204, "*")


async def test_what_a_strange_page_can_send_without_asking(upstreams: Upstreams, gateway_for: GatewayFor):
    """Each of the requests that need no preflight, at a gateway without a key."""
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\nhi\r\n--x--\r\n'
    page = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    for path, kind, body in (
        (CHAT, "text/plain", HI),
        (CHAT, None, HI),
        (CHAT, "application/json", HI),
        ("/api/chat", "text/plain", HI),
        ("/api/show", "text/plain", b'{"model":"gemma-4"}'),
        ("/v1/files", "multipart/form-data; boundary=x", form),
        ("/upload/v1beta/files?uploadType=media", "text/plain", b"hi"),
    ):
        headers = page | ({"Content-Type": kind} if kind else {})
        got = await gateway.send(request_bytes("POST", path, headers, body), counts=path in (CHAT, "/api/chat"))
        assert got.status == 403 and not shared(got), (path, kind, got)
    got = await gateway.send(preflight(CHAT, "https://evil.example"), counts=True)
    assert got.status == 403 and not shared(got)
    rebound = [
        request_bytes("GET", path, {"Sec-Fetch-Site": "same-origin"}, host="evil.example:4000")
        for path in ("/v1/models", "/metrics", "/healthz", "/v1/files", "/openapi.json")
    ]
    for data in rebound:
        got = await gateway.send(data, counts=False)
        assert (got.status, got.error["code"]) == (403, "host_not_allowed"), got
    got = await gateway.send(
        request_bytes(
            "POST",
            CHAT,
            {"Origin": "http://evil.example:4000", "Content-Type": "application/json"},
            HI,
            "evil.example:4000",
        )
    )
    assert got.status == 403
    assert not wire.requests
    # what is no page goes on as ever
    got = await gateway.send(
        request_bytes("POST", "/v1/files", {"Content-Type": "multipart/form-data; boundary=x"}, form)
    )
    gateway.sent -= 1
    assert got.status == 200, got
    assert (await gateway.chat()).status == 200


TWICE = ["Host: {here}\r\nHost: evil.example", "Host: evil.example\r\nHost: {here}", "Accept: */*"]
TWICE += [f"Host: {{here}}\r\nOrigin: {a}\r\nOrigin: {b}" for a, b in ((PAGE, "null"), ("null", PAGE))]


@pytest.mark.parametrize("fields", TWICE)
async def test_who_says_two_things_is_answered_in_the_dialect_of_the_path(
    fields: str, upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, cors={"origins": [PAGE]}))
    said = fields.format(here=gateway.url.removeprefix("http://"))
    for path, sign in (
        (CHAT, {"code": "invalid_http"}),
        ("/v1/messages", {"type": "invalid_request_error"}),
        ("/v1beta/models/gemma-4:generateContent", {"status": "INVALID_ARGUMENT"}),
        ("/v1/files", {"code": "invalid_http"}),
    ):
        more = f"Content-Type: application/json\r\nContent-Length: {len(HI)}\r\n\r\n"
        got = await gateway.send(f"POST {path} HTTP/1.1\r\n{said}\r\n{more}".encode() + HI, counts=False)
        assert got.status == 400 and got.error is not None and sign.items() <= got.error.items(), got
        assert got.header("connection") == "close"
    asks = f"OPTIONS {CHAT} HTTP/1.1\r\n{said}\r\nAccess-Control-Request-Method: POST\r\n\r\n"
    got = await gateway.send(asks.encode(), counts=False)
    assert got.status == 400 and not shared(got)
    assert not wire.requests


async def test_errors_are_told_in_the_dialect_of_the_path(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    evil = {"Origin": "https://evil.example"}
    got = await gateway.post("/v1/messages", ask(max_tokens=5), {**evil, "anthropic-version": "2023-06-01"})
    assert (got.status, got.json()["error"]["type"]) == (403, "permission_error")
    got = await gateway.post("/v1beta/models/gemma-4:generateContent", {"contents": []}, evil)
    gateway.sent += 1
    assert (got.status, got.json()["error"]["status"]) == (403, "PERMISSION_DENIED")


async def test_the_sdk_as_a_listed_page_would_use_it(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, cors={"origins": [PAGE]}))
    gateway.sent = 1
    async with httpx2.AsyncClient(headers={"Origin": PAGE}, trust_env=False) as browser:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x", max_retries=0) as sdk:
            raw = await sdk.chat.completions.with_raw_response.create(
                model=PUBLIC, messages=[{"role": "user", "content": "hi"}], extra_headers={"Origin": PAGE}
            )
        got = await browser.get(f"{gateway.url}/v1/models")
    assert raw.headers["access-control-allow-origin"] == PAGE == got.headers["access-control-allow-origin"]
