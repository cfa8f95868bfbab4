"""A silent stream shows that it lives, and commits to nothing by it: another target may still answer, and an error is
still an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.batch import PATIENT, Outcome, Row, played
from tests.faults.running import ask, config
from tests.faults.steps import Body, Events, Finish, Gate, Hang, Head, Json, Repeat, Reset, Sleep, Sse, Step
from tests.faults.table import ROLE, Turns

LIVELY = {"life_sign": 0.1, "first_byte": 1.0, "first_byte_unknown": 1.0, "idle": 1.0}
LONG = {"life_sign": 0.1, "first_byte": 30, "first_byte_unknown": 30, "idle": 30}


async def test_a_silent_stream_commits_and_comments(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gate = asyncio.Event()
    wire.answer(Gate(gate), Sse())
    gateway = await gateway_for(config(wire, timeouts=LONG))
    async with gateway.client(ask(stream=True)) as client:
        start = time.monotonic()
        response = await client.read_head()
        assert 0.05 < time.monotonic() - start < 2.5
        assert (response.status, response.header("content-type")) == (200, "text/event-stream")
        await client.read_until(response, b"\n\n")
        assert response.body.startswith(b":"), response.body
        gate.set()
        async for piece in client.pieces(response):
            response.body += piece
    assert (response.text, response.done) == (answers.TEXT, True)
    assert response.comments


async def test_a_whole_answer_shows_no_sign(upstreams: Upstreams, gateway_for: GatewayFor):
    """Nothing can be said in a JSON answer before it is there: its status is still open."""
    [wire] = await upstreams()
    wire.answer(Sleep(0.5), Json(answers.error("broken"), 500))
    gateway = await gateway_for(config(wire, timeouts=LONG))
    got = await gateway.chat()
    assert (got.status, got.error["code"]) == (502, "upstream_error")


async def test_a_quick_answer_has_no_comments(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, timeouts=LONG))
    got = await gateway.chat(stream=True)
    assert got.done and not got.comments


FAILS: dict[str, list[Step]] = {
    "error": [Json(answers.error("broken"), 500)],
    "busy": [Json(answers.error("busy"), 503)],
    "reset": [Reset()],
    "silence": [Hang()],
    "cut": [Head(), Events([ROLE]), Finish()],
}


CODES = {
    "error": "upstream_error",
    "reset": "upstream_reset",
    "silence": "upstream_timeout",
    "cut": "upstream_truncated",
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def failed() -> AsyncIterator[dict[str, Outcome]]:
    """Streams whose server fails after some signs of life, alone and with another target."""
    rows = []
    for name, steps in FAILS.items():
        late = [Sleep(0.4 if name != "silence" else 0), *steps]
        rows.append(Row(f"pair {name}", [Turns([late])], {"stream": True}, targets=2))
        rows.append(Row(f"alone {name}", late, {"stream": True}))
    async with played(rows, {**PATIENT, **LIVELY}) as outcomes:
        yield outcomes


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", FAILS)
async def test_failover_after_a_sign_of_life(name: str, failed: dict[str, Outcome]):
    outcome = failed[f"pair {name}"]
    got = outcome.got
    assert (got.status, got.text, got.done, got.error) == (200, answers.TEXT, True, None)
    assert got.comments
    assert outcome.attempts == [1, 1]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", CODES)
async def test_an_error_after_a_sign_of_life_is_said_in_stream(name: str, failed: dict[str, Outcome]):
    outcome = failed[f"alone {name}"]
    got = outcome.got
    assert (got.status, got.clean, got.done, got.text) == (200, True, False, "")
    assert got.comments
    assert got.error["code"] == CODES[name] == outcome.logged["code"]
    assert outcome.attempts == [1]


async def test_upstream_progress_is_passed_on_as_a_sign(upstreams: Upstreams, gateway_for: GatewayFor):
    """llama.cpp tells how far it has read the prompt; that is life, and puts the first-byte limit off."""
    [wire] = await upstreams()
    steps: list[Step] = [Head()]
    for done in range(1, 9):
        progress = {"total": 800, "cache": 0, "processed": done * 100, "time_ms": done * 200}
        steps += [Events([answers.chunk({}, prompt_progress=progress)]), Sleep(0.2)]
    texts = [*answers.chunks()[1:], None]
    wire.answer(*steps, Events(texts), Finish())
    gateway = await gateway_for(
        config(wire, timeouts={"life_sign": 0.1, "first_byte": 0.8, "first_byte_unknown": 0.8, "idle": 5})
    )
    start = time.monotonic()
    got = await gateway.chat(stream=True)
    assert time.monotonic() - start > 1.5, "longer than the first-byte limit"
    assert (got.text, got.done, got.error) == (answers.TEXT, True, None)
    assert any("%" in c for c in got.comments), got.comments
    assert "prompt_progress" not in got.body.decode()


async def test_upstream_comments_are_no_progress(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(Head(), Repeat([Body(b": keep-alive\n\n")], 0.05))
    gateway = await gateway_for(config(wire, timeouts=LIVELY))
    got = await gateway.chat(stream=True)
    assert got.error["code"] == "upstream_timeout"
    await wire.closed(wire.requests[0])


async def test_leaving_after_a_sign_of_life(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(Hang())
    gateway = await gateway_for(config(wire, timeouts=LONG))
    async with gateway.client(ask(stream=True)) as client:
        response = await client.read_head()
        await client.read_until(response, b":")
        left = time.monotonic()
        await client.leave()
        assert await wire.closed(wire.requests[0]) - left < 0.5


async def test_the_queue_says_no_before_there_is_a_sign_of_life(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(slots=1)
    wire.answer(Hang())
    gateway = await gateway_for(config(wire, timeouts={**LONG, "life_sign": 0.5, "queue": 0.4}))
    async with gateway.client(ask("first", stream=True)):
        await wire.seen()
        got = await gateway.chat("second", stream=True)
        assert (got.status, got.error["code"]) == (503, "server_is_overloaded")


@pytest.mark.parametrize("strict", [True, False], ids=["held to be verified", "held by a filter"])
async def test_what_is_held_shows_signs_of_life_too(upstreams: Upstreams, gateway_for: GatewayFor, strict: bool):
    """Text was shown, and then a long call comes that nobody may see before it is complete."""
    [wire] = await upstreams(kind="vllm", model="gemma-4-e4b-it")
    schema = {"type": "object", "properties": {"days": {"type": "integer"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema, "strict": strict}}

    def call(arguments: str, **more: str) -> dict[str, object]:
        return answers.chunk(
            {"tool_calls": [{"index": 0, "function": {"arguments": arguments, **more}}]}, model=wire.model
        )

    steps: list[Step] = [Head(), Events(["Look. ", call('{"days"', name="f")])]
    for _ in range(8):
        steps += [Sleep(0.1), Events([call(" ")])]
    wire.answer(*steps, Events([call(": 3}"), answers.chunk({}, model=wire.model, finish="stop"), None]), Finish())
    gateway = await gateway_for(config(wire, timeouts=LONG))
    got = await gateway.chat(stream=True, tools=[tool])
    assert got.done and got.text == "Look. " and '"finish_reason":"tool_calls"' in got.body.decode()
    text, _, rest = got.body.partition(b"Look. ")
    assert rest.count(b": waiting\n\n") >= 3 and b": waiting" not in text
    assert b": waiting" not in rest[rest.index(b'finish_reason":"tool_calls') :]
