"""The door to a target: never more than the limit, first come first served, and no slot is ever lost."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.canonical.facts import Target
from gateway.engine.admission import Gate, Memory, Slot
from gateway.errors import Overloaded
from gateway.routing.candidate import Candidate


def gate(limit: int = 1, queue: int = 3) -> Gate:
    return Gate(Candidate(Target("one", "llamacpp", "m"), limit=limit, queue_limit=queue))


async def turn() -> None:
    """Lets everything run that can run."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_slots_up_to_the_limit():
    g = gate(2)
    first, second = g.try_enter(), g.try_enter()
    assert first is not None and second is not None and g.try_enter() is None
    with first:
        assert g.candidate.in_flight == 2
    assert g.candidate.in_flight == 1
    assert g.try_enter() is not None


def test_a_slot_is_given_back_once():
    g = gate(2)
    slot = g.try_enter()
    other = g.try_enter()
    assert slot is not None and other is not None
    for _ in range(3):
        slot.__exit__(None, None, None)
    assert g.candidate.in_flight == 1


async def test_first_come_first_served():
    g = gate(1, queue=10)
    held = g.try_enter()
    order: list[int] = []

    async def enter(k: int) -> None:
        with await g.enter(10):
            order.append(k)
            await asyncio.sleep(0)

    tasks = []
    for k in range(5):
        tasks.append(asyncio.create_task(enter(k)))
        await turn()
    assert (g.candidate.in_flight, g.candidate.queued, order) == (1, 5, [])
    assert held is not None
    held.__exit__(None, None, None)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]
    assert (g.candidate.in_flight, g.candidate.queued) == (0, 0)


async def test_nobody_overtakes_those_who_wait():
    g = gate(1)
    held = g.try_enter()
    assert held is not None
    waiting = asyncio.create_task(g.enter(10))
    await turn()
    held.__exit__(None, None, None)
    assert g.try_enter() is None, "the slot is promised"
    with await waiting:
        pass
    assert g.candidate.in_flight == 0


async def test_a_full_queue_refuses_at_once():
    g = gate(1, queue=2)
    held = g.try_enter()
    waiting = [asyncio.create_task(g.enter(10)) for _ in range(2)]
    await turn()
    with pytest.raises(Overloaded) as caught:
        await g.enter(10)
    assert caught.value.retry_after
    assert g.candidate.queued == 2
    assert held is not None
    held.__exit__(None, None, None)
    for task in waiting:
        with await task:
            pass
    assert (g.candidate.in_flight, g.candidate.queued) == (0, 0)


async def test_waiting_ends():
    g = gate(1)
    held = g.try_enter()
    with pytest.raises(Overloaded):
        await g.enter(0.01)
    assert (g.candidate.in_flight, g.candidate.queued) == (1, 0)
    assert held is not None
    held.__exit__(None, None, None)
    assert g.candidate.in_flight == 0


async def test_who_leaves_the_queue_takes_no_slot():
    g = gate(1)
    held = g.try_enter()
    task = asyncio.create_task(g.enter(10))
    await turn()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert g.candidate.queued == 0
    assert held is not None
    held.__exit__(None, None, None)
    assert g.candidate.in_flight == 0


async def test_who_leaves_in_the_moment_of_his_turn_passes_it_on():
    g = gate(1)
    held = g.try_enter()
    first = asyncio.create_task(g.enter(10))
    second = asyncio.create_task(g.enter(10))
    await turn()
    assert held is not None
    held.__exit__(None, None, None)  # the first one's turn is set, but it has not run yet
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    with await asyncio.wait_for(second, 1):
        assert g.candidate.in_flight == 1
    assert (g.candidate.in_flight, g.candidate.queued) == (0, 0)


async def test_a_limit_that_grows_lets_those_in_who_wait():
    """A probe may find more slots while requests wait."""
    g = gate(1)
    held = g.try_enter()
    waiting = [asyncio.create_task(g.enter(10)) for _ in range(3)]
    await turn()
    g.candidate.limit = 4
    assert held is not None
    held.__exit__(None, None, None)
    await turn()
    done = [t for t in waiting if t.done()]
    for task in waiting:
        if task in done:
            task.result().__exit__(None, None, None)
    for task in waiting:
        if task not in done:
            with await asyncio.wait_for(task, 1):
                pass
    assert (g.candidate.in_flight, g.candidate.queued) == (0, 0)


Do = st.one_of(
    st.tuples(st.just("enter"), st.just(0)),
    st.tuples(st.just("leave"), st.integers(0, 9)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("leave and cancel"), st.integers(0, 9)),
    st.tuples(st.just("limit"), st.integers(1, 4)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(Do, max_size=40))
def test_no_slot_is_lost_whatever_happens(steps):
    async def run() -> None:
        g = gate(2, queue=4)
        c = g.candidate
        inside: list[Slot] = []
        waiting: list[asyncio.Task[Slot]] = []

        async def settle() -> None:
            await turn()
            for task in [t for t in waiting if t.done()]:
                waiting.remove(task)
                if not task.cancelled() and task.exception() is None:
                    inside.append(task.result())

        highest = 2
        for what, k in steps:
            if what == "enter":
                if c.queued < c.queue_limit:
                    waiting.append(asyncio.create_task(g.enter(1000)))
            elif what == "limit":
                c.limit = k
                highest = max(highest, k)
            else:
                if "leave" in what and inside:
                    inside.pop(k % len(inside)).__exit__(None, None, None)
                if "cancel" in what and waiting:
                    task = waiting[k % len(waiting)]
                    task.cancel()
            await settle()
            assert c.in_flight == len(inside)
            assert c.queued == len(waiting) <= c.queue_limit
            assert c.in_flight <= highest
        for _ in range(50):
            while inside:
                inside.pop().__exit__(None, None, None)
            await settle()
        assert (c.in_flight, c.queued, waiting) == (0, 0, [])

    asyncio.run(run())


def test_memory_is_bounded():
    memory = Memory(100)
    memory.reserve(60)
    with pytest.raises(Overloaded):
        memory.reserve(41)
    assert memory.held == 60, "what was refused is not held"
    memory.reserve(40)
    memory.release(100)
    assert memory.held == 0
