"""Requests to `/api/chat`, `/api/generate` and `/api/embed`; chat both ways.

`parse_chat(render_chat(chat)) == chat` for what the dialect can say. Source: https://docs.ollama.com/api
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Final, Literal, cast

from gateway.canonical.content import Message, Part, Text
from gateway.canonical.requests import Chat, Completion, Effort, Embedding, OutputFormat, Sampling, ThinkingConfig
from gateway.dialects import LIMITS, Limits
from gateway.dialects.fields import (
    INT32,
    Fate,
    Json,
    boolean_or_none,
    fields,
    integer_or_none,
    items,
    model_name,
    one_of,
    sort_out,
    text,
    text_or_none,
    wrong_type,
)
from gateway.dialects.ollama.messages import parse_images, parse_messages, render_messages
from gateway.dialects.ollama.options import DIALECT, OWN, parse_options, render_options
from gateway.dialects.openai.tools import parse_tools, render_tools
from gateway.dialects.options import parse_options as parse_gateway_options
from gateway.errors import BadRequest, ModelNotFound

Form = Literal["chat", "generate"]


@dataclass(slots=True)
class Remembered:
    """What an answer must know of its request; it rides in `client`. The server sets `created` (Unix seconds) and
    `clock` (nanoseconds, only its differences count); without a clock no durations are told."""

    form: Form = "chat"
    created: float = 0
    clock: Callable[[], int] | None = None
    began: int = 0


_COMMON: Final = "model stream options format think logprobs top_logprobs gateway provider"
_EMBED: Final = "model input prompt dimensions options gateway provider"
_OWN: Final = "keep_alive truncate shift"

CHAT_FATES: Final[dict[str, Fate]] = {
    **dict.fromkeys(f"{_COMMON} messages tools".split(), "modelled"),
    **dict.fromkeys(_OWN.split(), "extra"),
}
GENERATE_FATES: Final[dict[str, Fate]] = {
    **dict.fromkeys(f"{_COMMON} prompt system images raw suffix".split(), "modelled"),
    **dict.fromkeys(_OWN.split(), "extra"),
    **dict.fromkeys(("context", "template", "width", "height", "steps"), "refused"),
}
EMBED_FATES: Final[dict[str, Fate]] = {
    **dict.fromkeys(_EMBED.split(), "modelled"),
    **dict.fromkeys(("keep_alive", "truncate"), "extra"),
}
"""What becomes of each field of a request. A field that is not here is dropped and named."""

_EFFORTS: Final = ("low", "medium", "high", "max")


def is_load(body: Json) -> str | None:
    """What a request without a prompt wants: the model in memory ("load") or out of it ("unload"). None for others."""
    if body.get("messages") or body.get("prompt") or body.get("images") or body.get("suffix"):
        return None
    return "unload" if body.get("keep_alive") in (0, "0", "0s", "0m") else "load"


def parse_chat(body: Json, header_options: str | None = None, limits: Limits = LIMITS) -> Chat:
    """Raises BadRequest or ModelNotFound."""
    extra, dropped = sort_out(body, CHAT_FATES, _is_default)
    messages = parse_messages(body.get("messages"), limits, dropped)
    chat = _chat(body, header_options, limits, messages, extra, dropped)
    if body.get("tools"):
        chat.tools = parse_tools(body, limits, dropped)
    chat.client = Remembered("chat")
    return chat


def parse_generate(body: Json, header_options: str | None = None, limits: Limits = LIMITS) -> Chat | Completion:
    """`raw`, and a `suffix`, are completions of a text; else the prompt is a chat of one turn."""
    extra, dropped = sort_out(body, GENERATE_FATES, _is_default)
    prompt = text_or_none(body.get("prompt"), "prompt") or ""
    system = text_or_none(body.get("system"), "system")
    images = parse_images(body.get("images"), "images", limits)
    suffix = text_or_none(body.get("suffix"), "suffix") or None
    out: Chat | Completion
    if boolean_or_none(body.get("raw"), "raw") or suffix is not None:
        for key in ("images", "system", "format", "think"):
            if body.get(key):
                raise BadRequest(f"`{key}` does not go with `raw` or `suffix`", param=key)
        sampling = parse_options(body.get("options"), limits, extra, dropped)
        out = Completion(_model(body, limits), [prompt], suffix, sampling=sampling)
        if boolean_or_none(body.get("logprobs"), "logprobs"):
            out.logprobs = integer_or_none(body.get("top_logprobs"), "top_logprobs", 0, limits.top_logprobs) or 0
        out.stream = out.include_usage = _streamed(body)
        out.extra = {DIALECT: extra} if extra else None
        out.dropped = dropped
        _gateway_options(out, body, header_options)
    else:
        messages = [Message("system", [Text(system, path="system")], path="system")] if system else []
        parts: list[Part] = [*images, Text(prompt, path="prompt")] if prompt or not images else list(images)
        messages.append(Message("user", parts, path="prompt"))
        out = _chat(body, header_options, limits, messages, extra, dropped)
    out.client = Remembered("generate")
    return out


def _chat(
    body: Json, header_options: str | None, limits: Limits, messages: list[Message], extra: Json, dropped: list[str]
) -> Chat:
    sampling = parse_options(body.get("options"), limits, extra, dropped)
    chat = Chat(_model(body, limits), messages, sampling=sampling, dropped=dropped)
    chat.stream = chat.include_usage = _streamed(body)
    chat.output = _format(body.get("format"))
    chat.thinking = _think(body.get("think"))
    chat.logprobs = bool(boolean_or_none(body.get("logprobs"), "logprobs"))
    top = integer_or_none(body.get("top_logprobs"), "top_logprobs", 0, limits.top_logprobs)
    chat.top_logprobs = top if chat.logprobs else None
    chat.prefill = messages[-1].role == "assistant"
    chat.extra = {DIALECT: extra} if extra else None
    _gateway_options(chat, body, header_options)
    return chat


def parse_embed(body: Json, header_options: str | None = None, limits: Limits = LIMITS) -> Embedding:
    """`input`, or `prompt` of the older endpoint."""
    extra, dropped = sort_out(body, EMBED_FATES, _is_default)
    path = "input" if body.get("input") is not None else "prompt"
    given = body.get(path)
    if path == "input" and body.get("prompt") is not None:
        dropped.append("prompt")
    if isinstance(given, str):
        texts = [given]
    else:
        path = "input"
        texts = [text(t, f"input[{i}]") for i, t in enumerate(items(given, path, limits.prompts))]
    if not texts or "" in texts:
        raise BadRequest("there is an empty text to embed", param=path)
    sampling = parse_options(body.get("options"), limits, extra, dropped)
    if sampling != Sampling():
        dropped.append("options")
    out = Embedding(_model(body, limits), texts, extra={DIALECT: extra} if extra else None, dropped=dropped)
    out.dimensions = integer_or_none(body.get("dimensions"), "dimensions", 1, INT32)
    _gateway_options(out, body, header_options)
    return out


def _is_default(value: object) -> bool:
    return value in ("", [], False, 0)


def _model(body: Json, limits: Limits) -> str:
    """Clients of this dialect also call it `name`."""
    value = body.get("model")
    if value == "":
        raise ModelNotFound("the model has no name", param="model")
    return model_name(value, limits)


def _streamed(body: Json) -> bool:
    """What says nothing is streamed."""
    return boolean_or_none(body.get("stream"), "stream") is not False


def _format(value: object) -> OutputFormat | None:
    """The server holds the answer to a schema, so it is strict."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        one_of(value, "format", ("json",))
        return OutputFormat("json_object")
    return OutputFormat("json_schema", schema=fields(value, "format"), strict=True, path="format")


