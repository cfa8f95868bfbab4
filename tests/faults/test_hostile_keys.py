"""Keys: who has none, or the wrong one, learns nothing, whatever the path or host looks like."""

from __future__ import annotations

import pytest

from tests.faults.rawclient import request_bytes
from tests.faults.running import CHAT, KEY, Running

pytestmark = pytest.mark.asyncio(loop_scope="module")

HI = b'{"model":"gemma-4","messages":[{"role":"user","content":"hi"}]}'


@pytest.mark.parametrize("host", ["", "a/b?c", "a@b", "evil.example", "127.0.0.1:1", "[::1"])
async def test_C17_odd_hosts_change_nothing(host: str, locked: Running):
    """A host that makes `request.url` say something else must not open another route (CVE-2026-48710)."""
    [wire] = locked.wires
    got = await locked.send(request_bytes("POST", CHAT, {"Content-Type": "application/json"}, HI, host=host))
    assert got.status in (400, 401), got
    assert not wire.requests


PATHS = [
    "/v1/%2e%2e/%2e%2e/etc/passwd",
    "/v1/../admin",
    "//v1/chat/completions",
    "/v1//chat/completions",
    "/v1/chat/completions/",
    "/v1/chat/completions;a=b",
    "/v1/chat%2fcompletions",
    "/V1/CHAT/COMPLETIONS",
    "/healthz/../v1/chat/completions",
    "/metrics/../v1/chat/completions",
    "/readyz%2f..%2fv1%2fchat%2fcompletions",
    "http://gateway/v1/chat/completions",
    "/v1/nothing",
    "/v1beta/nothing",
    "/admin",
    "/docs",
    "/openapi.json",
    "/redoc",
    "/.env",
    "/v1/models/%00",
    "/" + "a" * 8000,
    "/%ff%fe",
    "/v1/chat/completions?key=" + "a" * 3000,
]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p[:40])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_C18_odd_paths_need_a_key_like_plain_ones(path: str, method: str, locked: Running):
    [wire] = locked.wires
    data = request_bytes(method, path, {"Content-Type": "application/json"}, HI if method == "POST" else None)
    got = await locked.send(data, counts=False)
    await locked.take_count()
    assert 400 <= got.status < 500, got
    assert not wire.requests


async def test_C47_without_a_key_the_body_is_not_read(locked: Running):
    async with locked.client() as client:
        locked.sent += 1
        await client.send(
            request_bytes("POST", CHAT, {"Content-Type": "application/json", "Content-Length": "60000000"})
        )
        got = await client.read()
    locked.answers.append(got)
    assert (got.status, got.error["code"]) == (401, "invalid_api_key")
    assert (await locked.chat(headers={"Authorization": f"Bearer {KEY}"})).status == 200


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer the-right-ke",
        "Bearer the-right-keyx",
        "bearer the-right-key extra",
        "Basic the-right-key",
        KEY,
        "Bearer ' OR 1=1",
        "Bearer " + "a" * 30_000,
        "Bearer th\xe9-right-key",
    ],
    ids=lambda g: repr(g)[:30],
)
async def test_C45_wrong_keys_are_401(given: str | None, locked: Running):
    [wire] = locked.wires
    headers = {"Content-Type": "application/json"} | ({} if given is None else {"Authorization": given})
    got = await locked.send(request_bytes("POST", CHAT, headers, HI))
    assert (got.status, got.error["code"]) == (401, "invalid_api_key"), got
    assert not wire.requests
    for path in ("/v1/models", "/v1/models/gemma-4"):
        assert (await locked.send(request_bytes("GET", path, headers), counts=False)).status == 401
    await locked.take_count()
