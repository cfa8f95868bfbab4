"""What may be asked about an answer that is kept, by the official SDK and by hand."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import openai
import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.rawclient import request_bytes
from tests.faults.running import PUBLIC, Running, config
from tests.faults.steps import Json

PATH = "/v1/responses"


async def respond(gateway: Running, given: Any, **fields: Any) -> dict[str, Any]:
    got = await gateway.post(PATH, {"model": PUBLIC, "input": given, **fields})
    assert got.status == 200, got.body
    whole: dict[str, Any] = got.json()
    return whole


async def test_the_official_sdk(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    wire.answer(Json(answers.chat()))
    gateway = await gateway_for(config(wire))
    first = await respond(gateway, "one")
    second = await respond(gateway, [{"role": "user", "content": "two"}], previous_response_id=first["id"])
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as sdk:
        assert (await sdk.responses.retrieve(second["id"])).output_text == answers.TEXT
        listed = [i async for i in sdk.responses.input_items.list(second["id"], order="asc", limit=1)]
        assert [(i.type, i.role, i.content[0].text) for i in listed] == [  # type: ignore[union-attr]
            ("message", "user", "one"),
            ("message", "assistant", answers.TEXT),
            ("message", "user", "two"),
        ]
        assert len({i.id for i in listed}) == 3
        with pytest.raises(openai.BadRequestError, match="in the background"):
            await sdk.responses.cancel(second["id"])
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.responses.retrieve(second["id"], stream=True)
        assert refused.value.param == "stream"
        await sdk.responses.delete(second["id"])
        for ask in (
            lambda: sdk.responses.retrieve(second["id"]),
            lambda: sdk.responses.cancel(second["id"]),
            lambda: sdk.responses.delete(second["id"]),
            lambda: sdk.responses.input_items.list(second["id"]),
        ):
            with pytest.raises(openai.NotFoundError) as missing:
                await ask()
            assert missing.value.code == "response_not_found"
        # what an item is called in the list is what it may be called in a request
        reference = {"type": "item_reference", "id": listed[0].id}
        await respond(gateway, [reference, {"role": "user", "content": "again"}])
    asked = wire.bodies[-1]["messages"]
    assert [m["content"] for m in asked] == ["one", "again"]


async def test_a_list_without_a_turn_of_it_is_not_shown(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    wire.answer(Json(answers.chat()))
    gateway = await gateway_for(config(wire))
    first = await respond(gateway, "one")
    second = await respond(gateway, "two", previous_response_id=first["id"])
    await gateway.send(request_bytes("DELETE", f"{PATH}/{first['id']}"), counts=False)
    got = await gateway.get(f"{PATH}/{second['id']}/input_items")
    assert (got.status, got.error["code"]) == (404, "response_not_found")


async def test_long_media_in_the_list(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(slots=4)
    gateway = await gateway_for(config(wire))
    png = b"\x89PNG\r\n\x1a\n" + bytes(300_000)
    url = f"data:image/png;base64,{b64encode(png).decode()}"
    parts = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": "what is it"}]
    first = await respond(gateway, [{"role": "user", "content": parts}])
    got = await gateway.get(f"{PATH}/{first['id']}/input_items?order=asc&limit=5")
    assert got.status == 200 and json.loads(got.body)["data"][0]["content"] == parts
    got = await gateway.get(f"{PATH}/{first['id']}/input_items?limit=0")
    assert (got.status, got.error["param"]) == (400, "limit")
