"""A model that does what it is told: calls the tool that it must or may call, fills the schema that it is given."""

from __future__ import annotations

import json
import re
from typing import Any

Json = dict[str, Any]

TEXT = "Hello, I am a model that does what it is told."


def answer(body: Json) -> tuple[str, Json] | str:
    """What it says to a chat's body: a call (name and arguments), or a text. Numbers and quoted words of the last
    message are what it fills in."""
    messages = body["messages"]
    said = _words(messages[-1].get("content"))
    tools = {t["function"]["name"]: t["function"].get("parameters") or {} for t in body.get("tools") or []}
    choice = body.get("tool_choice")
    named = choice["function"]["name"] if isinstance(choice, dict) else None
    if tools and choice != "none" and (messages[-1]["role"] == "user" or choice == "required" or named):
        name = named or next(iter(tools))
        return name, _filled(tools[name], said)
    wanted = body.get("response_format") or {"type": "text"}
    if wanted["type"] == "json_schema":
        return json.dumps(_value(wanted["json_schema"]["schema"], said, wanted["json_schema"]["schema"]))
    if wanted["type"] == "json_object":
        return json.dumps(dict.fromkeys(re.findall(r"'(\w+)'", said), "a word"))
    return TEXT


def _words(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return content or ""


def _filled(schema: Json, said: str) -> Json:
    found: Json = _value({"type": "object", **schema}, said, schema)
    return found


def _value(schema: Json, said: str, root: Json) -> Any:
    if "$ref" in schema:
        return _value(root["$defs"][schema["$ref"].rpartition("/")[2]], said, root)
    for key in ("anyOf", "allOf", "oneOf"):
        if key in schema:
            return _value(schema[key][0], said, root)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: _value(about, said, root) for name, about in schema.get("properties", {}).items()}
    if kind == "array":
        return [_value(schema.get("items", {}), said, root)]
    number = re.search(r"-?\d+", said)
    quoted = re.search(r"'([^']+)'", said)
    plain: dict[str, Any] = {
        "integer": int(number[0]) if number else 1,
        "number": float(number[0]) if number else 1.5,
        "boolean": True,
        "null": None,
        "string": quoted[1] if quoted else "a word",
    }
    return plain[kind]
