"""The sweep: who has waited too long is cancelled, in the phase that it was in; who leaves in time is not touched."""

from __future__ import annotations

import asyncio

import pytest

from gateway.engine.deadlines import Sweep, Watch, sweep_interval
from gateway.errors import ClientGone, GatewayError, UpstreamTimeout
from gateway.settings import parse


async def waits(sweep: Sweep, expires: float, deadline: float, phase: str = "first_byte") -> None:
    """A call that hangs until the sweep ends it."""
    with Watch(sweep, expires, deadline) as watch:
        watch.phase = phase  # type: ignore[assignment]
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            error = watch.error()
            if error is None:
                raise
            raise error from None


@pytest.mark.parametrize(
    ("now", "expires", "deadline", "param"),
    [(9.9, 10, 20, None), (10, 10, 20, "first_byte"), (25, 10, 20, "total"), (20, 30, 20, "total")],
)
async def test_what_expires_and_as_what(now, expires, deadline, param):
    sweep = Sweep()
    task = asyncio.create_task(waits(sweep, expires, deadline))
    await asyncio.sleep(0)
    sweep.sweep(now)
    await asyncio.wait([task], timeout=0.01)
    if param is None:
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), "a cancellation that is not the sweep's stays one"
    else:
        error = task.exception()
        assert isinstance(error, UpstreamTimeout) and error.param == param
        assert task.cancelling() == 0
    assert not sweep.watches


@pytest.mark.parametrize("phase", ["first_byte", "idle", "total"])
async def test_each_phase_has_its_words(phase):
    sweep = Sweep()
    task = asyncio.create_task(waits(sweep, 1, 100, phase))
    await asyncio.sleep(0)
    sweep.sweep(2)
    with pytest.raises(UpstreamTimeout) as caught:
        await task
    assert caught.value.param == phase and caught.value.message


async def test_a_client_that_does_not_read_is_gone():
    sweep = Sweep()
    task = asyncio.create_task(waits(sweep, 1, 100, "send"))
    await asyncio.sleep(0)
    sweep.sweep(2)
    with pytest.raises(ClientGone) as caught:
        await task
    assert caught.value.code == "client_stalled"


async def test_progress_puts_it_off_and_the_deadline_never_moves():
    sweep = Sweep()
    ended: list[GatewayError] = []

    async def call() -> None:
        try:
            await waits(sweep, 10, 20)
        except GatewayError as e:
            ended.append(e)

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    [watch] = sweep.watches
    watch.expires = 19
    sweep.sweep(15)
    await asyncio.sleep(0)
    assert not ended
    watch.expires = 1000
    sweep.sweep(20)
    await task
    assert [e.param for e in ended] == ["total"]


async def test_a_call_that_ended_is_forgotten():
    sweep = Sweep()
    with Watch(sweep, 1, 1):
        assert len(sweep.watches) == 1
    sweep.sweep(100)
    await asyncio.sleep(0)
    assert not sweep.watches


async def test_the_sweeper_runs_and_stops():
    sweep = Sweep(period=0.01)
    sweep.start()
    now = asyncio.get_running_loop().time()
    with pytest.raises(UpstreamTimeout):
        await asyncio.wait_for(waits(sweep, now + 0.03, now + 100), 2)
    await sweep.stop()


def test_the_sweep_is_often_enough_for_the_shortest_time():
    assert sweep_interval(parse("{}", {})) == 1.0
    assert sweep_interval(parse("timeouts: {idle: 2s}", {})) == 0.5
    backend = "backends: {a: {kind: vllm, url: 'http://127.0.0.1:9', timeouts: {total: 400ms}}}"
    assert sweep_interval(parse(backend, {})) == 0.1
