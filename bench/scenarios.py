"""What is measured, one function per scenario: each takes a server and returns named numbers of one round.

CPU is user and system time of the server's process, divided by the work that was done in the same time window.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from statistics import median

from bench import machine
from bench.fleet import PUBLIC_MODEL, Server, ask
from bench.load import Client, Tally, Upload, all_ended, connect
from bench.upstream import BURST, TRAILING, order_text
from bench.wire import request

Values = dict[str, float]

CLIENTS = 8
STREAMS = 100
PACE_MS = 20
PER_WRITE = 8
BURST_MS = 1
BURST_RATE = CLIENTS * BURST * 1000 // BURST_MS
WATCHED = 5
ALONE = 0.7
"""The share of paced events that must come alone: many at once are cheaper and say nothing about one."""
LEAVERS = 10
BIG_MB = (1, 10, 50)
"""Bodies with a medium in them that nobody has to convert."""
BIG_BYTES = 50_000_000
PATIENCE = 1.0
"""Seconds that the upstream is given to notice that a client has left."""

_SYSTEM = "You are a careful assistant. Answer in one sentence. Say so when you do not know. " * 3
_QUESTION = "What does a gateway cost that does nothing but pass on what it is given? " * 5
_tags = itertools.count(1)


class Failed(Exception):
    """A measurement that is worth nothing."""


@dataclass(slots=True)
class Size:
    """How long one round of each scenario takes. Times in seconds."""

    window: float
    paced: float
    flood_events: int
    latency: float
    first_byte: float
    uploads: int


FULL = Size(window=1.2, paced=2.5, flood_events=25_000, latency=0.6, first_byte=1.0, uploads=3)
QUICK = Size(window=0.4, paced=0.8, flood_events=8_000, latency=0.2, first_byte=0.4, uploads=1)


def chat_body(mode: str, events: int = 0, number: int = 0, tag: str = "-") -> bytes:
    """A chat completion request of about 0.85 KB that tells the fake what to do."""
    body = {
        "model": PUBLIC_MODEL,
        "messages": [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": order_text(mode, events, number, tag) + " " + _QUESTION},
        ],
        "temperature": 0.7,
        "max_tokens": 256,
    }
    if mode not in ("whole", "slow"):
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body).encode()


def sound_body(size: int) -> bytes:
    """The same with a text part and one `input_audio` part, `size` bytes long in all."""
    parts = [
        {"type": "text", "text": order_text("whole") + " What is said here?"},
        {"type": "input_audio", "input_audio": {"data": "SOUND", "format": "wav"}},
    ]
    body = {"model": PUBLIC_MODEL, "messages": [{"role": "user", "content": parts}], "max_tokens": 256}
    before, after = json.dumps(body).encode().split(b"SOUND")
    octets = (size - len(before) - len(after)) // 8 * 6  # even, and no padding
    sound = base64.b64encode(wav_header(octets - 44) + bytes(range(256)) * (octets // 256 + 1))
    return before + sound[: octets // 3 * 4] + after


def wav_header(octets: int) -> bytes:
    """RIFF header of 16-bit mono PCM at 16 kHz."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + octets, b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16, b"data", octets
    )


async def whole(server: Server, size: Size) -> Values:
    """Small whole answers to 8 clients over kept connections: CPU per answer."""
    return await _per_request(server, size, chat_body("whole"))


async def stream(server: Server, size: Size) -> Values:
    """Streams of one content event to 8 clients: CPU per stream, which is what a stream costs before it is long."""
    return await _per_request(server, size, chat_body("stream", 1))


async def _per_request(server: Server, size: Size, body: bytes) -> Values:
    tally = Tally()
    clients = [await connect(server.port, Client(server.request(body), tally)) for _ in range(CLIENTS)]
    await asyncio.sleep(0.2)
    done, cpu, begun = tally.done, machine.cpu_seconds(server.pid), asyncio.get_running_loop().time()
    await asyncio.sleep(size.window)
    done, cpu = tally.done - done, machine.cpu_seconds(server.pid) - cpu
    seconds = asyncio.get_running_loop().time() - begun
    tally.stop = True
    await all_ended(clients, 10)
    _check(tally, done)
    return {"cpu_us": cpu / done * 1e6, "per_second": done / seconds, "busy": cpu / seconds}


