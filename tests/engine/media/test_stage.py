"""Requests made ready for a target, with real workers and no network."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2
import pytest

from gateway.backends import load
from gateway.backends.wire.samples import PNG, WAV
from gateway.canonical.content import Audio, Clip, Image, Media, Message, Part, Segments, Text, ToolResult, Video
from gateway.canonical.facts import Facts, Target, layer
from gateway.canonical.media.identify import identified
from gateway.canonical.needs import content_parts
from gateway.canonical.requests import Chat, CountTokens
from gateway.engine.media.convert import NotConverted, Workers
from gateway.engine.media.fetch import Fetcher
from gateway.engine.media.stage import MediaStage, Ready
from gateway.engine.media.store import Store
from gateway.engine.receipt import fates_of
from gateway.errors import BadRequest, PartRefused, TooLarge
from gateway.observe import Metrics
from gateway.settings import MediaSettings, Settings
from tests import made
from tests.faults.running import Metrics as Read
from tests.made import needs_ffmpeg

pytest.importorskip("av", reason="the extra `media` is not installed")

SETTINGS = Settings()


def _seen(kind: str) -> Facts:
    """A Gemma 4 that takes all that its kind of server can take."""
    assumed = load(kind).assumed
    takes = {m: getattr(assumed, m) is not False for m in ("image", "audio", "video")}
    return layer(("probed", Facts(**takes, family="gemma4")), ("assumed", assumed))


KINDS = {name: _seen(name) for name in ("vllm", "llamacpp", "ollama", "mlx_vlm", "keras")}
DEAF = Facts(image=True, image_formats=frozenset({"image/png", "image/jpeg"}), family="gemma4")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def stage(metrics: Metrics) -> AsyncIterator[MediaStage]:
    found = MediaStage(Fetcher(Store(1 << 20), resolve, httpx2.MockTransport(serve)), Workers(), metrics)
    yield found
    await found.close()


FILES: dict[str, bytes] = {"/a.png": b64decode(PNG), "/a.wav": b64decode(WAV), "/big": bytes(2000)}


async def resolve(host: str, port: int) -> Sequence[str]:
    return ["93.184.216.34"]


async def serve(request: httpx2.Request) -> httpx2.Response:
    async def body() -> AsyncIterator[bytes]:
        yield FILES[request.url.path]

    if request.url.path not in FILES:
        return httpx2.Response(404)
    return httpx2.Response(200, content=body(), headers={"content-type": "application/octet-stream"})


def chat(*parts: Part) -> Chat:
    for i, part in enumerate(parts):
        part.path = f"messages[0].content[{i}]"
    found = identified(Chat("m", [Message("user", list(parts))]))
    assert isinstance(found, Chat)
    return found


async def ready(stage: MediaStage, facts: Facts, *parts: Part) -> tuple[list[Part], list[str], Ready]:
    asked = chat(*parts)
    got = await stage.ready(asked, facts, SETTINGS)
    assert isinstance(got.request, Chat)
    return list(content_parts(got.request)), fates_of(asked, got.merged({})), got


def kinds(parts: Sequence[Part]) -> str:
    return " ".join(type(p).__name__.lower() for p in parts)


def sound(form: str, seconds: float = 0.5) -> Audio:
    return Audio(Media("", base64=b64encode(made.sound(form, seconds)).decode()))


def video(form: str = "mp4", seconds: float = 5.0, hears: bool = True) -> Video:
    return Video(Media("", base64=b64encode(made.video(form, seconds, hears=hears)).decode()))


async def test_what_fits_is_not_touched(stage: MediaStage) -> None:
    long = Segments([WAV.encode()])
    asked = chat(Text("a"), Image(Media("image/png", base64=PNG)), Audio(Media("audio/wav", base64=long)))
    for name in ("vllm", "llamacpp", "ollama"):
        got = await stage.ready(asked, KINDS[name], SETTINGS)
        assert got.request is asked and got.fates == {}
    assert stage.workers.pids == []


@needs_ffmpeg
async def test_what_was_converted_is_counted_once(stage: MediaStage, metrics: Metrics) -> None:
    """What is kept from the last time was not made again."""
    one = sound("flac")
    for _ in range(2):
        await ready(stage, KINDS["llamacpp"], one)
    broken = Audio(Media("audio/ogg", base64=b64encode(made.sound("opus", 0.5)[:200]).decode()))
    with pytest.raises(NotConverted):
        await ready(stage, KINDS["llamacpp"], broken)
    got = Read.read(metrics.render().decode())
    counted = {r: got.sum("gateway_media_conversions_total", made="sound", result=r) for r in ("ok", "refused")}
    assert counted == {"ok": 1, "refused": 1}
    assert got.sum("gateway_media_conversion_seconds_count", made="sound") == 2
    assert got.sum("gateway_media_conversion_seconds_sum") > 0


async def test_what_was_fetched_is_counted(stage: MediaStage, metrics: Metrics) -> None:
    await ready(stage, KINDS["vllm"], Image(Media("image/png", url="https://example.com/a.png")))
    with pytest.raises(BadRequest):
        await ready(stage, KINDS["vllm"], Image(Media("image/png", url="https://example.com/none.png")))
    got = Read.read(metrics.render().decode())
    assert got.labels("gateway_media_fetches_total", "result") == {"ok": 1, "refused": 1}


@needs_ffmpeg
async def test_sounds_become_wav_where_they_must(stage: MediaStage) -> None:
    for form in ("opus", "m4a", "webm", "flac", "aac"):
        parts, fates, _ = await ready(stage, KINDS["llamacpp"], Text("hear"), sound(form), Text("this"))
        assert fates == ["text", "audio>wav16k", "text"]
        heard = parts[1]
        assert isinstance(heard, Audio) and heard.media.mime == "audio/wav" and heard.path == "messages[0].content[1]"
    parts, fates, got = await ready(stage, KINDS["vllm"], sound("opus"))
    assert fates == ["audio"] and got.fates == {}


@needs_ffmpeg
async def test_a_long_sound_is_several_clips(stage: MediaStage) -> None:
    parts, fates, got = await ready(stage, KINDS["vllm"], Text("a"), sound("m4a", 70.0), Text("b"))
    assert kinds(parts) == "text audio audio audio text"
    assert fates == ["text", "audio>wav16k:3", "text"]
    assert got.origin == [0, 1, 1, 1, 2]
    parts, fates, _ = await ready(stage, KINDS["llamacpp"], sound("mp3", 70.0))
    assert (kinds(parts), fates) == ("audio", ["audio"])


@needs_ffmpeg
async def test_pictures(stage: MediaStage) -> None:
    webp = Image(Media("", base64=b64encode(made.picture("webp")).decode(), detail="low"))
    parts, fates, _ = await ready(stage, KINDS["llamacpp"], webp)
    assert fates == ["image>png"] and isinstance(parts[0], Image) and parts[0].media.detail == "low"
    parts, fates, _ = await ready(stage, KINDS["vllm"], webp)
    assert fates == ["image"]


@needs_ffmpeg
async def test_videos(stage: MediaStage) -> None:
    parts, fates, got = await ready(stage, KINDS["vllm"], Text("a"), video(), Text("b"))
    assert kinds(parts) == "text video audio text"
    assert fates == ["text", "video,sound=wav16k", "text"]
    assert got.merged({1: "video,sound=dropped"})[1] == "video,sound=wav16k", "the stage knows better"
    parts, fates, _ = await ready(stage, KINDS["ollama"], Text("a"), video(), Text("b"))
    assert kinds(parts) == "text " + "text image " * 32 + "audio text"
    assert fates == ["text", "video>frames:32,sound=wav16k", "text"]
    times = [p.text for p in parts[1:65:2] if isinstance(p, Text)]
    assert times[0] == "00:00" and times[-1] == "00:04" and times == sorted(times)
    parts, fates, _ = await ready(stage, DEAF, video())
    assert (kinds(parts), fates) == ("text image " * 31 + "text image", ["video>frames:32,sound=dropped"])
    parts, fates, _ = await ready(stage, DEAF, video(hears=False))
    assert fates == ["video>frames:32"]
    parts, fates, _ = await ready(stage, KINDS["vllm"], video(hears=False))
    assert fates == ["video"] and len(parts) == 1


@needs_ffmpeg
async def test_pieces_of_media_and_pictures_in_results(stage: MediaStage) -> None:
    film = video()
    film.media.clip = Clip(start=1.0, end=2.0, fps=2.0)
    parts, fates, _ = await ready(stage, DEAF, film)
    assert fates == ["video>frames:2,sound=dropped"]
    assert [p.text for p in parts if isinstance(p, Text)] == ["00:01", "00:02"]
    webp = Image(Media("", base64=b64encode(made.picture("webp")).decode()))
    request = CountTokens(Chat("m", [Message("tool", [ToolResult("c", [Text("seen"), webp])])]))
    got = await stage.ready(identified(request), DEAF, SETTINGS)
    assert isinstance(got.request, CountTokens) and got.fates == {1: "image>png"}
    result = got.request.chat.messages[0].parts[0]
    assert isinstance(result, ToolResult) and isinstance(result.content, list)
    assert isinstance(result.content[1], Image) and result.content[1].media.mime == "image/png"


async def test_a_list_of_pictures(stage: MediaStage) -> None:
    jpegs = ",".join(f"/9j/{i:04d}" for i in range(70))
    parts, fates, _ = await ready(stage, DEAF, Video(Media("video/jpeg", base64=jpegs)))
    assert fates == ["video>frames:32"]
    assert kinds(parts) == "image " * 31 + "image"
    first, last = parts[0], parts[-1]
    assert isinstance(first, Image) and first.media.base64 == "/9j/0000"
    assert isinstance(last, Image) and last.media.base64 == "/9j/0069"


async def test_a_list_of_one_picture_that_is_large(stage: MediaStage) -> None:
    one = Segments([b"/9j/" + b"A" * 65_532, b"AAAA"])
    parts, fates, _ = await ready(stage, DEAF, Video(Media("video/jpeg", base64=one)))
    assert fates == ["video>frames:1"]
    [image] = parts
    assert isinstance(image, Image) and image.media.base64 == one and image.media.mime == "image/jpeg"


async def test_what_is_elsewhere_comes_here(stage: MediaStage) -> None:
    parts, fates, _ = await ready(stage, DEAF, Text("a"), Image(Media(url="https://cats.example/a.png")))
    assert fates == ["text", "image"]
    image = parts[1]
    assert isinstance(image, Image) and image.media.mime == "image/png"
    assert isinstance(image.media.base64, Segments) and image.media.base64 == PNG
    with pytest.raises(BadRequest, match="404") as caught:
        await ready(stage, DEAF, Text("a"), Image(Media(url="https://cats.example/none.png")))
    assert caught.value.param == "messages[0].content[1]"


async def test_what_is_something_else_goes_where_that_may_go(stage: MediaStage) -> None:
    """A picture by its part, a sound by its octets: a target that does not hear does not get it."""
    with pytest.raises(PartRefused):
        got = await stage.ready(chat(Image(Media(url="https://cats.example/a.wav"))), DEAF, SETTINGS)
        load("openai").build(got.request, Target("a", "openai", "m"), Facts(image=True, audio=False))


async def test_sizes(stage: MediaStage) -> None:
    small = Settings.model_validate({"limits": {"image": 1000}, "media": MediaSettings()})
    with pytest.raises(TooLarge) as caught:
        await stage.ready(chat(Image(Media(url="https://cats.example/big"))), DEAF, small)
    assert caught.value.param == "messages[0].content[0]"


@needs_ffmpeg
async def test_kept_for_the_next_attempt(stage: MediaStage) -> None:
    part = sound("opus")
    calls = 0
    convert = stage.workers.convert

    async def counted(job: Any, media: Media) -> Any:
        nonlocal calls
        calls += 1
        return await convert(job, media)

    stage.workers.convert = counted  # type: ignore[method-assign]
    for _ in range(3):
        await ready(stage, KINDS["llamacpp"], part)
    await asyncio.gather(*(ready(stage, KINDS["llamacpp"], sound("webm")) for _ in range(3)))
    assert calls == 2


async def test_what_cannot_be_converted_names_its_path(stage: MediaStage) -> None:
    broken = Audio(Media("audio/ogg", base64=b64encode(b"OggS" + bytes(300)).decode()))
    with pytest.raises(NotConverted) as caught:
        await ready(stage, KINDS["llamacpp"], Text("a"), broken)
    assert caught.value.param == "messages[0].content[1]"
