"""What people record -> words, through the official client and the embedded fleet's ears."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from gateway.demo.fleet import EARS
from tests import made
from tests.made import needs_ffmpeg
from tests.real.conftest import Client

pytest.importorskip("av", reason="the extra `media` is not installed")
pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module"), needs_ffmpeg]

HEARD = {"wav": "audio", "mp3": "audio"} | dict.fromkeys(("m4a", "ogg", "opus", "webm", "flac"), "audio>wav16k")


async def sent(
    client: Client, sound: bytes, name: str, path: str = "/v1/audio/transcriptions", **fields: str
) -> httpx2.Response:
    asked: dict[str, Any] = {"model": "auto", **fields}
    return await client.http.post(path, data=asked, files={"file": (name, sound)})


@pytest.mark.parametrize("form", HEARD)
async def test_every_recording(client: Client, form: str):
    got = await sent(client, made.sound(form, 1.0), f"memo.{form}")
    assert got.status_code == 200, got.text
    assert got.json()["text"] == EARS.reply and got.json()["usage"]["output_tokens"] > 5
    assert got.headers["x-gateway-parts"] == f"0={HEARD[form]}"
    assert got.headers["x-gateway-target"].startswith("ears/")


async def test_the_sound_of_a_video(client: Client):
    got = await sent(client, made.video("mp4", 2.0), "clip.mp4", "/v1/audio/translations", response_format="text")
    assert (got.status_code, got.text) == (200, EARS.reply + "\n")
    silent = await sent(client, made.video("mp4", 2.0, hears=False), "clip.mp4")
    assert silent.status_code == 415 and "no sound track" in silent.json()["error"]["message"]


async def test_strict_refuses_what_would_be_changed(client: Client):
    strict = {"gateway": '{"parts": "strict"}'}
    got = await sent(client, made.sound("opus", 1.0), "memo.ogg", **strict)
    assert (got.status_code, got.json()["error"]["param"]) == (400, "file"), got.text
    assert (await sent(client, made.sound("mp3", 1.0), "memo.mp3", **strict)).status_code == 200


async def test_more_than_a_minute_is_heard(client: Client):
    got = await sent(client, made.sound("opus", 70.0), "long.ogg", response_format="verbose_json")
    assert got.status_code == 200, got.text
    assert got.json()["duration"] == pytest.approx(70.0, abs=0.1) and "segments" not in got.json()


async def test_a_stream(client: Client):
    file = ("memo.webm", made.sound("webm", 1.0))
    stream = await client.sdk.audio.transcriptions.create(model="auto", file=file, stream=True)
    events = [e async for e in stream]
    assert events[-1].type == "transcript.text.done" and events[-1].text == EARS.reply
    assert "".join(e.delta for e in events[:-1] if e.type == "transcript.text.delta") == EARS.reply


async def test_a_broken_recording(client: Client):
    for broken in (made.sound("ogg", 1.0)[:60], b"OggS" + bytes(600), made.sound("m4a", 1.0)[:200]):
        got = await sent(client, broken, "memo.ogg")
        assert got.status_code in (400, 415), got.text
        assert got.json()["error"]["param"] == "file"
