"""Log lines leave together and in order, and nothing that happens to the log or to a metric disturbs a request."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest

from gateway.canonical.events import Usage
from gateway.canonical.facts import Target
from gateway.engine.record import Record, Recorder
from gateway.observe import Log, Metrics, Soon, _Lines


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


# ---- the log ----


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


# ---- the metrics ----


def samples(metrics: Metrics) -> dict[str, float]:
    out = {}
    for line in metrics.render().decode().splitlines():
        if not line.startswith("#") and "_bucket" not in line:
            name, _, value = line.rpartition(" ")
            out[name] = float(value)
    return out


def finished(recorder: Recorder, **fields: Any) -> None:
    recorder.finish(Record("id", "openai", "chat", 10.0, **fields), 12.0, 0.0)


def test_what_counts_of_a_request():
    metrics = Metrics()
    recorder = Recorder(metrics, Log(Stream()))
    for _ in range(2):
        finished(
            recorder,
            model="m",
            target=Target("one", "vllm", "x"),
            received=10.1,
            queued=0.2,
            sent=10.4,
            first=11.0,
            last=12.0,
            deltas=3,
            usage=Usage(7, 5, 2, None),
            parts=["text", "audio>wav16k", "text", "made-up"],
        )
    got = samples(metrics)
    ends = 'model="m",operation="chat"'
    assert got[f'gateway_requests_total{{code="ok",dialect="openai",{ends},status="200"}}'] == 2
    assert got[f"gateway_request_seconds_sum{{{ends}}}"] == 4.0
    assert got['gateway_overhead_seconds_sum{operation="chat"}'] == pytest.approx(0.2)
    where = 'backend="one",model="m"'
    assert got[f"gateway_time_to_first_token_seconds_sum{{{where}}}"] == 2.0
    assert got[f"gateway_time_between_tokens_seconds_sum{{{where}}}"] == 1.0
    kinds = {"input": 14, "output": 10, "cached": 4}
    for kind, count in kinds.items():
        assert got[f'gateway_tokens_total{{backend="one",kind="{kind}",model="m"}}'] == count
    assert not [name for name in got if 'kind="reasoning"' in name]
    parts = {("text", "delivered"): 4, ("audio", "transformed"): 2, ("other", "delivered"): 2}
    for (modality, fate), count in parts.items():
        assert got[f'gateway_parts_total{{fate="{fate}",modality="{modality}"}}'] == count


def test_a_request_that_reached_no_server_makes_no_series_of_one():
    metrics = Metrics()
    finished(Recorder(metrics, Log(Stream())), model="m", status=503, code="no_healthy_backend")
    finished(Recorder(metrics, Log(Stream())), model="m")
    got = samples(metrics)
    ends = 'dialect="openai",model="m",operation="chat"'
    assert got[f'gateway_requests_total{{code="no_healthy_backend",{ends},status="503"}}'] == 1
    assert got[f'gateway_requests_total{{code="ok",{ends},status="200"}}'] == 1
    assert not [name for name in got if "backend=" in name]


def test_the_gauge_of_bodies_reads_what_is_held():
    metrics, held = Metrics(), [0]
    metrics.bodies(lambda: held[0])
    held[0] = 77
    assert samples(metrics)["gateway_body_octets"] == 77
