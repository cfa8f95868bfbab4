"""U43: how a stream's bytes are sliced, framed and decorated on their way changes nothing of what the client gets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults import answers
from tests.faults.batch import PATIENT, Outcome, Row, played
from tests.faults.rawclient import Response
from tests.faults.steps import Body, Finish, Head, Slice, event_bytes

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXTS = ["Grüße", " 世界", " 🎉", "\n\ndata: [DONE]\r\n", "", " end"]


def stream_body(newline: bytes = b"\n", colon: bytes = b": ", head: bytes = b"", extra: bytes = b"") -> bytes:
    out = head
    for event in [*answers.chunks(TEXTS), None]:
        data = event_bytes(event).strip().removeprefix(b"data: ")
        out += extra + b"data" + colon + data + newline + newline
    return out


VARIANTS = {
    "plain": stream_body(),
    "CRLF": stream_body(b"\r\n"),
    "CR": stream_body(b"\r"),
    "no space": stream_body(colon=b":"),
    "byte order mark": stream_body(head=b"\xef\xbb\xbf"),
    "other fields": stream_body(extra=b"event: message\nid: 7\nretry: 100\n: comment\n"),
    "several lines": stream_body().replace(b',"created"', b',\ndata: "created"'),
    "no blank line at the end": stream_body()[:-1],
}
SIZES: list[list[int]] = [[], [1], [2], [3], [7], [1, 50, 3, 11]]

RECORDED = Path(__file__).parents[1] / "wire"
STREAMS = {
    "llamacpp": (RECORDED / "llamacpp/stream.txt", "Hello! I am a tiny test model always saying this one thing."),
    "vllm": (RECORDED / "vllm/stream.txt", "Hello! I am a tiny test model always saying this one thing."),
}
"""Recorded bytes of real servers: the file, and the text that they say."""


def recorded(kind: str) -> bytes:
    """The body of a recorded stream."""
    text = STREAMS[kind][0].read_bytes()
    return text[text.index(b"data: ") :]


def segments(size: int) -> Slice:
    """Head, chunk sizes and chunks cut anywhere, below HTTP's own framing."""
    body = stream_body()
    framed = b"".join(b"%x\r\n%b\r\n" % (len(body[i : i + 40]), body[i : i + 40]) for i in range(0, len(body), 40))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return Slice(head + framed + b"0\r\n\r\n", [size])


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sliced() -> AsyncIterator[dict[str, Outcome]]:
    fields = {"stream": True, "stream_options": {"include_usage": True}}
    rows = [
        Row(f"{name} {sizes}", [Head(), Body(body, sizes), Finish()], fields)
        for name, body in VARIANTS.items()
        for sizes in SIZES
    ]
    rows += [Row(f"segments {size}", [segments(size)], fields) for size in (1, 2, 5, 11)]
    rows += [
        Row(f"{kind} {sizes}", [Head(), Body(recorded(kind), sizes), Finish()], fields, kind=kind)
        for kind in STREAMS
        for sizes in SIZES
    ]
    slow = {"first_byte": 20, "first_byte_unknown": 20, "idle": 20, "life_sign": 20, "total": 60}
    async with played(rows, {**PATIENT, **slow}) as outcomes:
        yield outcomes


def plain(got: Response) -> tuple[str, list[str], bool, object]:
    """What a client makes of a stream."""
    finishes = [c["choices"][0]["finish_reason"] for c in got.chunks if c.get("choices")]
    usages = [c["usage"] for c in got.chunks if c.get("usage")]
    return got.text, [f for f in finishes if f], got.done, usages


RIGHT = ("".join(TEXTS), ["stop"], True, [answers.USAGE])


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("variant", VARIANTS)
async def test_chunks_cut_anywhere(variant: str, sizes: list[int], sliced: dict[str, Outcome]):
    got = sliced[f"{variant} {sizes}"].got
    assert got.error is None
    assert plain(got) == RIGHT


@pytest.mark.parametrize("size", [1, 2, 5, 11])
async def test_segments_cut_anywhere(size: int, sliced: dict[str, Outcome]):
    got = sliced[f"segments {size}"].got
    assert got.error is None
    assert plain(got) == RIGHT


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("kind", STREAMS)
async def test_recorded_streams_cut_anywhere(kind: str, sizes: list[int], sliced: dict[str, Outcome]):
    got = sliced[f"{kind} {sizes}"].got
    assert got.error is None
    assert STREAMS[kind][1].startswith(got.text) and got.text
    assert plain(got) == plain(sliced[f"{kind} []"].got)
    thoughts = "".join(c["choices"][0]["delta"].get("reasoning_content") or "" for c in got.chunks if c["choices"])
    assert thoughts == ("I need no time to think" if kind == "llamacpp" else "")
