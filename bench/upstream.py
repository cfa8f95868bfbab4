"""A fake model server: as much of llama.cpp's HTTP API as a gateway probes and sends to, and nothing behind it.

What it shall do stands in the request's text, because text is what every relay passes on unchanged:
`@bench MODE EVENTS NUMBER TAG@`.

    whole   one answer of 0.6 KB, at once                  slow   the same, after NUMBER milliseconds
    stream  so many content events in one write, at once   late   the same, after NUMBER milliseconds
    paced   one event at once, then one every NUMBER milliseconds
    bursts  the same, but sixteen events every NUMBER milliseconds
    flood   so many events as fast as they go, NUMBER to a write

A relay that asks for a stream gets `whole` and `slow` as one, with the words in one event: the gateway always asks
llama.cpp for a stream, and makes a whole answer of it where its client wants one.

Every event is an HTTP chunk of its own, as llama.cpp sends them. `GET /_bench/state` tells which tagged requests are
running and when (on the machine's monotonic clock) the fake saw the client of a tagged request leave.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import itertools
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from bench.wire import RequestReader

MODEL = "fake-model"
SLOTS = 4096
BURST = 16

_ORDER = re.compile(rb"@bench (\w+) (\d+) (\d+) ([\w-]+)@")
_COMMON = (
    '"created":1795499488,"id":"chatcmpl-ncIczOxiSU2pI88VWPqcLJAsHGkPSgjm","model":"fake-model",'
    '"system_fingerprint":"b0-fake"'
)
_WORDS = "The fake server says the same thing every time it is asked. " * 2
_SPENT = (
    ',"usage":{"completion_tokens":24,"prompt_tokens":180,"total_tokens":204,'
    '"prompt_tokens_details":{"cached_tokens":0}},"timings":{"cache_n":0,"prompt_n":180,"prompt_ms":12.5,'
    '"prompt_per_second":14400.0,"predicted_n":24,"predicted_ms":48.0,"predicted_per_second":500.0}'
)
_WHOLE = (
    '{"choices":[{"finish_reason":"stop","index":0,"message":{"role":"assistant","content":"'
    + _WORDS
    + '"}}],'
    + _COMMON
    + ',"object":"chat.completion"'
    + _SPENT
    + "}"
)


def framed(text: str) -> bytes:
    """One HTTP chunk."""
    data = text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(choices: str, more: str = "") -> bytes:
    """One server-sent event as one HTTP chunk."""
    return framed(f'data: {{"choices":[{choices}],{_COMMON},"object":"chat.completion.chunk"{more}}}\n\n')


def answer(value: str, status: str = "200 OK") -> bytes:
    """One whole JSON answer."""
    head = (
        f"HTTP/1.1 {status}\r\nServer: fake-upstream\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(value.encode())}\r\n\r\n"
    )
    return (head + value).encode()


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: fake-upstream\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
FIRST = event('{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":" token"}}')
TOKEN = event('{"finish_reason":null,"index":0,"delta":{"content":" token"}}')
END = (
    event('{"finish_reason":"stop","index":0,"delta":{}}')
    + event("", ',"usage":{"completion_tokens":24,"prompt_tokens":180,"total_tokens":204}')
    + framed("data: [DONE]\n\n")
    + b"0\r\n\r\n"
)
TRAILING = 3
"""Server-sent events after the content: finish, usage, [DONE]."""
WHOLE = answer(_WHOLE)
FOLDED = (
    STREAM_HEAD
    + event('{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}')
    + event(f'{{"finish_reason":null,"index":0,"delta":{{"content":"{_WORDS}"}}}}')
    + event('{"finish_reason":"stop","index":0,"delta":{}}')
    + event("", _SPENT)
    + framed("data: [DONE]\n\n")
    + b"0\r\n\r\n"
)
"""What WHOLE says, as a stream."""

_CARD = {
    "id": MODEL,
    "aliases": [MODEL],
    "object": "model",
    "created": 1795499487,
    "owned_by": "llamacpp",
    "architecture": {"input_modalities": ["text", "image", "audio", "video"], "output_modalities": ["text"]},
    "meta": {"n_ctx": 131072, "n_ctx_train": 131072, "n_params": 4_000_000_000, "ftype": "Q4_K - Medium"},
}
_PROPS = {
    "default_generation_settings": {"n_ctx": 131072, "params": {}},
    "total_slots": SLOTS,
    "model_alias": MODEL,
    "model_ftype": "Q4_K - Medium",
    "model_path": f"/models/{MODEL}.gguf",
    "modalities": {"vision": True, "video": True, "audio": True},
    "endpoint_slots": False,
    "endpoint_props": False,
    "endpoint_metrics": False,
    "chat_template": "{{ messages }}",
    "chat_template_caps": {
        "supports_object_arguments": True,
        "supports_parallel_tool_calls": True,
        "supports_string_content": True,
        "supports_system_role": True,
        "supports_tool_calls": True,
        "supports_tools": True,
        "supports_typed_content": True,
    },
    "build_info": "b11549-fake",
    "is_sleeping": False,
}
_FIXED = {
    "/health": {"status": "ok"},
    "/v1/health": {"status": "ok"},
    "/v1/models": {"object": "list", "data": [_CARD]},
    "/props": _PROPS,
    "/v1/chat/completions/input_tokens": {"input_tokens": 180, "object": "response.input_tokens"},
    "/tokenize": {"tokens": [1, 2, 3]},
}
FIXED = {path: answer(json.dumps(value)) for path, value in _FIXED.items()}
MISSING = answer('{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}', "404 Not Found")
UNCLEAR = answer('{"error":{"code":400,"message":"no @bench order","type":"invalid_request_error"}}', "400 Bad Request")


@dataclass(slots=True)
class Order:
    """What one request asks the fake to do."""

    mode: str
    events: int
    number: int
    tag: str
    streamed: bool = False

    @property
    def seconds(self) -> float:
        """The number as what it mostly is: milliseconds."""
        return self.number / 1000


def order_text(mode: str, events: int = 0, number: int = 0, tag: str = "-") -> str:
    """The order as it is put into a request's text. A tag other than `-` is kept account of."""
    return f"@bench {mode} {events} {number} {tag}@"


