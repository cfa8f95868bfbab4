"""Uploads in pieces, files for the key that sent them, room, time, and what a restart finds again."""

from __future__ import annotations

import tracemalloc
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.engine.files import READ, UPLOAD_SECONDS, WRITE, Files
from gateway.errors import BadRequest, TooLarge


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


Make = Callable[..., Files]


@pytest.fixture(params=["memory", "disk"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    with ThreadPoolExecutor(1) as worker:

        def new(limit: int = 1 << 20, ttl: float = 100.0, clock: Clock | None = None) -> Files:
            disk = request.param == "disk"
            files = Files(limit, ttl, tmp_path if disk else None, worker if disk else None, clock or Clock())
            files.load()
            return files

        yield new


async def content(files: Files, owner: str, name: str) -> bytes | None:
    file = files.get(owner, name)
    return None if file is None else b"".join([piece async for piece in files.read(file)])


async def sent(files: Files, data: bytes, owner: str = "k", piece: int = 1000) -> str:
    upload = files.begin(owner, "a.txt", "text/plain", len(data))
    for at in range(0, len(data), piece):
        await files.write(upload, data[at : at + piece])
    return (await files.finish(upload)).id


@pytest.mark.parametrize("size", [0, 1, 2, 3, READ - 1, READ, READ + 1, WRITE + 7, 2 * WRITE])
async def test_what_was_sent_comes_back(make: Make, size: int):
    files = make()
    data = bytes(i * 7 % 256 for i in range(size))
    name = await sent(files, data, piece=70_001)
    file = files.get("k", name)
    assert file is not None and (file.size, file.sha256) == (size, sha256(data).digest())
    assert (file.name, file.mime, file.expires - file.created) == ("a.txt", "text/plain", 100.0)
    assert await content(files, "k", name) == data
    assert await files.base64(file) == b64encode(data).decode()
    assert files.size == size


async def test_it_belongs_to_its_key(make: Make):
    files = make()
    name = await sent(files, b"secret")
    assert files.get("other", name) is None and not files.delete("other", name) and files.listed("other") == []
    assert [f.id for f in files.listed("k")] == [name]
    assert files.delete("k", name) and not files.delete("k", name)
    assert files.size == 0 and files.listed("k") == []


async def test_an_upload_in_several_requests(make: Make):
    clock = Clock()
    files = make(clock=clock)
    begun = files.begin("k", size=6)
    assert len(begun.id) > 40 and files.upload("no") is None
    for piece in (b"ab", b"", b"cdef"):
        upload = files.upload(begun.id)
        assert upload is begun
        await files.write(upload, piece)
        await files.flush(upload)
    with pytest.raises(BadRequest, match="more octets"):
        await files.write(begun, b"g")
    file = await files.finish(begun)
    assert files.upload(begun.id) is None and await content(files, "k", file.id) == b"abcdef"


async def test_too_little_is_no_file(make: Make):
    files = make()
    upload = files.begin("k", size=3)
    await files.write(upload, b"ab")
    with pytest.raises(BadRequest, match="2 octets came of the 3"):
        await files.finish(upload)
    await files.write(upload, b"c")
    assert (await files.finish(upload)).size == 3


async def test_there_is_only_so_much_room(make: Make):
    files = make(limit=10)
    with pytest.raises(TooLarge) as caught:
        files.begin("k", size=11)
    assert caught.value.code == "file_storage_full"
    upload = files.begin("k")
    await files.write(upload, b"x" * 8)
    with pytest.raises(TooLarge):
        await files.write(upload, b"x" * 3)
    with pytest.raises(TooLarge):
        files.begin("other", size=3)
    files.cancel(upload)
    files.cancel(upload)
    assert files.size == 0
    await sent(files, b"x" * 10)


async def test_time_passes(make: Make):
    clock = Clock()
    files = make(ttl=UPLOAD_SECONDS + 100, clock=clock)
    name = await sent(files, b"abc")
    resting, active = files.begin("k"), files.begin("k")
    await files.write(resting, b"de")
    clock.now += UPLOAD_SECONDS - 1
    await files.write(active, b"f")
    clock.now += 2
    assert files.upload(resting.id) is None and files.upload(active.id) is active
    assert files.get("k", name) is not None and files.size == 4
    clock.now += 99
    assert files.get("k", name) is None and files.size == 1


async def test_a_restart_finds_whole_files_only(tmp_path: Path):
    clock = Clock()
    with ThreadPoolExecutor(1) as worker:
        first = Files(1 << 20, 100, tmp_path, worker, clock)
        first.load()
        kept, cut, gone, old = [await sent(first, data) for data in (b"kept", b"cut", b"gone", b"old")]
        begun = first.begin("k")
        await first.write(begun, b"half")
        await first.flush(begun)
        (tmp_path / f"{cut}.octets").write_bytes(b"c")
        (tmp_path / f"{gone}.octets").unlink()
        (tmp_path / "strange.json").write_bytes(b"{")
        clock.now += 10
        second = Files(1 << 20, 100, tmp_path, worker, clock)
        second.load()
        assert {f.id for f in second.listed("k")} == {kept, old}
        assert await content(second, "k", kept) == b"kept" and second.size == 7
        assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".json", ".octets", ".octets"]
        assert all(p.stat().st_mode & 0o777 == 0o600 for p in tmp_path.iterdir())
        clock.now += 91
        third = Files(1 << 20, 100, tmp_path, worker, clock)
        third.load()
        worker.submit(lambda: None).result()
        assert third.listed("k") == [] and list(tmp_path.iterdir()) == []
        assert begun.out is not None
        begun.out.close()


async def test_a_large_upload_is_never_held(tmp_path: Path):
    with ThreadPoolExecutor(1) as worker:
        files = Files(1 << 30, 100, tmp_path, worker)
        files.load()
        piece = bytes(64 * 1024)
        upload = files.begin("k")
        tracemalloc.start()
        for _ in range(16 * 32):  # 32 MiB
            await files.write(upload, bytes(piece))
        file = await files.finish(upload)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert file.size == 32 << 20 and peak < 2 << 20


async def test_a_file_that_is_deleted_while_it_is_read(make: Make):
    files = make()
    data = bytes(3 * READ)
    name = await sent(files, data, piece=READ)
    file = files.get("k", name)
    assert file is not None
    files.delete("k", name)
    assert files.get("k", name) is None
    assert await files.base64(file) is None
