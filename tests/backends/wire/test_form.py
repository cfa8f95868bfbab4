"""A form that is sent is the form that is read, and holds its file once."""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.wire.form import form_call
from gateway.canonical.content import Decoded, Media, Segments
from gateway.engine.http1 import pieces
from gateway.server.multipart import FormReader, Part, boundary_of


def cut(text: bytes, sizes: list[int]) -> Segments:
    out, at, k = [], 0, 0
    while at < len(text):
        out.append(text[at : at + sizes[k % len(sizes)]])
        at, k = at + sizes[k % len(sizes)], k + 1
    return Segments(out)


SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@given(content=st.binary(max_size=400), sizes=SIZES, form=st.sampled_from(["octets", "text", "segments"]))
def test_what_is_sent_is_read(content: bytes, sizes: list[int], form: str) -> None:
    text = b64encode(content)
    media = {
        "octets": Media("audio/mpeg", octets=content),
        "text": Media("audio/mpeg", base64=text.decode()),
        "segments": Media("audio/mpeg", base64=cut(text, sizes)),
    }[form]
    call = form_call("/x", [("model", "m"), ("prompt", 'Grüße "x"\r\n--')], media)
    body = call.octets()
    assert b"".join(pieces(call.body or [])) == body
    assert sum(map(len, call.body or [])) == len(body), "the length that is announced"
    reader = FormReader(boundary_of(call.headers["content-type"]))
    out: list[tuple[str, str | None, str, bytes]] = []
    for event in reader.feed(body):
        if isinstance(event, Part):
            out.append((event.name, event.filename, event.mime, b""))
        elif event is not None:
            out[-1] = (*out[-1][:3], out[-1][3] + event)
    assert reader.done
    assert out == [
        ("model", None, "", b"m"),
        ("prompt", None, "", 'Grüße "x"\r\n--'.encode()),
        ("file", "sound.mp3", "audio/mpeg", content),
    ]


@given(content=st.binary(max_size=200), sizes=SIZES)
def test_decoded(content: bytes, sizes: list[int]) -> None:
    for text in (b64encode(content).decode(), cut(b64encode(content), sizes)):
        octets = Decoded(text)
        assert len(octets) == len(content) and b"".join(octets) == content == b"".join(octets)


def test_a_file_can_not_end_the_form() -> None:
    """Whoever knows one boundary knows no other: it follows from the content."""
    first = form_call("/x", [("model", "m")], Media("audio/wav", octets=b"RIFF"))
    boundary = first.headers["content-type"].partition("=")[2]
    tail = f"\r\n--{boundary}\r\n".encode() + b'Content-Disposition: form-data; name="model"\r\n\r\nother'
    second = form_call("/x", [("model", "m")], Media("audio/wav", octets=b"RIFF" + tail))
    reader = FormReader(boundary_of(second.headers["content-type"]))
    events = reader.feed(second.octets())
    assert [e.name for e in events if isinstance(e, Part)] == ["model", "file"]


def test_a_type_that_is_no_header() -> None:
    for mime in ("", "audio/wav\r\nx: y", "audio/ünicode"):
        call = form_call("/x", [], Media(mime, octets=b"a"))
        assert b'filename="sound.bin"\r\nContent-Type: application/octet-stream\r\n\r\na' in call.octets()
