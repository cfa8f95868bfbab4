"""Hostile HTTP: broken framing, odd hosts, paths, methods and codings are refused, and reach no upstream."""

from __future__ import annotations

import pytest

from tests.faults.rawclient import request_bytes
from tests.faults.running import CHAT, Running

pytestmark = pytest.mark.asyncio(loop_scope="module")

HI = b'{"model":"gemma-4","messages":[{"role":"user","content":"hi"}]}'


BAD_HTTP: dict[str, bytes] = {
    "C16 length and chunks": request_bytes(
        "POST", CHAT, {"Content-Type": "application/json", "Content-Length": "5", "Transfer-Encoding": "chunked"}
    )
    + b"0\r\n\r\n",
    "C16 two lengths": b"POST /v1/embeddings HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "C16 a negative length": b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length: -1\r\n\r\n{}",
    "C16 a length that is none": b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length: 1_0\r\n\r\n{}",
    "C16 a bad chunk": request_bytes("POST", CHAT, {"Transfer-Encoding": "chunked"}) + b"zz\r\n{}\r\n0\r\n\r\n",
    "C16 a folded header": b"GET /v1/models HTTP/1.1\r\nHost: g\r\nX-A: 1\r\n 2\r\n\r\n",
    "C16 no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "C16 a header without a colon": b"GET /v1/models HTTP/1.1\r\nHost: g\r\nnonsense\r\n\r\n",
    "C16 a space before the colon": b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length : 2\r\n\r\n{}",
    "C44 an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_HTTP)
async def test_C16_broken_http_is_refused_and_the_next_one_served(name: str, shared: Running):
    [wire] = shared.wires
    async with shared.client() as client:
        await client.send(BAD_HTTP[name])
        client.half_close()
        said = await client.ended(3.0)
    status = int(said.split(b" ", 2)[1]) if said.startswith(b"HTTP/") else 0
    assert status in (0, 400, 404, 405, 413, 426, 431, 501, 505), said
    assert b"Traceback" not in said and b"127.0.0.1" not in said
    assert not wire.requests
    before = shared.sent
    await shared.take_count()
    assert shared.sent - before in (0, 1)
    assert (await shared.chat()).status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "HEAD", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/v1/embeddings", "/nothing"])
async def test_C44_other_methods(path: str, method: str, shared: Running):
    [wire] = shared.wires
    got = await shared.send(request_bytes(method, path), counts=False, no_body=method == "HEAD")
    await shared.take_count()
    allowed = (200, 204, 400, 404, 405) if method in ("OPTIONS", "HEAD") else (400, 404, 405)
    assert got.status in allowed, got
    if got.status == 405:
        assert got.error["code"] == "method_not_allowed" if method != "HEAD" else True
        assert got.header("allow")
    assert not wire.requests


async def test_C44_get_on_a_post_route(shared: Running):
    got = await shared.get(CHAT)
    await shared.take_count()
    assert (got.status, got.error["code"], got.header("allow")) == (405, "method_not_allowed", "POST")


async def test_C44_an_upgrade_is_not_taken(shared: Running):
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    async with shared.client() as client:
        await client.send(request_bytes("GET", CHAT, upgrade))
        got = await client.read()
    await shared.take_count()
    assert 400 <= got.status < 500, got


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "gzip, identity"])
async def test_C42_coded_bodies_are_415(coding: str, shared: Running):
    [wire] = shared.wires
    got = await shared.chat(headers={"Content-Encoding": coding})
    assert (got.status, got.error["type"]) == (415, "invalid_request_error")
    assert not wire.requests


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/xml", "image/png"])
async def test_other_media_types_are_415(kind: str, shared: Running):
    got = await shared.chat(headers={"Content-Type": kind})
    assert (got.status, got.error["code"]) == (415, "unsupported_media_type")
