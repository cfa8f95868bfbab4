"""Input items -> messages.

What the model said stands in items of its own: thoughts, texts, calls. Those of one turn become one assistant message.
Items of tools that only the maker of the API runs are kept as they are (`Opaque`); no other server can read them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, cast

import msgspec

from gateway.canonical.content import Message, Opaque, Part, Role, Text, Thinking, ToolCall, ToolResult, whole_text
from gateway.dialects import Limits
from gateway.dialects.fields import (
    Json,
    field_name,
    fields,
    items,
    missing,
    one_of,
    shown,
    text,
    text_or_none,
    tool_name,
)
from gateway.dialects.openai.messages import check_images
from gateway.dialects.openai.parts import parse_part
from gateway.dialects.openai.responses.remembered import UNSIGNED
from gateway.dialects.openai.responses.tools import Declared
from gateway.errors import BadRequest, PartRefused

OPAQUE: Final = "responses"
"""The dialect of parts that only this API knows."""

_HOSTED: Final = ("_call", "_call_output", "_search_output", "_list_tools", "_approval_request", "_approval_response")
_LABELS: Final = frozenset({"type", "id", "status"})


def as_items(value: object) -> list[Json]:
    """The input as a list of items, as it came."""
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": value}]}]
    return [fields(entry, f"input[{i}]") for i, entry in enumerate(items(value, "input", 1 << 20))]


def parse_items(
    earlier: list[Json], new: list[Json], declared: Declared, limits: Limits, dropped: list[str]
) -> list[Message]:
    """The messages of a conversation; `earlier` are items of turns before this request."""
    reader = _Reader(declared, limits, dropped)
    for i, item in enumerate(earlier):
        reader.read(item, f"previous_response_id[{i}]")
    for i, item in enumerate(new):
        reader.read(item, f"input[{i}]")
    if len(reader.messages) > limits.messages:
        raise BadRequest(
            f"`input` gives {len(reader.messages)} messages, at most {limits.messages} are allowed",
            param="input",
            code="array_above_max_length",
        )
    check_images(reader.messages, limits.images)
    return reader.messages


class _Reader:
    def __init__(self, declared: Declared, limits: Limits, dropped: list[str]) -> None:
        self.messages: list[Message] = []
        self._declared = declared
        self._limits = limits
        self._dropped = dropped

    def read(self, item: Json, path: str) -> None:
        kind = item.get("type")
        if kind is None and "role" in item:
            kind = "message"
        if not isinstance(kind, str):
            raise missing(f"{path}.type")
        if kind == "message":
            self._message(item, path)
        elif kind == "reasoning":
            self._reasoning(item, path)
        elif kind == "function_call":
            self._call(item, path, "arguments")
        elif kind == "custom_tool_call":
            self._call(item, path, "input")
        elif kind in ("function_call_output", "custom_tool_call_output"):
            self._output(item, path)
        elif kind == "additional_tools":
            pass  # read with the tools
        elif kind == "item_reference":
            raise BadRequest("items are not kept here: send the item itself", param=path, code="unsupported_content")
        elif kind == "compaction" or kind.endswith(_HOSTED):
            self._assistant(Opaque(OPAQUE, kind, item, path=path), path)
        else:
            raise PartRefused(
                f"`{path}.type` is {shown(kind)}: not a known kind of item (choices: message, reasoning, "
                "function_call, function_call_output, custom_tool_call, custom_tool_call_output)",
                param=f"{path}.type",
            )

    def _drop_others(self, item: Json, known: Collection[str]) -> None:
        for key, value in item.items():
            if key not in known and key not in _LABELS and value is not None:
                name = f"input[].{field_name(key)}"
                if name not in self._dropped:
                    self._dropped.append(name)

    def _message(self, item: Json, path: str) -> None:
        role = one_of(item.get("role"), f"{path}.role", ("user", "assistant", "system", "developer"))
        self._drop_others(item, ("role", "content"))
        parts = self._content(item.get("content"), f"{path}.content")
        if role == "assistant":
            last = self._open()
            if last is None or any(type(p) is Text for p in last.parts):
                self.messages.append(Message("assistant", parts or [Text("", path=path)], path=path))
            else:
                last.parts += parts
            return
        if not parts:
            raise BadRequest(f"`{path}.content` is empty", param=f"{path}.content")
        self.messages.append(Message(cast(Role, role), parts, path=path))

    def _content(self, value: object, path: str) -> list[Part]:
        if isinstance(value, str):
            return [Text(value, path=path)]
        return [self._part(p, f"{path}[{i}]") for i, p in enumerate(items(value, path, self._limits.parts))]

    def _part(self, value: object, path: str) -> Part:
        if isinstance(value, dict) and value.get("type") == "output_text":
            # what we said ourselves comes back with empty lists in it
            value = {k: v for k, v in value.items() if k != "logprobs" and (k != "annotations" or v)}
        return parse_part(value, path)

    def _open(self) -> Message | None:
        """The assistant message that more of the same turn goes into."""
        last = self.messages[-1] if self.messages else None
        return last if last is not None and last.role == "assistant" else None

    def _assistant(self, part: Part, path: str) -> None:
        last = self._open()
        if last is None:
            self.messages.append(Message("assistant", [part], path=path))
        else:
            last.parts.append(part)

    def _reasoning(self, item: Json, path: str) -> None:
        self._drop_others(item, ("summary", "content", "encrypted_content"))
        summary = _texts(item.get("summary"), f"{path}.summary")
        words = "".join(_texts(item.get("content"), f"{path}.content")) or "\n\n".join(summary)
        closed = text_or_none(item.get("encrypted_content"), f"{path}.encrypted_content")
        if closed in ("", UNSIGNED):
            closed = None
        if not words and closed is None:
            return
        part = Thinking(words, redacted=closed, path=path)
        last = self._open()
        if last is not None and any(type(p) is Text for p in last.parts) and not _calls(last):
            self.messages.append(Message("assistant", [part], path=path))  # an answer stood there, and another begins
        else:
            self._assistant(part, path)

    def _call(self, item: Json, path: str, key: str) -> None:
        self._drop_others(item, ("call_id", "name", "namespace", key))
        call_id = text(item.get("call_id"), f"{path}.call_id")
        namespace = text_or_none(item.get("namespace"), f"{path}.namespace")
        name = self._declared.name_of(namespace, tool_name(item.get("name"), f"{path}.name"))
        given = item.get(key)
        if isinstance(given, dict) and key == "arguments":
            given = msgspec.json.encode(given, enc_hook=whole_text).decode()
        words = "" if given is None else text(given, f"{path}.{key}")
        self._assistant(ToolCall(call_id, name, words, "custom" if key == "input" else "function", path=path), path)

    def _output(self, item: Json, path: str) -> None:
        self._drop_others(item, ("call_id", "output", "name"))
        call_id = text(item.get("call_id"), f"{path}.call_id")
        where = f"{path}.output"
        given = item.get("output")
        if isinstance(given, dict):
            given = msgspec.json.encode(given, enc_hook=whole_text).decode()
        parts = self._content("" if given is None else given, where)
        self.messages.append(
            Message("tool", [ToolResult(call_id, parts or [Text("", path=where)], path=path)], path=path)
        )


def _calls(message: Message) -> bool:
    return any(isinstance(p, ToolCall) for p in message.parts)


def _texts(value: object, path: str) -> list[str]:
    """The texts of a thought's pieces."""
    if value is None:
        return []
    out = []
    for i, entry in enumerate(items(value, path, 1 << 16)):
        piece = fields(entry, f"{path}[{i}]")
        one_of(piece.get("type"), f"{path}[{i}].type", ("summary_text", "reasoning_text", "text"))
        out.append(text(piece.get("text"), f"{path}[{i}].text"))
    return out
