"""Upstreams that fail before they said anything: the error that the client sees, or the other target's answer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults import answers
from tests.faults.batch import Outcome, Row, played
from tests.faults.rawclient import Response
from tests.faults.table import BEFORE_CONTENT, Fault, Turns

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAULTS = [
    (fault, steps, stream)
    for fault in BEFORE_CONTENT
    for steps, stream in ((fault.whole, False), (fault.stream, True))
    if steps is not None
]
ROWS = [pytest.param(f, stream, id=f"{f.id}, {'streamed' if stream else 'whole'}") for f, _, stream in FAULTS]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def alone() -> AsyncIterator[dict[str, Outcome]]:
    """Every fault with one target."""
    rows = [Row(f"{f.id} {stream}", steps, {"stream": stream}) for f, steps, stream in FAULTS]
    async with played(rows) as outcomes:
        yield outcomes


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pairs() -> AsyncIterator[dict[str, Outcome]]:
    """Every fault with two targets: the one that is tried first fails, the other one is well."""
    rows = [Row(f"{f.id} {stream}", [Turns([steps])], {"stream": stream}, targets=2) for f, steps, stream in FAULTS]
    async with played(rows) as outcomes:
        yield outcomes


def expect(got: Response, fault: Fault) -> None:
    assert got.status == fault.status, got
    error = got.error
    assert error is not None and error["code"] == fault.code, error
    if fault.param is not None:
        assert error["param"] == fault.param
    if fault.retry_after is not None:
        assert got.header("retry-after") == fault.retry_after


@pytest.mark.parametrize(("fault", "stream"), ROWS)
async def test_one_target_the_error_is_shown(fault: Fault, stream: bool, alone: dict[str, Outcome]):
    outcome = alone[f"{fault.id} {stream}"]
    expect(outcome.got, fault)
    assert outcome.attempts == [1], "one attempt per target"
    assert outcome.got.header("x-gateway-attempts") == "1"


@pytest.mark.parametrize(("fault", "stream"), ROWS)
async def test_two_targets_the_other_one_answers(fault: Fault, stream: bool, pairs: dict[str, Outcome]):
    outcome = pairs[f"{fault.id} {stream}"]
    got = outcome.got
    if fault.failover:
        assert got.status == 200, got
        assert got.text == answers.TEXT
        assert got.done == stream
        assert outcome.attempts == [1, 1], "exactly one attempt each"
        assert got.header("x-gateway-attempts") == "2"
    else:
        expect(got, fault)
        assert outcome.attempts == [0, 1], "another target would say the same"
