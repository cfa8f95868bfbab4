"""Whole chat completions, both ways: `parse_answer(render_answer(a)) == a` for an answer in this dialect's order of
parts (thinking, text, refusal, tool calls).

A field that is not modelled survives, unless it is null (several servers pad with nulls): of the answer in
`answer.extra["openai"]`, of a choice in `choice.extra["openai.choice"]`, of its message in
`choice.extra["openai.message"]`, of the usage in `usage.extra["openai.usage"]`, of a part in
`part.extra["openai.part"]`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from gateway.canonical.content import Extra, Opaque, Part, Refusal, Text, Thinking, ToolCall
from gateway.canonical.events import Answer, Choice, Finish, Usage
from gateway.dialects.fields import Json, rest
from gateway.dialects.openai.errors import error_of, read_error
from gateway.dialects.openai.messages import ReasoningField
from gateway.dialects.openai.signatures import FIELD, put_signature, take_signature
from gateway.errors import BadResponse

TOP: Final = "openai"
CHOICE: Final = "openai.choice"
MESSAGE: Final = "openai.message"
USAGE: Final = "openai.usage"
PART: Final = "openai.part"

_TOP_FIELDS: Final = frozenset(("id", "object", "created", "model", "choices", "usage", "error"))
_CHOICE_FIELDS: Final = frozenset(("index", "message", "finish_reason", "logprobs"))
_MESSAGE_FIELDS: Final = frozenset(
    (
        "role",
        "content",
        "refusal",
        "annotations",
        "tool_calls",
        "function_call",
        "reasoning",
        "reasoning_content",
        "opaque_parts",
    )
)

FINISH: Final[dict[str, Finish]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "max_tokens": "length",
    "model_length": "length",
}
"""What servers write -> what it means. Anything else (`abort`, `load`) is not an answer that ended well."""


def parse_answer(body: Any) -> Answer:
    """Raises BadResponse if `body` is no chat completion, or the error that it tells."""
    if not isinstance(body, dict):
        raise BadResponse("the server's answer is not a JSON object")
    choices = body.get("choices")
    if not isinstance(choices, list) or body.get("error"):
        fault = read_error(body)
        raise error_of(fault) if fault else BadResponse("the server's answer has no choices")
    return Answer(
        id=_string(body.get("id")),
        model=_string(body.get("model")),
        created=parse_created(body.get("created")),
        choices=in_order(choices, _choice, _string(body.get("id"))),
        usage=parse_usage(body.get("usage")),
        extra=layer(TOP, rest(body, _TOP_FIELDS)),
    )


def in_order(choices: list[Any], read: Callable[[Json, str], Choice], answer_id: str) -> list[Choice]:
    """The choices by their index, where servers say one. `read` turns one into a Choice."""
    found: dict[int, Choice] = {}
    for position, value in enumerate(choices):
        if not isinstance(value, dict):
            raise BadResponse("a choice in the server's answer is not an object")
        index = value.get("index")
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < 4096:
            index = position
        if index in found:
            raise BadResponse("two choices in the server's answer have the same index")
        found[index] = read(value, answer_id)
    return [found.get(i) or Choice() for i in range(max(found, default=-1) + 1)]


def parse_created(value: object) -> int | None:
    """Unix seconds; None for the 0 and the nothing of servers that do not say."""
    return int(value) if isinstance(value, int | float) and value > 0 else None


def _choice(value: Json, answer_id: str) -> Choice:
    message = value.get("message")
    if not isinstance(message, dict):
        raise BadResponse("a choice in the server's answer has no message")
    extra: Json = rest(value, _CHOICE_FIELDS) or {}
    finish, stop_sequence = parse_finish(value.get("finish_reason"), extra)
    more = rest(message, _MESSAGE_FIELDS) or {}
    parts = _parts(message, more, answer_id)
    return Choice(parts, finish, stop_sequence, value.get("logprobs"), layers(CHOICE, extra, MESSAGE, more))


def parse_finish(value: object, extra: Json) -> tuple[Finish | None, str | None]:
    """(how it ended, the stop sequence that ended it). A word that is not the dialect's own is kept in `extra`."""
    stop_sequence = None
    if isinstance(extra.get("stop_reason"), str):
        stop_sequence = extra.pop("stop_reason")
    if value is None:
        return None, stop_sequence
    word = value if isinstance(value, str) else str(value)
    finish = FINISH.get(word, "error")
    if finish != word:
        extra.setdefault("native_finish_reason", word)
    return finish, stop_sequence


