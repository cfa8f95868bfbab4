"""`gateway caps --deep` through a whole gateway, in front of a server that really looks at what it is sent: it decodes
the pixels, the samples and the frames. One that is blind in some way is told from it by what it says."""

from __future__ import annotations

import base64
import io
import itertools
import wave
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
import pytest

from gateway.report.asking import running
from gateway.report.caps import Row, rows
from gateway.report.deep import look
from gateway.report.fixtures import COLOURS, FONT, FRAMES, frame
from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.running import config
from tests.faults.steps import Exchange, Json


def octets_of(part: dict[str, Any]) -> bytes:
    inner = part[part["type"]]
    return base64.b64decode(inner["data"] if "data" in inner else inner["url"].partition(",")[2])


def colour(png: bytes) -> str:
    """The word for the first pixel of a picture of 8-bit RGB whose rows are not filtered."""
    at = png.index(b"IDAT")
    pixels = zlib.decompress(png[at + 4 : at + 4 + int.from_bytes(png[at - 4 : at])])
    assert pixels[0] == 0
    return min(COLOURS, key=lambda c: sum(abs(a - b) for a, b in zip(COLOURS[c], pixels[1:4], strict=True)))


def pitch(sound: bytes) -> str:
    """Low or high, by how often the samples change their sign."""
    with wave.open(io.BytesIO(sound)) as w:
        seconds = w.getnframes() / w.getframerate()
        raw = w.readframes(w.getnframes())
    samples = memoryview(raw).cast("h")
    crossings = sum((a < 0) != (b < 0) for a, b in itertools.pairwise(samples))
    return "low" if crossings / seconds / 2 < 1000 else "high"


def digit(video: bytes, which: int = -1) -> str:
    """What stands on one of the frames, by the nearest that could."""
    with av.open(io.BytesIO(video)) as film:
        shown = [f.to_ndarray(format="gray") for f in film.decode(video=0)]
    assert len(shown) == FRAMES
    seen = shown[which].tobytes()[::7]
    return min(("", *FONT), key=lambda d: sum(abs(a - b) for a, b in zip(seen, frame(d)[::7], strict=True)))


LOOKS: dict[str, Callable[[bytes], str]] = {
    "image_url": lambda b: f"It is {colour(b)}.",
    "input_audio": lambda b: f"The tone is {pitch(b)}",
    "video_url": digit,
}


@dataclass(frozen=True)
class Sees:
    """Answers with what it sees. `cost` = tokens of a medium in its prompt; `looks` = how it looks."""

    looks: dict[str, Callable[[bytes], str]]
    cost: int = 200

    async def run(self, x: Exchange) -> None:
        content = x.asked["messages"][0]["content"]
        media = [p for p in content if p["type"] != "text"] if isinstance(content, list) else []
        words = self.looks[media[0]["type"]](octets_of(media[0])) if media else "I see nothing."
        used = {"prompt_tokens": 20 + self.cost * len(media), "completion_tokens": 2, "total_tokens": 0}
        await Json(answers.chat(words, model=x.model, usage=used)).run(x)


async def looked_at(upstreams: Upstreams, gateway_for: GatewayFor, sees: Sees, only: str = "") -> Row:
    [wire] = await upstreams(1, kind="openai")
    wire.answer(sees)
    takes = {m: only in ("", m) for m in ("image", "audio", "video")}
    gateway = await gateway_for(config(wire, backends={"one": {"facts": {**takes, "context": 32768}}}))
    async with running(gateway.url) as asking:
        [row] = rows(await asking.cards())
        await look([row], asking.chat)
    await gateway.take_count()
    return row


async def test_what_is_on_them_comes_through(upstreams: Upstreams, gateway_for: GatewayFor):
    row = await looked_at(upstreams, gateway_for, Sees(LOOKS))
    assert {m: c["verdict"] for m, c in row["deep"].items()} == dict.fromkeys(
        ("image", "audio", "video"), "came through"
    )
    assert {m: (c["right"], c["asked"]) for m, c in row["deep"].items()} == {
        "image": (3, 3),
        "audio": (4, 4),
        "video": (2, 2),
    }


@pytest.mark.parametrize(
    ("name", "looks", "cost", "verdict"),
    [
        ("image", lambda b: "red", 200, "too weak to tell"),
        ("image", lambda b: "I can't see pictures.", 0, "lost"),
        ("audio", lambda b: "high", 200, "too weak to tell"),
        ("audio", lambda b: "low", 0, "lost"),
        ("video", lambda b: digit(b, 0) or "an empty frame", 200, "too weak to tell"),
        ("video", lambda b: "7", 0, "lost"),
    ],
    ids=["weak eyes", "no eyes", "weak ears", "no ears", "the first frame only", "no frame"],
)
async def test_what_does_not_is_not_said_to(
    name: str, looks: Callable[[bytes], str], cost: int, verdict: str, upstreams: Upstreams, gateway_for: GatewayFor
):
    kinds = {"image": "image_url", "audio": "input_audio", "video": "video_url"}
    row = await looked_at(upstreams, gateway_for, Sees({**LOOKS, kinds[name]: looks}, cost), name)
    assert row["deep"][name]["verdict"] == verdict, row["deep"]
