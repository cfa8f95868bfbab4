"""What is fetched and converted counts like the bodies of requests, and nothing of it stays reserved."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Sequence

import httpx2
import pytest

from gateway.canonical.content import Audio, Image, Media, Message, Part
from gateway.canonical.facts import Facts
from gateway.canonical.media.identify import identified
from gateway.canonical.requests import Chat
from gateway.demo import media as demo
from gateway.engine.admission import Hold, Memory
from gateway.engine.media.convert import Workers
from gateway.engine.media.fetch import Fetcher
from gateway.engine.media.stage import MediaStage
from gateway.engine.media.store import Store
from gateway.errors import Overloaded
from gateway.settings import Settings
from tests.conftest import GatewayFor, Upstreams
from tests.faults.running import config
from tests.faults.steps import Answer

pytest.importorskip("av", reason="the extra `media` is not installed")

SETTINGS = Settings()
SEES = Facts(image=True, image_formats=frozenset({"image/png", "image/jpeg"}))
HEARS = Facts(audio=True, audio_formats=frozenset({"audio/wav"}), family="gemma4")
PICTURE = b"\xff\xd8\xff\xe0" + bytes(300_000)


async def resolve(host: str, port: int) -> Sequence[str]:
    return ["93.184.216.34"]


async def serve(request: httpx2.Request) -> httpx2.Response:
    async def body() -> AsyncIterator[bytes]:
        for at in range(0, len(PICTURE), 50_000):
            yield PICTURE[at : at + 50_000]

    return httpx2.Response(200, content=body())


def staged(memory: Memory) -> MediaStage:
    fetcher = Fetcher(Store(1 << 20), resolve, httpx2.MockTransport(serve), memory)
    return MediaStage(fetcher, Workers(memory=memory), memory=memory)


def asking(*parts: Part) -> Chat:
    found = identified(Chat("m", [Message("user", list(parts))]))
    assert isinstance(found, Chat)
    return found


def elsewhere(name: str = "a") -> Image:
    return Image(Media(url=f"https://cats.example/{name}"))


def long_sound() -> Audio:
    return Audio(Media("audio/wav", base64=b64encode(demo.wav(40.0)).decode()))


async def test_what_was_fetched_is_held_once_until_the_request_is_over() -> None:
    memory = Memory(2_000_000)
    stage, hold = staged(memory), Hold(memory)
    for _ in range(3):
        await stage.ready(asking(elsewhere()), SEES, SETTINGS, hold)
    assert memory.held == hold.octets == len(PICTURE) // 3 * 4 + 4, "as base64, and once for three attempts"
    await stage.ready(asking(elsewhere("b")), SEES, SETTINGS, hold)
    assert memory.held == 2 * (len(PICTURE) // 3 * 4 + 4)
    hold.release()
    assert memory.held == hold.octets == 0


async def test_no_room_for_what_is_fetched() -> None:
    memory = Memory(200_000)
    stage, hold = staged(memory), Hold(memory)
    with pytest.raises(Overloaded) as caught:
        await stage.ready(asking(elsewhere()), SEES, SETTINGS, hold)
    assert caught.value.retry_after
    assert memory.held == 0, "nothing of what had come stays reserved"


async def test_what_was_converted_is_held_and_has_to_have_room() -> None:
    memory = Memory(4_000_000)
    stage, hold, asked = staged(memory), Hold(memory), asking(long_sound())
    for _ in range(2):
        await stage.ready(asked, HEARS, SETTINGS, hold)
    clips = 40 * 16_000 * 2 + 2 * 44
    assert memory.held == pytest.approx(clips * 4 / 3, abs=8)
    hold.release()
    await stage.close()
    memory.limit = 1_000_000
    stage = staged(memory)
    with pytest.raises(Overloaded):
        await stage.ready(asked, HEARS, SETTINGS, hold)
    assert memory.held == 0 and stage.workers.pids == [], "what makes more than there is room for is ended"
    await stage.close()


async def test_a_request_whose_media_have_no_room_is_told_to_come_back(
    upstreams: Upstreams, gateway_for: GatewayFor
) -> None:
    [wire] = await upstreams(kind="llamacpp", modalities=("text", "audio"))
    wire.answer(Answer())
    gateway = await gateway_for(config(wire, limits={"memory": "2MiB", "body": "2MiB"}))
    amr = b"#!AMR\n" + (b"\x3c" + bytes(31)) * 50 * 30  # 48 kB that are 30 s, or 1.3 MB of base64
    sound = {"data": b64encode(amr).decode(), "format": "amr"}
    part = {"type": "input_audio", "input_audio": sound}
    got = await gateway.chat(messages=[{"role": "user", "content": [part]}])
    assert got.status == 200 and got.header("x-gateway-parts") == "0=audio>wav16k", got.body
    sound["data"] = b64encode(amr + amr[6:]).decode()
    got = await gateway.chat(messages=[{"role": "user", "content": [part]}])
    assert got.status == 503 and got.header("retry-after"), got.body
    assert got.json()["error"]["code"] == "server_is_overloaded"
