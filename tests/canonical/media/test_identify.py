from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import pytest

from gateway.backends.wire.samples import MP4, PNG, WAV
from gateway.canonical.content import Audio, Document, Image, Media, Message, Part, Segments, Text, ToolResult, Video
from gateway.canonical.media.identify import NoSound, Wrong, identified
from gateway.canonical.media.listed import MOST_LISTED
from gateway.canonical.requests import Chat, Completion, CountTokens, Transcription
from tests import made
from tests.made import needs_ffmpeg

PATH = "messages[0].content[1]"


def chat(*parts: Part) -> Chat:
    return Chat("m", [Message("user", [Text("look"), *parts])])


def one(part: Part) -> Any:
    part.path = PATH
    found = identified(chat(part))
    assert isinstance(found, Chat)
    return found.messages[0].parts[1]


def test_what_is_right_stays_the_same_object() -> None:
    request = chat(Image(Media("image/png", base64=PNG)), Audio(Media("audio/wav", base64=WAV)))
    assert identified(request) is request
    text = Chat("m", [Message("user", [Text("a")])])
    assert identified(text) is text
    completion = Completion("m", ["a"])
    assert identified(completion) is completion


def test_a_wrong_claim_is_corrected_and_kept() -> None:
    part = one(Image(Media("image/jpeg", base64=PNG, detail="low"), signature="s"))
    assert (part.media.mime, part.media.claimed, part.media.detail, part.signature) == (
        "image/png",
        "image/jpeg",
        "low",
        "s",
    )
    assert part.path == PATH
    assert one(Audio(Media("audio/x-wav", base64=WAV))).media.claimed == ""
    assert one(Audio(Media("", base64=WAV))).media.mime == "audio/wav"


def test_the_content_decides_what_a_part_is() -> None:
    """So that nothing goes where its kind may not go."""
    found = one(Image(Media("image/png", base64=WAV)))
    assert isinstance(found, Audio)
    assert (found.media.mime, found.media.claimed) == ("audio/wav", "image/png")
    assert isinstance(one(Document(Media("", octets=b64decode(PNG), name="a.bin"))), Image)
    assert isinstance(one(Audio(Media("audio/mp4", base64=MP4))), Video)
    pdf = one(Image(Media("image/png", octets=b"%PDF-1.7 ....")))
    assert isinstance(pdf, Document)


@needs_ffmpeg
def test_what_a_browser_records_is_sound() -> None:
    found = one(Video(Media("video/webm;codecs=opus", octets=made.sound("webm", 1.0))))
    assert isinstance(found, Audio)
    assert (found.media.mime, found.media.claimed) == ("audio/webm", "")


def test_inside_of_results_and_counts() -> None:
    request = CountTokens(chat(ToolResult("c", [Image(Media("image/gif", base64=PNG))])))
    found = identified(request)
    assert isinstance(found, CountTokens)
    result = found.chat.messages[0].parts[1]
    assert isinstance(result, ToolResult) and isinstance(result.content, list)
    image = result.content[0]
    assert isinstance(image, Image) and image.media.mime == "image/png"
    assert request.chat.messages[0].parts[1].content[0].media.mime == "image/gif"  # type: ignore[union-attr,index]


REFUSED = [
    (Image(Media("image/png", base64="AAAA")), "this is not image/png"),
    (Audio(Media("audio/x-wav", octets=b"hello, this is no sound")), "this is not audio/wav"),
    (Image(Media("", octets=b"GIF89a\xff\xff\xff\xff")), "this image is not taken"),
]


@pytest.mark.parametrize(("part", "words"), REFUSED)
def test_refused_by_path(part: Any, words: str) -> None:
    with pytest.raises(Wrong, match=words) as caught:
        one(part)
    assert caught.value.path == PATH


