"""Streams that break off after content: what was said is kept, what was cut is called cut, nobody is asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults import answers
from tests.faults.batch import Outcome, Row, played
from tests.faults.steps import Events, Fin, Finish, Framing, Hang, Head, Sse, Step
from tests.faults.table import AFTER_CONTENT, Cut

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAID = ["Hello", " from"]


def begun(framing: Framing = "chunked") -> list[Step]:
    return [Head(framing), Events(answers.chunks(SAID, finish=None))]


WHOLE: dict[str, list[Step]] = {
    "U22 ended in order": [Sse(done=False)],
    "U22 closed where that ends the body": [Sse(done=False, framing="close")],
    "U22 closed without the last chunk": [Sse(done=False, end=False), Fin()],
    "U22 no usage": [Sse(done=False, usage=False)],
    "U23 the end mark, then nothing": [Sse(end=False), Hang()],
    "U23 the end mark, then a close without the last chunk": [Sse(end=False), Fin()],
    "U23 the end mark, then more": [Sse(end=False), Events(["more"]), Finish()],
}
"""Streams that are complete, though their ends are odd."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def played_out() -> AsyncIterator[dict[str, Outcome]]:
    rows = [Row(c.id, [*begun(c.framing), *c.steps], {"stream": True}, targets=2) for c in AFTER_CONTENT]
    rows += [Row(name, steps, {"stream": True}) for name, steps in WHOLE.items()]
    async with played(rows) as outcomes:
        yield outcomes


@pytest.mark.parametrize("cut", AFTER_CONTENT, ids=lambda c: c.id)
async def test_a_cut_stream_ends_in_an_error_and_is_never_tried_again(cut: Cut, played_out: dict[str, Outcome]):
    outcome = played_out[cut.id]
    got = outcome.got
    assert (got.status, got.clean) == (200, True)
    assert got.text == "".join(SAID)
    assert got.error is not None and got.error["code"] == cut.code, got.error
    assert not got.done
    assert not any(c.get("choices") and c["choices"][0].get("finish_reason") for c in got.chunks), "invented"
    assert not any(c.get("usage") for c in got.chunks), "invented"
    assert outcome.attempts == [0, 1]
    if cut.closes:
        [(wire, request)] = [(w, r) for w in outcome.wires for r in w.requests]
        await wire.closed(request)


@pytest.mark.parametrize("name", WHOLE)
async def test_a_stream_that_said_its_finish_is_complete(name: str, played_out: dict[str, Outcome]):
    got = played_out[name].got
    assert (got.text, got.done, got.error) == (answers.TEXT, True, None)
    finishes = [c["choices"][0]["finish_reason"] for c in got.chunks if c["choices"]]
    assert [f for f in finishes if f] == ["stop"]
    [request] = played_out[name].wires[0].requests
    if name.startswith("U23 the end mark, then nothing"):
        await played_out[name].wires[0].closed(request)
