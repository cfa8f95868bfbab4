"""Input items as they are listed: each complete, in pages that leave none out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.openai.responses.listing import listed, page
from gateway.errors import BadRequest

TEXT = {"type": "input_text", "text": "hi"}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            {"role": "user", "content": "hi"},
            {"role": "user", "content": [TEXT], "type": "message", "id": "msg_1_in0", "status": "completed"},
        ),
        (
            {"role": "assistant", "content": "yes"},
            {
                "role": "assistant",
                "content": [{"type": "output_text", "text": "yes", "annotations": [], "logprobs": []}],
                "type": "message",
                "id": "msg_1_in0",
                "status": "completed",
            },
        ),
        (
            {"type": "message", "id": "mine", "status": "incomplete", "role": "user", "content": [TEXT]},
            {"type": "message", "id": "mine", "status": "incomplete", "role": "user", "content": [TEXT]},
        ),
        (
            {"type": "function_call_output", "call_id": "c", "output": "42"},
            {"type": "function_call_output", "call_id": "c", "output": "42", "id": "fco_1_in0"},
        ),
        ({"type": "compaction", "x": 1}, {"type": "compaction", "x": 1, "id": "item_1_in0"}),
    ],
)
def test_an_item_in_full(item: dict[str, Any], expected: dict[str, Any]):
    before = dict(item)
    assert listed(item, "1_in0") == expected and item == before
    assert listed(expected, "other") == expected


ITEMS = [{"id": f"i{n}"} for n in range(250)]


@given(st.integers(0, 250), st.integers(1, 100), st.sampled_from(["asc", "desc"]))
def test_pages_leave_nothing_out(count: int, limit: int, order: str):
    found, after = [], None
    while True:
        got = page(ITEMS[:count], order, after, str(limit))
        assert len(got["data"]) <= limit
        found += got["data"]
        if not got["has_more"]:
            break
        assert got["last_id"] == got["data"][-1]["id"]
        after = got["last_id"]
    assert found == (ITEMS[:count] if order == "asc" else ITEMS[:count][::-1])


def test_what_is_usual():
    got = page(ITEMS, None, None, None)
    assert [i["id"] for i in got["data"]] == [f"i{n}" for n in range(249, 229, -1)] and got["has_more"]
    assert page([], "", "", "") == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize(
    ("order", "after", "limit", "param"),
    [
        ("up", None, None, "order"),
        (None, "nowhere", None, "after"),
        *((None, None, bad, "limit") for bad in ("0", "101", "-1", "x", "1.5", "²", "9" * 5000)),
    ],
)
def test_what_is_not_acceptable(order: str | None, after: str | None, limit: str | None, param: str):
    with pytest.raises(BadRequest) as e:
        page(ITEMS, order, after, limit)
    assert e.value.param == param
