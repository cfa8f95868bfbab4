"""Requests to `/v1/responses` -> `Chat`. What the answer must know of them rides in `Chat.client`.

Every field is modelled, dropped and named, or refused. Sampling fields are those of chat completions.
Source: https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from typing import Final, cast

import msgspec

from gateway.canonical.content import Message, Text, whole_text
from gateway.canonical.requests import Chat, Effort, OutputFormat, ThinkingConfig
from gateway.dialects import LIMITS, Limits
from gateway.dialects.fields import (
    INT32,
    Fate,
    Json,
    boolean_or_none,
    field_name,
    fields,
    fields_or_none,
    integer,
    integer_or_none,
    items,
    model_name,
    one_of,
    sort_out,
    text,
    text_or_none,
)
from gateway.dialects.openai.chat import EFFORTS, include_usage, parse_sampling
from gateway.dialects.openai.responses.items import as_items, parse_items
from gateway.dialects.openai.responses.remembered import Remembered
from gateway.dialects.openai.responses.tools import parse_choice, parse_tools
from gateway.dialects.options import parse_options
from gateway.errors import BadRequest, NotFound

_MODELLED: Final = """
    model input instructions stream stream_options tools tool_choice parallel_tool_calls text reasoning include store
    previous_response_id truncation top_logprobs max_output_tokens gateway provider
    temperature top_p seed stop presence_penalty frequency_penalty logit_bias top_k min_p repetition_penalty
    repeat_penalty
"""
_DROPPED: Final = """
    metadata user safety_identifier service_tier prompt_cache_key prompt_cache_retention prompt_cache_options
    client_metadata max_tool_calls context_management
"""
_REFUSED: Final = "background conversation prompt"

FATES: Final[dict[str, Fate]] = {
    **dict.fromkeys(_MODELLED.split(), "modelled"),
    **dict.fromkeys(_DROPPED.split(), "dropped"),
    **dict.fromkeys(_REFUSED.split(), "refused"),
}
"""What becomes of each field of a request. A field that is not here is dropped and named."""

_ECHOED: Final = """
    instructions max_output_tokens max_tool_calls metadata previous_response_id prompt_cache_key safety_identifier
    service_tier temperature top_logprobs top_p user
