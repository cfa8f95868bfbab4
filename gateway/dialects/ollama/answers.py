"""Whole answers, both ways; the reply to an embedding, and the last line of a stream.

A field that is not modelled (durations) survives in `answer.extra["ollama"]`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from gateway.canonical.content import Opaque, Part, Refusal, Text, Thinking, ToolCall
from gateway.canonical.events import Answer, Choice, Finish, Usage
from gateway.dialects.fields import Json
from gateway.dialects.ollama.errors import read_error
from gateway.dialects.ollama.messages import render_call
from gateway.dialects.ollama.options import DIALECT
from gateway.dialects.ollama.requests import Remembered
from gateway.dialects.openai.errors import error_of
from gateway.errors import BadResponse

BROKEN_OFF: Final = "the model server broke the answer off"
FINISH: Final[dict[str, Finish]] = {"stop": "stop", "length": "length", "content_filter": "content_filter"}
"""`done_reason` -> how an answer ended. Anything else (`load`, `unload`) is no answer."""
_DONE: Final[dict[Finish, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "stop",
    "content_filter": "content_filter",
}
_KNOWN: Final = frozenset(
    ("model", "created_at", "message", "response", "thinking", "done", "done_reason", "prompt_eval_count", "eval_count")
) | {"logprobs", "error"}


def timestamp(seconds: float) -> str:
    """Unix seconds as the dialect writes a time; the epoch for what is none."""
    try:
        then = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        then = datetime.fromtimestamp(0, UTC)
    return then.isoformat().replace("+00:00", "Z")


def unix_seconds(value: object) -> int | None:
    """The other way; fractions of a second are left out. None for what is no time."""
    try:
        return (
            int(datetime.fromisoformat(value[:19] + "+00:00").timestamp()) or None if isinstance(value, str) else None
        )
    except ValueError:
        return None


def done_reason(finish: Finish | None) -> str | None:
    """The dialect's word; None for an answer that was cut or broken off."""
    return _DONE.get(finish) if finish is not None else None


def render_answer(answer: Answer, memory: Remembered) -> Json:
    """The one object of an answer that is not streamed. Raises BadResponse for one that did not end well."""
    choice = answer.choices[0] if answer.choices else Choice()
    reason = done_reason(choice.finish)
    if reason is None:
        raise BadResponse(BROKEN_OFF)
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    for part in choice.parts:
        if isinstance(part, Text | Refusal):
            texts.append(part.text)
        elif isinstance(part, Thinking):
            thoughts.append(part.text)
        elif isinstance(part, ToolCall):
            calls.append(render_call(part, len(calls)))
        else:
            raise BadResponse(foreign(part))
    out: Json = {
        "model": answer.model,
        "created_at": timestamp(answer.created or memory.created),
        **said(memory.form, "".join(texts), "".join(thoughts), calls),
    }
    tokens = logprobs_of(choice.logprobs)
    if tokens:
        out["logprobs"] = tokens
    return out | ending(reason, answer.usage, (answer.extra or {}).get(DIALECT) or {}, memory, 0)


def said(form: str, text: str, thoughts: str = "", calls: list[Json] | None = None) -> Json:
    """What the model said, in the form of the endpoint."""
    if form == "generate":
        out: Json = {"response": text}
        if thoughts:
            out["thinking"] = thoughts
        if calls:
            out["tool_calls"] = calls
        return out
    message: Json = {"role": "assistant", "content": text}
    if thoughts:
        message["thinking"] = thoughts
    if calls:
        message["tool_calls"] = calls
    return {"message": message}


def ending(reason: str, usage: Usage | None, told: Json, memory: Remembered, first: int) -> Json:
    """The fields of a complete answer. `told`: what the server itself says, which wins. `first`: when the first content
    came, on the memory's clock; 0 = unknown."""
    out: Json = {"done": True, "done_reason": reason}
    if memory.clock is not None:
        now = memory.clock()
        out["total_duration"] = max(0, now - memory.began)
        out["load_duration"] = 0
        if first:
            out["prompt_eval_duration"] = max(0, first - memory.began)
            out["eval_duration"] = max(0, now - first)
    if usage is not None:
        if usage.input is not None:
            out["prompt_eval_count"] = usage.input
        if usage.output is not None:
            out["eval_count"] = usage.output
    return out | told


