from base64 import b64decode, b64encode

import pytest

from gateway.backends import load
from gateway.backends.wire.media import fit_media
from gateway.backends.wire.samples import MP4, PNG, WAV
from gateway.canonical.content import Audio, Clip, Document, Image, Media, Segments, Video
from gateway.canonical.facts import Facts, layer
from gateway.canonical.media.kinds import sniff
from gateway.errors import PartRefused

SEEN = Facts(image=True, audio=True, video=True)
LLAMA = layer(("probed", SEEN), ("assumed", load("llamacpp").assumed))
VLLM = layer(("probed", SEEN), ("assumed", load("vllm").assumed))
ANY = Facts()


def b64(head: bytes) -> str:
    return b64encode(head + bytes(60)).decode()


WEBP = b64(b"RIFF\x00\x01\x00\x00WEBPVP8 ")


def test_right_media_are_untouched() -> None:
    for part in (
        Image(Media("image/png", base64=PNG)),
        Audio(Media("audio/wav", base64=Segments([WAV.encode()]))),
        Video(Media("video/mp4", base64=MP4)),
        Video(Media("video/jpeg", base64="/9j/4AAQ,/9j/4AAQ")),
    ):
        assert fit_media(part, VLLM) is part.media


def test_the_type_is_what_the_bytes_show() -> None:
    assert fit_media(Image(Media("image/jpeg", base64=PNG)), LLAMA).mime == "image/png"
    assert fit_media(Image(Media("", base64=PNG)), LLAMA).mime == "image/png"
    assert fit_media(Image(Media("application/octet-stream", octets=b64decode(PNG))), LLAMA).mime == "image/png"
    assert fit_media(Image(Media("image/jpg", base64="AAAA")), LLAMA).mime == "image/jpeg"
    assert fit_media(Audio(Media("audio/x-wav", base64="AAAA")), LLAMA).mime == "audio/wav"


REFUSED = [
    (Image(Media(url="https://x/y.png")), ANY, "is elsewhere, and was not fetched: send it as base64"),
    (Video(Media(url="http://127.0.0.1/y")), VLLM, "was not fetched"),
    (Image(Media(file_id="f1")), ANY, "keeps files"),
    (Image(Media("image/png", base64=PNG)), Facts(image=False), "takes no image"),
    (Document(Media("application/pdf", base64="AAAA")), VLLM, "takes no document"),
    (Image(Media("image/webp", base64="AAAA")), LLAMA, "image/webp was not converted"),
    (Image(Media("image/png", base64=WEBP)), LLAMA, "image/webp was not converted"),
    (Audio(Media("audio/ogg", base64=b64(b"OggS"))), LLAMA, "this server takes audio/mpeg, audio/wav"),
    (Audio(Media("audio/flac", base64=b64(b"fLaC"))), LLAMA, "audio/flac"),
    (Video(Media("video/jpeg", base64="/9j/4AAQ,/9j/4AAQ")), LLAMA, "video/jpeg"),
    (Image(Media("", base64="AAAA")), ANY, "can't be told"),
    (Audio(Media("application/json", base64="AAAA")), ANY, "can't be told"),
    (Video(Media("video/mp4", base64=MP4, clip=Clip(start=1.0))), VLLM, "cut a piece out"),
]


@pytest.mark.parametrize(("part", "facts", "words"), REFUSED)
def test_refused_with_path_and_reason(part, facts: Facts, words: str) -> None:
    part.path = "messages[2].content[1]"
    with pytest.raises(PartRefused, match=words) as caught:
        fit_media(part, facts)
    assert caught.value.param == "messages[2].content[1]"


def test_formats_that_a_decoder_knows() -> None:
    for mime, head in (("audio/ogg", b"OggS"), ("audio/flac", b"fLaC"), ("audio/webm", b"\x1a\x45\xdf\xa3webm")):
        assert fit_media(Audio(Media(mime, base64=b64(head))), VLLM).mime == mime
    assert fit_media(Document(Media("", base64="AAAA")), ANY).mime == ""


def test_samples_are_what_they_say() -> None:
    assert len(b64decode(MP4)) < 2048
    assert len(b64decode(WAV)) == 44 + 3202
    assert [sniff(b64decode(x)[:48], m) for x, m in ((PNG, "image"), (WAV, "audio"), (MP4, "video"))] == [
        "image/png",
        "audio/wav",
        "video/mp4",
    ]
