"""Who may ask: the right key in every form that a client may write it, and nobody else."""

from __future__ import annotations

import pytest

from gateway.errors import InvalidKey
from gateway.server.auth import OPEN_PATHS, Keys, take_query_key
from gateway.settings import parse
from tests.conftest import GatewayFor, Upstreams
from tests.faults.rawclient import json_request, request_bytes
from tests.faults.running import COUNTED, KEY, config

BACKENDS = "backends: {a: {kind: vllm, url: 'http://127.0.0.1:1'}}\n"


def keys(key: str = KEY) -> Keys:
    return Keys(parse(f"auth: {{api_key_env: K}}\n{BACKENDS}", {"K": key}))


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer " + KEY.encode()},
        {b"authorization": b"bearer " + KEY.encode()},
        {b"authorization": b"BEARER   " + KEY.encode() + b" "},
        {b"x-api-key": KEY.encode()},
        {b"authorization": b"Basic nonsense", b"x-api-key": KEY.encode()},
    ],
)
def test_the_right_key_is_known_however_it_is_written(headers: dict[bytes, bytes]):
    checked = keys()
    assert checked.check(headers) == checked.check(headers) != "local"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer "},
        {b"authorization": KEY.encode()},
        {b"authorization": b"Basic " + KEY.encode()},
        {b"authorization": b"Bearer " + KEY.encode()[:-1]},
        {b"authorization": b"Bearer " + KEY.encode() + b"x"},
        {b"authorization": b"Bearer " + KEY.encode() + b" " + KEY.encode()},
        {b"authorization": b"Bearer wrong", b"x-api-key": KEY.encode()},
        {b"authorization": b"Bearer \xff\xfe"},
    ],
)
def test_anything_else_is_refused_in_the_same_words(headers: dict[bytes, bytes]):
    with pytest.raises(InvalidKey) as caught:
        keys().check(headers)
    assert caught.value.message == "the API key is missing or wrong: send it as `Authorization: Bearer <key>`"


def test_keys_with_a_common_beginning_are_two_people():
    assert keys("k" * 40 + "1").check({b"x-api-key": b"k" * 40 + b"1"}) != keys("k" * 40 + "2").check(
        {b"x-api-key": b"k" * 40 + b"2"}
    )


def test_without_auth_everybody_is_local():
    assert Keys(parse(f"auth: none\n{BACKENDS}", {})).check({b"authorization": b"Bearer whatever"}).id == "local"


async def test_every_route_but_the_open_ones_wants_a_key(upstreams: Upstreams, gateway_for: GatewayFor):
    """Deny by default: the routes are those that the gateway itself lists, so that a new one is in here."""
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, auth={"api_key_env": "K"}), env={"K": KEY})
    gateway.secrets.append(KEY)
    schema = await gateway.get("/openapi.json", {"Authorization": f"Bearer {KEY}"})
    listed = {path.replace("{model}", "gemma-4") for path in schema.json()["paths"]}
    assert {"/v1/models", "/v1/models/gemma-4", *OPEN_PATHS} <= listed
    served = {*COUNTED, "/openapi.json"}
    for path in sorted(listed | served | {"/", "/v1", "/nothing", "/healthz/", "/metricsx"}):
        for method in ("GET", "POST", "HEAD", "OPTIONS", "DELETE"):
            head = request_bytes(method, path)
            got = await gateway.send(head, counts=path in served - {"/openapi.json"}, no_body=method == "HEAD")
            assert (got.status == 401) == (path not in OPEN_PATHS), (method, path, got.status)
    assert not wire.requests


GEMINI = ["/v1beta/models", "/v1beta/models/x:generateContent", "/v1alpha/files", "/upload/v1beta/files", "/v1/models"]
GEMINI += ["/v1/models/x:streamGenerateContent", "/v1/files/abc", "/v1beta1/publishers/google/models/x:generateContent"]
GEMINI += ["/models/x:generateContent", "/v1/tunedModels"]
OTHERS = [
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/responses",
    "/api/chat",
    "/api/tags",
    "/",
    "/openapi.json",
    "/v1",
]
OTHERS += ["/v1/route/explain", "/v1/route/explain/v1beta/models/x:generateContent", "/v1/embeddings", "/v1/modelsx"]


@pytest.mark.parametrize("path", GEMINI + OTHERS)
def test_a_key_in_the_url_counts_on_geminis_paths_only(path: str):
    headers: dict[bytes, bytes] = {}
    take_query_key(headers, path, b"alt=sse&key=a%2Bb")
    assert headers == ({b"x-goog-api-key": b"a+b"} if path in GEMINI else {})
    given = {b"authorization": b"Bearer x"}
    take_query_key(given, path, b"key=y")
    assert given == {b"authorization": b"Bearer x"}


async def test_a_key_in_the_url_is_nowhere_to_be_read(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, auth={"api_key_env": "K"}), env={"K": KEY})
    gateway.secrets.append(KEY)
    for path, status in (
        ("/v1beta/models", 200),
        ("/v1beta/nothing", 404),
        ("/v1/models", 200),
        ("/openapi.json", 401),
    ):
        got = await gateway.get(f"{path}?key={KEY}")
        assert got.status == status, got
    body = {"contents": [{"parts": [{"text": "hi"}]}]}
    for method, status in (("generateContent", 200), ("streamGenerateContent", 200), ("nothing", 404)):
        got = await gateway.send(json_request(f"/v1beta/models/gemma-4:{method}?key={KEY}", body))
        assert got.status == status, got
    assert (await gateway.send(json_request(f"{COUNTED[0]}?key={KEY}", {}))).status == 401
    assert wire.requests and not any(KEY in str(r.headers) or KEY in r.path for r in wire.requests)
