"""Whole answers as clients of this dialect read them, and what a stream says in the same words.

Source: https://docs.claude.com/en/api/messages
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.canonical.content import Opaque, Part, Refusal, Text, Thinking, ToolCall
from gateway.canonical.events import Answer, Choice, Finish, Usage
from gateway.dialects.anthropic.blocks import DIALECT, UNSIGNED
from gateway.dialects.fields import Json
from gateway.errors import BadResponse

STOP_REASON: Final[dict[Finish, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
"""How an answer ended -> the dialect's word. `error` has none: such an answer is an error."""
BROKEN_OFF: Final = "the model server broke the answer off"


def render_answer(answer: Answer) -> Json:
    """The `message` object. Raises BadResponse for an answer that did not end well."""
    choice = answer.choices[0] if answer.choices else Choice()
    reason = stop_reason(choice.finish, choice.stop_sequence)
    if reason is None:
        raise BadResponse(BROKEN_OFF)
    return {
        "id": message_id(answer.id),
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [block for part in choice.parts for block in _blocks(part)],
        "stop_reason": reason,
        "stop_sequence": choice.stop_sequence,
        "usage": render_usage(answer.usage),
    }


def stop_reason(finish: Finish | None, stop_sequence: str | None) -> str | None:
    """The dialect's word; None for an answer that was cut or broken off."""
    if finish is None:
        return None
    if finish == "stop" and stop_sequence is not None:
        return "stop_sequence"
    return STOP_REASON.get(finish)


def message_id(answer_id: str) -> str:
    """The answer's id as clients expect it to begin."""
    return answer_id if answer_id.startswith("msg_") else f"msg_{answer_id}"


def render_usage(usage: Usage | None) -> Json:
    """`input_tokens` leaves out what came from the prefix cache. Clients need numbers: what is unknown is 0."""
    cached = (usage.cached if usage is not None else None) or 0
    spent = (usage.input if usage is not None else None) or 0
    out: Json = {
        "input_tokens": max(0, spent - cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": (usage.output if usage is not None else None) or 0,
    }
    if usage is not None and usage.reasoning is not None:
        out["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return out


def _blocks(part: Part) -> list[Json]:
    if isinstance(part, Text | Refusal):
        return [{"type": "text", "text": part.text}]
    if isinstance(part, Thinking):
        return _thinking_blocks(part)
    if isinstance(part, ToolCall):
        given = {"input": part.arguments} if part.kind == "custom" else input_of(part.arguments)
        return [{"type": "tool_use", "id": part.id, "name": part.name, "input": given}]
    if isinstance(part, Opaque) and part.dialect == DIALECT:
        return [part.raw]
    raise BadResponse(foreign(part))


def _thinking_blocks(part: Thinking) -> list[Json]:
    out: list[Json] = []
    words = part.text or "\n\n".join(part.summary or ())
    if words or part.redacted is None:
        out.append({"type": "thinking", "thinking": words, "signature": part.signature or UNSIGNED})
    if part.redacted is not None:
        out.append({"type": "redacted_thinking", "data": part.redacted})
    return out


def foreign(part: Part | None) -> str:
    """Why an answer with this part can't be told."""
    kind = part.type[:40] if isinstance(part, Opaque) else type(part).__name__
    return f"the model server's answer holds a part of type {kind!r}, for which this dialect has no words"


def input_of(arguments: str) -> Json:
    """A call's arguments as the object that clients expect; text that is none (a cut answer) stays whole in it."""
    if not arguments.strip():
        return {}
    try:
        value: Any = msgspec.json.decode(arguments)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return {"arguments": arguments}
    return value if isinstance(value, dict) else {"arguments": value}
