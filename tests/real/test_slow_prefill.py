"""A prompt that takes longer to read than a server may be silent: slow is not dead."""

from __future__ import annotations

import re
import time

import pytest

from gateway.demo.fleet import EARS
from tests.real.conftest import ClientFor, Start
from tests.real.content import chat, chunks, endless, long, said

pytestmark = pytest.mark.real

LIMITS = {"first_byte": 1.0, "first_byte_unknown": 1.0, "idle": 60.0, "life_sign": 0.2, "liveness": 0.3, "probe": 1.0}
LONG = 16_000
"""Tokens, which a fixture reads in some seconds."""


async def test_a_long_prompt_is_neither_retried_nor_cut_off(start: Start, client_for: ClientFor):
    """What llama.cpp tells of its progress puts the limit off, and reaches the client as comments that SDKs skip."""
    one, two = start("one", batch=512), start("two")  # a word of progress far more often than the limit asks for
    names = {"gemma": {"targets": [{"backend": "one"}, {"backend": "two"}]}}
    client = await client_for({"one": one, "two": two}, models=names, timeouts=LIMITS)
    begun = time.monotonic()
    got = await client.post(chat("gemma", long("slow", LONG), stream=True, gateway={"prefer": [{"backend": "one"}]}))
    if time.monotonic() - begun < LIMITS["first_byte"]:
        pytest.skip("this machine reads the prompt faster than the limit that it should break")
    assert (got.status_code, got.headers["x-gateway-target"], got.headers["x-gateway-attempts"]) == (
        200,
        "one/one",
        "1",
    )
    assert said(got.content) == EARS.reply
    assert got.text.endswith("data: [DONE]\n\n")
    before, _, _ = got.text.partition("data:")
    percents = [int(p) for p in re.findall(r"^:.*?(\d+) ?%", before, re.MULTILINE)]
    assert percents == sorted(percents) and percents[-1] > 0, before
    assert not any("prompt_progress" in c for c in chunks(got.content))
    assert (await two.counters())["prompt_tokens_total"] == 0
    assert not [x for x in client.gateway.log_lines if x["event"] == "state" and "ready ->" in x["change"]]


async def test_and_whole(start: Start, client_for: ClientFor):
    """A whole answer shows no progress: it has the long limit of a speed that is not known."""
    one = start("one")
    client = await client_for({"one": one}, timeouts={**LIMITS, "first_byte": 0.2, "first_byte_unknown": 60.0})
    got = await client.post(chat("one", long("whole", 8_000)))
    assert got.status_code == 200
    assert got.json()["choices"][0]["message"]["content"] == EARS.reply


async def test_others_are_served_meanwhile(start: Start, client_for: ClientFor):
    """Its slot is taken, the other one is not; a third waits in the queue and is not sent to a server that is full."""
    one = start("one", slots=2)
    client = await client_for({"one": one}, timeouts={**LIMITS, "queue": 60.0, "life_sign": 61.0})
    async with client.http.stream("POST", "/v1/chat/completions", json=endless("one", 2_000, stream=True)) as got:
        pieces = got.aiter_bytes()
        await anext(pieces)
        metrics = await client.gateway.metrics()
        assert metrics.sum("gateway_in_flight", backend="one") == 1
        other = await client.post(chat("one"))
        assert other.status_code == 200
        async for _ in pieces:
            pass


async def test_the_real_model_reads_slowly_too(text_model: str, client_for: ClientFor, request: pytest.FixtureRequest):
    fleet = request.getfixturevalue("fleet")
    limits = {**LIMITS, "first_byte": 60.0, "first_byte_unknown": 60.0, "life_sign": 0.05}
    client = await client_for({"text": fleet.servers["text"]}, timeouts=limits)
    prompt = "Say yes. " + "The quick brown fox jumps over the lazy dog. " * 20
    got = await client.post(chat(text_model, prompt, stream=True, max_tokens=4))
    assert got.status_code == 200
    assert got.text.startswith(":"), "it lives"
    assert said(got.content)
