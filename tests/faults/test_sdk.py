"""The official client against the same faults: the right exception, what was said delivered, no clean end of a cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.running import CANARY, FAST, PUBLIC, Running, config
from tests.faults.steps import Events, Head, Json, Step
from tests.faults.table import AFTER_CONTENT, BEFORE_CONTENT, Cut, Fault

HI: list[Any] = [{"role": "user", "content": "hi"}]

RAISES: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    404: openai.NotFoundError,
    502: openai.InternalServerError,
    503: openai.InternalServerError,
    504: openai.InternalServerError,
}


@asynccontextmanager
async def client_of(gateway: Running, retries: int = 0) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=CANARY, max_retries=retries, timeout=10) as sdk:
        yield sdk


SAMPLE = ["U3 silence", "U6 500", "U9 503 with Retry-After", "U13 401", "U14 context", "U15 HTML", "U27 garbage"]


@pytest.mark.parametrize("fault", [f for f in BEFORE_CONTENT if f.id in SAMPLE], ids=lambda f: f.id)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors_are_of_the_right_class(fault: Fault, stream: bool, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(*(fault.stream if stream else fault.whole) or [])
    gateway = await gateway_for(config(wire, timeouts=FAST if fault.status == 504 else None))
    gateway.sent += 1
    async with client_of(gateway) as sdk:
        with pytest.raises(RAISES[fault.status]) as raised:
            await sdk.chat.completions.create(model=PUBLIC, messages=HI, stream=stream)
    assert raised.value.status_code == fault.status
    assert raised.value.code == fault.code
    assert raised.value.request_id


@pytest.mark.parametrize(
    "cut", [c for c in AFTER_CONTENT if c.id[:3] in ("U19", "U20", "U21", "U26", "U28")], ids=lambda c: c.id
)
async def test_a_cut_stream_raises_after_what_was_said(cut: Cut, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(Head(cut.framing), Events([*answers.chunks(["Hello", " from"], finish=None)]), *cut.steps)
    gateway = await gateway_for(config(wire, timeouts=FAST if cut.code == "upstream_timeout" else None))
    gateway.sent += 1
    said = ""
    async with client_of(gateway) as sdk:
        with pytest.raises(openai.APIError) as raised:
            async for event in await sdk.chat.completions.create(model=PUBLIC, messages=HI, stream=True):
                assert event.choices[0].finish_reason is None
                said += event.choices[0].delta.content or ""
    assert said == "Hello from"
    assert raised.value.code == cut.code


async def test_unknown_models_and_wrong_fields(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    gateway.sent += 2
    async with client_of(gateway) as sdk:
        with pytest.raises(openai.NotFoundError) as missing:
            await sdk.chat.completions.create(model="gemma-5", messages=HI)
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as wrong:
            await sdk.chat.completions.create(model=PUBLIC, messages=[{"role": "nobody", "content": ""}])  # type: ignore[list-item,misc]
        assert wrong.value.param == "messages[0].role"


@pytest.mark.parametrize(
    ("steps", "attempts"),
    [
        ([Json(answers.error("broken"), 500)], 1),
        ([Json(answers.error("busy"), 503, {"Retry-After": "1"})], 2),
    ],
    ids=["we tried all there is: don't", "busy: do"],
)
async def test_the_client_retries_only_where_that_helps(
    steps: list[Step], attempts: int, upstreams: Upstreams, gateway_for: GatewayFor
):
    """`x-should-retry` keeps the client's retries from multiplying ours."""
    [wire] = await upstreams()
    wire.answer(*steps)
    gateway = await gateway_for(config(wire))
    gateway.sent += attempts
    async with client_of(gateway, retries=1) as sdk:
        with pytest.raises(openai.InternalServerError):
            await sdk.chat.completions.create(model=PUBLIC, messages=HI)
    await gateway.settled()


async def test_the_shape_of_good_answers(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire))
    gateway.sent += 5
    async with client_of(gateway) as sdk:
        whole = await sdk.chat.completions.create(model=PUBLIC, messages=HI)
        assert whole.choices[0].message.content == answers.TEXT
        assert (whole.model, whole.choices[0].finish_reason) == (PUBLIC, "stop")
        assert whole.usage is not None and whole.usage.total_tokens == 12
        text, usage = "", None
        options: Any = {"include_usage": True}
        async for event in await sdk.chat.completions.create(
            model=PUBLIC, messages=HI, stream=True, stream_options=options
        ):
            usage = event.usage or usage
            text += "".join(c.delta.content or "" for c in event.choices)
        assert text == answers.TEXT and usage is not None and usage.total_tokens == 12
        async with sdk.chat.completions.stream(model=PUBLIC, messages=HI) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content == answers.TEXT
        completion = await sdk.completions.create(model=PUBLIC, prompt="Once")
        assert completion.choices[0].text == answers.TEXT
        vectors = await sdk.embeddings.create(model=PUBLIC, input=["a", "b"], encoding_format="float")
        assert [d.embedding for d in vectors.data] == [[0.5, -0.25, 0.125]] * 2
        names = [m.id async for m in await sdk.models.list()]
        assert PUBLIC in names and "auto" in names
        assert (await sdk.models.retrieve(PUBLIC)).owned_by


def test_the_sample_is_of_the_table():
    assert {f.id for f in BEFORE_CONTENT} >= set(SAMPLE)
