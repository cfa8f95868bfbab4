"""JSON values as they come, and the calls in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.filters.markup.json_calls import JsonEnd, decode_call, decode_calls, read_json_call
from tests.filters.reading import cut_by

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda v: st.lists(v, max_size=3), max_leaves=5
)
OBJECTS = st.dictionaries(st.text(max_size=5), VALUES, max_size=3)


@given(OBJECTS, st.text(max_size=6), st.lists(st.integers(1, 6), min_size=1, max_size=4), st.booleans())
def test_the_end_is_found(value: dict[str, Any], rest: str, sizes: list[int], ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    end = JsonEnd()
    seen = 0
    for chunk in cut_by(text + rest, sizes):
        found = end.feed(chunk)
        if found is not None:
            assert seen + found == len(text) == end.size
            return
        seen += len(chunk)
    raise AssertionError("no end")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "f", "arguments": {"a": 1.50}}', ("f", '{"a": 1.50}')),
        ('{"name": "f", "parameters": {"a": 1}}', ("f", '{"a": 1}')),
        ('{"name": "f"}', ("f", "{}")),
        ('{"name": "f", "arguments": null}', ("f", "{}")),
        ('{"name": "f", "arguments": "{\\"a\\":1}"}', ("f", '{"a":1}')),
        ('{"type": "function", "function": {"name": "f", "arguments": {}}}', ("f", "{}")),
        ('{"name": "f", "arguments": [1]}', None),
        ('{"name": "f", "arguments": "x"}', None),
        ('{"name": "", "arguments": {}}', None),
        ('{"name": 1}', None),
        ('{"name": f}', None),
        ("[1]", None),
    ],
)
def test_decode(text: str, expected: tuple[str, str] | None) -> None:
    assert decode_call(text) == expected


def test_several() -> None:
    assert decode_calls('[{"name":"f"},{"name":"g","arguments":{}}]') == [("f", "{}"), ("g", "{}")]
    assert decode_calls('[{"name":"f"},{"no":1}]') is None
    assert decode_calls("[]") is None
    assert decode_calls("[") is None
    assert read_json_call('{"name":"f"} and more') == ("f", "{}", " and more")
    assert read_json_call('{"name":"f"') is None
