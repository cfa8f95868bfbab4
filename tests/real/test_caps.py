"""`gateway caps` and `gateway doctor` on real llama.cpp servers. The stand-ins always say one sentence: what is sent to
them arrives, and they are too weak to tell."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.report.asking import built, running
from gateway.report.caps import Row, rows, table, with_rates
from gateway.report.deep import look
from gateway.report.doctor import examine
from gateway.settings import parse
from tests.real.conftest import Client, RealFleet

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]


async def caps(client: Client, *, deep: bool) -> dict[str, Row]:
    async with running(client.gateway.url) as asking:
        found = rows(await asking.cards())
        if deep:
            await look(found, asking.chat)
            await client.gateway.take_count()
            with_rates(found, rows(await asking.cards()))
        return {row["target"]: row for row in found}


async def test_what_each_can_do(client: Client, fleet: RealFleet):
    found = await caps(client, deep=False)
    ears, eyes = found["ears/fixture-ears"], found["eyes/fixture-eyes"]
    assert ears["modalities"]["audio"] == eyes["modalities"]["image"] == {"value": True, "source": "probed"}
    assert ears["modalities"]["image"] == {"value": False, "source": "probed"}
    assert ears["tools"]["required"]["value"] == "enforced" and ears["context"]["source"] == "probed"
    assert ears["quantization"] == {"value": "f32", "source": "probed"}
    assert "ears/fixture-ears" in table(list(found.values()))


async def test_what_comes_through(client: Client, needs_ffmpeg: None):
    found = await caps(client, deep=True)
    verdicts: dict[str, Any] = {t: {m: c["verdict"] for m, c in row["deep"].items()} for t, row in found.items()}
    weak, no = "too weak to tell", "not asked"
    assert verdicts["ears/fixture-ears"] == {"image": no, "audio": weak, "video": no}
    assert verdicts["eyes/fixture-eyes"] == {"image": weak, "audio": no, "video": weak}
    bare, *each = found["eyes/fixture-eyes"]["deep"]["video"]["tokens"]
    assert min(each) > bare + 100, "the frames are in the prompt"
    assert found["eyes/fixture-eyes"]["rates"]["decode"]["source"] == "measured"


async def test_nothing_is_wrong_with_it_but_its_context(fleet: RealFleet, settings: dict[str, Any]):
    import yaml

    text = yaml.safe_dump({**settings, "limits": {"body": "1MiB"}})
    async with built(parse(text, {})) as (gateway, _):
        found = await examine(gateway.fleet, gateway.prober, gateway.upstream, in_container=False)
    assert {c.finding.code for c in found} <= {"small-context"} and "ears" not in {c.backend for c in found}
