from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.requests import Options
from gateway.dialects.options import MATCH_FIELDS, parse_options
from gateway.errors import BadRequest


def test_nothing_said() -> None:
    assert parse_options(None) == Options() == parse_options({}, {}, "{}")


def test_require_and_prefer() -> None:
    options = parse_options(
        {
            "require": {"kind": "vllm", "variant": ["e2b", "e4b"], "local": True},
            "prefer": [{"hardware": "blackwell"}, {"backend": ["a", "b"]}],
            "parts": "strict",
            "reasoning_field": "reasoning",
        }
    )
    assert options == Options(
        {"kind": ["vllm"], "variant": ["e2b", "e4b"], "local": ["true"]},
        [{"hardware": ["blackwell"]}, {"backend": ["a", "b"]}],
        True,
        "reasoning",
    )


def test_the_alias_of_hosted_routers() -> None:
    options = parse_options(
        None, {"order": ["a", "b"], "only": ["a", "b", "c"], "quantizations": ["fp8"], "require_parameters": True}
    )
    assert options.require == {"backend": ["a", "b", "c"], "quantization": ["fp8"]}
    assert options.prefer == [{"backend": ["a"]}, {"backend": ["b"]}]
    assert (options.strict_parameters, options.strict_parts) == (True, False)
    assert parse_options(None, {"order": ["a"], "allow_fallbacks": False}).require == {"backend": ["a"]}
    assert parse_options(None, {"order": ["a"], "allow_fallbacks": True, "sort": "price"}).require == {}


def test_all_sources_must_hold_together() -> None:
    options = parse_options({"require": {"kind": ["a", "b"]}}, None, '{"require": {"kind": ["b", "c"]}}')
    assert options.require == {"kind": ["b"]}
    assert parse_options({"parts": "any"}, None, '{"parts": "strict"}').strict_parts
    assert not parse_options({"parts": "any"}).strict_parts
    with pytest.raises(BadRequest) as caught:
        parse_options({"require": {"kind": "a"}}, None, '{"require": {"kind": "b"}}')
    assert caught.value.param == "gateway.require.kind"


@pytest.mark.parametrize(
    ("body", "provider", "header", "param"),
    [
        ("x", None, None, "gateway"),
        ({"x": 1}, None, None, "gateway.x"),
        ({"require": {"x": 1}}, None, None, "gateway.require.x"),
        ({"require": {"kind": 3}}, None, None, "gateway.require.kind"),
        ({"require": {"kind": []}}, None, None, "gateway.require.kind"),
        ({"require": {"kind": [""]}}, None, None, "gateway.require.kind"),
        ({"require": ["vllm"]}, None, None, "gateway.require"),
        ({"prefer": {"kind": "vllm"}}, None, None, "gateway.prefer"),
        ({"prefer": [{"kind": "a"}, {"x": 1}]}, None, None, "gateway.prefer[1].x"),
        ({"parts": "loose"}, None, None, "gateway.parts"),
        ({"reasoning_field": "thoughts"}, None, None, "gateway.reasoning_field"),
        ({"k" * 500: 1}, None, None, "gateway." + "k" * 60 + "..."),
        (None, {"ignore": ["a"]}, None, "provider.ignore"),
        (None, {"data_collection": "deny"}, None, "provider.data_collection"),
        (None, {"require_parameters": "yes"}, None, "provider.require_parameters"),
        (None, {"order": 1}, None, "provider.order"),
        (None, None, "{", "x-gateway-options"),
        (None, None, "[1]", "x-gateway-options"),
        (None, None, "[" * 100_000, "x-gateway-options"),
        (None, None, '{"require": {"url": "http://evil"}}', "x-gateway-options.require.url"),
    ],
)
def test_what_is_wrong_is_named(body: Any, provider: Any, header: str | None, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_options(body, provider, header)
    assert caught.value.param == param


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*MATCH_FIELDS, "require", "prefer", "parts", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values, values)
def test_any_json_gives_options_or_400(body: Any, provider: Any) -> None:
    try:
        options = parse_options(body, provider)
    except BadRequest as error:
        assert error.param
    else:
        assert all(isinstance(v, str) for wanted in options.require.values() for v in wanted)
