"""Whole answers of servers that are always asked for a stream: they are whole, or they are errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.engine import stream
from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.batch import Outcome, Row, played
from tests.faults.rawclient import Response
from tests.faults.running import FAST, ask, config
from tests.faults.steps import Events, Finish, Hang, Head, Json, Repeat, Reset, Sleep, Step
from tests.faults.table import AFTER_CONTENT, Cut, Turns
from tests.faults.test_cut import WHOLE, begun

STATUS = {"upstream_timeout": 504}
"""502 for all others."""
LONG = {"first_byte": 30, "first_byte_unknown": 30, "idle": 30, "life_sign": 40}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def folded() -> AsyncIterator[dict[str, Outcome]]:
    rows = [Row(f"alone {c.id}", [*begun(c.framing), *c.steps], {}) for c in AFTER_CONTENT]
    rows += [Row(f"pair {c.id}", [Turns([[*begun(c.framing), *c.steps]])], {}, targets=2) for c in AFTER_CONTENT]
    rows += [Row(name, steps, {}) for name, steps in WHOLE.items()]
    async with played(rows) as outcomes:
        yield outcomes


def is_whole(got: Response) -> None:
    assert (got.status, got.header("content-type"), got.text) == (200, "application/json", answers.TEXT), got
    [choice] = got.json()["choices"]
    assert choice["finish_reason"] == "stop"
    assert b"data:" not in got.body


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("cut", AFTER_CONTENT, ids=lambda c: c.id)
async def test_what_broke_off_is_an_error_without_a_word_of_it(cut: Cut, folded: dict[str, Outcome]):
    outcome = folded[f"alone {cut.id}"]
    got = outcome.got
    assert got.status == STATUS.get(cut.code, 502), got
    assert got.error is not None and got.error["code"] == cut.code, got.error
    assert b"Hello" not in got.body
    assert outcome.attempts == [1]
    if cut.closes:
        [request] = outcome.wires[0].requests
        await outcome.wires[0].closed(request)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("cut", AFTER_CONTENT, ids=lambda c: c.id)
async def test_nothing_was_shown_so_another_target_is_tried(cut: Cut, folded: dict[str, Outcome]):
    outcome = folded[f"pair {cut.id}"]
    is_whole(outcome.got)
    assert outcome.attempts == [1, 1]
    assert outcome.got.header("x-gateway-attempts") == "2"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", WHOLE)
async def test_a_stream_that_said_its_finish_is_whole(name: str, folded: dict[str, Outcome]):
    is_whole(folded[name].got)


async def test_what_the_client_did_wrong_is_not_tried_again(upstreams: Upstreams, gateway_for: GatewayFor):
    wires = await upstreams(2)
    error = {"error": {"message": "no such thing", "type": "BadRequestError", "code": 400}}
    for wire in wires:
        wire.answer(*begun(), Events([error]), Finish())
    gateway = await gateway_for(config(*wires))
    got = await gateway.chat()
    assert (got.status, got.error["code"]) == (400, "invalid_value")
    assert sorted(len(w.requests) for w in wires) == [0, 1]


async def test_all_that_a_stream_tells_is_in_the_answer(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    lp = [{"token": "a", "logprob": -1.0}], [{"token": "b", "logprob": -2.0}]
    first = answers.chunk({"role": "assistant", "reasoning_content": "hm"}, system_fingerprint="b1")
    with_logprobs = [answers.chunk({"content": t}) for t in ("a", "b")]
    for chunk, content in zip(with_logprobs, lp, strict=True):
        chunk["choices"][0]["logprobs"] = {"content": content}
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{"}}
    more = {"index": 0, "function": {"arguments": "}"}}
    usage = {**answers.USAGE, "prompt_tokens_details": {"cached_tokens": 3, "odd": 1}}
    wire.answer(
        Head(),
        Events(
            [
                first,
                *with_logprobs,
                answers.chunk({"refusal": "no"}, vendor_extra={"deep": [1]}),
                answers.chunk({"tool_calls": [call]}),
                answers.chunk({"tool_calls": [more], "vendor_note": "kept"}),
                answers.chunk({"content": "other"}, index=1),
                answers.chunk({}, finish="length", index=1),
                answers.chunk({}, finish="tool_calls"),
                answers.chunk(None, usage=usage, timings={"predicted_ms": 2.5}),
                None,
            ]
        ),
        Finish(),
    )
    gateway = await gateway_for(config(wire))
    got = (await gateway.chat(n=2)).json()
    assert wire.bodies[0]["stream"] is True
    assert (got["id"], got["object"], got["created"]) == ("chatcmpl-wire", "chat.completion", 1795499321)
    assert (got["system_fingerprint"], got["timings"]) == ("b1", {"predicted_ms": 2.5})
    assert got["vendor_extra"] == {"deep": [1]}
    assert got["usage"] == usage
    one, two = got["choices"]
    assert one["finish_reason"] == "tool_calls"
    assert one["logprobs"] == {"content": [*lp[0], *lp[1]]}
    assert one["message"] == {
        "role": "assistant",
        "content": "ab",
        "reasoning_content": "hm",
        "refusal": "no",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        "vendor_note": "kept",
    }
    assert (two["message"]["content"], two["finish_reason"]) == ("other", "length")


async def test_a_choice_that_never_came_makes_no_answer(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    second = [answers.chunk({"content": "x"}, index=1), answers.chunk({}, finish="stop", index=1), None]
    wire.answer(Head(), Events(second), Finish())
    gateway = await gateway_for(config(wire))
    got = await gateway.chat(n=2)
    assert got.status == 502, got.body
    assert (got.status, got.error["code"]) == (502, "upstream_truncated")


async def test_a_server_that_answers_whole_all_the_same(upstreams: Upstreams, gateway_for: GatewayFor):
    """A proxy in front of it may have folded the stream: nothing is missing."""
    [wire] = await upstreams()
    wire.answer(Json())
    gateway = await gateway_for(config(wire))
    is_whole(await gateway.chat())
    assert wire.bodies[0]["stream"] is True


async def test_an_answer_too_large_to_hold(
    upstreams: Upstreams, gateway_for: GatewayFor, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stream, "LARGEST_FOLD", 1 << 20)
    [wire] = await upstreams()
    wire.answer(Head(), Repeat([Events(["x" * 60_000])], 0.0))
    gateway = await gateway_for(config(wire, timeouts=LONG))
    got = await gateway.chat()
    assert (got.status, got.error["code"]) == (502, "upstream_bad_response")
    await wire.closed(wire.requests[0])


# ---- time ------------------------------------------------------------------------------------------------------------


def reading(*done: int, every: float) -> list[Step]:
    """A server that says how far it has read the prompt."""
    steps: list[Step] = []
    for n in done:
        progress = {"total": 800, "cache": 0, "processed": n, "time_ms": n}
        steps += [Events([answers.chunk({}, prompt_progress=progress)]), Sleep(every)]
    return steps


async def test_a_long_prompt_is_no_silence(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(Head(), *reading(*range(100, 900, 100), every=0.2), Events([*answers.chunks()[1:], None]), Finish())
    gateway = await gateway_for(config(wire, timeouts=FAST))
    start = time.monotonic()
    is_whole(await gateway.chat())
    assert time.monotonic() - start > 1.5, "longer than the first-byte limit"


async def test_no_progress_is_silence(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(Head(), Repeat(reading(100, every=0.1)))
    gateway = await gateway_for(config(wire, timeouts=FAST))
    got = await gateway.chat()
    assert (got.status, got.error["param"]) == (504, "first_byte")


async def test_the_next_target_reads_the_prompt_from_its_beginning(upstreams: Upstreams, gateway_for: GatewayFor):
    """What the first one had read does not make the other one's progress look like none."""
    wires = await upstreams(2)
    good: list[Step] = [*reading(*range(100, 700, 100), every=0.25), Events([*answers.chunks()[1:], None]), Finish()]
    turns = Turns([[Head(), *reading(100, 700, every=0.1), Reset()], [Head(), *good]])
    for wire in wires:
        wire.answer(turns)
    gateway = await gateway_for(config(*wires, timeouts=FAST))
    is_whole(await gateway.chat())


