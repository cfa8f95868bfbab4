"""What people send -> what the embedded fleet takes: files made by ffmpeg, each answered after its conversion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.demo import media
from gateway.demo.fleet import EARS, EYES
from tests import made
from tests.made import needs_ffmpeg
from tests.real.conftest import Client
from tests.real.content import b64, chat, error, text

pytest.importorskip("av", reason="the extra `media` is not installed")
pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module"), needs_ffmpeg]

HEIC = Path(__file__).parents[1] / "wire" / "heic"

SOUNDS = {
    "m4a": "audio>wav16k",
    "ogg": "audio>wav16k",
    "opus": "audio>wav16k",
    "webm": "audio>wav16k",
    "flac": "audio>wav16k",
    "aac": "audio>wav16k",
    "mp3": "audio",
    "wav8": "audio",
    "wav48": "audio",
}


def heard(form: str) -> dict[str, Any]:
    named = {"wav8": "wav", "wav48": "wav"}.get(form, form)
    return {"type": "input_audio", "input_audio": {"data": b64(made.sound(form, 1.0)), "format": named}}


def shown(data: bytes, mime: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{b64(data)}"}}


def filmed(form: str, mime: str, hears: bool) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": f"data:{mime};base64,{b64(made.video(form, 2.0, hears=hears))}"}}


def avif() -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (96, 64), (200, 30, 60)).save(out, "AVIF")
    return out.getvalue()


@pytest.mark.parametrize("form", SOUNDS)
async def test_sounds(client: Client, form: str):
    got = await client.post(chat("auto", [text(), heard(form)], max_tokens=64))
    assert got.status_code == 200, got.text
    assert got.json()["choices"][0]["message"]["content"] == EARS.reply
    assert got.headers["x-gateway-parts"] == f"0=text,1={SOUNDS[form]}"


PICTURES = {
    "webp": ("image/webp", "image>png"),
    "gif": ("image/gif", "image"),
    "bmp": ("image/bmp", "image"),
    "tiff": ("image/tiff", "image>png"),
    "avif": ("image/avif", "image>jpeg"),
}


@pytest.mark.parametrize("form", PICTURES)
async def test_pictures(client: Client, form: str):
    mime, word = PICTURES[form]
    data = avif() if form == "avif" else made.picture(form)
    got = await client.post(chat("auto", [shown(data, mime), text()], max_tokens=64))
    assert got.status_code == 200, got.text
    assert got.json()["choices"][0]["message"]["content"] == EYES.reply
    assert got.headers["x-gateway-parts"] == f"0={word},1=text"


@pytest.mark.parametrize(("form", "mime"), [("mp4", "video/mp4"), ("webm", "video/webm"), ("mov", "video/quicktime")])
@pytest.mark.parametrize("hears", [True, False])
async def test_videos(client: Client, form: str, mime: str, hears: bool):
    """The fixture that sees does not hear: it says so, and of a silent video it says nothing."""
    got = await client.post(chat("auto", [filmed(form, mime, hears), text()], max_tokens=64))
    assert got.status_code == 200, got.text
    assert got.json()["choices"][0]["message"]["content"] == EYES.reply
    assert got.headers["x-gateway-parts"] == ("0=video,sound=dropped,1=text" if hears else "0=video,1=text")


async def test_a_wrong_claim_is_corrected_with_notice(client: Client):
    got = await client.post(chat("auto", [shown(made.picture("webp"), "image/png"), text()]))
    assert got.status_code == 200
    assert got.headers["x-gateway-parts"] == "0=image>png,claimed=image/png,1=text"


async def test_strict_refuses_what_would_be_changed(client: Client):
    got = await client.post(chat("auto", [text(), heard("opus")], gateway={"parts": "strict"}))
    assert got.status_code == 400
    assert error(got.content)["param"] == "messages[0].content[1]"


async def test_explain_says_what_serving_does(client: Client):
    body = chat("auto", [text(), heard("opus")], max_tokens=8)
    told = (await client.explain(body)).json()
    served = await client.post(body)
    assert told["parts"] == ["text", "audio>wav16k"]
    assert served.headers["x-gateway-parts"] == "0=text,1=audio>wav16k"
    assert told["chosen"] == served.headers["x-gateway-target"]
    [one] = [c for c in told["candidates"] if c["target"] == told["chosen"]]
    assert one["media"] == [{"path": "messages[0].content[1]", "becomes": "wav16k"}]
    assert one["expected"]["conversion_seconds"] > 0 and one["expected"]["tokens"] > 0


HOSTILE = {
    "zero length": ("", "wav"),
    "text as a sound": (b64(b"hello, this is no sound at all"), "wav"),
    "a lying header": (b64(media.wav(0.1)[:40] + b"\x00\x28\x6b\xee" + bytes(100)), "wav"),
    "a cut sound": (b64(b"OggS" + bytes(500)), "ogg"),
    "a playlist": (b64(b"#EXTM3U\nhttp://127.0.0.1:1/x\n"), "mp3"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_sounds_are_refused_by_path(client: Client, name: str):
    data, form = HOSTILE[name]
    part = {"type": "input_audio", "input_audio": {"data": data, "format": form}}
    got = await client.post(chat("auto", [text(), part]))
    assert got.status_code in (400, 415), got.text
    assert str(error(got.content)["param"]).startswith("messages[0].content[1]")
    again = await client.post(chat("auto", [text(), heard("opus")], max_tokens=8))
    assert again.status_code == 200


async def test_heic(client: Client):
    """In one piece and in tiles, as telephones write it; and what is said of one that can't be read."""
    for name in ("single", "tiles_turned"):
        data = (HEIC / f"{name}.heic").read_bytes()
        got = await client.post(chat("auto", [text(), shown(data, "image/heic")], max_tokens=64))
        assert got.status_code == 200, got.text
        assert got.json()["choices"][0]["message"]["content"] == EYES.reply
        assert got.headers["x-gateway-parts"] == "0=text,1=image>jpeg"
    head = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(64)
    got = await client.post(chat("auto", [text(), shown(head, "image/heic")]))
    told = error(got.content)
    assert (got.status_code, told["param"]) == (400, "messages[0].content[1]")
    assert "send it as JPEG or PNG" in told["message"]


async def test_a_format_that_nobody_converts_says_what_to_send(client: Client):
    got = await client.post(chat("auto", [text(), shown(b"<svg/>" * 20, "image/svg+xml")]))
    told = error(got.content)
    assert (got.status_code, told["param"]) == (415, "messages[0].content[1]")
    assert "send it as PNG or JPEG" in told["message"]


async def test_a_picture_too_large_for_anybody(client: Client):
    bomb = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (65_000).to_bytes(4, "big") * 2 + bytes(40)
    got = await client.post(chat("auto", [text(), shown(bomb, "image/png")]))
    assert got.status_code == 400 and "65000 x 65000" in error(got.content)["message"]
