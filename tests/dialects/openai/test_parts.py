from __future__ import annotations

from typing import Any

import pytest

from gateway.canonical.content import (
    Audio,
    Clip,
    Document,
    Image,
    Media,
    Opaque,
    Part,
    Refusal,
    Segments,
    Text,
    Thinking,
    ToolCall,
    Video,
)
from gateway.dialects import LIMITS, Limits
from gateway.dialects.openai.parts import parse_content, parse_part, render_part
from gateway.errors import BadRequest, PartRefused

P = "messages[2].content[0]"
PNG = "data:image/png;base64,AAAA"
MP4 = "data:video/mp4;base64,AAAA"
WAV = "data:audio/wav;base64,AAAA"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"type": "text", "text": "x"}, Text("x")),
        ({"type": "input_text", "text": ""}, Text("")),
        ({"type": "output_text", "text": "x", "annotations": [1]}, Text("x", [1])),
        ("bare", Text("bare")),
        (
            {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
            Image(Media("image/png", "AAAA", detail="low")),
        ),
        ({"type": "image_url", "image_url": PNG}, Image(Media("image/png", "AAAA"))),
        ({"type": "input_image", "image_url": PNG, "detail": "high"}, Image(Media("image/png", "AAAA", detail="high"))),
        ({"type": "input_image", "file_id": "f1"}, Image(Media(file_id="f1"))),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}, Audio(Media("audio/mpeg", "AAAA"))),
        ({"type": "input_audio", "input_audio": {"data": WAV, "format": "mp3"}}, Audio(Media("audio/wav", "AAAA"))),
        ({"type": "input_audio", "input_audio": {"data": "AAAA"}}, Audio(Media("", "AAAA"))),
        ({"type": "input_audio", "input_audio": {"url": "https://h/a.wav"}}, Audio(Media(url="https://h/a.wav"))),
        (
            {"type": "audio_url", "audio_url": {"url": "data:audio/x-wav;base64,AAAA"}},
            Audio(Media("audio/wav", "AAAA")),
        ),
        ({"type": "audio_url", "audio_url": WAV}, Audio(Media("audio/wav", "AAAA"))),
        ({"type": "video_url", "video_url": {"url": MP4}}, Video(Media("video/mp4", "AAAA"))),
        ({"type": "video", "video": MP4}, Video(Media("video/mp4", "AAAA"))),
        ({"type": "input_video", "input_video": {"data": "AAAA"}}, Video(Media("", "AAAA"))),
        ({"type": "input_video", "input_video": {"data": MP4}}, Video(Media("video/mp4", "AAAA"))),
        ({"type": "input_video", "video_url": {"url": "http://h/v"}}, Video(Media(url="http://h/v"))),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
            Document(Media("application/pdf", "AAAA", name="a.pdf")),
        ),
        ({"type": "file", "file": {"file_id": "f"}}, Document(Media(file_id="f"))),
        ({"type": "input_file", "file_url": "https://h/a.pdf"}, Document(Media(url="https://h/a.pdf"))),
        ({"type": "input_file", "file_data": "AAAA", "filename": "x"}, Document(Media("", "AAAA", name="x"))),
        ({"type": "file", "file": {"file_data": MP4}}, Video(Media("video/mp4", "AAAA"))),
        (
            {"type": "file", "file": {"file_data": PNG, "filename": "a.png"}},
            Image(Media("image/png", "AAAA"), extra={"openai": {"filename": "a.png"}}),
        ),
        ({"type": "refusal", "refusal": "no"}, Refusal("no")),
        ({"type": "thinking", "thinking": "hm", "signature": "s"}, Thinking("hm", signature="s")),
        (
            {"type": "text", "text": "x", "cache_control": {"a": 1}},
            Text("x", extra={"openai": {"cache_control": {"a": 1}}}),
        ),
        (
            {"type": "image_url", "image_url": {"url": PNG, "min_pixels": 9}, "uuid": "u"},
            Image(Media("image/png", "AAAA"), extra={"openai": {"uuid": "u", "image_url": {"min_pixels": 9}}}),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": Segments([b"AA", b"AA"]), "format": "wav"}},
            Audio(Media("audio/wav", "AAAA")),
        ),
        ({"type": "image_url", "image_url": Segments([PNG.encode()])}, Image(Media("image/png", "AAAA"))),
        (
            {
                "type": "video_url",
                "video_url": {"url": MP4},
                "video_metadata": {"fps": 2.0, "start_offset_s": 10, "end_offset_s": 20.5, "x": 1},
            },
            Video(Media("video/mp4", "AAAA", clip=Clip(10, 20.5, 2.0)), extra={"openai": {"video_metadata": {"x": 1}}}),
        ),
    ],
)
def test_every_spelling(value: Any, wanted: Part) -> None:
    part = parse_part(value, P)
    assert part == wanted
    assert part.path == P
    if not isinstance(part, Thinking):
        assert parse_part(render_part(part, None), P) == part


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, f"{P}.image_url.url"),
        ({"type": "image_url", "image_url": "/etc/passwd"}, f"{P}.image_url"),
        ({"type": "image_url", "image_url": {"url": 5}}, f"{P}.image_url.url"),
        ({"type": "image_url", "image_url": {}}, f"{P}.image_url.url"),
        ({"type": "image_url", "image_url": 5}, f"{P}.image_url"),
        ({"type": "image_url"}, f"{P}.image_url"),
        ({"type": "image_url", "image_url": {"url": WAV}}, f"{P}.image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:application/pdf;base64,AAAA"}}, f"{P}.image_url.url"),
        ({"type": "video_url", "video_url": {"url": WAV}}, f"{P}.video_url.url"),
        ({"type": "audio_url", "audio_url": {"url": PNG}}, f"{P}.audio_url.url"),
        ({"type": "audio_url", "audio_url": {"url": "gs://b/a"}}, f"{P}.audio_url.url"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, f"{P}.input_audio.data"),
        ({"type": "input_audio", "input_audio": {"data": "@@", "format": "wav"}}, f"{P}.input_audio.data"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "w/v"}}, f"{P}.input_audio.format"),
        ({"type": "input_audio", "input_audio": {"format": "wav"}}, f"{P}.input_audio.data"),
        ({"type": "input_audio", "input_audio": "AAAA"}, f"{P}.input_audio"),
        ({"type": "video", "video": ["AAAA"]}, f"{P}.video"),
        ({"type": "video", "video": MP4, "video_metadata": {"fps": "x"}}, f"{P}.video_metadata.fps"),
        (
            {"type": "video", "video": MP4, "video_metadata": {"start_offset_s": 2, "end_offset_s": 1}},
            f"{P}.video_metadata",
        ),
        ({"type": "file", "file": {"filename": "x"}}, f"{P}.file.file_data"),
        ({"type": "input_file"}, f"{P}.file_data"),
        ({"type": "text"}, f"{P}.text"),
        ({"type": "text", "text": None}, f"{P}.text"),
        ({"type": "text", "text": ["x"]}, f"{P}.text"),
        ({"type": "hologram", "hologram": {}}, f"{P}.type"),
        ({"type": {"a": 1}}, f"{P}.type"),
        ({"text": "x"}, f"{P}.type"),
        (5, P),
        (None, P),
    ],
)
def test_what_is_wrong_is_named(value: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_part(value, P)
    assert caught.value.param == param
    assert "passwd" not in caught.value.message


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(BadRequest) as caught:
        parse_part({"type": "hologram"}, P)
    assert "hologram" in caught.value.message and P in caught.value.message
    assert caught.value.code == "unsupported_content"


def test_too_many_parts() -> None:
    with pytest.raises(BadRequest) as caught:
        parse_content([{"type": "text", "text": ""}] * 257, "messages[0].content", LIMITS)
    assert caught.value.code == "array_above_max_length"
    with pytest.raises(BadRequest):
        parse_content(["a", "b"], "messages[0].content", Limits(parts=1))


def test_octets_are_written_as_base64() -> None:
    rendered = render_part(Image(Media("image/png", octets=b"\0\0\0")), None)
    assert rendered["image_url"]["url"] == "data:image/png;base64,AAAA"


def test_long_media_are_not_joined() -> None:
    chunk = b"A" * 65536
    part = parse_part({"type": "video_url", "video_url": {"url": Segments([b"data:video/mp4;base64,", chunk])}}, P)
    url = render_part(part, None)["video_url"]["url"]
    assert isinstance(url, Segments) and url.chunks[-1] is chunk


def test_only_wanted_extras_are_written() -> None:
    part = Text("x", [1], extra={"openai": {"cache_control": 1, "uuid": 2}})
    assert render_part(part, {"uuid"}) == {"type": "text", "text": "x", "uuid": 2}
    assert render_part(part, frozenset()) == {"type": "text", "text": "x"}


def test_what_has_no_form_is_refused() -> None:
    for part in (Opaque("gemini", "grounding", {}, path=P), ToolCall("i", "n", "", path=P)):
        with pytest.raises(PartRefused) as caught:
            render_part(part, None)
        assert caught.value.param == P
    with pytest.raises(BadRequest):
        render_part(Video(Media(file_id="f"), path=P), None)
