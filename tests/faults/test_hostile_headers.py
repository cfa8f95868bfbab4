"""Headers: what a client sends does not travel on, what an upstream says does not travel back."""

from __future__ import annotations

import pytest

from tests.faults import answers
from tests.faults.running import CANARY, Running
from tests.faults.steps import Json

pytestmark = pytest.mark.asyncio(loop_scope="module")

SMUGGLED = {
    "Authorization": f"Bearer {CANARY}",
    "X-Api-Key": CANARY,
    "Api-Key": CANARY,
    "X-Goog-Api-Key": CANARY,
    "Cookie": f"session={CANARY}",
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "evil.example",
    "Forwarded": "for=203.0.113.9",
    "Via": "1.1 evil",
    "X-Portkey-Custom-Host": "http://127.0.0.1:9/",
    "X-Upstream": "http://127.0.0.1:9/",
    "Proxy-Authorization": f"Basic {CANARY}",
    "Accept-Encoding": "gzip, br",
    "User-Agent": "evil/1.0",
    "Origin": "https://evil.localhost",
    "Range": "bytes=0-1",
    "X-Odd": "a\tb",
    "TE": "trailers",
    "Trailer": "X-Evil",
}


@pytest.mark.parametrize("stream", [False, True])
async def test_C33_client_headers_do_not_travel(stream, shared: Running):
    [wire] = shared.wires
    got = await shared.chat(stream=stream, headers=SMUGGLED)
    assert (got.status, got.text) == (200, answers.TEXT)
    seen = wire.requests[0].headers
    assert {k for k, _ in seen} <= {
        "host",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "x-request-id",
        "user-agent",
        "traceparent",
    }, seen
    assert wire.requests[0].header("host") == f"127.0.0.1:{wire.port}"
    assert wire.requests[0].header("accept-encoding") == "identity"
    for name in ("server", "set-cookie", "location", "keep-alive", "access-control-allow-origin"):
        assert name not in {k for k, _ in got.headers} or name == "server", got.headers


async def test_upstream_headers_do_not_travel_either(shared: Running):
    [wire] = shared.wires
    leaks = {"Set-Cookie": "a=b", "Server": "llama.cpp", "Location": "http://10.0.0.7/", "X-Internal": "10.0.0.7"}
    wire.answer(Json(headers=leaks))
    got = await shared.chat()
    assert not {"set-cookie", "location", "x-internal"} & {k for k, _ in got.headers}
    assert got.header("server") != "llama.cpp"


@pytest.mark.parametrize("given", ["abc_DEF-123", "x" * 64])
async def test_a_good_request_id_is_kept(given, shared: Running):
    [wire] = shared.wires
    got = await shared.chat(headers={"X-Request-Id": given})
    assert got.header("x-request-id") == given
    assert wire.requests[0].header("x-request-id") == given


@pytest.mark.parametrize("given", ["x" * 65, "a b", "é", "<script>", "a;b", '"'])
async def test_a_bad_request_id_is_replaced(given, shared: Running):
    got = await shared.chat(headers={"X-Request-Id": given})
    assert got.status == 200
    assert got.header("x-request-id") and given not in got.header("x-request-id")
    assert all(given not in str(line["request_id"]) for line in shared.log_lines if "request_id" in line)