async def test_a_long_answer_is_waited_for_as_long_as_it_moves(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    words = [step for text in answers.TEXTS for step in (Events([text]), Sleep(0.35))]
    wire.answer(Head(), *words, Events([answers.chunk({}, finish="stop"), None]), Finish())
    gateway = await gateway_for(config(wire, timeouts=FAST))
    start = time.monotonic()
    is_whole(await gateway.chat())
    assert time.monotonic() - start > 1.6, "twice the limits for the first byte and between two"


# ---- clients that leave ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["leave", "abort"])
@pytest.mark.parametrize("busy", [False, True], ids=["silent upstream", "talking upstream"])
async def test_leaving_while_the_answer_is_made(how, busy, upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(*begun(), Repeat([Events(["more "])], 0.01) if busy else Hang())
    gateway = await gateway_for(config(wire, timeouts=LONG))
    async with gateway.client(ask()) as client:
        request = await wire.seen()
        await asyncio.sleep(0.1)
        left = time.monotonic()
        await getattr(client, how)()
        assert await wire.closed(request) - left < 0.5
    metrics = await gateway.settled()
    assert metrics.labels("gateway_client_disconnects_total", "phase") == {"before_first_byte": 1}
    assert metrics.sum("gateway_ejected") == 0, "the client's leaving says nothing about the server"


async def test_the_client_does_not_wait_for_the_end_of_the_connection(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    wire.answer(Head(), Events([*answers.chunks(), None]), Hang())
    gateway = await gateway_for(config(wire, timeouts=LONG))
    async with gateway.client(ask()) as client:
        await client.read()
        [request] = wire.requests
        assert request.closed_at is None, "it had its answer before"
        await wire.closed(request)