def read_order(body: bytes) -> Order | None:
    """The order in a request's body, if there is one."""
    found = _ORDER.search(body)
    if found is None:
        return None
    streamed = b'"stream":true' in body
    return Order(found[1].decode(), int(found[2]), int(found[3]), found[4].decode(), streamed)


class Ledger:
    """The tagged requests: which run, and when their clients were seen to leave."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.left: dict[str, float] = {}

    def state(self) -> bytes:
        return answer(json.dumps({"running": sorted(self.running), "left": self.left}))


class Pacer(threading.Thread):
    """Calls back at a point in time, to some 50 us. Event loops round to milliseconds: 100 streams would write in
    bunches of five, and whoever reads them would wake up once for five events instead of once for each."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(daemon=True)
        self.loop = loop
        self.changed = threading.Condition()
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        """`do()` in the loop's thread when `time.monotonic()` is `when`."""
        with self.changed:
            first = not self.due or when < self.due[0][0]
            heapq.heappush(self.due, (when, next(self.order), do))
            if first:
                self.changed.notify()

    def run(self) -> None:
        with self.changed:
            while True:
                wait = self.due[0][0] - time.monotonic() if self.due else None
                if wait is None or wait > 0:
                    self.changed.wait(wait)
                else:
                    self.loop.call_soon_threadsafe(heapq.heappop(self.due)[2])