async def warm_up(server: Server) -> None:
    """Some requests of each sort, so that the first round is like the others."""
    for body, times in ((chat_body("whole"), 200), (chat_body("stream", 1), 200), (chat_body("flood", 2000, 8), 1)):
        tally = Tally()
        clients = [await connect(server.port, Client(server.request(body), tally, times)) for _ in range(CLIENTS)]
        await all_ended(clients, 20)


async def paced(server: Server, size: Size) -> Values:
    """100 streams of 50 events a second: CPU per event in the middle of the streams, and memory meanwhile."""
    tally = Tally(stop=True)
    events = int((size.paced + 1.0) * 1000 / PACE_MS)
    body = server.request(chat_body("paced", events, PACE_MS))
    idle = machine.rss_bytes(server.pid)
    clients = []
    for _ in range(STREAMS):
        clients.append(await connect(server.port, Client(body, tally)))
        await asyncio.sleep(0.00337)  # so that the streams' timetables are spread evenly
    await asyncio.sleep(0.2)
    heard, cpu, reads = tally.events, machine.cpu_seconds(server.pid), tally.reads
    await asyncio.sleep(size.paced)
    reads = tally.reads - reads
    heard, cpu = tally.events - heard, machine.cpu_seconds(server.pid) - cpu
    loaded = machine.rss_bytes(server.pid)
    await all_ended(clients, 20)
    _check(tally, heard)
    if reads < ALONE * heard:
        raise Failed(f"the machine was too busy: {heard} events came in {reads} reads")
    due = STREAMS * (events + TRAILING)
    return {
        "cpu_us": cpu / heard * 1e6,
        "per_second": heard / size.paced,
        "lost": due - tally.events,
        "rss_before": idle,
        "rss_loaded": loaded,
    }


async def bursts(server: Server, size: Size) -> Values:
    """8 streams of 16 events every millisecond, 128,000 a second in all: CPU per event."""
    return await _long_streams(server, size.flood_events, chat_body("bursts", size.flood_events, BURST_MS))


async def flood(server: Server, size: Size) -> Values:
    """8 streams as fast as the server takes them, so that it is full: CPU per event."""
    return await _long_streams(server, size.flood_events, chat_body("flood", size.flood_events, PER_WRITE))


async def _long_streams(server: Server, events: int, body: bytes) -> Values:
    tally = Tally(stop=True)
    cpu, begun = machine.cpu_seconds(server.pid), asyncio.get_running_loop().time()
    clients = []
    for _ in range(CLIENTS):
        clients.append(await connect(server.port, Client(server.request(body), tally)))
        await asyncio.sleep(0.00113)
    await all_ended(clients, 60)
    cpu, seconds = machine.cpu_seconds(server.pid) - cpu, asyncio.get_running_loop().time() - begun
    _check(tally, tally.done)
    due = CLIENTS * events
    if tally.events < 0.98 * due:  # the count misses an event cut at its `data: `
        raise Failed(f"{due - tally.events} of {due} events lost")
    return {"cpu_us": cpu / due * 1e6, "per_second": due / seconds, "busy": cpu / seconds}


async def latency(server: Server, size: Size) -> Values:
    """One client, small whole answers: the time of each."""
    tally = await _one_client(server, chat_body("whole"), size.latency)
    return {"p50_ms": median(tally.took) * 1000, "answers": len(tally.took)}


async def ttft(server: Server, size: Size) -> Values:
    """One client, streams of ten events at 2 ms: the time to the first."""
    tally = await _one_client(server, chat_body("paced", 10, 2), size.first_byte)
    return {"p50_ms": median(tally.first) * 1000, "streams": len(tally.first)}


async def _one_client(server: Server, body: bytes, seconds: float) -> Tally:
    tally = Tally()
    client = await connect(server.port, Client(server.request(body), tally))
    await asyncio.sleep(seconds)
    tally.stop = True
    await all_ended([client], 10)
    _check(tally, tally.done)
    return tally


async def close(server: Server, fake: Server) -> Values:
    """Ten clients leave, in three phases: how long until the fake sees it. `*_seen` of ten within a second."""
    values: Values = {}
    for phase, mode, events, milliseconds in (
        ("stream", "paced", 400, PACE_MS),
        ("whole", "slow", 0, 3000),
        ("first_byte", "late", 1, 3000),
    ):
        waits = await _leave(server, fake, mode, events, milliseconds)
        values[f"{phase}_seen"] = len(waits)
        if waits:
            values[f"{phase}_ms"] = median(waits) * 1000
            values[f"{phase}_worst_ms"] = max(waits) * 1000
    return values


