"""The limits of the configuration are in force, with the path of what is too much."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any

import pytest

from gateway.demo.media import png, wav
from tests.conftest import GatewayFor, Upstreams
from tests.faults.rawclient import json_request
from tests.faults.running import CHAT, PUBLIC, ask, config
from tests.faults.steps import Gate, Json

USER = {"role": "user", "content": "x"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
TOOL = {"type": "function", "function": {"name": "f"}}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "messages": ({"messages": 1}, {"messages": [USER, USER]}, "messages"),
    "parts": ({"parts": 1}, {"messages": [{**USER, "content": [IMAGE, IMAGE]}]}, "messages[0].content"),
    "images": ({"images": 1}, {"messages": [{**USER, "content": [IMAGE, IMAGE]}]}, "messages[0].content"),
    "tools": ({"tools": 1}, {"tools": [TOOL, {**TOOL, "function": {"name": "g"}}]}, "tools"),
    "stop": ({"stop": 1}, {"stop": ["a", "b"]}, "stop"),
    "choices": ({"choices": 1}, {"n": 2}, "n"),
    "top_logprobs": ({"top_logprobs": 1}, {"logprobs": True, "top_logprobs": 2}, "top_logprobs"),
}


@pytest.mark.parametrize(("limits", "fields", "param"), CASES.values(), ids=CASES)
async def test_what_is_too_much_for_the_configuration(
    limits: dict[str, Any], fields: dict[str, Any], param: str, upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams(slots=4)
    gateway = await gateway_for(config(wire, limits=limits))
    for path in (CHAT, "/v1/route/explain"):
        got = await gateway.post(path, ask(**fields))
        assert (got.status, got.error["param"]) == (400, param), path
    usual = await gateway_for(config(wire))
    assert (await usual.chat(**fields)).status == 200


PICTURE, SOUND = png(40, 40), wav(0.2)
PDF = b"%PDF-1.4" + bytes(5000)
MOVIE = b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(5000)


def data(mime: str, octets: bytes) -> str:
    return f"data:{mime};base64,{b64encode(octets).decode()}"


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"model": PUBLIC, "max_tokens": 5, "messages": [{"role": "user", "content": list(parts)}]}


URL = {"type": "image_url", "image_url": {"url": data("image/png", PICTURE)}}
SOURCE = {"type": "base64", "media_type": "image/png", "data": b64encode(PICTURE).decode()}
GEMINI = f"/v1beta/models/{PUBLIC}:generateContent"

MEDIA: dict[str, tuple[str, dict[str, Any], str]] = {
    "picture": (CHAT, user({"type": "text", "text": "a"}, URL), "messages[0].content[1]"),
    "sound": (
        CHAT,
        user({"type": "input_audio", "input_audio": {"data": b64encode(SOUND).decode(), "format": "wav"}}),
        "messages[0].content[0]",
    ),
    "video": (
        CHAT,
        user({"type": "video_url", "video_url": {"url": data("video/mp4", MOVIE)}}),
        "messages[0].content[0]",
    ),
    "document": (
        CHAT,
        user({"type": "file", "file": {"file_data": data("application/pdf", PDF)}}),
        "messages[0].content[0]",
    ),
    "under another name": (
        CHAT,
        user({"type": "image_url", "image_url": {"url": data("image/png", SOUND)}}),
        "messages[0].content[0]",
    ),
    "anthropic": ("/v1/messages", user({"type": "image", "source": SOURCE}), "messages[0].content[0]"),
    "gemini": (
        GEMINI,
        {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": b64encode(PICTURE).decode()}}]}]},
        "contents[0].parts[0]",
    ),
    "ollama": (
        "/api/chat",
        {"model": PUBLIC, "messages": [{"role": "user", "content": "", "images": [b64encode(PICTURE).decode()]}]},
        "messages[0].images[0]",
    ),
    "responses": (
        "/v1/responses",
        {
            "model": PUBLIC,
            "input": [{"role": "user", "content": [{"type": "input_image", "image_url": data("image/png", PICTURE)}]}],
        },
        "input[0].content[0]",
    ),
    "in a transcription": ("/v1/audio/transcriptions", {"model": PUBLIC, "file": data("audio/wav", SOUND)}, "file"),
}


@pytest.mark.parametrize(("path", "body", "param"), MEDIA.values(), ids=MEDIA)
async def test_a_medium_is_as_large_as_its_kind_may_be(
    path: str, body: dict[str, Any], param: str, upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams()
    small = await gateway_for(config(wire, limits={"image": 40, "audio": 100, "video": 100}))
    for place in (path,) if path == GEMINI else (path, f"/v1/route/explain{path}"):
        got = await small.send(json_request(place, body))
        # this dialect has no 413
        assert got.status == (400 if path == GEMINI else 413) and param in str(got.json()), (place, got)
        assert "octets, this one has" in str(got.json())
    assert not wire.requests
    usual = await gateway_for(config(wire))
    got = await usual.send(json_request(path, body))
    assert got.status in (200, 400) and "octets" not in str(got.body), got  # this server may not take it


async def test_the_largest_medium_is_taken(upstreams: Upstreams, gateway_for: GatewayFor):
    """To the octet, whatever its padding, beside one of another kind that would be too large as this one."""
    [wire] = await upstreams()
    for octets in (PICTURE, PICTURE + b"\0", PICTURE + b"\0\0"):
        for less, status in ((0, 200), (3, 413)):
            gateway = await gateway_for(config(wire, limits={"image": len(octets) - less, "audio": 10}))
            part = {"type": "image_url", "image_url": {"url": data("image/png", octets)}}
            assert (await gateway.post(CHAT, user(part))).status == status


async def test_the_length_of_a_name(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, limits={"model_name": len(PUBLIC) - 1}, unknown_model="auto"))
    assert (await gateway.chat(model="auto")).status == 200
    assert (await gateway.chat()).status == 404


async def test_sixteen_stops_are_taken(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    assert (await gateway.chat(stop=[str(k) for k in range(16)])).status == 200
    assert len(wire.bodies[-1]["stop"]) == 16
    assert (await gateway.chat(stop=[str(k) for k in range(17)])).status == 400


async def test_more_requests_than_the_gateway_may_have_are_turned_away_at_once(
    upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams(slots=8)
    gate = asyncio.Event()
    wire.answer(Gate(gate), Json())
    gateway = await gateway_for(config(wire, limits={"in_flight": 2}))
    running = [asyncio.create_task(gateway.chat(str(k))) for k in range(2)]
    await wire.seen(2)
    got = await gateway.chat("one too many")
    assert (got.status, got.error["code"], got.header("retry-after")) == (503, "server_is_overloaded", "1")
    assert (await gateway.get("/healthz")).status == 200
    gate.set()
    assert [r.status for r in await asyncio.gather(*running)] == [200, 200]
    assert (await gateway.chat("again")).status == 200


async def test_no_queue(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(slots=1)
    gate = asyncio.Event()
    wire.answer(Gate(gate), Json())
    gateway = await gateway_for(config(wire, limits={"queue": 0}))
    running = asyncio.create_task(gateway.chat())
    await wire.seen()
    got = await gateway.chat()
    assert (got.status, got.error["code"]) == (503, "server_is_overloaded")
    gate.set()
    assert (await running).status == 200


async def test_the_octets_of_bodies_are_shown(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(n_ctx=1_000_000)
    gate = asyncio.Event()
    wire.answer(Gate(gate), Json())
    gateway = await gateway_for(config(wire))
    running = asyncio.create_task(gateway.chat("x" * 200_000))
    await wire.seen()
    assert 200_000 < (await gateway.metrics()).sum("gateway_body_bytes") < 210_000
    gate.set()
    assert (await running).status == 200
