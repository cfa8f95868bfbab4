"""Requests to `/v1/messages` and `/v1/messages/count_tokens` -> `Chat`.

Every field is modelled, dropped and named, or refused by its path. Source: https://docs.claude.com/en/api/messages
"""

from __future__ import annotations

from typing import Final, cast

from gateway.canonical.content import Image, Message, Part, Role, Text, ToolResult
from gateway.canonical.requests import Chat, Effort, OutputFormat, Sampling, ThinkingConfig
from gateway.dialects import LIMITS, Limits
from gateway.dialects.anthropic.blocks import Reading, parse_content
from gateway.dialects.anthropic.tools import parse_choice, parse_tools
from gateway.dialects.fields import (
    INT32,
    Fate,
    Json,
    boolean_or_none,
    field_name,
    fields,
    integer,
    items,
    model_name,
    number,
    one_of,
    sort_out,
    stop_texts,
    wrong_type,
)
from gateway.dialects.options import parse_options
from gateway.errors import BadRequest

_MODELLED: Final = """
    model messages system max_tokens stop_sequences stream temperature top_p top_k tools tool_choice thinking
    output_config output_format gateway provider
"""
_DROPPED: Final = """
    metadata service_tier cache_control inference_geo speed diagnostics billing_policy user_profile_id workspace_id
    betas anthropic_beta anthropic_version context_management mcp_servers fallbacks fallback_credit_token
"""
_REFUSED: Final = "container compaction thread"

FATES: Final[dict[str, Fate]] = {
    **dict.fromkeys(_MODELLED.split(), "modelled"),
    **dict.fromkeys(_DROPPED.split(), "dropped"),
    **dict.fromkeys(_REFUSED.split(), "refused"),
}
"""What becomes of each field of a request. A field that is not here is dropped and named."""

EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
BILLING: Final = "x-anthropic-billing-header:"
"""The head of a line that a coding agent puts before its system prompt, another one in every request."""


def parse_request(body: Json, header_options: str | None = None, limits: Limits = LIMITS) -> Chat:
    """`header_options` is the text of the header `x-gateway-options`. Raises BadRequest or ModelNotFound."""
    _, dropped = sort_out(body, FATES, lambda value: value in ({}, [], False))
    reading = Reading(limits, dropped)
    get = body.get
    messages = _system(get("system"), reading) + _messages(get("messages"), reading)
    chat = Chat(model=model_name(get("model"), limits), messages=messages, sampling=_sampling(body, limits))
    chat.tools, hosted = parse_tools(get("tools"), reading)
    chat.tool_choice, chat.parallel_tool_calls = parse_choice(get("tool_choice"), chat.tools, hosted)
    chat.stream = chat.include_usage = bool(boolean_or_none(get("stream"), "stream"))
    chat.prefill = messages[-1].role == "assistant"
    chat.thinking = _thinking(get("thinking"), reading)
    _output(chat, body, reading)
    if "gateway" in body or "provider" in body or header_options is not None:
        chat.options = parse_options(get("gateway"), get("provider"), header_options)
    chat.dropped = reading.dropped
    return chat


def _system(value: object, reading: Reading) -> list[Message]:
    """The system prompt without its billing line: one that differs from request to request makes every prompt a new
    one for the server's prefix cache."""
    if value is None:
        return []
    kept = []
    for part in parse_content(value, "system", "system", reading):
        assert isinstance(part, Text)
        if part.text.startswith(BILLING):
            reading.drop("system:billing_line")
            part.text = part.text.partition("\n")[2].lstrip("\n")
            if not part.text:
                continue
        kept.append(part)
    return [Message("system", list(kept), path="system")] if kept else []


