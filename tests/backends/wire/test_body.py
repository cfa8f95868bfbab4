import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.wire.body import encode_body
from gateway.canonical.content import Segments
from gateway.errors import InvalidJson

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="

segments = st.lists(st.text(ALPHABET, max_size=8), max_size=4).map(lambda cs: Segments([c.encode() for c in cs]))
texts = st.text(st.characters(codec="utf-8"), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | segments,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


def joined(value):
    if isinstance(value, Segments):
        return value.text()
    if isinstance(value, list):
        return [joined(v) for v in value]
    return {k: joined(v) for k, v in value.items()} if isinstance(value, dict) else value


def found(value):
    if isinstance(value, Segments):
        return [value]
    inner = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return [s for v in inner for s in found(v)]


@given(st.dictionaries(texts, values, max_size=4))
def test_the_text_is_json_and_segments_stay_the_objects_they_are(body):
    pieces = encode_body(body)
    text = b"".join(p if isinstance(p, bytes) else b"".join(p) for p in pieces)
    assert json.loads(text) == joined(body)
    assert list(json.loads(text)) == list(body)  # key order
    held = [p for p in pieces if isinstance(p, Segments)]
    assert [id(p) for p in held] == [id(s) for s in found(body)]


def test_pieces():
    long = Segments([b"QUJD", b"REVG"])
    assert encode_body({"a": 1}) == [b'{"a":1}']
    pieces = encode_body({"a": "\x00", "b": long, "c": [long, "x"]})
    assert pieces[0] == b'{"a":"\\u0000","b":"'
    assert pieces[1] is long
    assert pieces[2:] == [b'","c":["', long, b'","x"]}']


def test_what_json_cannot_carry():
    with pytest.raises(InvalidJson):
        encode_body({"a": "\ud800"})
    deep: dict = {}
    inner = deep
    for _ in range(5000):
        inner["a"] = {}
        inner = inner["a"]
    with pytest.raises(InvalidJson):
        encode_body(deep)
    with pytest.raises(TypeError):
        encode_body({"a": object()})


def test_large_numbers_are_kept():
    assert encode_body({"a": 10**60}) == [b'{"a":1' + b"0" * 60 + b"}"]
