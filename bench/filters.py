"""What reading a model's markup costs: the gateway's event path with and without the filters, in this process.

The path is that of a stream: decode one read, filter, encode. No sockets: what they cost is in the other scenarios, and
would hide what is asked here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import median

from gateway.backends import load
from gateway.canonical.facts import Facts
from gateway.canonical.requests import Chat
from gateway.dialects.openai import chat_codec
from gateway.dialects.openai.stream import ChatDecoder
from gateway.engine.filtering import Chain, chain_for
from gateway.filters import complete, run

EVENTS = 400
"""Text deltas of one answer."""
READS = {"one event a read": 1, "16 events a read": 16}
PLAIN = [f" word{i}" if i % 17 else ".\n" for i in range(EVENTS)]
MARKED = [
    *("<|channel>", "thought\n", *(f" hm{i}" for i in range(90)), "<channel|>"),
    *(f" word{i}" for i in range(EVENTS - 120)),
    *("<|tool_call>", "call:look", "{path:", '<|"|>', *(f"p{i}/" for i in range(15)), '<|"|>', ",line:4", "2}"),
    "<tool_call|>",
]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True, "tools": [TOOL]}


def _reads(texts: list[str], events: int) -> list[bytes]:
    """The answer as a server sends it, so many events to a read."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [{"role": "assistant", "content": ""}, *({"content": t} for t in texts)]
    lines = [_chunk(head, d, None) for d in deltas] + [_chunk(head, {}, "stop"), b"data: [DONE]\n\n"]
    return [b"".join(lines[i : i + events]) for i in range(0, len(lines), events)]


def _chunk(head: dict[str, object], delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({**head, "choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"


def answer(reads: list[bytes], make: Callable[[], Chain], request: Chat) -> int:
    """One answer's way; returns the octets that would be sent."""
    decoder, encoder, filters = ChatDecoder(), chat_codec.encoder(request, "m"), make().filters
    sent = 0
    for data in reads:
        events = decoder.feed(data)
        done = data.endswith(b"[DONE]\n\n")
        if filters and events:
            events = complete(filters, events) if done else run(filters, events)
        sent += len(encoder.encode(events))
    return sent


def measure(rounds: int = 7, answers: int = 30) -> list[tuple[str, float, float, float]]:
    """(what, us per event without filters, with, ratio) for each kind of text and size of reads; every round takes both
    ways right after each other, and the ratio is the median of the rounds'."""
    request = chat_codec.parse_request(REQUEST)
    backend = load("openai")
    off = Facts()
    on = Facts(family="gemma4")
    rows = []
    for label, texts in (("text without a marker", PLAIN), ("a thought, text and a call", MARKED)):
        for size, events in READS.items():
            reads = _reads(texts, events)
            took: dict[str, list[float]] = {"off": [], "on": []}
            for _ in range(rounds):
                for name, facts in (("off", off), ("on", on)):
                    made = lambda f=facts: chain_for(request, backend, f, "fix", streamed=True)  # noqa: E731
                    begun = time.process_time()
                    for _ in range(answers):
                        answer(reads, made, request)
                    took[name].append((time.process_time() - begun) / answers / len(texts) * 1e6)
            ratio = median(b / a for a, b in zip(took["off"], took["on"], strict=True))
            rows.append((f"{label}, {size}", median(took["off"]), median(took["on"]), ratio))
    return rows
