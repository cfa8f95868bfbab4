"""The items that an answer was asked with, as `/v1/responses/{id}/input_items` lists them.

Source: https://platform.openai.com/docs/api-reference/responses/input-items
"""

from __future__ import annotations

from typing import Final

from gateway.dialects.fields import Json
from gateway.errors import BadRequest

MOST: Final = 100
_USUAL: Final = 20
_PREFIX: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}


def listed(item: Json, number: str) -> Json:
    """An input item in its full form. Clients may leave out its type, its id and its status, and may write its content
    as a text; `number` ends the id of one that has none."""
    kind = item.get("type") or "message"
    out: Json = {**item, "type": kind, "id": item.get("id") or f"{_PREFIX.get(kind, 'item')}_{number}"}
    if kind != "message":
        return out
    out["status"] = item.get("status") or "completed"
    content = item.get("content")
    if isinstance(content, list) or content is None:
        return out
    if item.get("role") == "assistant":
        out["content"] = [{"type": "output_text", "text": content, "annotations": [], "logprobs": []}]
    else:
        out["content"] = [{"type": "input_text", "text": content}]
    return out


def page(found: list[Json], order: str | None, after: str | None, limit: str | None) -> Json:
    """The part of the list that is asked for; the newest items first unless `order` is asc. `after` = the id of the
    item before it. Raises BadRequest, with the parameter."""
    if order not in (None, "", "asc", "desc"):
        raise BadRequest("`order` must be asc or desc", param="order")
    if order != "asc":
        found = found[::-1]
    if after:
        at = next((i for i, item in enumerate(found) if item["id"] == after), None)
        if at is None:
            raise BadRequest("`after` names no item of this list", param="after")
        found = found[at + 1 :]
    most = _limit(limit)
    data = found[:most]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(found) > most,
    }


def _limit(value: str | None) -> int:
    if not value:
        return _USUAL
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value[:9]) <= MOST:
        raise BadRequest(f"`limit` must be a whole number from 1 to {MOST}", param="limit")
    return int(value)
