"""Media that were made, or happen, to break decoders: each costs its own request and nothing else. Never a 500, never a
wait without end, never more memory than there may be; and the stream of another client goes on meanwhile."""

from __future__ import annotations

import asyncio
import io
import struct
import time
import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from bench import machine
from gateway.demo import media as demo
from tests import made
from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.rawclient import Response
from tests.faults.running import Running, ask, config
from tests.faults.steps import Answer, Events, Finish, Head
from tests.made import needs_ffmpeg
from tests.pairs.variants import box, ebml, flac, movie, ogg

pytest.importorskip("av", reason="the extra `media` is not installed")
pytestmark = needs_ffmpeg

MB = 1_000_000
SECONDS = 30.0
"""For each of them, with others beside it on a busy machine."""
MEMORY = 120 * MB
"""What all of them together may add to this process, in which the test's own copies of them lie as well."""

Part = dict[str, Any]


def part(modality: str, mime: str, data: bytes) -> Part:
    url = f"data:{mime};base64,{b64encode(data).decode()}"
    return {"type": f"{modality}_url", f"{modality}_url": {"url": url}}


def tiff_bomb() -> bytes:
    """49 million pixels in 50 kB, which are decoded: just below the limit."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("L", (7000, 7000)).save(out, "TIFF", compression="tiff_deflate")
    return out.getvalue()


def gif_of_many() -> bytes:
    one = b"\x21\xf9\x04\0\0\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0"
    return b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff" + one * 20_000 + b"\x3b"


def zip_file() -> bytes:
    return b"PK\3\4\x14\0\0\0\x08\0" + bytes(16) + zlib.compress(bytes(99_999)) + b"PK\5\6" + bytes(18)


def cut(data: bytes, share: float = 0.5) -> bytes:
    return data[: int(len(data) * share)]


def picture_bytes(form: str) -> bytes:
    return made.picture(form)


def many_frames(count: int) -> bytes:
    stsz = box(b"stsz", bytes(8) + struct.pack(">I", count))
    table = box(b"stbl", stsz)
    track = box(b"trak", box(b"mdia", box(b"hdlr", bytes(8) + b"vide" + bytes(12)) + box(b"minf", table)))
    head = box(b"mvhd", bytes(12) + struct.pack(">2I", 1000, 5000) + bytes(80))
    return box(b"ftyp", b"isom\0\0\0\0isom") + box(b"moov", head + track)


PICTURES: dict[str, Callable[[], tuple[str, bytes]]] = {
    "nothing": lambda: ("image/png", b""),
    "half a png": lambda: ("image/png", cut(picture_bytes("png"))),
    "half a tiff": lambda: ("image/tiff", cut(picture_bytes("tiff"))),
    "half a webp": lambda: ("image/webp", cut(picture_bytes("webp"))),
    "only a head": lambda: ("image/webp", picture_bytes("webp")[:30]),
    "65,000 x 65,000": lambda: ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">2I", 65_000, 65_000)),
    "a huge tiff": lambda: ("image/tiff", b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHIIHHII", 256, 4, 1, 60_000, 257, 4,
                                                                             1, 60_000) + bytes(40)),
    "a huge webp": lambda: ("image/webp", b"RIFF\x40\0\0\0WEBPVP8X\n" + bytes(7) + b"\xff" * 6 + bytes(60)),
    "more than is decoded": lambda: ("image/webp", b"RIFF\x40\0\0\0WEBPVP8L\x10\0\0\0\x2f\xff\xff\xff\x0f" + bytes(40)),
    "49 million pixels": lambda: ("image/tiff", tiff_bomb()),
    "20,000 pictures in one": lambda: ("image/gif", gif_of_many()),
    "a tiff that leads to itself": lambda: ("image/tiff", b"II*\0\x08\0\0\0\0\0\x08\0\0\0" + bytes(40)),
    "a heic of nothing": lambda: ("image/heic", box(b"ftyp", b"heic\0\0\0\0heic") + box(b"meta", bytes(300))),
    "a heic without end": lambda: ("image/heic", box(b"ftyp", b"heic\0\0\0\0heic") + box(b"meta", b"\xff" * 3000)),
    "a picture and a page": lambda: ("image/gif", b"GIF89a/*<script>alert(1)</script>*/" + bytes(90)),
    "a picture and a zip": lambda: ("image/webp", picture_bytes("webp") + zip_file()),
    "a picture and a film": lambda: ("image/webp", picture_bytes("webp") + made.video("mp4", 1.0)),
    "a drawing that opens files": lambda: ("image/svg+xml", b"<!DOCTYPE s [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"
                                           b"<svg>&x;</svg>"),
}  # fmt: skip
SOUNDS: dict[str, Callable[[], tuple[str, bytes]]] = {
    "nothing": lambda: ("audio/ogg", b""),
    "half an opus": lambda: ("audio/ogg", cut(made.sound("opus", 1.0))),
    "half an m4a": lambda: ("audio/mp4", cut(made.sound("m4a", 1.0))),
    "half a flac": lambda: ("audio/flac", cut(made.sound("flac", 1.0))),
    "a wav that promises more": lambda: ("audio/wav", demo.wav(0.1)[:40] + b"\0\x28\x6b\xee" + bytes(100)),
    "a wav of a million channels": lambda: ("audio/wav", demo.wav(0.1)[:22] + b"\xff\xff" + demo.wav(0.1)[24:]),
    "a wav without a rate": lambda: ("audio/wav", demo.wav(0.1)[:24] + bytes(8) + demo.wav(0.1)[32:]),
    "a thousand years of flac": lambda: ("audio/flac", flac(3_000_000)),
    "two days of amr": lambda: ("audio/amr", b"#!AMR\n" + (b"\x04" + bytes(12)) * 50 * 1300),
    "a position at the end of time": lambda: ("audio/ogg", ogg(b"\x13OpusHead\x01\x01\0\0\x80\xbb\0\0") + b"OggS\0\4"
                                              + b"\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(60)),
    "an hour in a moment": lambda: ("audio/mp4", movie(b"M4A ", b"soun", seconds=3600)),
    "a playlist": lambda: ("audio/mpeg", b"#EXTM3U\nhttp://127.0.0.1:1/x\n" * 40),
    "a list of files": lambda: ("audio/aac", b"ffconcat version 1.0\nfile /etc/passwd\n" * 40),
    "a film's name": lambda: ("audio/mp4", box(b"ftyp", b"M4A \0\0\0\0M4A ") + box(b"moov", box(b"trak", box(
        b"mdia", box(b"dinf", box(b"dref", b"file:///etc/passwd")))))),
    "noise": lambda: ("audio/ogg", b"OggS" + bytes(range(256)) * 200),
    "a sound and a picture": lambda: ("audio/flac", made.sound("flac", 0.5) + picture_bytes("png")),
}  # fmt: skip
VIDEOS: dict[str, Callable[[], tuple[str, bytes]]] = {
    "nothing": lambda: ("video/mp4", b""),
    "half an mp4": lambda: ("video/ogg", cut(made.video("ogv", 2.0))),
    "half a quick mp4": lambda: ("video/mp4", cut(quick(), 0.7)),
    "half a film in pieces": lambda: ("video/ogg", cut(made.video("ogv", 2.0), 0.2)),
    "an mp4 called ogg": lambda: ("video/ogg", made.video("mp4", 1.0)),
    "two billion frames": lambda: ("video/mp4", many_frames(1 << 31)),
    "a century": lambda: ("video/mp4", movie(b"isom", b"vide", b"soun", seconds=4_000_000)),
    "boxes in boxes": lambda: ("video/mp4", box(b"ftyp", b"isom\0\0\0\0isom") + struct.pack(">I4s", 8, b"moov") * 5000),
    "matroska that never ends": lambda: ("video/x-matroska", ebml(b"matroska", b"V_VP9") + b"\x18\x53\x80\x67\x01"
                                         + b"\xff" * 7 + bytes(4000)),
    "a film of zeros": lambda: ("video/x-ms-asf", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(5000)),
    "mpeg noise": lambda: ("video/mpeg", b"\0\0\1\xba\x44" + bytes(range(256)) * 300),
    "10,000 pictures": lambda: ("video/jpeg", b""),
}  # fmt: skip


CUT = {
    "image: half a tiff",
    "image: half a webp",
    "audio: half a flac",
    "audio: half an m4a",
    "video: half a quick mp4",
}
"""What would arrive as less than it says it is."""


def quick() -> bytes:
    """With its table of contents in front, as for the web."""
    return made.made(("-f", "lavfi", "-i", "testsrc=duration=2:size=96x64:rate=8", "-c:v", "mpeg4", "-movflags",
                      "+faststart"), "mp4")  # fmt: skip


def hostile() -> list[tuple[str, Part]]:
    tables = {"image": PICTURES, "audio": SOUNDS, "video": VIDEOS}
    out = [(f"{m}: {name}", part(m, *make())) for m, table in tables.items() for name, make in table.items()]
    frames = ",".join([b64encode(b"\xff\xd8\xff\xe0" + bytes(8)).decode()] * 10_000)
    out[-1][1]["video_url"]["url"] = f"data:video/jpeg;base64,{frames}"
    return out


async def other_client(gateway: Running) -> tuple[Response, float]:
    """(a stream that takes its time, its longest silence)."""
    async with gateway.client(ask("the other one", stream=True)) as client:
        response = await client.read_head()
        last, gap = time.monotonic(), 0.0
        async for piece in client.pieces(response):
            response.body += piece
            now = time.monotonic()
            last, gap = now, max(gap, now - last)
    return response, gap


async def test_each_costs_its_own_request_and_nothing_else(upstreams: Upstreams, gateway_for: GatewayFor) -> None:
    cases = hostile()
    [wire] = await upstreams(kind="llamacpp", modalities=("text", "image", "audio", "video"))
    ticks = ["tick "] * 150
    wire.answer(Answer())
    slow = [answers.chunk({"role": "assistant"}), *ticks, answers.chunk({}, finish="stop"), None]
    wire.answer(Head(), Events(slow, every=0.02), Finish(), when=lambda b: "the other one" in str(b))
    gateway = await gateway_for(config(wire))
    await gateway.chat("first, so that everything is loaded")
    before = machine.rss_bytes(machine.os.getpid())
    exact = machine.reset_peak(machine.os.getpid())
    other = asyncio.create_task(other_client(gateway))
    counted: Counter[int] = Counter()
    room = asyncio.Semaphore(3)

    async def send(name: str, bad: Part) -> None:
        async with room:
            begun = time.monotonic()
            words = {"type": "text", "text": "what is this?"}
            got = await gateway.chat(messages=[{"role": "user", "content": [words, bad]}])
            took = time.monotonic() - begun
        allowed = (400, 413, 415) if name in CUT else (200, 400, 413, 415)
        assert got.status in allowed, (name, got.status, got.body)
        assert took < SECONDS, (name, took)
        counted[got.status] += 1
        if got.status != 200:
            error = got.json()["error"]
            assert (error["param"] or "").startswith("messages[0].content[1]"), (name, error)
            for secret in ("Traceback", "/usr/", "/tmp/", "passwd", "libav", "0x"):
                assert secret not in error["message"], (name, error)

    await asyncio.gather(*(send(name, bad) for name, bad in cases))
    peak = machine.peak_bytes(machine.os.getpid()) if exact else machine.rss_bytes(machine.os.getpid())
    assert counted[400] + counted[415] > 30 and counted[200] > 3, counted
    assert peak - before < MEMORY, f"{(peak - before) / MB:.0f} MB"
    response, gap = await other
    assert response.status == 200 and response.done and response.text == "".join(ticks)
    assert gap < 2.0, f"the other client waited {gap:.1f} s"
    fine = part("audio", "audio/ogg", made.sound("opus", 0.5))
    got = await gateway.chat(messages=[{"role": "user", "content": [fine]}])
    assert got.status == 200 and got.header("x-gateway-parts") == "0=audio>wav16k"