def foreign(part: Part | None) -> str:
    """Why an answer with this part can't be told."""
    kind = part.type[:40] if isinstance(part, Opaque) else type(part).__name__
    return f"the model server's answer holds a part of type {kind!r}, for which this dialect has no words"


def logprobs_of(value: Any) -> list[Any]:
    """Token probabilities, a list in this dialect, an object around it in others."""
    tokens = value.get("content") if isinstance(value, dict) else value
    return tokens if isinstance(tokens, list) else []


def parse_answer(body: Any) -> Answer:
    """Raises BadResponse if `body` is no complete answer, or the error that it tells."""
    if not isinstance(body, dict):
        raise BadResponse("the server's answer is not a JSON object")
    fault = read_error(body)
    if fault is not None:
        raise error_of(fault)
    message = message_of(body)
    if message is None:
        raise BadResponse("the server's answer has no message")
    parts: list[Part] = []
    if message.get("thinking"):
        parts.append(Thinking(str(message["thinking"])))
    if message.get("content"):
        parts.append(Text(str(message["content"])))
    calls = [read_call(c, i) for i, c in enumerate(message.get("tool_calls") or ())]
    tokens = body.get("logprobs")
    choice = Choice([*parts, *calls], finish_of(body, bool(calls)), logprobs={"content": tokens} if tokens else None)
    extra = {k: v for k, v in body.items() if k not in _KNOWN and v is not None}
    model = body.get("model")
    return Answer(
        model=model if isinstance(model, str) else "",
        created=unix_seconds(body.get("created_at")),
        choices=[choice],
        usage=usage_of(body),
        extra={DIALECT: extra} if extra else None,
    )


def message_of(body: Json) -> Json | None:
    """The message of a line of either endpoint."""
    message = body.get("message")
    if isinstance(message, dict):
        return message
    if isinstance(body.get("response"), str):
        return {"content": body["response"], "thinking": body.get("thinking"), "tool_calls": body.get("tool_calls")}
    return None


def read_call(value: Any, index: int) -> ToolCall:
    """A call, which comes whole. Raises BadResponse."""
    inner = value.get("function") if isinstance(value, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise BadResponse("a tool call in the server's answer names no function")
    given = inner.get("arguments")
    arguments = given if isinstance(given, str) else msgspec.json.encode(given or {}).decode()
    made = value.get("id")
    return ToolCall(made if isinstance(made, str) and made else f"call_{index}", inner["name"], arguments)


def finish_of(body: Json, called: bool) -> Finish | None:
    """How the answer ended; None if it has not."""
    if not body.get("done"):
        return None
    finish = FINISH.get(body.get("done_reason") or "stop", "error")
    return "tool_calls" if called and finish == "stop" else finish


def usage_of(body: Json) -> Usage | None:
    spent, made = body.get("prompt_eval_count"), body.get("eval_count")
    if not isinstance(spent, int) and not isinstance(made, int):
        return None
    return Usage(spent if isinstance(spent, int) else None, made if isinstance(made, int) else None)


def own_fields(body: Json) -> Json:
    """What a line says beyond what is modelled."""
    return {k: v for k, v in body.items() if k not in _KNOWN and v is not None}


def render_embeddings(reply: Json, legacy: bool) -> Json:
    """The reply to an embedding, from one in OpenAI's form. `legacy`: of the older endpoint, which has one vector."""
    rows = sorted(reply["data"], key=lambda row: row.get("index", 0))
    vectors = [row["embedding"] for row in rows]
    if legacy:
        return {"embedding": vectors[0] if vectors else []}
    out: Json = {"model": reply.get("model", ""), "embeddings": vectors}
    spent = (reply.get("usage") or {}).get("prompt_tokens")
    if isinstance(spent, int):
        out["prompt_eval_count"] = spent
    return out
