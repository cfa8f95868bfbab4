"""Streams: what was said is kept, what was cut is called cut, and how bytes are sliced changes nothing."""

from __future__ import annotations

import asyncio
import json
import time

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.running import CHAT, ask, config
from tests.faults.steps import (
    Events,
    Fin,
    Finish,
    Framing,
    Gate,
    Head,
    Json,
    Repeat,
    Send,
    Sse,
    Step,
)

SAID = ["Hello", " from"]


def begun(framing: Framing = "chunked") -> list[Step]:
    role = answers.chunk({"role": "assistant", "content": ""})
    return [Head(framing), Events([role, *SAID])]


async def test_U24_tokens_for_ever_meet_the_total_limit(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(Head(), Repeat([Events(["more "])], every=0.02))
    gateway = await gateway_for(config(wire, timeouts={"total": 0.6}))
    start = time.monotonic()
    got = await gateway.chat(stream=True)
    assert got.error["code"] == "upstream_timeout"
    assert got.text.startswith("more more ")
    assert 0.5 < time.monotonic() - start < 2.0
    await wire.closed(wire.requests[0])


async def test_a_server_s_own_total_is_what_it_is_given(upstreams: Upstreams, gateway_for: GatewayFor):
    """Less than a request may take, or more."""
    one, two = await upstreams(2)
    one.answer(Head(), Repeat([Events(["more "])], every=0.02))
    two.answer(Sse(["more "] * 14, every=0.1))
    own = {"one": {"timeouts": {"total": 0.3}}, "two": {"timeouts": {"total": 5.0}}}
    models = {name: {"targets": [{"backend": backend}]} for name, backend in (("a", "one"), ("b", "two"))}
    gateway = await gateway_for(config(one, two, backends=own, models=models, timeouts={"total": 1.0}))
    start = time.monotonic()
    cut = await gateway.chat(model="a", stream=True)
    assert cut.error["code"] == "upstream_timeout"
    assert time.monotonic() - start < 1.0
    start = time.monotonic()
    whole = await gateway.chat(model="b", stream=True)
    assert (whole.error, whole.text) == (None, "more " * 14)
    assert time.monotonic() - start > 1.0


async def test_U42_what_we_do_not_know_survives(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    whole = answers.chat(timings={"predicted_ms": 2.5}, system_fingerprint="b1", vendor_extra={"deep": [1, None]})
    whole["choices"][0]["message"]["vendor_note"] = "kept"
    whole["choices"][0]["stop_reason"] = 106
    whole["usage"] = {**answers.USAGE, "prompt_tokens_details": {"cached_tokens": 3, "odd": 1}}
    wire.answer(Json(whole))
    gateway = await gateway_for(config(wire))
    got = (await gateway.chat()).json()
    assert got["timings"] == {"predicted_ms": 2.5}
    assert got["system_fingerprint"] == "b1"
    assert got["vendor_extra"] == {"deep": [1, None]}
    assert got["choices"][0]["message"]["vendor_note"] == "kept"
    assert got["choices"][0]["stop_reason"] == 106
    assert got["usage"]["prompt_tokens_details"]["odd"] == 1
    last = answers.chunk(None, usage=answers.USAGE, timings={"predicted_ms": 2.5})
    odd = answers.chunk({"content": "!", "vendor_note": "kept"}, vendor_extra={"deep": [1]})
    null = answers.chunk({"content": "?"}, usage=None)
    empty = answers.chunk(None)
    stop = answers.chunk({}, finish="stop")
    wire.answer(Head(), Events(["a", null, empty, odd, stop, last, None]), Finish())
    stream = await gateway.chat(stream=True, stream_options={"include_usage": True})
    assert (stream.text, stream.done) == ("a?!", True)
    assert any(c.get("vendor_extra") == {"deep": [1]} for c in stream.chunks)
    assert any(c["choices"] and c["choices"][0]["delta"].get("vendor_note") == "kept" for c in stream.chunks)
    assert any(c.get("timings") == {"predicted_ms": 2.5} for c in stream.chunks)


async def test_U44_old_and_odd_http(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    said = json.dumps(answers.chat()).encode()
    old = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + said
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + b"HTTP/1.1 100 Continue\r\n\r\n"
    new = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(said) + said
    gateway = await gateway_for(config(wire))
    wire.answer(Send(old, whole=True), Fin())
    assert (await gateway.chat()).text == answers.TEXT
    wire.answer(Send(hints + new, whole=True))
    assert (await gateway.chat()).text == answers.TEXT


async def test_chunks_leave_as_they_come(upstreams: Upstreams, gateway_for: GatewayFor):
    """Nothing is held back: the client has the first word while the server still holds the second."""
    [wire] = await upstreams()
    gate = asyncio.Event()
    wire.answer(*begun(), Gate(gate), Events([" wire", answers.chunk({}, finish="stop"), None]), Finish())
    gateway = await gateway_for(config(wire, timeouts={"idle": 5}))
    async with gateway.client(ask(stream=True)) as client:
        response = await client.read_head()
        await client.read_until(response, b'" from"')
        gate.set()
        await client.read_until(response, b"[DONE]")
    assert response.text == "Hello from wire"


async def test_a_body_that_says_stream_is_answered_as_one(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    got = await gateway.post(CHAT, ask(stream=True))
    assert (got.header("content-type") or "").startswith("text/event-stream")
    assert got.header("x-gateway-target") == f"one/{wire.model}"
    assert got.header("cache-control") == "no-store"
    ids = {c["id"] for c in got.chunks}
    assert len(ids) == 1
    assert {c["model"] for c in got.chunks} == {"gemma-4"}
    assert wire.bodies[0]["model"] == wire.model, "upstream gets its own name for the model"