class Fake(asyncio.Protocol):
    """One connection."""

    def __init__(self, ledger: Ledger, pacer: Pacer, loop: asyncio.AbstractEventLoop) -> None:
        self.ledger = ledger
        self.pacer = pacer
        self.loop = loop
        self.reader = RequestReader()
        self.order: Order | None = None
        self.left = 0
        self.due = 0.0
        self.timer: asyncio.Handle | None = None
        self.full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one, but does not say so

    def data_received(self, data: bytes) -> None:
        reader = self.reader
        if not reader.feed(data):
            return
        self.reader = RequestReader()
        if reader.path == "/v1/chat/completions" and reader.method == "POST":
            self.obey(read_order(reader.start + reader.last))
        elif reader.path == "/_bench/state":
            self.transport.write(self.ledger.state())
        else:
            self.transport.write(FIXED.get(reader.path.partition("?")[0], MISSING))

    def obey(self, order: Order | None) -> None:
        if order is None:
            self.transport.write(UNCLEAR)
            return
        whole = FOLDED if order.streamed else WHOLE
        if order.mode == "whole":
            self.transport.write(whole)
            return
        self.order = order
        if order.tag != "-":
            self.ledger.running.add(order.tag)
        if order.mode == "slow":
            self.timer = self.loop.call_later(order.seconds, self.finish, whole)
        elif order.mode == "stream":
            self.finish(self.all_at_once(order))
        elif order.mode == "late":
            self.timer = self.loop.call_later(order.seconds, self.finish, self.all_at_once(order))
        elif order.mode in ("paced", "bursts"):
            self.transport.write(STREAM_HEAD + FIRST)
            self.left = order.events - 1
            self.due = time.monotonic()
            self.next_paced(order)
        elif order.mode == "flood":
            self.transport.write(STREAM_HEAD + FIRST)
            self.left = order.events - 1
            self.next_turn()
        else:
            self.finish(UNCLEAR)

    def all_at_once(self, order: Order) -> bytes:
        return STREAM_HEAD + FIRST + TOKEN * (order.events - 1) + END

    def next_paced(self, order: Order) -> None:
        """Keeps to the timetable: a late event does not move the later ones."""
        self.due += order.seconds
        self.pacer.at(self.due, lambda: self.paced(order))

    def paced(self, order: Order) -> None:
        if self.order is not order:
            return  # the client has left
        if self.left <= 0:
            self.finish(END)
            return
        self.write_tokens(BURST if order.mode == "bursts" else 1)
        self.next_paced(order)

    def next_turn(self) -> None:
        self.timer = None
        order = self.order
        if order is None or self.full:
            return
        if self.left <= 0:
            self.finish(END)
            return
        self.write_tokens(order.number)
        self.timer = self.loop.call_soon(self.next_turn)

    def write_tokens(self, most: int) -> None:
        """The next events, in one write."""
        count = min(self.left, most)
        self.left -= count
        self.transport.write(TOKEN * count)

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self.order is not None and self.order.mode == "flood" and self.timer is None:
            self.next_turn()

    def finish(self, data: bytes) -> None:
        self.transport.write(data)
        self.close_order()

    def close_order(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.order is not None:
            self.ledger.running.discard(self.order.tag)
            self.order = None

    def client_left(self) -> None:
        if self.order is not None and self.order.tag != "-":
            self.ledger.left[self.order.tag] = time.monotonic()
        self.close_order()

    def eof_received(self) -> None:
        self.client_left()

    def connection_lost(self, exc: Exception | None) -> None:
        self.client_left()


async def serve(port: int) -> None:
    """Serves on the loopback until it is cancelled."""
    loop = asyncio.get_running_loop()
    ledger, pacer = Ledger(), Pacer(loop)
    pacer.start()
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    server = await loop.create_server(lambda: Fake(ledger, pacer, loop), sock=listener)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    sys.setswitchinterval(0.0002)  # the pacer's thread shall not wait for the loop's
    try:
        import uvloop

        uvloop.run(serve(arguments.port))
    except ImportError:
        asyncio.run(serve(arguments.port))


if __name__ == "__main__":
    main()
