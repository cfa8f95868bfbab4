"""Answers that are kept: gone on from, asked for, deleted, for their key only, over a restart."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from gateway.dialects.openai.responses import Remembered
from gateway.engine.admission import Memory
from gateway.engine.shelf import Shelf
from gateway.server.body import Held
from gateway.server.responses import Answers
from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.rawclient import Response, request_bytes
from tests.faults.running import PUBLIC, Running, config, running
from tests.faults.steps import Events, Finish, Head, Json, Reset

PATH = "/v1/responses"


async def respond(gateway: Running, given: Any, **fields: Any) -> Response:
    return await gateway.post(PATH, {"model": PUBLIC, "input": given, **fields})


async def delete(gateway: Running, path: str) -> Response:
    return await gateway.send(request_bytes("DELETE", path), counts=False)


def said(body: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(m["role"], m["content"]) for m in body["messages"]]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_later_request_goes_on_from_an_answer(stream: bool, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    if stream:
        wire.answer(Head(), Events(answers.chunks()), Finish())
    else:
        wire.answer(Json(answers.chat()))
    gateway = await gateway_for(config(wire))
    previous = None
    for turn in range(3):
        more = {"previous_response_id": previous} if previous else {}
        got = await respond(gateway, f"turn {turn}", stream=stream, instructions=f"rule {turn}", **more)
        assert got.status == 200, got.body
        whole = json.loads(got.events[-1])["response"] if stream else got.json()
        assert whole["store"] is True and whole["previous_response_id"] == previous
        previous = whole["id"]
    assert said(wire.requests[2].json()) == [
        ("system", "rule 2"),
        ("user", "turn 0"),
        ("assistant", answers.TEXT),
        ("user", "turn 1"),
        ("assistant", answers.TEXT),
        ("user", "turn 2"),
    ]
    kept = await gateway.get(f"{PATH}/{previous}")
    assert kept.json() == whole


async def test_what_is_not_there_is_a_clear_404(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    wire.answer(Json(answers.chat()))
    gateway = await gateway_for(config(wire))
    got = await respond(gateway, "hi", previous_response_id="resp_1")
    assert got.status == 404 and got.error["code"] == "previous_response_not_found"
    assert got.error["param"] == "previous_response_id"
    first = (await respond(gateway, "hi", store=False)).json()
    assert first["store"] is False
    got = await respond(gateway, "hi", previous_response_id=first["id"])
    assert got.status == 404
    for got in (await gateway.get(f"{PATH}/{first['id']}"), await delete(gateway, f"{PATH}/{first['id']}")):
        assert got.status == 404 and got.error["code"] == "response_not_found"


async def test_a_deleted_turn_is_missed_by_all_that_follow(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    wire.answer(Json(answers.chat()))
    gateway = await gateway_for(config(wire))
    one = (await respond(gateway, "1")).json()["id"]
    two = (await respond(gateway, "2", previous_response_id=one)).json()["id"]
    assert (await delete(gateway, f"{PATH}/{one}")).json() == {"id": one, "object": "response", "deleted": True}
    assert (await gateway.get(f"{PATH}/{two}")).status == 200
    got = await respond(gateway, "3", previous_response_id=two)
    assert got.status == 404 and got.error["code"] == "previous_response_not_found"


async def test_a_stream_that_breaks_is_not_kept(upstreams: Upstreams, gateway_for: GatewayFor):

    [wire] = await upstreams(kind="openai")
    wire.answer(Head(), Events(answers.chunks(["Hello"], finish=None)), Reset())
    gateway = await gateway_for(config(wire))
    got = await respond(gateway, "hi", stream=True)
    name = json.loads(got.events[0])["response"]["id"]
    assert (await gateway.get(f"{PATH}/{name}")).status == 404


async def test_calls_thoughts_and_references_to_items(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    call = {"id": "call_7", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    wire.answer(Json({**answers.chat(), "choices": [choice]}), nth=0)
    wire.answer(Json(answers.chat()), nth=[1, 2])
    gateway = await gateway_for(config(wire))
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]
    first = (await respond(gateway, "go", tools=tools)).json()
    result = {"type": "function_call_output", "call_id": "call_7", "output": "42"}
    got = await respond(gateway, [result], tools=tools, previous_response_id=first["id"])
    assert got.status == 200, got.body
    asked = wire.requests[1].json()["messages"]
    assert [m["role"] for m in asked] == ["user", "assistant", "tool"] and asked[1]["tool_calls"][0]["id"] == "call_7"
    # a client that keeps its own list may name items that it got, in place of repeating them
    reference = {"type": "item_reference", "id": first["output"][0]["id"]}
    got = await respond(gateway, [{"role": "user", "content": "go"}, reference, result], tools=tools)
    assert got.status == 200 and wire.requests[2].json()["messages"] == asked
    for name in ("fc_0123_0", "nothing", first["output"][0]["id"] + "0"):
        got = await respond(gateway, [{"type": "item_reference", "id": name}])
        assert (got.status, got.error["code"], got.error["param"]) == (404, "item_not_found", "input[0].id")


async def test_a_large_picture_is_kept_once(upstreams: Upstreams, gateway_for: GatewayFor, tmp_path: Path):
    [wire] = await upstreams(slots=4)
    png = b"\x89PNG\r\n\x1a\n" + bytes(300_000)
    url = f"data:image/png;base64,{b64encode(png).decode()}"
    gateway = await gateway_for(config(wire, state={"dir": str(tmp_path / "state")}))
    first = await respond(gateway, [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}])
    assert first.status == 200, first.body
    second = await respond(gateway, "and?", previous_response_id=first.json()["id"])
    assert second.status == 200, second.body
    asked = wire.bodies[-1]["messages"]
    assert asked[0]["content"][0]["image_url"]["url"] == url and asked[2]["content"] == "and?"

    def written() -> list[int]:
        """Sizes of what is kept; a file that is still written has a suffix."""
        return sorted(p.stat().st_size for p in (tmp_path / "state").rglob("*") if p.is_file() and not p.suffix)

    await wire.until(lambda: len(written()) == 2, within=10.0)  # an answer does not wait for the disk
    small, large = written()
    assert small < 10_000 < len(url) < large < len(url) + 10_000


async def test_they_are_there_after_a_restart(upstreams: Upstreams, tmp_path: Path):
    [wire] = await upstreams(kind="openai")
    wire.answer(Json(answers.chat()))
    settings = config(wire, state={"dir": str(tmp_path)})
    async with running(settings, wires=[wire]) as gateway:
        first = (await respond(gateway, "before")).json()
    async with running(settings, wires=[wire]) as gateway:
        assert (await gateway.get(f"{PATH}/{first['id']}")).json() == first
        got = await respond(gateway, "after", previous_response_id=first["id"])
        assert got.status == 200
    assert said(wire.requests[1].json()) == [("user", "before"), ("assistant", answers.TEXT), ("user", "after")]


async def test_what_is_too_large_to_be_kept_says_so(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    wire.answer(Json(answers.chat()))
    gateway = await gateway_for(config(wire, state={"answers": 8000}))
    got = await respond(gateway, "x" * 3000, store=True)
    assert got.json()["store"] is False and "store" in (got.header("x-gateway-dropped") or "")


async def test_an_answer_belongs_to_its_key():
    kept = Answers(Shelf(1 << 20, 60))
    kept.keep("k", Remembered([{"role": "user", "content": "hi"}]), {"id": "resp_1", "output": [{"id": "msg_1_0"}]})
    held = Held(Memory(1 << 20))
    assert await kept.items_up_to("k", "resp_1", held) == [{"role": "user", "content": "hi"}, {"id": "msg_1_0"}]
    assert held.octets > 0
    assert await kept.items_up_to("other", "resp_1", held) is None
    assert await kept.item("k", "msg_1_0") == {"id": "msg_1_0"} and await kept.item("other", "msg_1_0") is None
    assert not kept.remove("other", "resp_1") and kept.remove("k", "resp_1")


async def test_a_loop_is_no_conversation():
    kept = Answers(Shelf(1 << 20, 60))
    kept.keep("k", Remembered(previous="resp_1"), {"id": "resp_1", "output": []})
    assert await kept.items_up_to("k", "resp_1", Held(Memory(1 << 20))) is None