def _parts(message: Json, more: Json, answer_id: str) -> list[Part]:
    parts: list[Part] = []
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(thoughts, str) and thoughts:
        parts.append(Thinking(thoughts))
    elif thoughts:
        more["reasoning"] = thoughts
    content = message.get("content")
    if isinstance(content, list):
        parts += [_content_part(p) for p in content]
    elif isinstance(content, str) and content:
        parts.append(Text(content))
    elif content:
        raise BadResponse("the content of the server's message is neither text nor parts")
    if message.get("annotations"):
        last = next((p for p in reversed(parts) if isinstance(p, Text)), None)
        if last is not None and isinstance(message["annotations"], list):
            last.annotations = message["annotations"]
        else:
            more["annotations"] = message["annotations"]
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        parts.append(Refusal(message["refusal"]))
    parts += [Opaque(p["dialect"], p["type"], p["raw"]) for p in message.get("opaque_parts") or ()]
    taken: set[str] = set()
    for call in message.get("tool_calls") or ():
        if not isinstance(call, dict):
            raise BadResponse("a tool call in the server's answer is not an object")
        parts.append(parse_call(call, taken, answer_id))
    legacy = message.get("function_call")
    if isinstance(legacy, dict) and legacy.get("name"):
        parts.append(parse_call({"function": legacy}, taken, answer_id))
    if FIELD in more and (signature := take_signature(more)) is not None:
        signed = next((p for p in reversed(parts) if isinstance(p, Text)), None)
        if signed is None:
            signed = Text("")
            parts.append(signed)
        signed.signature = signature
    return parts


def _content_part(value: Any) -> Part:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind in ("text", "output_text") and isinstance(value.get("text"), str):
        return Text(value["text"], value.get("annotations") or None)
    if kind == "thinking" and isinstance(value.get("thinking"), str):
        return Thinking(value["thinking"])
    if kind == "refusal" and isinstance(value.get("refusal"), str):
        return Refusal(value["refusal"])
    if isinstance(kind, str):
        return Opaque(TOP, kind, value)
    raise BadResponse("a content part of the server's answer has no type")


def parse_call(call: Json, taken: set[str], answer_id: str) -> ToolCall:
    """One tool call of an answer; its id is made unique among those `taken`."""
    kind: Literal["function", "custom"] = "custom" if call.get("type") == "custom" else "function"
    inner = call.get(kind)
    if not isinstance(inner, dict):
        raise BadResponse("a tool call in the server's answer names no function")
    extra = rest(call, ("id", "type", "index", kind)) or {}
    more = rest(inner, ("name", "input" if kind == "custom" else "arguments"))
    if more:
        extra[kind] = more
    made = unique_id(call.get("id"), taken, answer_id)
    arguments = json_text(inner.get("input" if kind == "custom" else "arguments"))
    signature = take_signature(extra) if extra else None
    return ToolCall(made, _string(inner.get("name")), arguments, kind, signature, layer(PART, extra))


def unique_id(given: object, taken: set[str], answer_id: str) -> str:
    """The call's own id, or one made from the answer's where it has none or one that another call has already."""
    made = given if isinstance(given, str) else ""
    if not made or made in taken:
        stem = made or f"call_{answer_id.rpartition('-')[2][-24:]}"
        n = len(taken)
        made = f"{stem}_{n}"
        while made in taken:
            n += 1
            made = f"{stem}_{n}"
    taken.add(made)
    return made


def json_text(value: object) -> str:
    """Arguments as JSON text; a few servers send the object itself."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def parse_usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    spent, made, total = (
        _count(value.get("prompt_tokens")),
        _count(value.get("completion_tokens")),
        value.get("total_tokens"),
    )
    extra = rest(value, _USAGE_FIELDS) or {}
    cached = _detail(value, "prompt_tokens_details", "cached_tokens", extra)
    reasoning = _detail(value, "completion_tokens_details", "reasoning_tokens", extra)
    audio = _audio(extra)
    if total is not None and (spent is None or made is None or total != spent + made):
        extra["total_tokens"] = total
    return Usage(spent, made, cached, reasoning, layer(USAGE, extra), audio)


_USAGE_FIELDS: Final = frozenset(
    ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details")
)


def _detail(usage: Json, name: str, key: str, extra: Json) -> int | None:
    details = usage.get(name)
    if not isinstance(details, dict):
        return None
    more = {k: v for k, v in details.items() if v is not None and k != key}
    if more:
        extra[name] = more
    return _count(details.get(key))


def _audio(extra: Json) -> int | None:
    """The prompt's tokens of sound, out of the further details. No sound is not told from no word of it."""
    details = extra.get("prompt_tokens_details")
    if details is None or not isinstance(details.get("audio_tokens"), int) or not details["audio_tokens"]:
        return None
    audio = int(details.pop("audio_tokens"))
    if not details:
        del extra["prompt_tokens_details"]
    return audio


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def layer(name: str, fields: Json | None) -> Extra | None:
    return {name: fields} if fields else None


