"""Real workers, real files."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import struct
import sys
import wave
import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.canonical.content import Media, Segments
from gateway.canonical.media.headers import read_header
from gateway.demo import media as demo
from gateway.engine.media import convert as module
from gateway.engine.media.convert import NotConverted, Piece, Workers
from tests import made
from tests.made import needs_ffmpeg

pytest.importorskip("av", reason="the extra `media` is not installed")


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    found = Workers()
    yield found
    await found.close()


def octets(piece: Piece) -> bytes:
    return b64decode(piece.content.text())


def heard(piece: Piece) -> array[int]:
    """The samples of a converted sound."""
    with wave.open(io.BytesIO(octets(piece))) as w:
        assert (w.getframerate(), w.getnchannels(), w.getsampwidth()) == (16_000, 1, 2)
        return array("h", w.readframes(w.getnframes()))


async def sound(workers: Workers, data: bytes, **more: Any) -> list[Piece]:
    mime = more.pop("mime", None) or read_header(Media(octets=data), "audio").mime
    return await workers.convert({"do": "sound", "mime": mime, **more}, Media(octets=data))


FORMS = ["wav", "wav8", "wav48", "mp3", "flac", "ogg", "opus", "m4a", "webm", "mka", "aac", "aiff", "3gp"]


@needs_ffmpeg
async def test_sounds(workers: Workers) -> None:
    for form in FORMS:
        [piece] = await sound(workers, made.sound(form, 1.0))
        samples = heard(piece)
        assert (piece.kind, piece.mime) == ("sound", "audio/wav")
        assert len(samples) == pytest.approx(16_000, abs=1200), form
        assert piece.seconds == len(samples) / 16_000
        middle = samples[4000:12_000]
        crossings = sum((a < 0) != (b < 0) for a, b in itertools.pairwise(middle))
        assert crossings == pytest.approx(440, abs=30), f"{form}: it is another tone"
    assert len(workers.pids) == 1, "one worker did it all"


def plain(channels: list[array[int]], rate: int = 16_000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as w:
        w.setnchannels(len(channels))
        w.setsampwidth(2)
        w.setframerate(rate)
        w.writeframes(array("h", [s for frame in zip(*channels, strict=True) for s in frame]).tobytes())
    return out.getvalue()


async def test_two_channels_are_averaged(workers: Workers) -> None:
    loud, none = array("h", [12_000, -12_000] * 4000), array("h", [0] * 8000)
    [both] = await sound(workers, plain([loud, loud]))
    [one] = await sound(workers, plain([loud, none]))
    assert max(heard(both)) == pytest.approx(12_000, rel=0.02)
    assert max(heard(one)) == pytest.approx(6000, rel=0.02)


async def test_long_sounds_are_cut_where_it_is_quiet(workers: Workers) -> None:
    tone = array("h", [8000, -8000] * 8000)  # a second
    hush = array("h", [0] * 8000)
    talk = array("h")
    for pause in (25, 50, 70):  # seconds at which nobody speaks for half a second
        while len(talk) < pause * 16_000:
            talk += tone
        talk += hush
    talk += tone * 4
    pieces = await sound(workers, plain([talk]), longest=30.0)
    assert [round(p.seconds, 1) for p in pieces] == [25.2, 25.3, 20.2, 4.3] or all(p.seconds <= 30 for p in pieces)
    assert all(abs(heard(p)[-1]) < 100 for p in pieces[:-1]), "each cut lies in a pause"
    whole = array("h")
    for p in pieces:
        whole += heard(p)
    assert whole == talk, "nothing is lost, nothing is twice"


async def test_a_piece_out_of_a_sound(workers: Workers) -> None:
    talk = array("h", [0] * 16_000) + array("h", [5000, -5000] * 8000) + array("h", [0] * 16_000)
    [piece] = await sound(workers, plain([talk]), start=1.0, end=1.5)
    samples = heard(piece)
    assert len(samples) == 8000
    assert min(map(abs, samples)) == 5000


async def test_raw_samples(workers: Workers) -> None:
    raw = array("h", [7000, -7000] * 12_000)
    [piece] = await sound(workers, raw.tobytes(), mime="audio/pcm", rate=24_000)
    assert piece.seconds == pytest.approx(1.0, abs=0.01)


# ---- pictures --------------------------------------------------------------------------------------------------------


def pixels(data: bytes) -> Any:
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    image.load()
    return image


async def picture(workers: Workers, data: bytes, mime: str = "", **more: Any) -> Piece:
    mime = mime or read_header(Media(octets=data), "image").mime
    job: Any = {"do": "picture", "mime": mime, "pixels": 1_000_000, "to": ["image/png", "image/jpeg"], **more}
    [piece] = await workers.convert(job, Media(octets=data))
    return piece


@needs_ffmpeg
async def test_pictures(workers: Workers) -> None:
    for form in ("png", "jpg", "gif", "webp", "bmp", "tiff"):
        piece = await picture(workers, made.picture(form, 64, 48))
        image = pixels(octets(piece))
        assert image.size == (64, 48)
        assert piece.mime == f"image/{image.format.lower()}"
        red, green, blue = image.convert("RGB").getpixel((2, 2))[:3]
        original = pixels(made.picture("png", 64, 48)).convert("RGB").getpixel((2, 2))
        assert all(abs(a - b) < 60 for a, b in zip((red, green, blue), original, strict=True)), form


async def test_what_pillow_makes(workers: Workers) -> None:
    from PIL import Image

    def saved(image: Any, form: str, **more: Any) -> bytes:
        out = io.BytesIO()
        image.save(out, form, **more)
        return out.getvalue()

    ground = Image.new("RGB", (400, 200), (200, 30, 60))
    avif = await picture(workers, saved(ground, "AVIF"))
    assert (avif.mime, pixels(octets(avif)).size) == ("image/jpeg", (400, 200))
    lossless = await picture(workers, saved(ground, "WEBP", lossless=True))
    assert pixels(octets(lossless)).convert("RGB").getpixel((0, 0)) == (200, 30, 60)
    clear = await picture(workers, saved(Image.new("RGBA", (20, 20), (1, 2, 3, 0)), "WEBP"))
    assert (clear.mime, pixels(octets(clear)).mode) == ("image/png", "RGBA")
    white = await picture(workers, saved(Image.new("RGBA", (20, 20), (1, 2, 3, 0)), "WEBP"), to=["image/jpeg"])
    assert pixels(octets(white)).getpixel((5, 5)) == (255, 255, 255)
    large = await picture(workers, saved(Image.new("RGB", (4000, 1000)), "BMP"))
    assert pixels(octets(large)).size == (2000, 500)
    frames = [Image.new("RGB", (30, 30), (i * 20, 0, 0)) for i in range(5)]
    moving = await picture(workers, saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert moving.of == 5
    turned = Image.new("RGB", (40, 20))
    exif = turned.getexif()
    exif[0x0112] = 6
    upright = await picture(workers, saved(turned, "WEBP", exif=exif))
    assert pixels(octets(upright)).size == (20, 40)
    deep = await picture(workers, saved(Image.new("I;16", (8, 8), 0x8000), "TIFF"))
    assert 120 < pixels(octets(deep)).convert("L").getpixel((0, 0)) < 136
    for mode in ("1", "L", "P", "CMYK", "LA", "I", "F"):
        piece = await picture(workers, saved(Image.new(mode, (9, 9)), "TIFF"))
        assert pixels(octets(piece)).size == (9, 9), mode


# ---- videos ----------------------------------------------------------------------------------------------------------


async def frames(workers: Workers, data: bytes, **more: Any) -> tuple[list[Piece], list[Piece]]:
    """(frames, sounds)"""
    mime = read_header(Media(octets=data), "video").mime
    job: Any = {"do": "frames", "mime": mime, "frames": 32, "pixels": 4000, "sound": True, **more}
    found = await workers.convert(job, Media(octets=data))
    return [p for p in found if p.kind == "frame"], [p for p in found if p.kind == "sound"]


@needs_ffmpeg
async def test_videos(workers: Workers) -> None:
    for form in ("mp4", "fragmented", "webm", "mov", "mkv", "avi", "mpg", "ogv"):
        seen, sounds = await frames(workers, made.video(form, 5.0, rate=25 if form == "mpg" else 8))
        assert len(seen) == 32, form
        times = [p.seconds for p in seen]
        assert times == sorted(times) and times[0] == pytest.approx(0, abs=0.1) and 4.7 < times[-1] < 5.2
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert max(gaps) < 0.3, "evenly spread"
        assert pixels(octets(seen[0])).size == (77, 51)
        assert len(sounds) == 1 and sounds[0].seconds == pytest.approx(5.0, abs=0.2)
    seen, sounds = await frames(workers, made.video("mp4", 1.0, hears=False), frames=4, sound=True)
    assert (len(seen), sounds) == (4, [])


@needs_ffmpeg
async def test_a_silent_track_is_none(workers: Workers) -> None:
    silent = made.made(
        ("-f", "lavfi", "-i", "testsrc=duration=1:size=64x64:rate=4", "-f", "lavfi", "-i",
         "anullsrc=duration=1", "-c:v", "mpeg4", "-c:a", "aac"), "mp4",
    )  # fmt: skip
    seen, sounds = await frames(workers, silent)
    assert (len(seen), sounds) == (4, [])


@needs_ffmpeg
async def test_pieces_rates_and_turned_videos(workers: Workers) -> None:
    film = made.video("mp4", 5.0, rate=8)
    seen, sounds = await frames(workers, film, start=2.0, end=3.0)
    assert [round(p.seconds, 3) for p in seen] == [2 + i / 8 for i in range(9)]
    assert sounds[0].seconds == pytest.approx(1.0, abs=0.01)
    seen, _ = await frames(workers, film, fps=1.0)
    assert len(seen) == 5
    long = made.video("mp4", 200.0, rate=4, hears=False, size="64x64")
    seen, _ = await frames(workers, long)
    assert len(seen) == 32 and seen[-1].seconds > 190


@needs_ffmpeg
async def test_the_sound_of_a_video(workers: Workers) -> None:
    film = made.video("mp4", 3.0)
    [piece] = await workers.convert({"do": "sound", "mime": "video/mp4"}, Media(octets=film))
    assert piece.seconds == pytest.approx(3.0, abs=0.2)
    assert await workers.convert({"do": "sound", "mime": "video/mp4"}, Media(base64=demo_mp4())) == []


def demo_mp4() -> str:
    return b64encode(made.video("mp4", 1.0, hears=False)).decode()


# ---- the worker ------------------------------------------------------------------------------------------------------


@needs_ffmpeg
async def test_the_same_in_every_form(workers: Workers) -> None:
    data = made.sound("opus", 1.0)
    text = b64encode(data)
    found = []
    for medium in (
        Media(octets=data),
        Media(base64=text.decode()),
        Media(base64=Segments([text[i : i + 1001] for i in range(0, len(text), 1001)])),
    ):
        [piece] = await workers.convert({"do": "sound", "mime": "audio/ogg"}, medium)
        found.append(octets(piece))
    assert found[0] == found[1] == found[2]


def png_bomb(side: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(bytes(side * 3 + 1) * 64, 9) * 40
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


async def test_hostile_media_are_refused_and_the_worker_stays(workers: Workers) -> None:
    wav = demo.wav(0.5)
    bad: list[tuple[Any, bytes]] = [
        ({"do": "sound", "mime": "audio/ogg"}, b"OggS" + bytes(1000)),
        ({"do": "sound", "mime": "audio/mp4"}, wav),
        ({"do": "sound", "mime": "audio/x-mpegurl"}, b"#EXTM3U\nhttp://127.0.0.1:1/x\n"),
        ({"do": "sound", "mime": "audio/mpeg"}, b"#EXTM3U\nhttp://127.0.0.1:1/x\n"),
        ({"do": "sound", "mime": "audio/wav"}, wav[:44]),
        ({"do": "picture", "mime": "image/png", "pixels": 1000, "to": ["image/png"]}, png_bomb(20_000)),
        ({"do": "picture", "mime": "image/webp", "pixels": 1000, "to": ["image/png"]}, wav),
        ({"do": "picture", "mime": "image/svg+xml", "pixels": 1000, "to": ["image/png"]}, b"<svg/>"),
        ({"do": "picture", "mime": "image/gif", "pixels": 1000, "to": ["image/png"]}, b"GIF89a"),
        ({"do": "frames", "mime": "video/mp4", "frames": 32, "pixels": 1000}, b"\0\0\0\x18ftypisom" + bytes(99)),
        ({"do": "frames", "mime": "video/webm", "frames": 32, "pixels": 1000}, b"\x1a\x45\xdf\xa3" + bytes(99)),
    ]  # fmt: skip
    for job, data in bad:
        with pytest.raises(NotConverted) as caught:
            await workers.convert(job, Media(octets=data))
        assert "Traceback" not in caught.value.message and "/" not in caught.value.message.replace(
            "audio/", ""
        ).replace("image/", "").replace("video/", "")
    [piece] = await sound(workers, wav)
    assert piece.seconds == pytest.approx(0.5)
    assert len(workers.pids) == 1


@needs_ffmpeg
async def test_cut_files_never_cost_more_than_a_refusal(workers: Workers) -> None:
    for form, do in (("mp4", "frames"), ("webm", "frames"), ("mkv", "frames")):
        data = made.video(form, 2.0)
        for end in range(50, len(data), len(data) // 6):
            job: Any = {"do": do, "mime": f"video/{form}" if form != "mkv" else "video/x-matroska", "frames": 8,
                        "pixels": 1000, "sound": True}  # fmt: skip
            try:
                assert len(await workers.convert(job, Media(octets=data[:end]))) <= 9
            except NotConverted:
                pass
    for form in ("opus", "m4a", "flac", "mp3"):
        data = made.sound(form, 1.0)
        mime = read_header(Media(octets=data), "audio").mime
        for end in range(20, len(data), len(data) // 6):
            try:
                await workers.convert({"do": "sound", "mime": mime}, Media(octets=data[:end]))
            except NotConverted:
                pass
    assert len(workers.pids) == 1


@needs_ffmpeg
async def test_who_leaves_takes_the_worker_along(workers: Workers) -> None:
    film = made.video("mp4", 200.0, rate=4, hears=False, size="64x64")
    job: Any = {"do": "frames", "mime": "video/mp4", "frames": 32, "pixels": 100_000}
    task = asyncio.create_task(workers.convert(job, Media(octets=film)))
    while not workers.pids:
        await asyncio.sleep(0.01)
    [pid] = workers.pids
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert workers.pids == []
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError("the worker lives on")


async def test_too_slow_too_much_and_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Workers(seconds=0.0)
    with pytest.raises(NotConverted, match="too long"):
        await sound(slow, demo.wav(0.5))
    assert slow.pids == []
    await slow.close()
    small = Workers(output=1000)
    with pytest.raises(NotConverted, match="too much"):
        await sound(small, demo.wav(0.5))
    await small.close()
    workers = Workers()
    await sound(workers, demo.wav(0.5))
    os.kill(workers.pids[0], 9)
    await asyncio.wait_for(next(iter(workers._all)).process.wait(), 10)
    assert len(await sound(workers, demo.wav(0.5))) == 1
    await workers.close()
    assert workers.pids == []


async def test_one_that_is_idle_goes(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    await sound(workers, demo.wav(0.1))
    await asyncio.sleep(0.05)
    assert workers.pids == []


async def test_no_secrets_and_few_rights(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        pytest.skip("looks into /proc")
    from pathlib import Path

    monkeypatch.setenv("GATEWAY_API_KEY", "sk-canary")
    await sound(workers, demo.wav(0.1))
    proc = Path(f"/proc/{workers.pids[0]}")
    assert b"canary" not in (proc / "environ").read_bytes()
    limits = (proc / "limits").read_text()
    for name in ("Max file size", "Max core file size"):
        [line] = [x for x in limits.splitlines() if x.startswith(name)]
        assert line.split()[-3:-1] == ["0", "0"]
    [line] = [x for x in limits.splitlines() if x.startswith("Max address space")]
    assert int(line.split()[-2]) == 2 << 30