def _messages(value: object, reading: Reading) -> list[Message]:
    entries = items(value, "messages", reading.limits.messages)
    if not entries:
        raise BadRequest("`messages` is empty", param="messages")
    out: list[Message] = []
    images = 0
    for i, entry in enumerate(entries):
        path = f"messages[{i}]"
        message = fields(entry, path)
        role = one_of(message.get("role"), f"{path}.role", ("user", "assistant", "system"))
        reading.drop_others("messages[]", message, ("role", "content"))
        where = f"{path}.content"
        parts = parse_content(message.get("content"), where, role, reading)  # type: ignore[arg-type]  # one of three
        if not parts:
            if role != "assistant":
                raise BadRequest(f"`{where}` is empty", param=where)
            parts = [Text("", path=where)]
        images += _images(parts)
        if images > reading.limits.images:
            most = reading.limits.images
            code = "array_above_max_length"
            raise BadRequest(f"`{where}` holds image {most + 1}, at most {most} are allowed", param=where, code=code)
        out += _runs(cast(Role, role), parts, path)
    return out


def _images(parts: list[Part]) -> int:
    count = 0
    for part in parts:
        if type(part) is Image:
            count += 1
        elif isinstance(part, ToolResult) and isinstance(part.content, list):
            count += _images(part.content)
    return count


def _runs(role: Role, parts: list[Part], path: str) -> list[Message]:
    """One message; a user's message with tool results in it gives a tool message for each run of them."""
    out: list[Message] = []
    for part in parts:
        whose: Role = "tool" if isinstance(part, ToolResult) else role
        if out and out[-1].role == whose:
            out[-1].parts.append(part)
        else:
            out.append(Message(whose, [part], path=path))
    return out


def _sampling(body: Json, limits: Limits) -> Sampling:
    get = body.get
    out = Sampling()
    if get("max_tokens") is not None:
        out.max_tokens = integer(get("max_tokens"), "max_tokens", 1, INT32)
    if get("temperature") is not None:
        out.temperature = number(get("temperature"), "temperature", 0, 2)
    if get("top_p") is not None:
        out.top_p = number(get("top_p"), "top_p", 0, 1)
    if get("top_k") is not None:
        out.top_k = integer(get("top_k"), "top_k", 0, INT32)
    if get("stop_sequences") is not None:
        stop = items(get("stop_sequences"), "stop_sequences", limits.stop)  # a single text is an error here
        out.stop = stop_texts(stop, "stop_sequences", limits.stop)
    return out


def _thinking(value: object, reading: Reading) -> ThinkingConfig:
    """A budget larger than `max_tokens` is no error: some agents send one, and servers here have no budget of their
    own that it could break."""
    if value is None:
        return ThinkingConfig()
    config = fields(value, "thinking")
    kind = one_of(config.get("type"), "thinking.type", ("enabled", "disabled", "adaptive", "between_tools"))
    reading.drop_others("thinking", config, ("type", "budget_tokens", "display"))
    if kind == "disabled":
        return ThinkingConfig(enabled=False)
    out = ThinkingConfig(enabled=True)
    if config.get("budget_tokens") is not None:
        out.budget = integer(config["budget_tokens"], "thinking.budget_tokens", 1, INT32)
    if config.get("display") is not None:
        out.include = one_of(config["display"], "thinking.display", ("summarized", "omitted")) != "omitted"
    return out


def _output(chat: Chat, body: Json, reading: Reading) -> None:
    """`output_config`, and its older spelling `output_format`."""
    wanted, path = body.get("output_format"), "output_format"
    if body.get("output_config") is not None:
        config = fields(body["output_config"], "output_config")
        reading.drop_others("output_config", config, ("effort", "format"))
        if config.get("effort") is not None:
            effort = cast(Effort, one_of(config["effort"], "output_config.effort", EFFORTS))
            if chat.thinking.enabled:
                chat.thinking.effort = effort
            else:
                reading.drop("output_config.effort")  # it never turns thinking on
        if config.get("format") is not None:
            wanted, path = config["format"], "output_config.format"
    if wanted is None:
        return
    if not isinstance(wanted, dict):
        raise wrong_type(path, "an object", wanted)
    one_of(wanted.get("type"), f"{path}.type", ("json_schema",))
    reading.drop_others(path, wanted, ("type", "schema", "name"))
    name = wanted.get("name")
    schema = fields(wanted.get("schema"), f"{path}.schema")
    named = field_name(name) if isinstance(name, str) else None
    chat.output = OutputFormat("json_schema", named, schema, strict=True, path=f"{path}.schema")