async def _leave(server: Server, fake: Server, mode: str, events: int, milliseconds: int) -> list[float]:
    tally = Tally(stop=True)
    clients: dict[str, Client] = {}
    for _ in range(LEAVERS):
        tag = f"leaver-{next(_tags)}"
        body = chat_body(mode, events, milliseconds, tag)
        clients[tag] = await connect(server.port, Client(server.request(body), tally))
    async with asyncio.timeout(2):
        while not clients.keys() <= set((await _state(fake))["running"]):
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    gone = {tag: client.leave() for tag, client in clients.items()}
    end = asyncio.get_running_loop().time() + PATIENCE
    seen: dict[str, float] = {}
    while len(seen) < LEAVERS and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.01)
        left = (await _state(fake))["left"]
        seen = {tag: left[tag] - when for tag, when in gone.items() if tag in left}
    if tally.bad:
        raise Failed(f"{tally.bad} answers before the clients left")
    return [wait for wait in seen.values() if wait <= PATIENCE]


async def _state(fake: Server) -> dict[str, dict[str, float]]:
    _, got = await ask(fake.port, request("GET", "/_bench/state", "fake"), seconds=2)
    state: dict[str, dict[str, float]] = json.loads(got.partition(b"\r\n\r\n")[2])
    return state


async def big(server: Server, size: Size) -> Values:
    """Bodies of 1, 10 and 50 MB, one after the other: time, memory above before, and what 5 paced streams notice."""
    values: Values = {}
    for megabytes in BIG_MB:
        found = await _uploads(server, megabytes, size.uploads * (4 if megabytes < 50 else 1))
        values |= {f"{key}_{megabytes}": value for key, value in found.items()}
    return values


async def _uploads(server: Server, megabytes: int, count: int) -> Values:
    body = server.request(_big_body(megabytes))
    watched, uploads = Tally(stop=True), Tally(stop=True)
    pace = server.request(chat_body("paced", 3000, PACE_MS))
    watchers = [await connect(server.port, Client(pace, watched)) for _ in range(WATCHED)]
    peaks = []
    try:
        await asyncio.sleep(0.3)
        watched.gap = 0.0
        for _ in range(count):
            before = machine.rss_bytes(server.pid)
            async with _Peak(server.pid) as peak:
                await all_ended([await connect(server.port, Upload(body, uploads))], 30)
            peaks.append(peak.most - before)
            await asyncio.sleep(0.1)
    finally:
        for watcher in watchers:
            watcher.leave()
    _check(uploads, uploads.done)
    _check(watched, watched.events)
    return {
        "p50_ms": median(uploads.took) * 1000,
        "peak_bytes": max(peaks),
        "stall_ms": max(0.0, watched.gap * 1000 - PACE_MS),
    }


@cache
def _big_body(megabytes: int) -> bytes:
    return sound_body(megabytes * 1_000_000)


class _Peak:
    """The most resident memory of a process within the `with` block: the kernel's own mark, or else by polling."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.most = 0
        self.polling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> _Peak:
        if not machine.reset_peak(self.pid):
            self.polling = asyncio.create_task(self._poll())
        return self

    async def _poll(self) -> None:
        while True:
            self.most = max(self.most, await asyncio.to_thread(machine.rss_bytes, self.pid))
            await asyncio.sleep(0.02)

    async def __aexit__(self, *_: object) -> None:
        if self.polling is None:
            self.most = machine.peak_bytes(self.pid)
        else:
            self.polling.cancel()


def _check(tally: Tally, work: int) -> None:
    if tally.bad:
        raise Failed(f"{tally.bad} answers were not 200 or were cut")
    if not work:
        raise Failed("nothing was answered")


Scenario = Callable[[Server, Size], Awaitable[Values]]
CPU: dict[str, Scenario] = {"whole": whole, "stream": stream, "paced": paced, "bursts": bursts, "flood": flood}
OTHER: dict[str, Scenario] = {"latency": latency, "ttft": ttft, "big": big}
NAMES = (*CPU, "latency", "ttft", "close", "big", "filters")
