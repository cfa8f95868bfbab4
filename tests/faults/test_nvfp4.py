"""NVFP4 weights off Blackwell: refused with what would allow it; where it is allowed, every answer says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults.rawclient import Response
from tests.faults.running import Running, config

DENSE, MIXTURE = "nvidia/Gemma-4-31B-IT-NVFP4", "nvidia/Gemma-4-26B-A4B-NVFP4"
ALLOW = {"allow": ["nvfp4-weight-only"]}


async def served(upstreams: Upstreams, gateway_for: GatewayFor, model: str, **backend: Any) -> Running:
    (wire,) = await upstreams(1, kind="vllm", model=model)
    # NVFP4 is what the model's name says; the wire's recorded card has a root that says nothing
    return await gateway_for(config(wire, backends={"one": backend}))


def said(r: Response) -> str | None:
    return r.header("x-gateway-quantization")


@pytest.mark.parametrize(
    ("model", "backend", "header"),
    [
        (DENSE, {"hardware": "blackwell"}, None),
        (DENSE, {"hardware": "hopper", **ALLOW}, "nvfp4-weight-only"),
        (MIXTURE, {"hardware": "hopper", **ALLOW}, "nvfp4-weight-only,experimental"),
    ],
)
async def test_it_is_served(
    upstreams: Upstreams, gateway_for: GatewayFor, model: str, backend: dict[str, Any], header: str | None
):
    gateway = await served(upstreams, gateway_for, model, **backend)
    for fields in ({}, {"stream": True}, {"gateway": {"require": {"quantization": "nvfp4"}}}, {"model": model}):
        r = await gateway.chat(**fields)
        assert r.status == 200, r.body
        assert said(r) == header
    explained = (
        await gateway.post("/v1/route/explain", {"model": "auto", "messages": [{"role": "user", "content": "x"}]})
    ).json()
    assert explained["candidates"][0].get("quantization") == header


@pytest.mark.parametrize("model", [DENSE, MIXTURE])
@pytest.mark.parametrize("hardware", ["hopper", None])
async def test_it_is_refused(upstreams: Upstreams, gateway_for: GatewayFor, model: str, hardware: str | None):
    gateway = await served(upstreams, gateway_for, model, **({"hardware": hardware} if hardware else {}))
    for fields in ({}, {"model": model}, {"gateway": {"require": {"quantization": "nvfp4"}}}):
        r = await gateway.chat(**fields)
        assert (r.status, r.json()["error"]["code"]) == (400, "no_target_fits")
        assert "allow: [nvfp4-weight-only]" in json.dumps(r.json()) and said(r) is None
        assert ("experimental" in r.json()["error"]["message"]) is (model == MIXTURE)
