from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import Base64, Segments
from gateway.dialects.data_url import MAX_URL, parse_base64, parse_data_url, parse_media, render_data_url
from gateway.errors import BadRequest

PATH = "messages[0].content[0].image_url.url"


def cut(text: str, at: int) -> Segments:
    return Segments([text[:at].encode(), text[at:].encode()])


def plain(value: Base64) -> str:
    return value if isinstance(value, str) else value.text()


@given(st.binary(min_size=1, max_size=60), st.booleans(), st.booleans(), st.none() | st.integers(0, 80))
def test_any_base64_becomes_standard_and_padded(octets: bytes, url_safe: bool, padded: bool, at: int | None) -> None:
    """Whatever alphabet, padding and chunking: what comes out is what a strict decoder takes."""
    written = (urlsafe_b64encode if url_safe else b64encode)(octets).decode()
    written = written if padded else written.rstrip("=")
    value = written if at is None else cut(written, at)
    assert plain(parse_base64(value, PATH)) == b64encode(octets).decode()


@given(st.binary(min_size=1, max_size=60), st.integers(0, 100))
def test_segments_and_text_are_read_alike(octets: bytes, at: int) -> None:
    url = f"data:image/png;base64,{b64encode(octets).decode()}"
    mime, base64 = parse_data_url(cut(url, at), PATH)
    assert (mime, plain(base64)) == parse_data_url(url, PATH)
    assert plain(render_data_url(mime, base64)) == url


@given(st.text(alphabet="AB=,", max_size=10), st.integers(0, 10))
def test_bad_padding_is_bad_in_segments_too(text: str, at: int) -> None:
    def verdict(value: Base64) -> str:
        try:
            return plain(parse_base64(value, PATH))
        except BadRequest as error:
            return str(error.param)

    if "," not in text:
        assert verdict(text) == verdict(cut(text, at))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "@@@@",
        "AAAA\nAAAA",
        "AAAA AAAA",
        "A",
        "AAAAA",
        "AA=",
        "AAA==",
        "AAAA====",
        "AA==AA==",
        "=AAA",
        "A,BC",
        "data:image/png;base64,AAAA",
    ],
)
def test_what_is_not_base64(value: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_base64(value, PATH)
    assert caught.value.param == PATH and caught.value.status == 400


@pytest.mark.parametrize("value", ["A===", "====", "=", "AA==AA==", "AAA=AAAA", "AAAAA", "AA=", "A=A=", "=AAA"])
def test_bad_padding_in_chunks_of_any_size(value: str) -> None:
    for size in range(1, len(value) + 1):
        chunks = [value[i : i + size].encode() for i in range(0, len(value), size)]
        with pytest.raises(BadRequest):
            parse_base64(Segments(chunks), PATH)
    with pytest.raises(BadRequest):
        parse_base64(Segments([b"AAA=", b"A", b"A", b"A", b"A"]), PATH)


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64",
        "data:image/png,AAAA",
        "data:image/png;charset=utf-8,AAAA",
        "data:,hello",
        "data:image/png;base64,",
        "data:image/png;base64,@@@@",
        "data:image/p\nng;base64,AAAA",
        "data:nonsense;base64,AAAA",
    ],
)
def test_bad_data_urls(url: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_media(url, PATH)
    assert caught.value.param == PATH


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "C:\\pictures\\a.png",
        "gs://bucket/a.png",
        "s3://bucket/a.png",
        "ftp://host/a",
        "a.png",
        "",
        "http://",
        "https:///path",
        "http://ho st/",
        "http://ok\\@127.0.0.1/",
        "http://host/\r\nX-Evil: 1",
        "javascript:alert(1)",
        "https://host/" + "a" * MAX_URL,
    ],
)
def test_no_other_scheme_passes(url: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_media(url, PATH)
    assert caught.value.param == PATH and caught.value.code == "invalid_value"


def test_a_long_text_that_is_no_data_url() -> None:
    with pytest.raises(BadRequest):
        parse_media(Segments([b"https://host/", b"a" * 100_000]), PATH)


def test_what_passes() -> None:
    assert parse_media("https://host/a.png?x=1#y", PATH).url == "https://host/a.png?x=1#y"
    assert parse_media("HTTP://host:80", PATH).url == "HTTP://host:80"
    media = parse_media("DATA:Image/PNG;name=x;BASE64,AAAA", PATH)
    assert (media.mime, media.base64) == ("image/png", "AAAA")
    assert parse_media("data:;base64,AAAA", PATH).mime == ""


@pytest.mark.parametrize("parameters", ["codecs=vp8,opus", 'codecs="avc1.64003E,mp4a.40.2"', "a=b,c;name=x,y,z.webm"])
def test_commas_in_the_parameters_of_a_recording(parameters: str) -> None:
    for value in (url := f"data:video/webm;{parameters};base64,AAAA", cut(url, 20)):
        media = parse_media(value, PATH)
        assert (media.mime, plain(media.base64 or "")) == ("video/webm", "AAAA")


def test_a_list_of_frames() -> None:
    media = parse_media("data:video/jpeg;base64,AAAA,AA", PATH)
    assert (media.mime, media.base64) == ("video/jpeg", "AAAA,AA==")
    with pytest.raises(BadRequest):
        parse_media("data:video/mp4;base64,AAAA,AAAA", PATH)


def test_nothing_long_is_copied() -> None:
    chunks = [b"data:video/mp4;base64,AAAA", b"A" * 65536, b"A" * 65536]
    mime, base64 = parse_data_url(Segments(chunks), PATH)
    assert isinstance(base64, Segments)
    assert base64.chunks[1] is chunks[1] and base64.chunks[2] is chunks[2]
    rendered = render_data_url(mime, base64)
    assert isinstance(rendered, Segments) and rendered.chunks[-1] is chunks[2]
