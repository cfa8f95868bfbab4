"""The list of models: one card per name that a client may send, in a shape that both families of clients read."""

from __future__ import annotations

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults.running import PUBLIC, Running, config


@pytest.fixture
async def gateway(upstreams: Upstreams, gateway_for: GatewayFor) -> Running:
    wires = await upstreams(2)
    settings = config(*wires)
    settings["models"][PUBLIC]["aliases"] = ["gpt-4o-mini", "claude-*"]
    return await gateway_for(settings)


async def test_every_name_and_alias_has_a_card_and_a_pattern_has_none(gateway: Running):
    listed = (await gateway.get("/v1/models")).json()
    ids = [card["id"] for card in listed["data"]]
    assert {PUBLIC, "gpt-4o-mini", "auto"} <= set(ids) and "claude-*" not in ids
    assert len(ids) == len(set(ids))
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == (ids[0], ids[-1], False)


async def test_a_card_reads_as_openai_and_as_anthropic(gateway: Running):
    for card in (await gateway.get("/v1/models")).json()["data"]:
        assert (card["object"], card["type"]) == ("model", "model")
        assert isinstance(card["created"], int) and card["created_at"].endswith("Z")
        assert card["display_name"] and card["owned_by"]
        assert card["architecture"]["input_modalities"][0] == "text"


async def test_a_card_is_found_by_name_alias_and_pattern(gateway: Running):
    for name in (PUBLIC, "gpt-4o-mini", "claude-sonnet-9"):
        got = await gateway.get(f"/v1/models/{name}")
        assert got.status == 200
        card = got.json()
        assert (card["id"], card["gateway"]["public_name"]) == (name, PUBLIC)
        assert [t["target"].partition("/")[0] for t in card["gateway"]["targets"]] == ["one", "two"]
        assert card["gateway"]["ready"] is True


async def test_a_name_that_nobody_serves_is_404(gateway: Running):
    for name in ("nothing", "a/b/c", "%00", "x" * 3000):
        got = await gateway.get(f"/v1/models/{name}")
        assert (got.status, got.error["code"]) == (404, "model_not_found"), got
        assert len(got.body) < 1000


async def test_no_address_is_shown(gateway: Running):
    text = (await gateway.get("/v1/models")).body.decode()
    assert not any(f":{wire.port}" in text or wire.url in text for wire in gateway.wires)
