"""A long conversation with tools, as an agent sends it."""

from __future__ import annotations

import json
from typing import Any

TURNS = 30
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"{name} a file",
            "parameters": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "line": {"type": "integer"}},
                "required": ["path"],
            },
        },
    }
    for name in ("write", "read", "list")  # not in alphabetical order: the client's order has to stay
]


def conversation(opening: str) -> list[list[dict[str, Any]]]:
    """What an agent sends, request by request: each holds all before it. Every turn calls one tool, every third turn
    two at once, and says something at its end."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": opening}]
    requests = []
    for turn in range(TURNS):
        messages.append({"role": "user", "content": f"Turn {turn}: look at file{turn}.py \u2013 please"})
        requests.append(list(messages))
        ids = [f"call_{turn}_{k}" for k in range(2 if turn % 3 == 0 else 1)]
        calls = [
            {
                "id": i,
                "type": "function",
                "function": {"name": "read", "arguments": json.dumps({"path": f"file{turn}.py", "line": turn})},
            }
            for i in ids
        ]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": i, "content": f"def f{turn}(): return {turn}"} for i in ids]
        requests.append(list(messages))
        messages.append({"role": "assistant", "content": f"It returns {turn}."})
    return requests
