"""What stays of a request: one line and its numbers, a moment later, in order; never a body or a made-up label."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest

from gateway.canonical.events import Usage
from gateway.canonical.facts import Target
from gateway.engine.quota import Meter, Quota
from gateway.engine.record import Record, Recorder, fates_in
from gateway.observe import Log, Metrics, Soon
from tests.faults.running import Metrics as Read

TARGET = Target("one", "vllm", "/models/secret/m")


def finished(**fields: Any) -> Record:
    """A request of two seconds: half a second until it was read, content after a whole one, three deltas."""
    usual: dict[str, Any] = {
        "model": "g",
        "target": TARGET,
        "attempts": ["one/m: ok"],
        "received": 100.5,
        "sent": 100.75,
        "first": 101.0,
        "last": 102.0,
        "deltas": 3,
        "parts": ["text", "text", "audio>wav16k"],
        "usage": Usage(7, 5, cached=3),
    }
    return Record("req-1", "openai", "chat", 100.0, **{**usual, **fields})


@pytest.mark.parametrize(
    ("fields", "used"),
    [
        ({}, 12),
        ({"usage": None}, 43),  # nobody counted: what was expected, and what was seen
        ({"usage": None, "status": 502}, 43),  # broken off
        ({"usage": None, "status": 502, "first": 0.0, "deltas": 0}, 0),  # the server's fault
        ({"usage": None, "status": 499, "first": 0.0, "deltas": 0}, 40),  # the client left while it worked
        ({"usage": None, "status": 499, "first": 0.0, "deltas": 0, "sent": 0.0}, 0),
        ({"usage": None, "first": 0.0, "deltas": 0}, 40),
        ({"usage": None, "first": 0.0, "deltas": 0, "sent": 0.0}, 0),  # explained
        ({"operation": "count_tokens"}, 0),
        ({"usage": Usage(7)}, 7),
    ],
)
def test_what_a_limited_key_is_charged(fields: dict[str, Any], used: int):
    record = finished(**{k: v for k, v in fields.items() if k != "operation"})
    record.operation = fields.get("operation", "chat")
    assert record.used == 0  # nobody limits it
    record.ticket = Meter(Quota(tokens=1000), 0.0).enter(0.0)
    record.ticket.reserve(40, 0.0)
    assert record.used == used


def limited(**fields: Any) -> Record:
    record = finished(**fields)
    record.ticket = Meter(Quota(tokens=1000), 0.0).enter(0.0)
    record.ticket.reserve(40, 0.0)
    return record


@pytest.mark.parametrize(
    ("fields", "wasted"),
    [
        ({}, 12),  # the server counted
        ({"usage": None}, 3),  # it did not; the prompt is a guess that counts once
        ({"usage": Usage(None, 5)}, 5),
        ({"usage": None, "first": 0.0, "deltas": 0}, 0),  # nothing came
    ],
)
def test_what_failed_attempts_did_counts_beside_the_answer(fields: dict[str, Any], wasted: int):
    record = limited(**fields)
    record.begin_attempt()
    assert (record.usage, record.deltas, record.first) == (None, 0, 0.0)
    record.status = 502
    assert record.used == wasted
    record.begin_attempt()
    record.usage = Usage(7, 2)
    assert record.used == wasted + 9


class Kept:
    """A recorder, and what came out of it."""

    def __init__(self) -> None:
        self._log = io.StringIO()
        self.metrics = Metrics()
        self.recorder = Recorder(self.metrics, Log(stream=self._log))

    def lines(self) -> list[dict[str, Any]]:
        self.recorder.log.flush()
        return [json.loads(line) for line in self._log.getvalue().splitlines()]

    def read(self) -> Read:
        return Read.read(self.metrics.render().decode())


def test_one_line_and_its_numbers():
    kept = Kept()
    kept.recorder.finish(finished(), 102.25, 1_700_000_000.1234)
    [line] = kept.lines()
    assert line == {
        "event": "request",
        "time": 1_700_000_000.123,
        "request_id": "req-1",
        "operation": "chat",
        "dialect": "openai",
        "model": "g",
        "stream": False,
        "status": 200,
        "code": "ok",
        "seconds": 2.25,
        "target": "one/m",
        "attempts": ["one/m: ok"],
        "parts": "0-1=text,2=audio>wav16k",
        "first": 1.0,
        "input_tokens": 7,
        "output_tokens": 5,
    }
    read = kept.read()
    assert read.sum("gateway_requests_total", model="g", operation="chat", status="200", code="ok") == 1
    assert read.labels("gateway_tokens_total", "kind") == {"input": 7, "output": 5, "cached": 3}
    assert read.sum("gateway_time_to_first_token_seconds_sum", backend="one", modality="text") == pytest.approx(1.0)
    assert read.sum("gateway_time_between_tokens_seconds_sum", backend="one") == pytest.approx(0.5)
    assert read.sum("gateway_overhead_seconds_sum", operation="chat") == pytest.approx(0.25)
    assert read.sum("gateway_parts_total", modality="text", fate="delivered") == 2
    assert read.sum("gateway_parts_total", modality="audio", fate="transformed") == 1


def test_the_queue_is_no_overhead():
    kept = Kept()
    kept.recorder.finish(finished(queued=0.125), 102.0, 0.0)
    assert kept.lines()[0]["queued"] == 0.125
    assert kept.read().sum("gateway_overhead_seconds_sum") == pytest.approx(0.125)


def test_one_that_no_server_saw_has_no_target_and_none_of_its_numbers():
    kept = Kept()
    bare = Record("req-2", "openai", "chat", 100.0, status=404, code="model_not_found")
    kept.recorder.finish(bare, 100.5, 0.0)
    [line] = kept.lines()
    assert (line["target"], line["attempts"], line["parts"]) == (None, [], "")
    assert not {"first", "queued", "input_tokens", "dropped", "repaired"} & set(line)
    read = kept.read()
    assert read.sum("gateway_requests_total", model="other", code="model_not_found") == 1
    assert read.sum("gateway_time_to_first_token_seconds_count") == 0


def test_a_client_s_own_word_is_no_label():
    kept = Kept()
    kept.recorder.finish(finished(parts=["text", "some_vendors_part"]), 102.0, 0.0)
    assert kept.read().labels("gateway_parts_total", "modality") == {"text": 1, "other": 1}


@pytest.mark.parametrize(
    ("word", "fates"),
    [
        ("text", [("text", "delivered")]),
        ("text>neutralised", [("text", "transformed")]),
        ("image,claimed=image/webp", [("image", "delivered")]),
        ("video>frames:8,sound=dropped", [("video", "transformed"), ("audio", "dropped")]),
        ("video,sound=wav16k:2", [("video", "delivered"), ("audio", "transformed")]),
        ("video,sound=unknown", [("video", "delivered")]),
    ],
)
def test_what_the_words_of_a_receipt_say(word: str, fates: list[tuple[str, str]]):
    assert list(fates_in(word)) == fates


def test_keys_are_counted_by_their_id():
    kept = Kept()
    kept.recorder.finish(finished(key="team-a"), 102.0, 0.0)
    kept.recorder.finish(finished(key="team-a", usage=None, status=503, code="server_is_overloaded"), 102.0, 0.0)
    kept.recorder.finish(Record("req-2", "openai", "chat", 100.0, status=401, code="invalid_api_key"), 100.5, 0.0)
    read = kept.read()
    assert read.labels("gateway_key_requests_total", "key") == {"team-a": 2, "none": 1}
    assert read.sum("gateway_key_requests_total", key="team-a", outcome="failed") == 1
    assert read.labels("gateway_key_tokens_total", "kind") == {"input": 7, "output": 5}


def test_what_was_refused_was_not_delivered():
    kept = Kept()
    kept.recorder.finish(finished(refused=("image", "image"), status=400, code="unsupported_modality"), 102.0, 0.0)
    assert kept.read().sum("gateway_parts_total", modality="image", fate="refused") == 2
    assert kept.read().sum("gateway_parts_total", fate="delivered") == 0


def test_repairs_are_said_and_counted():
    kept = Kept()
    kept.recorder.finish(finished(repaired=["markup", "call_id"], dropped=["top_k"]), 102.0, 0.0)
    [line] = kept.lines()
    assert (line["repaired"], line["dropped"]) == (["markup", "call_id"], ["top_k"])
    assert kept.read().labels("gateway_repairs_total", "reason") == {"markup": 1, "call_id": 1}


async def test_some_are_written_at_a_time_and_a_scrape_does_not_wait():
    kept = Kept()
    for k in range(3):
        kept.recorder.finish(finished(attempts=[str(k)]), 102.0, 0.0)
    assert kept.lines() == [], "nobody waits for the log"
    assert kept.read().sum("gateway_requests_total") == 3
    assert [line["attempts"] for line in kept.lines()] == [["0"], ["1"], ["2"]]
    for _ in range(Recorder.MOST):
        kept.recorder.finish(finished(), 102.0, 0.0)
    assert len(kept.lines()) == 3 + Recorder.MOST, "no more than so many wait"


async def test_they_are_written_without_being_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Soon, "PAUSE", 0.0)
    kept = Kept()
    kept.recorder.finish(finished(), 102.0, 0.0)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(kept.lines()) == 1
