"""Errors look alike whoever says them, and no header can end the head."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.server.answer import clean, error_answer


def _kinds(root: type[errors.GatewayError]) -> list[type[errors.GatewayError]]:
    return [root, *(k for sub in root.__subclasses__() for k in _kinds(sub))]


@pytest.mark.parametrize("kind", _kinds(errors.GatewayError), ids=lambda k: k.__name__)
def test_every_error_has_status_headers_and_four_keys(kind: type[errors.GatewayError]):
    status, headers, body = error_answer(kind("words", param="a.b"), b"POST")
    assert status == kind.status
    error = json.loads(body)["error"]
    assert error == {"message": "words", "type": kind.type, "param": "a.b", "code": kind.code}
    told = dict(headers)
    assert told[b"x-should-retry"] == (b"true" if kind.should_retry else b"false")
    assert (b"retry-after" in told) == (status in (429, 503))
    assert told.get(b"allow") == (b"POST" if status == 405 else None)


@pytest.mark.parametrize(("seconds", "said"), [(None, b"1"), (0.2, b"1"), (1.6, b"2"), (30.0, b"30")])
def test_retry_after_is_whole_seconds_and_never_none(seconds: float | None, said: bytes):
    _, headers, _ = error_answer(errors.Overloaded("busy", retry_after=seconds))
    assert dict(headers)[b"retry-after"] == said


def test_a_usual_header_stays_the_same_object():
    headers = [(b"x-gateway-target", b"one/org--model:7b q4"), (b"x-gateway-parts", b"0-1=text,2=video>frames:32")]
    assert clean(headers) is headers


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("bad\nname", b"bad%0Aname"),
        ("a\r\nset-cookie: b", b"a%0D%0Aset-cookie: b"),
        ("größe", b"gr%C3%B6%C3%9Fe"),
        ("nul\0del\x7f", b"nul%00del%7F"),
        ("100%", b"100%"),
    ],
)
def test_what_may_not_stand_in_a_header_is_encoded(value: str, said: bytes):
    assert clean([(b"x", b"fine"), (b"y", value.encode())]) == [(b"x", b"fine"), (b"y", said)]


@given(st.lists(st.binary(max_size=20), max_size=4))
def test_any_value_becomes_visible_ascii(values: list[bytes]):
    for _, value in clean([(b"x", v) for v in values]):
        assert all(0x20 <= octet < 0x7F for octet in value)
