"""The harness against itself: upstream and client must be true before they judge others."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.faults import answers
from tests.faults.rawclient import RawClient, get, json_request, post, request_bytes
from tests.faults.steps import (
    Answer,
    Drip,
    Events,
    Fin,
    Finish,
    Gate,
    Hang,
    Head,
    Json,
    Reset,
    Send,
    Slice,
    Sse,
    Step,
    cut,
)
from tests.faults.table import AFTER_CONTENT, BEFORE_CONTENT
from tests.faults.wire import Refused, Wire

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
PATH = "/v1/chat/completions"


@pytest.mark.parametrize("kind", ["llamacpp", "vllm", "openai"])
async def test_a_wire_is_probed_and_answers_whole_and_streamed(kind):
    async with Wire(kind=kind, model="some-model", modalities=("text", "image")) as wire:
        models = await get(wire.url, "/v1/models")
        assert models.json()["data"][0]["id"] == "some-model"
        whole = await post(wire.url, PATH, CHAT)
        assert (whole.status, whole.text) == (200, answers.TEXT)
        stream = await post(wire.url, PATH, {**CHAT, "stream": True})
        assert (stream.text, stream.done, stream.clean) == (answers.TEXT, True, True)
        assert [r.method for r in wire.requests] == ["POST", "POST"]
        assert [r.path for r in wire.probes] == ["/v1/models"]
        assert not wire.unsettled()


async def test_a_llamacpp_wire_says_what_it_is_told_about_itself():
    async with Wire(modalities=("text", "audio"), n_ctx=512, slots=3) as wire:
        props = (await get(wire.url, "/props")).json()
        assert props["modalities"] == {"vision": False, "video": False, "audio": True}
        assert (props["total_slots"], props["default_generation_settings"]["n_ctx"]) == (3, 512)
        wire.state = "loading"
        assert (await get(wire.url, "/health")).status == 503


async def test_the_newest_rule_that_fits_wins():
    async with Wire() as wire:
        wire.answer(Json({"rule": "any"}))
        wire.answer(Json({"rule": "second"}), nth=1)
        wire.answer(Json({"rule": "body"}), when=lambda body: body.get("model") == "special")
        wire.answer(Json({"rule": "path"}), path="/health")
        said = [(await post(wire.url, PATH, CHAT)).json()["rule"] for _ in range(3)]
        assert said == ["any", "second", "any"]
        assert (await post(wire.url, PATH, {**CHAT, "model": "special"})).json() == {"rule": "body"}
        assert (await get(wire.url, "/health")).json() == {"rule": "path"}


@pytest.mark.parametrize(
    ("steps", "text", "clean", "done"),
    [
        ([Sse()], answers.TEXT, True, True),
        ([Sse(framing="close")], answers.TEXT, True, True),
        ([Sse(done=False)], answers.TEXT, True, False),
        ([Head(), Events(["a", "b"]), Fin()], "ab", False, False),
        ([Head(), Events(["a", "b"]), Reset()], "ab", False, False),
        ([Head("close"), Events(["a", "b"]), Finish()], "ab", True, False),
    ],
)
async def test_streams_end_as_the_script_says(steps: list[Step], text, clean, done):
    async with Wire() as wire:
        wire.answer(*steps)
        got = await post(wire.url, PATH, {**CHAT, "stream": True})
        assert (got.text, got.clean, got.done) == (text, clean, done)


async def test_raw_bytes_dripped_and_sliced_arrive_whole():
    said = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
    async with Wire() as wire:
        wire.answer(Drip(said, n=7, every=0.0), nth=0)
        wire.answer(Slice(said, [1, 2, 3]), nth=1)
        wire.answer(Send(said, whole=True), nth=2)
        assert [(await post(wire.url, PATH, CHAT)).body for _ in range(3)] == [b"hello"] * 3
    assert list(cut(b"abcdefg", [1, 2])) == [b"a", b"bc", b"de", b"fg"]


@pytest.mark.parametrize(("how", "ending"), [("leave", "closed"), ("abort", "reset")])
async def test_the_wire_writes_down_when_the_peer_left(how, ending):
    async with Wire() as wire:
        wire.answer(Hang())
        async with RawClient(wire.url) as client:
            await client.send(json_request(PATH, CHAT))
            request = await wire.seen()
            assert wire.unsettled() == [request]
            left = time.monotonic()
            await getattr(client, how)()
            closed = await wire.closed(request)
            assert closed - left < 0.2
            assert request.ending == ending
            assert not wire.unsettled()


async def test_one_connection_carries_several_requests_and_may_go_stale():
    async with Wire() as wire:
        wire.answer(Fin(), turn=1)
        async with RawClient(wire.url) as client:
            await client.send(json_request(PATH, CHAT))
            assert (await client.read()).status == 200
            await client.send(json_request(PATH, CHAT))
            assert await client.ended() == b""
        assert [(r.conn, r.turn) for r in wire.requests] == [(1, 0), (1, 1)]


async def test_a_chunked_request_body_is_read():
    async with Wire() as wire, RawClient(wire.url) as client:
        await client.send(request_bytes("POST", PATH, {"Transfer-Encoding": "chunked"}))
        await client.send(b'5\r\n{"a":\r\n')
        await client.send(b"2\r\n1}\r\n0\r\n\r\n")
        assert (await client.read()).status == 200
        assert wire.bodies == [{"a": 1}]


async def test_a_gate_holds_the_answer_until_it_is_opened():
    async with Wire() as wire:
        gate = asyncio.Event()
        wire.answer(Head(), Events(["a"]), Gate(gate), Events(["b", None]), Finish())
        async with RawClient(wire.url) as client:
            await client.send(json_request(PATH, {**CHAT, "stream": True}))
            response = await client.read_head()
            await client.read_until(response, b'"a"')
            gate.set()
            await client.read_until(response, b"[DONE]")


async def test_ports_that_refuse_and_ports_that_say_nothing():
    refused = Refused()
    with pytest.raises(ConnectionRefusedError):
        await get(refused.url, "/")
    refused.close()
    async with Wire() as wire:
        assert (await get(wire.url, "/health")).status == 200
        await wire.blackhole()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(get(wire.url, "/health"), 0.2)
        await wire.stop()
        with pytest.raises(ConnectionRefusedError):
            await get(wire.url, "/health")
        await wire.start()
        assert (await get(wire.url, "/health")).status == 200


async def test_a_key_is_wanted_where_the_wire_has_one():
    async with Wire(key="sesame") as wire:
        assert (await get(wire.url, "/v1/models")).status == 401
        right = {"Authorization": "Bearer sesame"}
        assert (await get(wire.url, "/v1/models", right)).status == 200
        assert (await post(wire.url, PATH, CHAT)).status == 401
        assert (await post(wire.url, PATH, CHAT, right)).status == 200


async def test_a_mistake_in_a_script_is_raised():
    class Broken:
        async def run(self, x: object) -> None:
            raise KeyError("mistake")

    wire = Wire()
    await wire.start()
    wire.answer(Broken())
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await post(wire.url, PATH, CHAT)
    with pytest.raises(KeyError, match="mistake"):
        await wire.stop()


async def test_embeddings_and_completions_have_answers_too():
    async with Wire() as wire:
        wire.answer(Answer())
        assert len((await post(wire.url, "/v1/embeddings", {"input": ["a", "b"]})).json()["data"]) == 2
        assert (await post(wire.url, "/v1/completions", {"prompt": "a"})).json()["choices"][0]["text"] == answers.TEXT


def test_the_tables_are_whole():
    assert all(f.whole or f.stream for f in BEFORE_CONTENT)
    for table in (BEFORE_CONTENT, AFTER_CONTENT):
        assert len({row.id for row in table}) == len(table)
