"""What is kept, for whom, how long, how much of it, and what a restart finds again."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import Segments
from gateway.engine.shelf import SHARE, Shelf


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def settled(worker: ThreadPoolExecutor) -> None:
    worker.submit(lambda: None).result()


async def value(shelf: Shelf, owner: str, name: str) -> bytes | None:
    found = await shelf.get(owner, name)
    return None if found is None else b"".join(found)


@pytest.mark.parametrize("disk", [False, True])
async def test_it_belongs_to_the_key_that_made_it(disk: bool, tmp_path: Path):
    with ThreadPoolExecutor(1) as worker:
        shelf = Shelf(1000, 60, tmp_path if disk else None, worker if disk else None)
        assert shelf.put("k", "a", [b"one", Segments([b"two", b"three"])])
        assert await value(shelf, "k", "a") == b"onetwothree"
        assert await value(shelf, "other", "a") is None and not shelf.remove("other", "a")
        shelf.put("k", "a", [b"new"])
        assert await value(shelf, "k", "a") == b"new" and shelf.size == 3
        assert shelf.remove("k", "a") and not shelf.remove("k", "a")
        assert await value(shelf, "k", "a") is None and shelf.size == 0


async def test_what_is_not_used_goes_and_what_is_used_stays():
    clock = Clock()
    shelf = Shelf(1000, 10, clock=clock)
    shelf.put("k", "a", [b"1"])
    shelf.put("k", "b", [b"2"])
    clock.now += 8
    assert await value(shelf, "k", "a") == b"1"
    clock.now += 8
    assert await value(shelf, "k", "b") is None
    assert await value(shelf, "k", "a") == b"1"
    clock.now += 11
    shelf.sweep()
    assert len(shelf) == 0 and shelf.size == 0


async def test_the_least_used_go_first_and_nothing_drives_out_all():
    shelf = Shelf(100, 60)
    assert not shelf.put("k", "huge", [b"x" * (100 // SHARE + 1)])
    for name in "abcd":
        assert shelf.put("k", name, [b"x" * 25])
    await shelf.get("k", "a")
    shelf.put("k", "e", [b"x" * 25])
    assert [n for n in "abcde" if await shelf.get("k", n)] == ["a", "c", "d", "e"]
    assert shelf.size == 100


async def test_a_restart_finds_what_was_written(tmp_path: Path):
    clock = Clock()
    with ThreadPoolExecutor(1) as worker:
        first = Shelf(1000, 60, tmp_path, worker, clock)
        first.load()
        for name in ("a", "b", "gone"):
            first.put("k", name, [name.encode() * 3])
        first.remove("k", "gone")
        settled(worker)
        clock.now += 5
        await first.get("k", "b")
        second = Shelf(1000, 60, tmp_path, worker, clock)
        second.load()
        assert second.size == first.size == 6
        assert {(o, n, v) for o, n, v in second.stored()} == {("k", "a", b"aaa"), ("k", "b", b"bbb")}
        assert await value(second, "k", "a") == b"aaa" and await value(second, "other", "a") is None
        assert (tmp_path.stat().st_mode & 0o777, next(tmp_path.glob("??/*")).stat().st_mode & 0o777)[1] == 0o600


async def test_what_a_crash_cut_is_not_read_back(tmp_path: Path):
    with ThreadPoolExecutor(1) as worker:
        shelf = Shelf(1000, 60, tmp_path, worker)
        for name in ("whole", "cut", "broken", "moved"):
            shelf.put("k", name, [b"0123456789"])
        settled(worker)
        paths = {n: shelf._path(("k", n)) for n in ("cut", "broken", "moved")}
        paths["cut"].write_bytes(paths["cut"].read_bytes()[:-3])
        paths["broken"].write_bytes(b"no json\n")
        paths["moved"].rename(paths["moved"].with_name(paths["moved"].name[:-1] + "x"))
        (paths["cut"].parent / "left.part").write_bytes(b"x")
        again = Shelf(1000, 60, tmp_path, worker)
        again.load()
        assert [n for _, n, _ in again.stored()] == ["whole"]
        assert len([p for p in tmp_path.glob("??/*") if p.is_file()]) == 1


async def test_a_file_that_is_gone_is_a_miss(tmp_path: Path):
    with ThreadPoolExecutor(1) as worker:
        shelf = Shelf(1000, 60, tmp_path, worker)
        shelf.put("k", "a", [b"x"])
        settled(worker)
        again = Shelf(1000, 60, tmp_path, worker)
        again.load()
        again._path(("k", "a")).unlink()
        assert await again.get("k", "a") is None and len(again) == 0 and again.size == 0


async def test_a_disk_that_refuses_is_told_and_the_value_is_gone(tmp_path: Path):
    told: list[OSError] = []
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with ThreadPoolExecutor(1) as worker:
        shelf = Shelf(1000, 60, blocked, worker, failed=told.append)
        shelf.put("k", "a", [b"x"])
        while not told:
            await value(shelf, "k", "b")
            await asyncio.sleep(0)
        assert await value(shelf, "k", "a") is None and shelf.size == 0
    with pytest.raises(OSError):
        shelf.load()


def test_a_folder_needs_a_worker(tmp_path: Path):
    with pytest.raises(ValueError):
        Shelf(1, 1, tmp_path)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 30), st.booleans()), max_size=40))
async def test_it_never_holds_more_than_it_may(steps: list[tuple[str, int, bool]]):
    shelf = Shelf(100, 60)
    held: dict[str, int] = {}
    for name, size, away in steps:
        if away:
            shelf.remove("k", name)
            held.pop(name, None)
        elif shelf.put("k", name, [b"x" * size]):
            held[name] = size
        else:
            held.pop(name, None)
        here = {n: len(b"".join(v)) for n in held if (v := await shelf.get("k", n)) is not None}
        assert shelf.size == sum(here.values()) <= 100 and here.items() <= held.items()