def layers(name: str, fields: Json, other: str, more: Json) -> Extra | None:
    """Two layers of fields, leaving out empty ones."""
    if not more:
        return layer(name, fields)
    return {name: fields, other: more} if fields else {other: more}


def render_answer(
    answer: Answer, *, reasoning_field: ReasoningField = "reasoning_content", created: int = 0, usage: bool = True
) -> Json:
    """The `chat.completion` object. `created` (Unix seconds) is used where the server did not say. A choice without a
    finish gets null: the caller decides whether a cut answer may be shown."""
    out: Json = {
        "id": answer.id,
        "object": "chat.completion",
        "created": answer.created or created,
        "model": answer.model,
        "choices": [_render_choice(i, c, reasoning_field) for i, c in enumerate(answer.choices)],
    }
    if usage and answer.usage is not None:
        out["usage"] = render_usage(answer.usage)
    return put_back(out, answer.extra, TOP)


def put_back(out: Json, extra: Extra | None, name: str) -> Json:
    """`out` with the kept fields of one layer; what `out` has already stays, and objects are merged."""
    kept = extra.get(name) if extra else None
    if kept:
        for key, value in kept.items():
            held = out.get(key)
            if isinstance(held, dict) and isinstance(value, dict):
                out[key] = {**value, **held}
            elif held is None or key == "total_tokens":
                out[key] = value
    return out


def _render_choice(index: int, choice: Choice, reasoning_field: ReasoningField) -> Json:
    out: Json = {
        "index": index,
        "message": _render_message(choice, reasoning_field),
        "logprobs": choice.logprobs,
        "finish_reason": choice.finish,
    }
    if choice.stop_sequence is not None:
        out["stop_reason"] = choice.stop_sequence
    put_native(out, choice.native, choice.note)
    return put_back(out, choice.extra, CHOICE)


def put_native(out: Json, native: str | None, note: str | None) -> None:
    """The server's own word for how a choice ended, and what it adds."""
    if native is not None:
        out["native_finish_reason"] = native
    if note is not None:
        out["native_finish_message"] = note


def _render_message(choice: Choice, reasoning_field: ReasoningField) -> Json:
    texts: list[str] = []
    thoughts: list[str] = []
    refusals: list[str] = []
    calls: list[Json] = []
    annotations: list[Any] = []
    opaque: list[Json] = []
    signature: str | None = None
    for part in choice.parts:
        if isinstance(part, Text):
            texts.append(part.text)
            signature = part.signature or signature
            annotations += part.annotations or ()
        elif isinstance(part, Thinking):
            thoughts.append(part.text)
        elif isinstance(part, Refusal):
            refusals.append(part.text)
        elif isinstance(part, ToolCall):
            calls.append(render_call(part))
        elif isinstance(part, Opaque):
            opaque.append({"dialect": part.dialect, "type": part.type, "raw": part.raw})
        else:
            raise ValueError(f"an answer has no {type(part).__name__} part")
    out: Json = {"role": "assistant", "content": "".join(texts) if texts or not (calls or refusals) else None}
    out["refusal"] = "".join(refusals) if refusals else None
    if thoughts:
        out |= reasoning_fields("".join(thoughts), reasoning_field)
    if annotations:
        out["annotations"] = annotations
    if calls:
        out["tool_calls"] = calls
    if opaque:
        out["opaque_parts"] = opaque
    put_signature(out, signature)
    return put_back(out, choice.extra, MESSAGE)


def reasoning_fields(text: str, field: ReasoningField) -> Json:
    if field == "both":
        return {"reasoning_content": text, "reasoning": text}
    return {field: text}


def render_call(call: ToolCall) -> Json:
    out: Json = {"id": call.id, "type": call.kind}
    if call.kind == "custom":
        out["custom"] = {"name": call.name, "input": call.arguments}
    else:
        out["function"] = {"name": call.name, "arguments": call.arguments}
    put_signature(out, call.signature)
    return put_back(out, call.extra, PART)


def render_usage(usage: Usage) -> Json:
    """Only what is known: a sum of unknown terms is not made up."""
    out: Json = {}
    if usage.input is not None:
        out["prompt_tokens"] = usage.input
    if usage.output is not None:
        out["completion_tokens"] = usage.output
    if usage.input is not None and usage.output is not None:
        out["total_tokens"] = usage.input + usage.output
    if usage.cached is not None:
        out["prompt_tokens_details"] = {"cached_tokens": usage.cached}
    if usage.audio is not None:
        out["prompt_tokens_details"] = {**out.get("prompt_tokens_details", {}), "audio_tokens": usage.audio}
    if usage.reasoning is not None:
        out["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    return put_back(out, usage.extra, USAGE)