def _think(value: object) -> ThinkingConfig:
    if value is None:
        return ThinkingConfig()
    if isinstance(value, bool):
        return ThinkingConfig(enabled=value)
    if isinstance(value, str):
        return ThinkingConfig(enabled=True, effort=cast(Effort, one_of(value, "think", _EFFORTS)))
    raise wrong_type("think", "a boolean or a string", value)


def _gateway_options(out: Chat | Completion | Embedding, body: Json, header_options: str | None) -> None:
    if "gateway" in body or "provider" in body or header_options is not None:
        out.options = parse_gateway_options(body.get("gateway"), body.get("provider"), header_options)


def render_chat(chat: Chat, *, extras: Container[str] | None = None) -> Json:
    """The body for `/api/chat`; a long medium stays Segments. `extras`: the dialect's own fields and options that the
    receiver gets (None = all). A choice of tools, choices, audio out, `logit_bias` and a thinking budget have no words
    in this dialect: whoever sends this sees to it. Raises PartRefused."""
    given = (chat.extra or {}).get(DIALECT) or {}
    own = {k: v for k, v in given.items() if extras is None or k in extras}
    out: Json = {"model": chat.model, "messages": render_messages(chat.messages)}
    if chat.tools:
        out["tools"] = render_tools(chat.tools, ())
    options = render_options(chat.sampling, own)
    if options:
        out["options"] = options
    if chat.output is not None:
        out["format"] = chat.output.schema if chat.output.kind == "json_schema" else "json"
    think = render_think(chat.thinking)
    if think is not None:
        out["think"] = think
    if chat.logprobs:
        out["logprobs"] = True
        if chat.top_logprobs is not None:
            out["top_logprobs"] = chat.top_logprobs
    out["stream"] = chat.stream
    return out | {k: v for k, v in own.items() if k not in OWN}


def render_think(thinking: ThinkingConfig) -> bool | str | None:
    """An effort where the dialect has a word for it, else whether at all; None if nothing was asked."""
    if thinking.enabled and thinking.effort in _EFFORTS:
        return thinking.effort
    return thinking.enabled
