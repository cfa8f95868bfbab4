from __future__ import annotations

import asyncio

import pytest

from gateway.engine.media.store import Store


def size(value: bytes) -> int:
    return len(value)


async def test_made_once_for_all_that_want_it() -> None:
    store: Store[bytes] = Store(1000)
    made = 0
    go = asyncio.Event()

    async def make() -> bytes:
        nonlocal made
        made += 1
        await go.wait()
        return b"x"

    waiting = [asyncio.create_task(store.get("a", make, size)) for _ in range(5)]
    await asyncio.sleep(0)
    go.set()
    assert [await w for w in waiting] == [b"x"] * 5
    assert await store.get("a", make, size) == b"x"
    assert made == 1


async def test_the_last_one_that_leaves_ends_it() -> None:
    store: Store[bytes] = Store(1000)
    ended = asyncio.Event()

    async def make() -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async def quick() -> bytes:
        return b"new"

    one, two = (asyncio.create_task(store.get("a", make, size)) for _ in range(2))
    await asyncio.sleep(0.01)
    one.cancel()
    await asyncio.gather(one, return_exceptions=True)
    assert not ended.is_set()
    two.cancel()
    await asyncio.sleep(0)
    assert await store.get("a", quick, size) == b"new"
    await asyncio.gather(two, return_exceptions=True)
    assert ended.is_set()


async def test_an_error_is_everybodys_and_is_not_kept() -> None:
    store: Store[bytes] = Store(1000)
    tries = 0

    async def make() -> bytes:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        if tries == 1:
            raise ValueError("no")
        return b"x"

    found = await asyncio.gather(*(store.get("a", make, size) for _ in range(3)), return_exceptions=True)
    assert [type(f) for f in found] == [ValueError] * 3
    assert await store.get("a", make, size) == b"x"


async def test_bounded_and_the_oldest_goes() -> None:
    store: Store[bytes] = Store(100)
    made: list[int] = []

    async def get(key: int, octets: int = 25) -> bytes:
        async def make() -> bytes:
            made.append(key)
            return bytes(octets)

        return await store.get(key, make, size)

    for key in (1, 2, 3, 4, 1, 5):
        await get(key)
    assert (store.size, len(store)) == (100, 4)
    await get(1)
    await get(2)
    assert made == [1, 2, 3, 4, 5, 2]
    await get(9, 26)  # too large to be kept
    await get(9, 26)
    assert made[-2:] == [9, 9]


async def test_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    store: Store[bytes] = Store(100, seconds=10.0)
    now = [0.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    made = 0

    async def make() -> bytes:
        nonlocal made
        made += 1
        return b"x"

    await store.get("a", make, size)
    now[0] = 9.0
    await store.get("a", make, size)
    assert made == 1
    now[0] = 11.0
    await store.get("a", make, size)
    assert made == 2
