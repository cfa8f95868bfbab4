"""Against processes of Python's own: a server of static files answers, everything else is misbehaviour on purpose."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.fleet import free_ports
from gateway.demo.supervisor import (
    ENDS,
    RECENT,
    Child,
    ChildFailed,
    Supervisor,
    how_it_ended,
    last_lines,
    restart_delay,
)

SERVE = "import http.server as h; h.HTTPServer(('127.0.0.1', {port}), h.SimpleHTTPRequestHandler).serve_forever()"


def server(name: str, *, restart: bool = True) -> Child:
    (port,) = free_ports(1)
    argv = [sys.executable, "-c", SERVE.format(port=port)]
    return Child(name, argv, ready_url=f"http://127.0.0.1:{port}/", ready_within=20.0, restart=restart)


def program(name: str, text: str, **more: float) -> Child:
    (port,) = free_ports(1)
    return Child(name, [sys.executable, "-c", text], ready_url=f"http://127.0.0.1:{port}/", **more)


class Heard:
    """What the supervisor said, and a way to wait for it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._news.set()

    async def until(self, words: str) -> None:
        async with asyncio.timeout(20):
            while not any(words in line for line in self.lines):
                self._news.clear()
                await self._news.wait()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def supervisor(tmp_path: Path, heard: Heard) -> AsyncIterator[Supervisor]:
    async with Supervisor(tmp_path / "logs", heard) as s:
        yield s


def alive(pid: int | None) -> bool:
    assert pid is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_is_ready_when_start_returns_and_gone_when_stop_does(supervisor: Supervisor) -> None:
    await supervisor.start(server("one"))
    pid = supervisor.pid("one")
    assert supervisor.state("one") == "ready"
    assert alive(pid)
    await supervisor.stop("one")
    assert not alive(pid)
    assert supervisor.state("one") == "stopped"
    assert supervisor.pid("one") is None


async def test_a_killed_child_comes_back_as_another_process(supervisor: Supervisor, heard: Heard) -> None:
    await supervisor.start(server("one"))
    first = supervisor.pid("one")
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await heard.until("one is ready again")
    second = supervisor.pid("one")
    assert second != first
    assert alive(second)
    assert heard.lines[0].startswith("one was ended by SIGKILL: starting it again in 0.1 s")


async def test_a_child_that_shall_not_come_back_does_not(supervisor: Supervisor, heard: Heard) -> None:
    await supervisor.start(server("one", restart=False))
    pid = supervisor.pid("one")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await heard.until("not started again")
    assert supervisor.state("one") == "failed"
    await supervisor.start(server("one"))
    assert supervisor.state("one") == "ready"


async def test_leaving_stops_all_of_them_also_after_an_error(tmp_path: Path) -> None:
    pids = []
    with pytest.raises(ZeroDivisionError):
        async with Supervisor(tmp_path) as s:
            await s.start_all([server("one"), server("two")])
            pids = [s.pid("one"), s.pid("two")]
            raise ZeroDivisionError
    assert pids
    assert not any(map(alive, pids))


async def test_a_child_that_ends_at_once_is_reported_with_its_last_words(supervisor: Supervisor) -> None:
    with pytest.raises(ChildFailed) as failure:
        await supervisor.start(program("one", "print('first'); print('disk full'); raise SystemExit(3)"))
    assert str(failure.value) == "one ended with exit code 3"
    assert failure.value.tail == ["first", "disk full"]
    assert "  | disk full\n" in failure.value.report()
    assert supervisor.state("one") == "failed"


async def test_a_child_that_does_not_get_ready_is_stopped(supervisor: Supervisor) -> None:
    with pytest.raises(ChildFailed, match=r"was not ready within 0\.1 s"):
        await supervisor.start(program("one", "import time; time.sleep(60)", ready_within=0.1))
    assert supervisor.pid("one") is None


async def test_what_cannot_be_started_is_reported(supervisor: Supervisor) -> None:
    with pytest.raises(ChildFailed, match="could not be started"):
        await supervisor.start(Child("one", ["/nowhere/at/all"]))


async def test_one_failure_does_not_leave_the_others_unwatched(tmp_path: Path) -> None:
    async with Supervisor(tmp_path) as s:
        with pytest.raises(ChildFailed):
            await s.start_all([server("good"), Child("bad", ["/nowhere/at/all"])])
        pid = s.pid("good")
        assert alive(pid)
    assert not alive(pid)


async def test_a_cancelled_start_leaves_no_process(supervisor: Supervisor, tmp_path: Path) -> None:
    mark = tmp_path / "up"
    child = program("one", f"import pathlib, time; pathlib.Path({str(mark)!r}).touch(); time.sleep(60)")
    starting = asyncio.create_task(supervisor.start(child))
    while not mark.exists():
        await asyncio.sleep(0.01)
    pid = supervisor.pid("one")
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    assert not alive(pid)


async def test_one_that_ignores_sigterm_is_killed(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.demo.supervisor.GRACE", 0.05)
    child = server("one")
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + child.argv[2]
    await supervisor.start(Child("one", [*child.argv[:2], deaf], ready_url=child.ready_url))
    pid = supervisor.pid("one")
    await supervisor.stop("one")
    assert not alive(pid)


async def test_its_own_children_end_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    child = server("one")
    text = (
        "import subprocess, sys, pathlib\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(p.pid))\n" + child.argv[2]
    )
    await supervisor.start(Child("one", [*child.argv[:2], text], ready_url=child.ready_url))
    grandchild = int(note.read_text())
    assert alive(grandchild)
    await supervisor.stop("one")
    async with asyncio.timeout(5):
        while not gone(grandchild):
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    """Ended, whether or not whoever inherited it has looked (nobody does in a container without an init)."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self").exists():
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"
    return not alive(pid)


async def test_a_running_name_cannot_be_started_again(supervisor: Supervisor) -> None:
    await supervisor.start(server("one"))
    with pytest.raises(ValueError, match="one is running"):
        await supervisor.start(server("one"))


async def test_env_is_added_to_ours(supervisor: Supervisor) -> None:
    text = "import os; print(os.environ['EXTRA'], 'PATH' in os.environ)"
    with pytest.raises(ChildFailed) as failure:
        await supervisor.start(Child("one", [sys.executable, "-c", text], {"EXTRA": "yes"}, "http://127.0.0.1:9/"))
    assert failure.value.tail == ["yes True"]


@given(st.lists(st.floats(0, 10_000), max_size=20), st.floats(0, 100))
def test_the_more_it_ended_lately_the_longer_the_pause(earlier: list[float], later: float) -> None:
    now = max(earlier, default=0.0) + later
    ends = [*earlier, now]
    delay = restart_delay(ends, now)
    recent = [e for e in ends if now - e < RECENT]
    assert (delay is None) == (len(recent) > ENDS)
    if delay is not None:
        assert 0 < delay < 10
        more = restart_delay([*ends, now], now)
        assert more is None or more > delay


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "ended with exit code 0"), (-9, "was ended by SIGKILL"), (-99, "signal 99")],
)
def test_how_it_ended(code: int, words: str) -> None:
    assert words in how_it_ended(code)


def test_the_last_lines_of_nothing_are_none(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "no") == []
    log = tmp_path / "log"
    log.write_bytes(b"a\n" * 20_000 + b"caf\xe9\n")
    assert last_lines(log, 2) == ["a", "caf\ufffd"]
