from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.content import Segments
from gateway.dialects import fields as f
from gateway.errors import BadRequest, GatewayError, MissingParameter

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)

READERS: list[tuple[Callable[[Any], Any], type | tuple[type, ...]]] = [
    (lambda v: f.text(v, "a.b"), str),
    (lambda v: f.boolean(v, "a.b"), bool),
    (lambda v: f.lenient_boolean(v, "a.b"), bool),
    (lambda v: f.integer(v, "a.b", -5, 5), int),
    (lambda v: f.number(v, "a.b", -5, 5), (int, float)),
    (lambda v: f.items(v, "a.b", 1), list),
    (lambda v: f.fields(v, "a.b"), dict),
    (lambda v: f.one_of(v, "a.b", ("x", "y")), str),
    (lambda v: f.long_text(v, "a.b"), str),
    (lambda v: f.tool_name(v, "a.b"), str),
]


@pytest.mark.parametrize(("read", "kind"), READERS)
@given(value=anything)
def test_readers_give_their_type_or_the_path(read: Any, kind: Any, value: Any) -> None:
    try:
        got = read(value)
    except BadRequest as error:
        assert error.param == "a.b" and "`a.b`" in error.message
        assert len(error.message) < 600, "what is shown is cut, though each of its characters may be an escape of ten"
    else:
        assert isinstance(got, kind)


def test_ranges_and_forms() -> None:
    assert f.integer(5.0, "p", 0, 5) == 5
    for bad in (True, 5.5, 6, -1, "5", float("inf"), float("nan"), None):
        with pytest.raises(BadRequest):
            f.integer(bad, "p", 0, 5)
    for bad in (True, float("inf"), float("nan"), 5.1, "1"):
        with pytest.raises(BadRequest):
            f.number(bad, "p", 0, 5)
    assert f.lenient_boolean("False", "p") is False and f.lenient_boolean("true", "p") is True
    assert f.long_text(Segments([b"A"]), "p") == "A"


def test_what_is_absent_is_missing_not_wrong() -> None:
    for read in (f.text, f.fields):
        with pytest.raises(MissingParameter):
            read(None, "p")
    with pytest.raises(MissingParameter):
        f.items(None, "p", 3)
    assert f.text_or_none(None, "p") is None is f.boolean_or_none(None, "p") is f.fields_or_none(None, "p")  # type: ignore[comparison-overlap]


def test_limits_of_names() -> None:
    assert f.model_name("org/Model-1.0:q4@x+y") == "org/Model-1.0:q4@x+y"
    with pytest.raises(GatewayError) as caught:
        f.model_name("a b")
    assert caught.value.status == 404
    assert f.field_name("a" * 65) == "?" == f.field_name("a b") and f.field_name("x-y.z$") == "x-y.z$"


def test_kinds() -> None:
    values = [None, True, 1, 1.5, "x", Segments([]), [], {}]
    assert [f.kind_of(v) for v in values] == [
        "null",
        "a boolean",
        "a number",
        "a number",
        "a string",
        "a string",
        "an array",
        "an object",
    ]