""".split()  # noqa: SIM905  # reads like the tables above
_ENCRYPTED: Final = "reasoning.encrypted_content"
_LOGPROBS: Final = "message.output_text.logprobs"


def parse_request(
    body: Json, header_options: str | None = None, limits: Limits = LIMITS, earlier: list[Json] | None = None
) -> Chat:
    """`earlier`: the items of all turns up to `previous_response_id`, None if it was not found. Raises
    BadRequest, ModelNotFound, or NotFound for a previous answer that is not there."""
    _, dropped = sort_out(body, FATES, lambda value: value is False)
    get = body.get
    previous = text_or_none(get("previous_response_id"), "previous_response_id")
    if previous is not None and earlier is None:
        raise NotFound(
            f"there is no answer {previous[:80]!r} to go on from",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    new = as_items(get("input"))
    lists = [(f"input[{i}].tools", e.get("tools")) for i, e in enumerate(new) if e.get("type") == "additional_tools"]
    declared = parse_tools([("tools", get("tools")), *lists], limits, dropped)
    messages = _instructions(get("instructions")) + parse_items(earlier or [], new, declared, limits, dropped)
    if not messages:
        raise BadRequest("`input` is empty", param="input")
    chat = Chat(
        model=model_name(get("model"), limits),
        messages=messages,
        tools=declared.tools,
        tool_choice=parse_choice(get("tool_choice"), declared),
        sampling=parse_sampling(body, limits),
        stream=bool(boolean_or_none(get("stream"), "stream")),
        prefill=messages[-1].role == "assistant",
        dropped=dropped,
    )
    chat.include_usage = chat.stream
    parallel = boolean_or_none(get("parallel_tool_calls"), "parallel_tool_calls")
    chat.parallel_tool_calls = parallel if chat.tools else None
    if get("max_output_tokens") is not None:
        chat.sampling.max_tokens = integer(get("max_output_tokens"), "max_output_tokens", 1, INT32)
    memory = Remembered(new, previous, _echo(body), declared.names)
    memory.store = boolean_or_none(get("store"), "store") is not False
    _text_options(chat, get("text"), dropped)
    _reasoning(chat, memory, get("reasoning"), dropped)
    _include(chat, memory, body, limits, dropped)
    if get("stream_options") is not None:
        include_usage(get("stream_options"), dropped)
    if text_or_none(get("truncation"), "truncation") not in (None, "disabled"):
        dropped.append("truncation")  # a prompt that is too long is refused: the client shortens it
    if "gateway" in body or "provider" in body or header_options is not None:
        chat.options = parse_options(get("gateway"), get("provider"), header_options)
    chat.client = memory
    return chat


def _instructions(value: object) -> list[Message]:
    if value is None:
        return []
    words = text(value, "instructions")
    return [Message("system", [Text(words, path="instructions")], path="instructions")] if words else []


def _text_options(chat: Chat, value: object, dropped: list[str]) -> None:
    options = fields_or_none(value, "text") or {}
    dropped += [f"text.{field_name(k)}" for k, v in options.items() if k != "format" and v is not None]
    if options.get("format") is None:
        return
    path = "text.format"
    wanted = fields(options["format"], path)
    kind = one_of(wanted.get("type"), f"{path}.type", ("text", "json_object", "json_schema"))
    if kind == "json_object":
        chat.output = OutputFormat("json_object")
    elif kind == "json_schema":
        nested = wanted.get("json_schema")
        if isinstance(nested, dict):  # the spelling of chat completions
            wanted, path = nested, f"{path}.json_schema"
        chat.output = OutputFormat(
            "json_schema",
            text_or_none(wanted.get("name"), f"{path}.name") or "schema",
            fields_or_none(wanted.get("schema"), f"{path}.schema"),
            text_or_none(wanted.get("description"), f"{path}.description"),
            boolean_or_none(wanted.get("strict"), f"{path}.strict"),
            path=f"{path}.schema",
        )


def _reasoning(chat: Chat, memory: Remembered, value: object, dropped: list[str]) -> None:
    """An effort is what turns thinking on; a summary only says how it is told."""
    config = fields_or_none(value, "reasoning") or {}
    known = ("effort", "summary", "generate_summary")
    dropped += [f"reasoning.{field_name(k)}" for k, v in config.items() if k not in known and v is not None]
    if config.get("effort") is not None:
        effort = cast(Effort, one_of(config["effort"], "reasoning.effort", EFFORTS))
        chat.thinking = ThinkingConfig(enabled=effort != "none", effort=effort)
    for key in known[1:]:
        memory.summaries = memory.summaries or text_or_none(config.get(key), f"reasoning.{key}") not in (None, "none")


def _include(chat: Chat, memory: Remembered, body: Json, limits: Limits, dropped: list[str]) -> None:
    if body.get("include") is not None:
        for i, entry in enumerate(items(body["include"], "include", 64)):
            name = text(entry, f"include[{i}]")
            if name == _ENCRYPTED:
                memory.encrypted = True
            elif name == _LOGPROBS:
                chat.logprobs = True
            else:
                dropped.append(f"include:{field_name(name)}")
    chat.top_logprobs = integer_or_none(body.get("top_logprobs"), "top_logprobs", 0, limits.top_logprobs)
    chat.logprobs = chat.logprobs or bool(chat.top_logprobs)


def _echo(body: Json) -> Json:
    """What the answer repeats, with the API's defaults where its clients count on a value."""
    out: Json = {key: body.get(key) for key in _ECHOED}
    config = body.get("reasoning")
    given = config if isinstance(config, dict) else {}
    out["reasoning"] = {"effort": given.get("effort"), "summary": given.get("summary")}
    parallel = body.get("parallel_tool_calls")
    out["parallel_tool_calls"] = True if parallel is None else parallel
    wanted = body.get("text")
    options: Json = wanted if isinstance(wanted, dict) else {}
    out["text"] = options if options.get("format") else {**options, "format": {"type": "text"}}
    out["tool_choice"] = body.get("tool_choice") or "auto"
    out["tools"] = body.get("tools") or []
    out["truncation"] = body.get("truncation") or "disabled"
    out["metadata"] = out["metadata"] or {}
    try:
        msgspec.json.encode(out)
    except TypeError:  # a long text in it came in pieces
        out = msgspec.json.decode(msgspec.json.encode(out, enc_hook=whole_text))
    return out
