"""Operations that are passed on, through a running gateway: to a server that lists them, under the same rules."""

from __future__ import annotations

import time
from typing import Any

import openai
import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.dialects.openai.test_relayed import LEAST
from tests.faults import answers
from tests.faults.rawclient import RawClient, json_request
from tests.faults.running import CANARY, KEY, PUBLIC, Running, config
from tests.faults.steps import Body, Fin, Finish, Hang, Head, Json, Reply, Reset
from tests.faults.wire import Wire

PATHS = {"rerank": "/v1/rerank", "speech": "/v1/audio/speech", "images": "/v1/images/generations", "infill": "/infill"}
RANKED = {"id": "r", "model": "/m/secret-path.gguf", "results": [{"index": 1, "relevance_score": 0.5}]}
MP3 = b"ID3" + bytes(range(256)) * 40


def body(operation: str, **more: Any) -> dict[str, Any]:
    return {**LEAST[operation], "model": PUBLIC, **more}  # type: ignore[index]


async def listed(upstreams: Upstreams, gateway_for: GatewayFor, *operations: str, **more: Any) -> tuple[Wire, Running]:
    [wire] = await upstreams(kind="openai")
    one = {"facts": {"operations": list(operations) or list(PATHS)}, **more.pop("backend", {})}
    return wire, await gateway_for(config(wire, backends={"one": one}, **more))


async def test_ranking(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await listed(upstreams, gateway_for)
    wire.answer(Json(RANKED))
    for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
        got = await gateway.post(path, body("rerank", top_n=1, zz=1))
        assert got.json() == {**RANKED, "model": PUBLIC}
        assert got.header("x-gateway-target") == f"one/{answers.MODEL}" and got.header("x-gateway-dropped") == "zz"
    assert wire.requests[0].path == "/v1/rerank"
    assert wire.bodies[0] == {**LEAST["rerank"], "top_n": 1, "model": answers.MODEL}


async def test_pictures_and_infill(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await listed(upstreams, gateway_for)
    made = {"created": 3, "data": [{"b64_json": "AAAA"}]}
    wire.answer(Json(made), path="/v1/images/generations")
    wire.answer(Json({"content": "a, b):", "model": answers.MODEL}), path="/infill")
    assert (await gateway.post("/v1/images/generations", body("images"))).json() == made
    got = await gateway.post("/infill", LEAST["infill"])
    assert got.json() == {"content": "a, b):", "model": PUBLIC}
    for path in ("/v1/images/edits", "/v1/images/variations"):
        refused = await gateway.post(path, {})
        assert refused.status == 501 and "forms with pictures" in refused.json()["error"]["message"]


async def test_speech_is_passed_on_as_it_comes(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await listed(upstreams, gateway_for)
    wire.answer(Head(type="audio/mpeg"), Body(MP3, [1000]), Finish())
    got = await gateway.post("/v1/audio/speech", body("speech"))
    assert got.body == MP3 and got.clean and got.header("content-type") == "audio/mpeg"
    assert got.header("x-gateway-target") == f"one/{answers.MODEL}"
    wire.answer(Reply(MP3, type="audio/wav"))
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=CANARY, max_retries=0) as sdk:
        gateway.sent += 1
        spoken = await sdk.audio.speech.create(model=PUBLIC, voice="alloy", input="Hello.")
        assert spoken.read() == MP3


async def test_speech_that_breaks_has_no_end(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await listed(upstreams, gateway_for)
    for end in (Reset(0.05), Fin()):
        wire.answer(Head(type="audio/mpeg"), Body(MP3), end)
        got = await gateway.post("/v1/audio/speech", body("speech"))
        assert got.status == 200 and not got.clean
    await gateway.settled()
    assert [x["status"] for x in gateway.log_lines if x.get("operation") == "speech"] == [502, 502]


async def test_speech_that_is_none(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await listed(upstreams, gateway_for)
    error = {"error": {"message": "no such voice", "type": "invalid_request_error", "param": None, "code": 400}}
    for reply, status in ((Json(error), 400), (Json({"ok": 1}), 502), (Reply(b"", type="audio/mpeg"), 502)):
        wire.answer(reply)
        assert (await gateway.post("/v1/audio/speech", body("speech"))).status == status


async def test_another_target_is_tried(upstreams: Upstreams, gateway_for: GatewayFor):
    broken, fine = await upstreams(2, kind="openai")
    facts = {"facts": {"operations": ["speech"]}}
    settings = config(broken, fine, backends={"one": facts, "two": facts})
    gateway = await gateway_for(settings)
    broken.answer(Reset())
    fine.answer(Reply(MP3, type="audio/mpeg"))
    asked = body("speech", gateway={"prefer": [{"backend": "one"}]})
    got = await gateway.post("/v1/audio/speech", asked)
    assert got.body == MP3 and got.header("x-gateway-attempts") == "2"
    assert len(broken.requests) == 1


@pytest.mark.parametrize("operation", PATHS)
async def test_nobody_lists_it(operation: str, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    gateway = await gateway_for(config(wire))
    got = await gateway.post(PATHS[operation], body(operation))
    error = got.json()["error"]
    assert (got.status, error["code"]) == (501, "not_implemented")
    assert f"does not serve {operation} requests" in error["message"] and f"[{operation}]" in error["message"]
    gateway.sent += 1
    told = (await gateway.post(f"/v1/route/explain{PATHS[operation]}", body(operation))).json()
    assert told["error"]["status"] == 501 and told["needs"]["operation"] == operation
    assert not wire.requests


async def test_what_a_probe_finds(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="llamacpp", more=("rerank", "infill"))
    wire.answer(Json({**RANKED, "model": answers.MODEL}))
    gateway = await gateway_for(config(wire))
    assert (await gateway.post("/v1/rerank", body("rerank"))).status == 200
    assert (await gateway.post("/v1/images/generations", body("images"))).status == 501


async def test_the_rails_hold(upstreams: Upstreams, gateway_for: GatewayFor):
    hosted = {"backend": {"local": False}}
    wire, gateway = await listed(upstreams, gateway_for, privacy={"text": "local"}, **hosted)
    got = await gateway.post("/v1/rerank", body("rerank"))
    assert (got.status, got.json()["error"]["code"]) == (403, "privacy_rail")
    keyed = await gateway_for(config(wire, auth={"api_key_env": "K"}), env={"K": KEY})
    for path in (*PATHS.values(), "/v1/images/edits"):
        assert (await keyed.post(path, {})).status == 401
    assert not wire.requests


@pytest.mark.parametrize("operation", ["speech", "rerank"])
async def test_leaving_closes_upstream(operation: str, upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await listed(upstreams, gateway_for)
    wire.answer(*((Head(type="audio/mpeg"), Body(MP3)) if operation == "speech" else ()), Hang())
    async with RawClient(gateway.url) as client:
        gateway.sent += 1
        await client.send(json_request(PATHS[operation], body(operation)))
        sent = await wire.seen()
        if operation == "speech":
            await client.read_until(await client.read_head(), MP3[-100:])
        left = time.monotonic()
        await client.leave()
        assert await wire.closed(sent) - left < 1.0
    await gateway.settled()
