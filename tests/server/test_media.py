"""Sounds and videos through a gateway, decoded by real workers: who gets what, and what is said of it."""

from __future__ import annotations

import io
import os
import sys
import wave
from array import array
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from tests import made
from tests.conftest import GatewayFor, Upstreams
from tests.faults.running import Running, config
from tests.faults.steps import Answer
from tests.faults.wire import Wire, moments
from tests.made import needs_ffmpeg

pytest.importorskip("av", reason="the extra `media` is not installed")
pytestmark = needs_ffmpeg

E4B, LARGE = "google/gemma-4-E4B-it", "google/gemma-4-31B-it"
Parts = list[dict[str, Any]]


def video(hears: bool = True) -> dict[str, Any]:
    data = b64encode(made.video("mp4", 2.0, hears=hears)).decode()
    return {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{data}"}}


def sound(data: bytes, form: str) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": b64encode(data).decode(), "format": form}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


async def fleet(upstreams: Upstreams, gateway_for: GatewayFor, *models: str) -> tuple[Running, dict[str, Wire]]:
    """A vLLM of each model; the larger one does not hear."""
    wires = {}
    for model in models:
        [wires[model]] = await upstreams(kind="vllm", model=model)
        wires[model].answer(Answer())
    settings = config(*wires.values())
    for name, model in zip(("one", "two"), models, strict=False):
        settings["backends"][name]["facts"] = {"image": True, "video": True, "audio": model == E4B}
    return await gateway_for(settings), wires


async def asked(running: Running, wire: Wire, parts: Parts, **more: Any) -> tuple[str | None, Parts]:
    """(the receipt, the content that the server got)."""
    got = await running.chat(messages=[{"role": "user", "content": parts}], **more)
    assert got.status == 200, got.body
    return got.header("x-gateway-parts"), wire.requests[-1].json()["messages"][0]["content"]


async def test_the_sound_of_a_video_stays_where_the_model_hears(upstreams: Upstreams, gateway_for: GatewayFor):
    gateway, wires = await fleet(upstreams, gateway_for, LARGE, E4B)
    receipt, content = await asked(gateway, wires[E4B], [text("a"), video(), text("b")])
    assert receipt == "0=text,1=video,sound=wav16k,2=text"
    assert [p["type"] for p in content] == ["text", "video_url", "input_audio", "text"]
    assert not wires[LARGE].requests, "the one that hears is preferred"


async def test_a_model_that_does_not_hear_says_so(upstreams: Upstreams, gateway_for: GatewayFor):
    gateway, wires = await fleet(upstreams, gateway_for, LARGE)
    receipt, content = await asked(gateway, wires[LARGE], [text("a"), video()])
    assert receipt == "0=text,1=video,sound=dropped"
    assert [p["type"] for p in content] == ["text", "video_url"]
    got = await gateway.chat(messages=[{"role": "user", "content": [text("a"), video()]}], gateway={"parts": "strict"})
    assert (got.status, got.json()["error"]["param"]) == (400, "messages[0].content[1]")
    assert "sound=dropped" in got.json()["error"]["message"]


@pytest.mark.parametrize("model", [LARGE, E4B])
async def test_of_a_silent_clip_nothing_is_said(model: str, upstreams: Upstreams, gateway_for: GatewayFor):
    gateway, wires = await fleet(upstreams, gateway_for, model)
    receipt, content = await asked(gateway, wires[model], [video(hears=False)], gateway={"parts": "strict"})
    assert receipt == "0=video" and [p["type"] for p in content] == ["video_url"]


async def test_a_long_sound_is_cut_at_its_pauses_and_arrives_in_order(upstreams: Upstreams, gateway_for: GatewayFor):
    """Each second has its own loudness, so that each piece shows where it was; every fifth one is silent."""
    samples = array("h")
    for second in range(70):
        level = 0 if second % 5 == 4 else 1000 + 100 * second
        samples += array("h", [level, -level] * 8000)
    out = io.BytesIO()
    with wave.open(out, "wb") as w:
        w.setparams((1, 2, 16_000, 0, "NONE", ""))
        w.writeframes(samples.tobytes())
    gateway, wires = await fleet(upstreams, gateway_for, E4B)
    parts = [text("before"), sound(out.getvalue(), "wav"), text("behind")]
    receipt, content = await asked(gateway, wires[E4B], parts)
    assert receipt == "0=text,1=audio>wav16k:3,2=text"
    assert [p["type"] for p in content] == ["text", *["input_audio"] * 3, "text"]
    together = array("h")
    for part in content[1:-1]:
        with wave.open(io.BytesIO(b64decode(part["input_audio"]["data"]))) as w:
            assert w.getnframes() <= 30 * 16_000
            piece = array("h", w.readframes(w.getnframes()))
        if together:
            assert abs(piece[0]) == 0 == abs(together[-1]), "cut where nobody speaks"
        together += piece
    assert together == samples, "all of it, in order, nothing twice"
    got = await gateway.chat(messages=[{"role": "user", "content": parts}], gateway={"parts": "strict"})
    assert (got.status, got.json()["error"]["param"]) == (400, "messages[0].content[1]")


async def test_explain_says_what_becomes_of_each_what_it_costs_and_how_long_it_takes(
    upstreams: Upstreams, gateway_for: GatewayFor
):
    gateway, wires = await fleet(upstreams, gateway_for, LARGE, E4B)
    sounds = [sound(made.sound("wav", seconds), "wav") for seconds in (10.0, 40.0)]
    value = {"model": "gemma-4", "messages": [{"role": "user", "content": [video(), *sounds]}]}
    told = (await gateway.post("/v1/route/explain", value)).json()
    assert told["chosen"].startswith("two/")
    assert told["parts"] == ["video,sound=wav16k", "audio", "audio>wav16k:2"]
    [hears] = [c for c in told["candidates"] if c["target"].startswith("two/")]
    assert [m["becomes"] for m in hears["media"]] == ["sound=wav16k", "as it is", "wav16k"]
    expected = hears["expected"]
    assert expected["tokens"] > 2600 + 25 * (10 + 40), "frames, and 25 a second of sound"
    assert expected["conversion_seconds"] > 0 and expected["ahead"] == 0 == expected["wait_seconds"]
    [deaf] = [c for c in told["candidates"] if c["target"].startswith("one/")]
    assert deaf["verdict"] == "refused" and any(x["need"] == "audio" for x in deaf["lacks"])
    assert not any(w.requests for w in wires.values()), "nobody is asked"


def workers() -> set[int]:
    """The processes of this one that decode media."""
    out = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == os.getpid() and b"gateway.worker.media.serve" in words:
            out.add(int(entry.name))
    return out


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_client_that_leaves_takes_the_conversion_along(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="vllm", model=LARGE)
    settings = config(wire)
    settings["backends"]["one"]["facts"] = {"image": True, "video": False, "audio": False}
    gateway = await gateway_for(settings)
    before = workers()
    data = b64encode(made.video("mp4", 200.0, rate=4, hears=False, size="64x64")).decode()
    film = {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{data}"}}
    body = {"model": "gemma-4", "messages": [{"role": "user", "content": [film]}]}
    async with gateway.client(body):
        async for _ in moments(20.0, 0.005):
            if workers() - before:
                break
        assert workers() - before, "it is being converted"
    async for _ in moments(5.0, 0.02):
        if not workers() - before:
            break
    assert not workers() - before
    assert not wire.requests


async def test_recordings_as_phones_and_browsers_hand_them_over(upstreams: Upstreams, gateway_for: GatewayFor):
    """A browser writes the codecs into the URL, some encoders write a tag with a picture before the sound."""
    [wire] = await upstreams(modalities=("text", "image", "audio"))
    wire.answer(Answer())
    gateway = await gateway_for(config(wire))
    data = b64encode(made.video("webm", 1.0)).decode()
    film = {"type": "video_url", "video_url": {"url": f"data:video/webm;codecs=vp8,opus;base64,{data}"}}
    tagged = b"ID3\x03\0\0" + bytes([0, 2, 0, 0]) + bytes(2 << 14) + made.sound("aac", 1.0)
    receipt, content = await asked(gateway, wire, [film, sound(tagged, "aac")])
    assert receipt == "0=video>frames:8,sound=wav16k,1=audio>wav16k"
    for heard in (part["input_audio"] for part in content if part["type"] == "input_audio"):
        with wave.open(io.BytesIO(b64decode(heard["data"]))) as w:
            assert 0.9 < w.getnframes() / w.getframerate() < 1.2
