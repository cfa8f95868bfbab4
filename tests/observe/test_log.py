"""Log lines leave together and in order, and nothing that happens to the log disturbs a request."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest

from gateway.observe.log import Log, Soon, _Lines


class Stream(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)

    @property
    def events(self) -> list[Any]:
        return [json.loads(line)["event"] for line in self.getvalue().splitlines()]


class Broken(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, _text: str) -> int:
        raise self.error


async def test_lines_of_a_moment_are_one_write(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Soon, "PAUSE", 0.0)
    stream = Stream()
    log = Log(stream)
    for k in range(10):
        log.request({"event": k})
    assert stream.writes == 0
    async with asyncio.timeout(5):
        while not stream.writes:
            await asyncio.sleep(0)
    assert stream.events == list(range(10)) and stream.writes == 1
    log.request({"event": 10})
    log.flush()
    log.flush()
    assert stream.events == list(range(11)) and stream.writes == 2


async def test_events_keep_their_place_and_do_not_wait():
    stream = Stream()
    log = Log(stream)
    log.request({"event": "request"})
    log.events.info("state")
    log.events.error("bug")
    assert stream.events == ["request", "state", "bug"]


async def test_many_lines_do_not_wait():
    stream = Stream()
    log = Log(stream)
    log.request({"event": "x" * (_Lines.MOST + 1)})
    assert stream.writes == 1


def test_without_a_loop_nothing_waits():
    stream = Stream()
    Log(stream).request({"event": "x"})
    assert stream.events == ["x"]


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O operation on closed file"), OSError(28, "full")])
def test_a_log_that_nobody_reads_raises_nothing(error: Exception):
    log = Log(Broken(error))
    log.request({"event": "request"})
    log.events.warning("state", backend="one")
    log.flush()


def test_the_level_can_change():
    stream = Stream()
    log = Log(stream, level="warning")
    log.request({"event": "request"})
    log.events.info("state")
    assert stream.events == []
    log.set_level("info")
    log.request({"event": "request"})
    log.events.info("state")
    log.set_level("error")
    log.events.warning("drift")
    assert stream.events == ["request", "state"]


def test_what_is_no_text_is_logged_all_the_same():
    stream = Stream()
    log = Log(stream)
    log.request({"event": "half \ud800"})
    log.events.info("state", change="half \ud800")
    assert stream.events == ["half \ud800", "state"]
