"""What a request leaves in the metrics, by the heaviest kind of content in it."""

from __future__ import annotations

import base64

from gateway.demo import media
from tests.conftest import GatewayFor, Upstreams
from tests.faults.running import CHAT, ask, config
from tests.faults.steps import Json, Reset

PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(media.png()).decode()}"}}
WORDS = {"type": "text", "text": "look"}


def shown() -> dict[str, object]:
    return ask(messages=[{"role": "user", "content": [WORDS, PICTURE]}])


async def test_a_picture_that_was_seen(upstreams: Upstreams, gateway_for: GatewayFor):
    [one] = await upstreams()
    gateway = await gateway_for(config(one))
    assert (await gateway.chat()).status == 200
    assert (await gateway.post(CHAT, shown())).status == 200
    metrics = await gateway.settled()
    for modality in ("text", "image"):
        assert metrics.sum("gateway_outcomes_total", modality=modality, outcome="ok") == 1
        assert metrics.sum("gateway_time_to_first_token_seconds_count", modality=modality, backend="one") == 1
    assert metrics.labels("gateway_outcomes_total", "outcome") == {"ok": 2}
    assert metrics.labels("gateway_parts_total", "modality") == {"text": 2, "image": 1}
    assert metrics.labels("gateway_parts_total", "fate") == {"delivered": 3}


async def test_a_picture_that_nobody_could_see(upstreams: Upstreams, gateway_for: GatewayFor):
    """Nothing of it is said to have been delivered."""
    [one] = await upstreams(modalities=("text",))
    gateway = await gateway_for(config(one))
    assert (await gateway.post(CHAT, shown())).status == 400
    metrics = await gateway.settled()
    assert metrics.sum("gateway_outcomes_total", modality="image", outcome="refused") == 1
    assert metrics.sum("gateway_parts_total", modality="image", fate="refused") == 1
    assert metrics.labels("gateway_parts_total", "fate") == {"refused": 1}


async def test_a_server_that_breaks(upstreams: Upstreams, gateway_for: GatewayFor):
    [one] = await upstreams()
    one.answer(Reset())
    gateway = await gateway_for(config(one))
    assert (await gateway.post(CHAT, shown())).status == 502
    metrics = await gateway.settled()
    assert metrics.sum("gateway_outcomes_total", modality="image", outcome="failed") == 1
    assert metrics.labels("gateway_attempts_total", "outcome").keys() == {"upstream_reset"}


async def test_a_server_that_is_full(upstreams: Upstreams, gateway_for: GatewayFor):
    """The server says so: a failure for who asked, none of the gateway's."""
    [one] = await upstreams()
    one.answer(Json({"error": {"message": "busy"}}, status=503))
    gateway = await gateway_for(config(one))
    assert (await gateway.chat()).status == 503
    metrics = await gateway.settled()
    assert metrics.labels("gateway_outcomes_total", "outcome") == {"failed": 1}
    assert metrics.sum("gateway_bugs_total") == 0
    assert metrics.sum("gateway_backend_up", backend="one") == 1
    assert metrics.sum("gateway_in_flight_limit", backend="one") == one.slots
