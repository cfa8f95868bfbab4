"""The `response` object: whole answers, and what the events of a stream repeat of it.

Source: https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

from typing import Any

from gateway.canonical.content import Opaque, Part, Refusal, Text, Thinking, ToolCall
from gateway.canonical.events import Answer, Choice, Fault, Finish, Usage
from gateway.dialects.fields import Json
from gateway.dialects.openai.responses.items import OPAQUE
from gateway.dialects.openai.responses.remembered import UNSIGNED, Remembered
from gateway.errors import BadResponse, GatewayError

BROKEN_OFF = "the model server broke the answer off"


def render_answer(answer: Answer, memory: Remembered) -> Json:
    """The `response` object. Raises BadResponse for an answer that did not end well."""
    choice = answer.choices[0] if answer.choices else Choice()
    if choice.finish is None or choice.finish == "error":
        raise BadResponse(BROKEN_OFF)
    status, incomplete = outcome(choice.finish)
    out = shell(memory, answer.model, response_id(memory, answer.id), memory.created or answer.created or 0)
    stem = stem_of(out["id"])
    tokens = logprobs_of(choice.logprobs)
    for part in choice.parts:
        number = len(out["output"])
        item = item_of(part, f"{stem}_{number}", status, memory)
        if tokens and isinstance(part, Text):
            item["content"][0]["logprobs"] = tokens  # the server tells them for the whole answer
            tokens = []
        out["output"].append(item)
    out["status"], out["incomplete_details"] = status, incomplete
    out["usage"] = render_usage(answer.usage)
    return out


def response_id(memory: Remembered, answer_id: str) -> str:
    """The id that the server chose, else one made from the answer's."""
    return memory.response_id or (answer_id if answer_id.startswith("resp_") else f"resp_{answer_id or 0}")


def stem_of(response: str) -> str:
    """What the ids of the items have in common with the answer's."""
    return response.removeprefix("resp_")


def shell(memory: Remembered, model: str, response: str, created: int) -> Json:
    """The object of an answer that has just begun."""
    return {
        "id": response,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "usage": None,
        "store": memory.store,
        **memory.echo,
    }


def outcome(finish: Finish) -> tuple[str, Json | None]:
    """(the status of the answer and of its last item, why it is incomplete)."""
    if finish == "length":
        return "incomplete", {"reason": "max_output_tokens"}
    if finish == "content_filter":
        return "incomplete", {"reason": "content_filter"}
    return "completed", None


def render_usage(usage: Usage | None) -> Json | None:
    """Clients need every number or none: what is unknown of a usage that came is 0."""
    if usage is None:
        return None
    spent, made = usage.input or 0, usage.output or 0
    return {
        "input_tokens": spent,
        "input_tokens_details": {"cached_tokens": usage.cached or 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": spent + made,
    }


def item_of(part: Part, number: str, status: str, memory: Remembered) -> Json:
    """One output item. `number` ends its id. Raises BadResponse for a part that the API has no item for."""
    if isinstance(part, Text):
        content: Json = {
            "type": "output_text",
            "text": part.text,
            "annotations": flat(part.annotations),
            "logprobs": [],
        }
        return message_item(number, status, content)
    if isinstance(part, Refusal):
        return message_item(number, status, {"type": "refusal", "refusal": part.text})
    if isinstance(part, Thinking):
        return thinking_item(part, number, status, memory)
    if isinstance(part, ToolCall):
        return call_item(part, number, status, memory)
    if isinstance(part, Opaque) and part.dialect == OPAQUE:
        return part.raw
    raise BadResponse(foreign(part))


def message_item(number: str, status: str, *content: Json) -> Json:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": list(content),
    }


def thinking_item(part: Thinking, number: str, status: str, memory: Remembered) -> Json:
    """A thought in the clear is told as the summary where the client asked for one: that is what such clients show."""
    out: Json = {"id": f"rs_{number}", "type": "reasoning", "summary": [], "status": status}
    summary = list(part.summary or ())
    if part.text and memory.summaries and not summary:
        summary = [part.text]
    elif part.text:
        out["content"] = [{"type": "reasoning_text", "text": part.text}]
    out["summary"] = [{"type": "summary_text", "text": piece} for piece in summary]
    if part.redacted is not None:
        out["encrypted_content"] = part.redacted
    elif memory.encrypted:
        out["encrypted_content"] = UNSIGNED
    return out


def call_item(part: ToolCall, number: str, status: str, memory: Remembered) -> Json:
    """A call goes by the name that the client declared, in its namespace if it has one."""
    namespace, name = memory.names.get(part.name, ("", part.name))
    custom = part.kind == "custom"
    out: Json = {
        "id": f"{'ctc' if custom else 'fc'}_{number}",
        "type": "custom_tool_call" if custom else "function_call",
        "status": status,
        "call_id": part.id,
        "name": name,
        "input" if custom else "arguments": part.arguments,
    }
    if namespace:
        out["namespace"] = namespace
    return out


def foreign(part: Part | None) -> str:
    """Why an answer with this part can't be told."""
    kind = part.type[:40] if isinstance(part, Opaque) else type(part).__name__
    return f"the model server's answer holds a part of type {kind!r}, for which this API has no item"


def flat(annotations: list[Any] | None) -> list[Any]:
    """Annotations as this API writes them: their fields beside the type, not under it."""
    out = []
    for a in annotations or ():
        inner = a.get(a.get("type")) if isinstance(a, dict) else None
        out.append({"type": a["type"], **inner} if isinstance(inner, dict) else a)
    return out


def logprobs_of(value: Any) -> list[Json]:
    """Token probabilities as a chat server tells them -> as this API does."""
    tokens = value.get("content") if isinstance(value, dict) else value
    if not isinstance(tokens, list):
        return []
    return [{"bytes": [], "top_logprobs": [], **t} for t in tokens if isinstance(t, dict)]


def error_object(error: GatewayError | Fault) -> Json:
    """What a failed answer says. Agents retry what they are told is the server's fault, and act on some codes."""
    code = error.code if error.status < 500 or error.status == 503 else "server_error"
    return {"code": code, "message": error.message}
