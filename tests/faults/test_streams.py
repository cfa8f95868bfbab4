"""Streams: what was said is kept, what was cut is called cut, and how bytes are sliced changes nothing."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.rawclient import Response
from tests.faults.running import CHAT, ask, config
from tests.faults.steps import (
    Body,
    Events,
    Fin,
    Finish,
    Framing,
    Gate,
    Hang,
    Head,
    Json,
    Repeat,
    Send,
    Slice,
    Sse,
    Step,
    event_bytes,
)
from tests.faults.table import AFTER_CONTENT, Cut

SAID = ["Hello", " from"]


def begun(framing: Framing = "chunked") -> list[Step]:
    role = answers.chunk({"role": "assistant", "content": ""})
    return [Head(framing), Events([role, *SAID])]


@pytest.mark.parametrize("cut", AFTER_CONTENT, ids=lambda c: c.id)
async def test_a_cut_stream_ends_in_an_error_and_is_never_tried_again(
    cut: Cut, upstreams: Upstreams, gateway_for: GatewayFor
):
    one, two = await upstreams(2)
    for wire in (one, two):
        wire.answer(*begun(cut.framing), *cut.steps)
    gateway = await gateway_for(config(one, two))
    got = await gateway.chat(stream=True)
    assert (got.status, got.clean) == (200, True)
    assert got.text == "".join(SAID)
    assert got.error is not None and got.error["code"] == cut.code, got.error
    assert not got.done
    assert not any(c.get("choices") and c["choices"][0].get("finish_reason") for c in got.chunks), "invented"
    assert not any(c.get("usage") for c in got.chunks), "invented"
    assert len(one.requests) + len(two.requests) == 1
    if cut.closes:
        [request] = one.requests + two.requests
        await (one if one.requests else two).closed(request)


@pytest.mark.parametrize(
    "steps",
    [
        [Sse(done=False)],
        [Sse(done=False, framing="close")],
        [Sse(done=False, end=False), Fin()],
    ],
    ids=["U22 ended in order", "U22 closed where that ends the body", "U22 closed without the last chunk"],
)
async def test_U22_a_finish_without_the_end_mark_is_complete(
    steps: list[Step], upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams()
    wire.answer(*steps)
    gateway = await gateway_for(config(wire))
    got = await gateway.chat(stream=True)
    assert (got.text, got.done, got.error) == (answers.TEXT, True, None)


async def test_U23_an_end_mark_ends_it_though_the_connection_stays_open(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(Sse(end=False), Hang())
    gateway = await gateway_for(config(wire))
    start = time.monotonic()
    got = await gateway.chat(stream=True)
    assert (got.text, got.done) == (answers.TEXT, True)
    assert time.monotonic() - start < 0.3
    await wire.closed(wire.requests[0])


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


def plain(got: Response) -> tuple[str, list[str], bool, object]:
    """What a client makes of a stream."""
    finishes = [c["choices"][0]["finish_reason"] for c in got.chunks if c.get("choices")]
    usages = [c["usage"] for c in got.chunks if c.get("usage")]
    return got.text, [f for f in finishes if f], got.done, usages


TEXTS = ["Grüße", " 世界", " 🎉", "\n\ndata: [DONE]\r\n", "", " end"]


def stream_body(newline: bytes = b"\n", colon: bytes = b": ", head: bytes = b"", extra: bytes = b"") -> bytes:
    out = head
    for event in [*answers.chunks(TEXTS), None]:
        data = event_bytes(event).strip().removeprefix(b"data: ")
        out += extra + b"data" + colon + data + newline + newline
    return out


VARIANTS = {
    "plain": stream_body(),
    "CRLF": stream_body(b"\r\n"),
    "CR": stream_body(b"\r"),
    "no space": stream_body(colon=b":"),
    "byte order mark": stream_body(head=b"\xef\xbb\xbf"),
    "other fields": stream_body(extra=b"event: message\nid: 7\nretry: 100\n: comment\n"),
    "several lines": stream_body().replace(b',"created"', b',\ndata: "created"'),
}


@pytest.mark.parametrize("sizes", [[], [1], [2], [3], [7], [1, 50, 3, 11]], ids=str)
@pytest.mark.parametrize("variant", VARIANTS)
async def test_U43_slicing_changes_nothing(
    variant: str, sizes: list[int], upstreams: Upstreams, gateway_for: GatewayFor
):
    [wire] = await upstreams()
    wire.answer(Head(), Body(VARIANTS[variant], sizes), Finish())
    gateway = await gateway_for(config(wire, timeouts={"first_byte": 5, "first_byte_unknown": 5, "idle": 5}))
    got = await gateway.chat(stream=True, stream_options={"include_usage": True})
    assert got.error is None
    assert plain(got) == ("".join(TEXTS), ["stop"], True, [answers.USAGE])


@pytest.mark.parametrize("size", [1, 5])
async def test_U43_slicing_of_segments_changes_nothing(size: int, upstreams: Upstreams, gateway_for: GatewayFor):
    """The same below HTTP's own framing: head, chunk sizes and chunks cut anywhere."""
    [wire] = await upstreams()
    body = stream_body()
    framed = b"".join(b"%x\r\n%b\r\n" % (len(body[i : i + 40]), body[i : i + 40]) for i in range(0, len(body), 40))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire.answer(Slice(head + framed + b"0\r\n\r\n", [size]))
    gateway = await gateway_for(config(wire, timeouts={"first_byte": 5, "first_byte_unknown": 5, "idle": 5}))
    got = await gateway.chat(stream=True, stream_options={"include_usage": True})
    assert plain(got) == ("".join(TEXTS), ["stop"], True, [answers.USAGE])


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
