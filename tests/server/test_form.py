"""A form as the body of a request: it does not matter how it arrives, and the file is held once."""

from __future__ import annotations

import asyncio
import tracemalloc
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import Media
from gateway.canonical.media.octets import Octets
from gateway.engine.admission import Memory
from gateway.engine.deadlines import Sweep, Watch
from gateway.errors import BadRequest, ClientGone, GatewayError, Overloaded, TooLarge, UnsupportedMedia
from gateway.server.body import Held
from gateway.server.form import FIELD, is_form, read_form
from gateway.settings.model import Limits
from tests.server.test_multipart import field, form

LIMITS = Limits(body=4096, audio=2048)
KIND = b"multipart/form-data; boundary=XX"


def file(name: str = "a.ogg", kind: str = "audio/ogg", key: str = "file") -> str:
    head = f'Content-Disposition: form-data; name="{key}"; filename="{name}"'
    return f"{head}\r\nContent-Type: {kind}" if kind else head


def read(
    *pieces: bytes,
    limits: Limits = LIMITS,
    headers: dict[bytes, bytes] | None = None,
    memory: int = 1 << 30,
    gone: bool = False,
) -> tuple[dict[str, Any], int]:
    """(what was read, the octets that it keeps reserved)."""
    waiting = list(pieces)

    async def receive() -> Any:
        if not waiting:
            return {"type": "http.disconnect"}
        data = waiting.pop(0)
        return {"type": "http.request", "body": data, "more_body": bool(waiting) or gone}

    async def go() -> tuple[dict[str, Any], int]:
        held = Held(Memory(memory))
        with Watch(Sweep(1.0), 1e12, 1e12, "body") as watch:
            found = await read_form(
                receive, {b"content-type": KIND, **(headers or {})}, limits, "file", held, watch, 1.0
            )
        return found, held.octets

    return asyncio.run(go())


@given(
    content=st.binary(max_size=300),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    order=st.permutations(["model", "file", "prompt", "timestamp_granularities[]", "timestamp_granularities[]"]),
)
def test_any_order_and_any_cut_give_the_same(content: bytes, sizes: list[int], order: list[str]) -> None:
    if b"\r\n--XX" in content:
        content = b""
    parts = [(file(), content) if key == "file" else (field(key), f"({key})".encode()) for key in order]
    data = form(*parts)
    pieces, at, k = [], 0, 0
    while at < len(data):
        pieces.append(data[at : at + sizes[k % len(sizes)]])
        at, k = at + sizes[k % len(sizes)], k + 1
    found, held = read(*pieces)
    media = found.pop("file")
    assert isinstance(media, Media) and media.mime == "audio/ogg"
    assert media.base64 == b64encode(content).decode()
    several = ["(timestamp_granularities[])"] * 2
    assert found == {"model": "(model)", "prompt": "(prompt)", "timestamp_granularities": several}
    assert held == len(b64encode(content))


def test_a_cut_at_every_place() -> None:
    data = form((field("model"), b"auto"), (file(), b"\r\n--X" + bytes(range(256)) + b"\r\n--"))
    whole, _ = read(data)
    for at in range(1, len(data)):
        assert read(data[:at], data[at:])[0] == whole


def media(found: dict[str, Any]) -> Media:
    out = found["file"]
    assert isinstance(out, Media)
    return out


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (file("x.mp3", "audio/ogg"), "audio/ogg"),
        (file("x.MP3", "application/octet-stream"), "audio/mpeg"),
        (file("x.m4a", ""), "audio/mp4"),
        (file("blob", ""), ""),
        (field("file"), ""),
    ],
)
def test_what_the_form_claims(head: str, mime: str) -> None:
    found = media(read(form((head, b"abc")))[0])
    assert (found.mime, found.base64) == (mime, "YWJj")


REFUSED = [
    ((file(), b"a"), (file(), b"b"), BadRequest, "file"),
    ((file(), b"a"), (file(key="other"), b"b"), BadRequest, "other"),
    ((field("model"), b"a"), (field("model"), b"b"), BadRequest, "model"),
    ((field("x[]"), b"a"), (field("x"), b"b"), BadRequest, "x"),
    ((field("prompt"), b"\xff\xfe"), (file(), b"b"), BadRequest, "prompt"),
    ((file(), b"a" * 2049), (field("model"), b"a"), TooLarge, "file"),
]


@pytest.mark.parametrize(("one", "two", "error", "param"), REFUSED)
def test_refused(one: tuple[str, bytes], two: tuple[str, bytes], error: type[GatewayError], param: str) -> None:
    with pytest.raises(error) as caught:
        read(form(one, two))
    assert caught.value.param == param


def test_limits() -> None:
    with pytest.raises(TooLarge, match="2048"):
        read(b"", headers={b"content-length": b"2000000"})
    with pytest.raises(TooLarge, match="4096"):
        read(*[b"x" * 1024] * 5)
    large = Limits()
    with pytest.raises(TooLarge, match="field"):
        read(form((field("prompt"), b"x" * (FIELD + 1))), limits=large)
    with pytest.raises(TooLarge, match="fields"):
        read(form(*((field(f"f{i}"), b"x") for i in range(33))), limits=large)
    with pytest.raises(Overloaded):
        read(form((file(), b"a" * 1000)), memory=1000)


def test_what_is_no_form() -> None:
    with pytest.raises(BadRequest, match="cut"):
        read(form((file(), b"a"))[:-8])
    with pytest.raises(BadRequest, match="cut"):
        read(b"nothing of the sort")
    with pytest.raises(ClientGone):
        read(b"--XX\r\n", gone=True)
    for kind in (b"multipart/mixed; boundary=XX", b"multipart/related"):
        with pytest.raises(UnsupportedMedia):
            read(b"", headers={b"content-type": kind})
    with pytest.raises(BadRequest):
        read(b"", headers={b"content-type": b"multipart/form-data"})
    with pytest.raises(UnsupportedMedia):
        read(b"", headers={b"content-encoding": b"gzip"})
    assert is_form({b"content-type": b"Multipart/Form-Data; boundary=x"})
    assert not is_form({b"content-type": b"application/json"}) and not is_form({})


def test_a_large_sound_is_held_once() -> None:
    size = 8 << 20
    piece = bytes(range(256)) * 256
    found, held, _, peak = traced(piece, size)
    assert Octets(media(found)).size == size and held == -(-size // 3) * 4
    assert peak < size * 1.4


def test_what_comes_in_very_small_pieces_takes_no_more() -> None:
    size = 1 << 20
    found, held, kept, _ = traced(bytes(16), size)
    assert Octets(media(found)).size == size and held == -(-size // 3) * 4
    assert kept < size * 1.4


def traced(piece: bytes, size: int) -> tuple[dict[str, Any], int, int, int]:
    """(what was read, the octets reserved for it, those that it takes, those that reading took at most)."""
    head, _, tail = form((field("model"), b"auto"), (file(), b"@")).partition(b"@")
    sent = [head, *[piece] * (size // len(piece)), tail]
    tracemalloc.start()
    try:
        found, held = read(*sent, limits=Limits())
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return found, held, kept, peak
