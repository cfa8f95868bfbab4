"""Bodies: the value does not depend on how they arrive; what is long stays in pieces; what is no JSON is refused."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.canonical.content import Segments
from gateway.engine.admission import Memory
from gateway.engine.deadlines import Sweep, Watch
from gateway.errors import ClientGone, InvalidJson, Overloaded, TooLarge, UnsupportedMedia
from gateway.server.body import CUT, Cutter, Held, check_media_type, decode_json, read_json

LONG = base64.b64encode(bytes(range(256)) * 400).decode()  # 136 KB of characters
assert len(LONG) > 2 * CUT


def plain(value: Any) -> Any:
    """The value with every segment joined."""
    if isinstance(value, Segments):
        return value.text()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    out, at, k = [], 0, 0
    while at < len(data):
        size = sizes[k % len(sizes)]
        out.append(data[at : at + size])
        at, k = at + size, k + 1
    return out


def fed(data: bytes, sizes: list[int]) -> Any:
    cutter = Cutter()
    for piece in pieces(data, sizes):
        cutter.feed(piece)
    return cutter.parse()


def image(url: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}


TRICKY = {
    "quotes": 'he said "no" \\ and / left',
    "a backslash at the end": "c:\\",
    "many backslashes": "\\" * 7 + '"' + "\\" * 4,
    "unicode": "Grüße 世界 🎉   \u0000 \x7f",
    "empty": "",
    "numbers": [0, -1, 1.5, 1e300, True, None],
    'key "quoted" \\': {"": []},
}


@pytest.mark.parametrize("size", range(1, 40))
def test_short_bodies_cut_anywhere_are_what_json_says(size):
    for ascii_only in (True, False):
        data = json.dumps(TRICKY, ensure_ascii=ascii_only).encode()
        assert fed(data, [size]) == TRICKY


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\/{}[]:,'), max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(values, st.lists(st.integers(1, 9), min_size=1, max_size=4), st.booleans())
def test_any_value_cut_anywhere_is_what_json_says(value, sizes, ascii_only):
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")
    assert fed(data, sizes) == json.loads(data)


@pytest.mark.parametrize("head", ["data:image/png;base64,", "data:audio/wav;codecs=1;base64,", ""])
@pytest.mark.parametrize("sizes", [[65536], [1000], [8191, 3], [100_000, 1], [137, 70_000]], ids=str)
def test_a_long_medium_stays_in_pieces(head, sizes):
    body = image(head + LONG)
    value = fed(json.dumps(body).encode(), sizes)
    url = value["messages"][0]["content"][0]["image_url"]["url"]
    assert isinstance(url, Segments)
    assert plain(value) == body


@settings(max_examples=40, deadline=None)
@given(
    st.integers(CUT - 3, CUT + 3),
    st.sampled_from(["url", "data", "file_data", "text", "content"]),
    st.sampled_from(["data:image/png;base64,", "data:x", "", "{", "a b", 'a"', "\\", "é"]),
    st.sampled_from(["", "=", "==", "===", "=A", " ", '"', "\\"]),
    st.lists(st.integers(1, 70_000), min_size=1, max_size=4),
)
def test_a_string_is_the_same_wherever_it_stands_and_whatever_is_in_it(size, key, head, tail, sizes):
    body = {"a": [{key: head + "QUJD" * (size // 4) + tail, "b": "é"}], "c": 'tail "quoted"'}
    sizes = [max(s, 200) for s in sizes]
    assert plain(fed(json.dumps(body).encode(), sizes)) == body
    assert plain(fed(json.dumps(body, ensure_ascii=False).encode(), sizes)) == body


def test_escaped_slashes_in_base64_are_unfolded():
    text = ("ab/" * CUT)[: CUT * 2]
    data = json.dumps({"url": text}).encode().replace(b"/", b"\\/")
    for sizes in ([4096], [4097, 1], [65536]):
        assert plain(fed(data, sizes)) == {"url": text}


def test_a_long_text_elsewhere_is_a_str():
    value = fed(json.dumps({"text": LONG}).encode(), [4096])
    assert isinstance(value["text"], str) and value["text"] == LONG


def test_two_media_in_one_body():
    body = {"a": {"url": LONG}, "b": {"data": LONG[::-1].replace("=", "")}}
    value = fed(json.dumps(body).encode(), [5000])
    assert isinstance(value["a"]["url"], Segments) and isinstance(value["b"]["data"], Segments)
    assert plain(value) == body


def test_nobody_can_write_a_placeholder():
    """A client that guesses at placeholders gets its own text back."""
    cutter = Cutter("nonce")
    data = json.dumps({"x": "nonce.0", "url": LONG}).encode()
    for piece in pieces(data, [5000]):
        cutter.feed(piece)
    value = cutter.parse()
    # with the nonce known this would be ambiguous; a fresh one is 128 bits of chance
    assert plain(value["url"]) == LONG
    assert Cutter()._nonce != Cutter()._nonce


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b'{"a',
        b'{"a": "b',
        b'{"a": "b\\',
        b"nul",
        b"[1,]",
        b"{'a': 1}",
        b"NaN",
        b"[Infinity]",
        b"[1e400]",
        b"[-1e999]",
        b'["\\ud800"]',
        b'["\\ud800\\u0041"]',
        b'["\xff"]',
        b'["\xed\xa0\x80"]',
        b'["a\x00b"]',
        b'["a\nb"]',
        b'["\\x41"]',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"\xff\xfe[\x001\x00]\x00",
        b"[01]",
        b"[1.]",
        b"[1] 2",
        b"\x00",
    ],
    ids=lambda d: repr(d[:16]),
)
def test_what_is_no_json_is_refused_however_it_arrives(data):
    with pytest.raises(InvalidJson):
        decode_json(data)
    for size in (1, 7, 65536):
        if len(data) < 1000 or size > 7:
            with pytest.raises(InvalidJson):
                fed(data, [size])


@pytest.mark.parametrize("depth", [400, 600, 900, 1100, 100_000])
def test_depth_beside_a_cut_string_is_a_value_or_refused_never_a_crash(depth):
    data = json.dumps({"data": LONG}).encode()[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"
    try:
        value = fed(data, [65536])
    except InvalidJson as e:
        assert "deep" in e.message
    else:
        assert isinstance(value["data"], Segments)


def test_the_error_does_not_quote_the_body():
    with pytest.raises(InvalidJson) as caught:
        decode_json(b'{"secret-canary": tru, "b": "secret-canary"}')
    assert "canary" not in caught.value.message


# ---- reading ----


async def read(
    data: list[bytes], *, limit: int = 1 << 20, headers: dict[bytes, bytes] | None = None, memory: Memory | None = None
) -> tuple[Any, Memory]:
    memory = memory or Memory(1 << 30)
    messages = [
        {"type": "http.request", "body": piece, "more_body": k + 1 < len(data)} for k, piece in enumerate(data)
    ] or [{"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    held = Held(memory)
    now = asyncio.get_running_loop().time()
    with Watch(Sweep(), now + 5, now + 5, "body") as watch:
        try:
            return await read_json(receive, headers or {}, limit, held, watch, 5.0), memory
        finally:
            held.release()


async def test_bodies_in_one_and_in_many_reads():
    for data in ([b'{"a": 1}'], [b'{"a', b'": 1}'], [b"", b'{"a": 1}', b""], [b'{"a": 1}', b"", b""]):
        value, memory = await read(data)
        assert value == {"a": 1}
        assert memory.held == 0


async def test_a_declared_length_over_the_limit_is_refused_before_reading():
    with pytest.raises(TooLarge):
        await read([], limit=10, headers={b"content-length": b"11"})
    value, _ = await read([b"[1234567]"], limit=9, headers={b"content-length": b"9"})
    assert value == [1234567]


@pytest.mark.parametrize("data", [[b" " * 11], [b" " * 6, b" " * 6], [b" " * 10, b" "]])
async def test_an_undeclared_length_over_the_limit_is_refused(data):
    with pytest.raises(TooLarge):
        await read(data, limit=10)


async def test_a_client_that_leaves_while_it_sends():
    with pytest.raises(ClientGone):
        await read([])
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    memory = Memory(100)

    async def receive() -> Any:
        return messages.pop(0)

    held = Held(memory)
    with pytest.raises(ClientGone), Watch(Sweep(), 1e18, 1e18, "body") as watch:
        await read_json(receive, {}, 100, held, watch, 5.0)
    held.release()
    assert memory.held == 0


async def test_memory_is_reserved_once_and_given_back():
    memory = Memory(20)
    with pytest.raises(Overloaded):
        await read([b" " * 15, b" " * 15], memory=memory)
    assert memory.held == 0
    with pytest.raises(Overloaded):
        await read([b"{}"], headers={b"content-length": b"21"}, memory=memory)
    assert memory.held == 0
    value, _ = await read([b'{"a":', b' "12345678"}'], headers={b"content-length": b"17"}, memory=memory)
    assert value == {"a": "12345678"} and memory.held == 0


@pytest.mark.parametrize(
    ("kind", "coding", "fine"),
    [
        (b"application/json", b"", True),
        (b"application/json; charset=utf-8", b"identity", True),
        (b"APPLICATION/JSON", b"", True),
        (b"application/vnd.api+json", b"", True),
        (b"", b"", True),
        (b"text/plain", b"", False),
        (b"multipart/form-data; boundary=x", b"", False),
        (b"application/json", b"gzip", False),
        (b"application/json", b"gzip, identity", False),
    ],
)
def test_media_types(kind, coding, fine):
    headers = {b"content-type": kind, b"content-encoding": coding}
    if fine:
        check_media_type(headers)
    else:
        with pytest.raises(UnsupportedMedia):
            check_media_type(headers)