def test_what_cannot_be_known_stays_as_it_is_claimed() -> None:
    for part in (
        Image(Media("image/svg+xml", octets=b"<svg/>")),
        Document(Media("text/plain", octets=b"hello")),
        Image(Media("image/png", octets=b"\xfb\xff")),  # too short to show anything
        Audio(Media("audio/l16;rate=16000", octets=bytes(100))),
        Image(Media("image/png", url="https://h/a.png")),
        Video(Media("video/jpeg", base64="/9j/4AAQ,/9j/4AAQ")),
    ):
        assert one(part) is part


# ---- lists of pictures ----

BOMB = b64encode(b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03" + bytes(9)).decode()
GOOD = "/9j/4AAQ"


@pytest.mark.parametrize("mime", ["video/jpeg", "Video/JPEG; x=1"])
def test_a_list_of_pictures_is_one_of_pictures(mime: str) -> None:
    for listed in (f"{GOOD},{PNG}", GOOD, f"{GOOD},AAA=,{GOOD}"):
        part = one(Video(Media(mime, base64=listed)))
        assert isinstance(part, Video) and part.media == Media("video/jpeg", base64=listed) and not part.media.claimed
    for listed, at, words in (
        (f"{GOOD},{GOOD},{BOMB}", 2, "65535 x 65535 pixels"),
        (BOMB, 0, "65535 x 65535 pixels"),
        (f"{GOOD},{WAV}", 1, "this is audio/wav"),  # what may not be heard elsewhere goes nowhere under this name
        (MP4, 0, "this is video/mp4"),
        (f"{GOOD},AAAAAAAA", 1, "this is not image/jpeg"),
    ):
        with pytest.raises(Wrong, match=words) as caught:
            one(Video(Media(mime, base64=listed)))
        assert caught.value.path == f"{PATH}.frames[{at}]"
    with pytest.raises(Wrong, match="65535 x 65535") as caught:
        one(Video(Media(mime, base64=Segments([BOMB.encode()]))))
    with pytest.raises(Wrong, match="65535 x 65535") as caught:
        one(Video(Media(mime, octets=b64decode(BOMB))))


def test_a_list_is_no_longer_than_any_server_wants() -> None:
    one(Video(Media("video/jpeg", base64=",".join([GOOD] * MOST_LISTED))))
    with pytest.raises(Wrong, match=f"a list of {MOST_LISTED + 1} pictures") as caught:
        one(Video(Media("video/jpeg", base64=",".join([GOOD] * MOST_LISTED + [BOMB]))))
    assert caught.value.path == PATH


# ---- what is sent to be heard ----


def heard(media: Media) -> Audio:
    found = identified(Transcription("m", Audio(media, path="file")))
    assert isinstance(found, Transcription)
    return found.sound


def test_a_sound_is_what_it_is() -> None:
    request = Transcription("m", Audio(Media("audio/wav", base64=WAV), path="file"))
    assert identified(request) is request
    assert heard(Media("audio/ogg", base64=WAV)).media.claimed == "audio/ogg"
    assert heard(Media("", base64=WAV)).media.mime == "audio/wav"
    assert heard(Media("audio/pcm;rate=16000", octets=bytes(640))).media.mime == "audio/pcm;rate=16000"


@pytest.mark.parametrize(
    "media",
    [
        Media("audio/wav", octets=b"no sound at all"),
        Media("", octets=b"no sound at all"),
        Media("audio/wav", base64=PNG),
        Media("video/mp4", base64=MP4),
        Media("audio/mpeg", octets=b"%PDF-1.7"),
    ],
)
def test_what_has_no_sound(media: Media) -> None:
    """Among them a video without a sound track."""
    with pytest.raises(NoSound) as caught:
        heard(media)
    assert caught.value.path == "file"


@needs_ffmpeg
def test_of_a_video_the_sound_is_meant() -> None:
    part = heard(Media("audio/mpeg", octets=made.video("mp4", 1)))
    assert type(part) is Audio and part.media.mime == "video/mp4" and part.path == "file"
