"""Chat Completions requests, both ways: `parse_request(render_request(chat)) == chat`.

Source: https://platform.openai.com/docs/api-reference/chat/create, and the fields of the servers that speak it.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import fields as dataclass_fields
from typing import Final, cast

from gateway.canonical.requests import Chat, Effort, OutputFormat, Sampling, ThinkingConfig
from gateway.dialects import LIMITS, Limits
from gateway.dialects.fields import (
    INT32,
    INT64,
    Fate,
    Json,
    boolean,
    boolean_or_none,
    field_name,
    fields,
    fields_or_none,
    integer,
    integer_or_none,
    items,
    lenient_boolean,
    model_name,
    number,
    one_of,
    rest,
    shown,
    sort_out,
    stop_texts,
    text_or_none,
    wrong_type,
)
from gateway.dialects.openai.messages import ReasoningField, parse_messages, render_messages
from gateway.dialects.openai.parts import DIALECT
from gateway.dialects.openai.tools import parse_choice, parse_tools, render_choice, render_tools
from gateway.dialects.options import parse_options
from gateway.errors import BadRequest, UnsupportedParameter

_MODELLED: Final = """
    model messages stream stream_options tools tool_choice parallel_tool_calls functions function_call n logprobs
    top_logprobs response_format modalities audio gateway provider
    temperature top_p seed max_tokens max_completion_tokens stop presence_penalty frequency_penalty logit_bias
    top_k min_p repetition_penalty repeat_penalty guided_json
    reasoning_effort reasoning thinking enable_thinking thinking_budget chat_template_kwargs include_reasoning
"""
_EXTRA: Final = """
    structured_outputs grammar guided_regex guided_choice guided_grammar
    mm_processor_kwargs media_io_kwargs cache_salt cache_prompt id_slot priority documents
    min_tokens stop_token_ids ignore_eos include_stop_str_in_output skip_special_tokens spaces_between_special_tokens
    bad_words allowed_token_ids typical_p tfs_z top_a mirostat mirostat_tau mirostat_eta samplers length_penalty
    dynatemp_range dynatemp_exponent xtc_probability xtc_threshold top_n_sigma repeat_last_n repetition_context_size
    dry_multiplier dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers
    continue_final_message add_generation_prompt echo prompt_logprobs return_tokens_as_token_ids return_token_ids
    timings_per_token reasoning_format thinking_forced_open min_keep
"""
_DROPPED: Final = """
    user metadata store service_tier prompt_cache_key prompt_cache_retention prompt_cache_options safety_identifier
    prediction verbosity web_search_options
"""
_REFUSED: Final = "moderation best_of use_beam_search"

FATES: Final[dict[str, Fate]] = {
    **dict.fromkeys(_MODELLED.split(), "modelled"),
    **dict.fromkeys(_EXTRA.split(), "extra"),
    **dict.fromkeys(_DROPPED.split(), "dropped"),
    **dict.fromkeys(_REFUSED.split(), "refused"),
}
"""What becomes of each field of a request. A field that is not here is dropped and named."""

BINDING_EXTRAS: Final = frozenset({"structured_outputs", "grammar", "guided_regex", "guided_choice", "guided_grammar"})
"""Extras that change what the answer means: a server that does not take one can't take the request."""

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def parse_request(body: Json, header_options: str | None = None, limits: Limits = LIMITS) -> Chat:
    """`header_options` is the text of the header `x-gateway-options`. Raises BadRequest or ModelNotFound."""
    extra, dropped = sort_out(body, FATES, lambda value: value is False or (value == 1 and value is not True))
    chat = Chat(
        model=model_name(body.get("model"), limits),
        messages=parse_messages(body.get("messages"), limits),
        sampling=parse_sampling(body, limits),
        dropped=dropped,
    )
    # a request has a few of these fields: what is not there costs one look
    if "stream" in body:
        chat.stream = bool(boolean_or_none(body["stream"], "stream"))
    if not _TOOL_FIELDS.isdisjoint(body):
        chat.tools = parse_tools(body, limits, dropped)
        chat.tool_choice = parse_choice(body, chat.tools)
        parallel = boolean_or_none(body.get("parallel_tool_calls"), "parallel_tool_calls")
        chat.parallel_tool_calls = parallel if chat.tools else None
    if not _RARE_FIELDS.isdisjoint(body):
        _rare(chat, body, limits)
    if not _THINKING_FIELDS.isdisjoint(body):
        chat.thinking = _thinking(body, extra, dropped)
    if not _SPEECH_FIELDS.isdisjoint(body):
        chat.audio_out = _audio_out(body, extra)
    if body.get("stream_options") is not None:
        chat.include_usage = include_usage(body["stream_options"], dropped) and chat.stream
    chat.prefill = chat.messages[-1].role == "assistant"
    if "gateway" in body or "provider" in body or header_options is not None:
        chat.options = parse_options(body.get("gateway"), body.get("provider"), header_options)
    if extra:
        chat.extra = {DIALECT: extra}
    return chat


_TOOL_FIELDS: Final = frozenset({"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"})
_THINKING_FIELDS: Final = frozenset(
    {
        "chat_template_kwargs",
        "enable_thinking",
        "include_reasoning",
        "reasoning",
        "reasoning_effort",
        "thinking",
        "thinking_budget",
    }
)
_SPEECH_FIELDS: Final = frozenset({"modalities", "audio"})
_RARE_FIELDS: Final = frozenset({"n", "logprobs", "top_logprobs", "response_format", "guided_json"})


def _rare(chat: Chat, body: Json, limits: Limits) -> None:
    if body.get("n") is not None:
        chat.choices = integer(body["n"], "n", 1, limits.choices)
    chat.logprobs = bool(boolean_or_none(body.get("logprobs"), "logprobs"))
    chat.top_logprobs = integer_or_none(body.get("top_logprobs"), "top_logprobs", 0, limits.top_logprobs)
    chat.output = _output(body)
    if chat.top_logprobs and not chat.logprobs:
        raise BadRequest("`top_logprobs` needs `logprobs`: true", param="top_logprobs")


_NUMBERS: Final[dict[str, tuple[float, float]]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "min_p": (0, 1),
}
_SAMPLING_FIELDS: Final = frozenset(_NUMBERS) | {
    "logit_bias",
    "max_completion_tokens",
    "max_tokens",
    "repeat_penalty",
    "repetition_penalty",
    "seed",
    "stop",
    "top_k",
}


def parse_sampling(body: Json, limits: Limits = LIMITS) -> Sampling:
    """How tokens are chosen; the same fields in chat and completions."""
    out = Sampling()
    if _SAMPLING_FIELDS.isdisjoint(body):
        return out
    get = body.get
    for key, (least, most) in _NUMBERS.items():
        if get(key) is not None:
            setattr(out, key, number(body[key], key, least, most))
    if get("seed") is not None:
        out.seed = integer(body["seed"], "seed", -INT64 - 1, INT64)
    if get("top_k") is not None:
        out.top_k = integer(body["top_k"], "top_k", -1, INT32)
    out.max_tokens = _max_tokens(body)
    for key in ("repetition_penalty", "repeat_penalty"):
        if get(key) is not None:
            out.repetition_penalty = number(body[key], key, 0, 10)
            break
    if get("stop") is not None:
        out.stop = stop_texts(body["stop"], "stop", limits.stop)
    if get("logit_bias") is not None:
        out.logit_bias = _logit_bias(body["logit_bias"], limits)
    return out


def _max_tokens(body: Json) -> int | None:
    """The newer name wins where both are given. -1 is what several servers' own clients write for no limit."""
    for key in ("max_completion_tokens", "max_tokens"):
        if body.get(key) is not None and body[key] != -1:
            return integer(body[key], key, 1, INT32)
    return None


def _logit_bias(value: object, limits: Limits) -> dict[str, float] | None:
    """Token id (or text, where a server takes that) -> bias. Also understood as a list of pairs."""
    if isinstance(value, list):
        pairs = [
            items(pair, f"logit_bias[{i}]", 2) for i, pair in enumerate(items(value, "logit_bias", limits.logit_bias))
        ]
        if any(len(p) != 2 or isinstance(p[0], bool) or not isinstance(p[0], int | str) for p in pairs):
            raise BadRequest("`logit_bias` as an array holds pairs of token and bias", param="logit_bias")
        value = {str(token): bias for token, bias in pairs}
    bias = fields(value, "logit_bias")
    if len(bias) > limits.logit_bias:
        raise BadRequest(
            f"`logit_bias` has {len(bias)} entries, at most {limits.logit_bias} are allowed",
            param="logit_bias",
            code="array_above_max_length",
        )
    return {token: number(v, f"logit_bias.{field_name(token)}", -100, 100) for token, v in bias.items()} or None


def include_usage(value: object, dropped: list[str]) -> bool:
    """`stream_options.include_usage`. Its other fields are named in `dropped`."""
    options = fields(value, "stream_options")
    dropped += [f"stream_options.{field_name(k)}" for k, v in options.items() if k != "include_usage" and v is not None]
    return bool(boolean_or_none(options.get("include_usage"), "stream_options.include_usage"))


def _output(body: Json) -> OutputFormat | None:
    if body.get("response_format") is None:
        if body.get("guided_json") is not None:
            schema = fields(body["guided_json"], "guided_json")
            return OutputFormat("json_schema", "schema", schema, strict=True, path="guided_json")
        return None
    path = "response_format"
    wanted = fields(body["response_format"], path)
    kind = one_of(wanted.get("type"), f"{path}.type", ("text", "json_object", "json_schema"))
    if kind == "text":
        return None
    if kind == "json_object":
        if wanted.get("schema"):
            path = f"{path}.schema"
            return OutputFormat("json_schema", "schema", fields(wanted["schema"], path), path=path)
        return OutputFormat("json_object")
    inner = fields(wanted.get("json_schema"), f"{path}.json_schema")
    return OutputFormat(
        "json_schema",
        text_or_none(inner.get("name"), f"{path}.json_schema.name") or "schema",
        fields_or_none(inner.get("schema"), f"{path}.json_schema.schema"),
        text_or_none(inner.get("description"), f"{path}.json_schema.description"),
        boolean_or_none(inner.get("strict"), f"{path}.json_schema.strict"),
        path=f"{path}.json_schema.schema",
    )


def _thinking(body: Json, extra: Json, dropped: list[str]) -> ThinkingConfig:
    """All the spellings there are. The plainer a switch is, the more it counts: an explicit on or off beats what an
    effort implies. Other template arguments go into `extra`; what else the objects hold is named in `dropped`."""
    out = ThinkingConfig()
    get = body.get
    if get("reasoning_effort") is not None:
        _effort(out, body["reasoning_effort"], "reasoning_effort")
    if get("thinking") is not None:
        path = "thinking"
        wanted = fields(body[path], path)
        out.enabled = one_of(wanted.get("type"), f"{path}.type", ("enabled", "disabled", "adaptive")) != "disabled"
        out.budget = integer_or_none(wanted.get("budget_tokens"), f"{path}.budget_tokens", 0, INT32)
        dropped += [f"{path}.{field_name(k)}" for k in rest(wanted, ("type", "budget_tokens")) or ()]
    if get("reasoning") is not None:
        path = "reasoning"
        wanted = fields(body[path], path)
        if wanted.get("effort") is not None:
            _effort(out, wanted["effort"], f"{path}.effort")
        if wanted.get("enabled") is not None:
            out.enabled = boolean(wanted["enabled"], f"{path}.enabled")
        if wanted.get("max_tokens") is not None:
            out.budget = integer(wanted["max_tokens"], f"{path}.max_tokens", 0, INT32)
        out.include = not boolean_or_none(wanted.get("exclude"), f"{path}.exclude")
        dropped += [f"{path}.{field_name(k)}" for k in rest(wanted, _REASONING) or ()]
    if get("include_reasoning") is not None:
        out.include = lenient_boolean(body["include_reasoning"], "include_reasoning")
    if get("thinking_budget") is not None:
        out.budget = integer(body["thinking_budget"], "thinking_budget", 0, INT32)
    if get("enable_thinking") is not None:
        out.enabled = lenient_boolean(body["enable_thinking"], "enable_thinking")
    if get("chat_template_kwargs") is not None:
        path = "chat_template_kwargs"
        arguments = dict(fields(body[path], path))
        switch = arguments.pop("enable_thinking", None)
        if switch is not None:
            out.enabled = lenient_boolean(switch, f"{path}.enable_thinking")
        if arguments:
            extra[path] = arguments
    if out.enabled is None and out.budget is not None:
        out.enabled = out.budget > 0
    return out


_REASONING: Final = ("effort", "enabled", "max_tokens", "exclude")


def _effort(out: ThinkingConfig, value: object, path: str) -> None:
    out.effort = cast(Effort, one_of(value, path, EFFORTS))
    out.enabled = out.effort != "none"


def _audio_out(body: Json, extra: Json) -> bool:
    wanted = False
    if body.get("modalities") is not None:
        for i, modality in enumerate(items(body["modalities"], "modalities", 8)):
            if not isinstance(modality, str):
                raise wrong_type(f"modalities[{i}]", "a string", modality)
            if modality not in ("text", "audio"):
                raise UnsupportedParameter(
                    f"`modalities[{i}]` is {shown(modality)}; choices: text, audio", param=f"modalities[{i}]"
                )
            wanted = wanted or modality == "audio"
    if body.get("audio") is not None:
        extra["audio"] = fields(body["audio"], "audio")
        wanted = True
    return wanted


def render_request(
    chat: Chat, *, extras: Container[str] | None = None, reasoning_field: ReasoningField = "reasoning_content"
) -> Json:
    """The request as JSON values; a long medium stays Segments. Nothing that was not asked for is written.

    `extras`: the dialect's own fields that the receiver takes, at any depth (None = all of them). `reasoning_field`
    names the field for the thoughts of earlier turns. Thinking is rendered by `render_thinking`, for a server that has
    its own way to replace. Raises PartRefused for parts that this dialect has no form for.
    """
    out: Json = {"model": chat.model, "messages": render_messages(chat.messages, extras, reasoning_field)}
    if chat.tools:
        out["tools"] = render_tools(chat.tools, extras)
        if chat.tool_choice is not None:
            out["tool_choice"] = render_choice(chat.tool_choice, chat.tools)
        if chat.parallel_tool_calls is not None:
            out["parallel_tool_calls"] = chat.parallel_tool_calls
    out |= render_sampling(chat.sampling)
    if chat.choices != 1:
        out["n"] = chat.choices
    if chat.logprobs:
        out["logprobs"] = True
    if chat.top_logprobs is not None:
        out["top_logprobs"] = chat.top_logprobs
    if chat.output is not None and chat.output.kind == "choice":
        out["structured_outputs"] = {"choice": chat.output.choices}
    elif chat.output is not None:
        out["response_format"] = render_output(chat.output)
    out |= render_thinking(chat.thinking)
    if chat.audio_out:
        out["modalities"] = ["text", "audio"]
    if chat.stream:
        out["stream"] = True
        if chat.include_usage:
            out["stream_options"] = {"include_usage": True}
    for key, value in ((chat.extra or {}).get(DIALECT) or {}).items():
        if extras is None or key in extras:
            out[key] = value
    return out


def render_sampling(sampling: Sampling) -> Json:
    """Only what the client set."""
    return {key: value for key in _SAMPLING_ORDER if (value := getattr(sampling, key)) is not None}


_SAMPLING_ORDER: Final = tuple(f.name for f in dataclass_fields(Sampling))


def render_output(output: OutputFormat) -> Json:
    if output.kind == "json_object":
        return {"type": "json_object"}
    inner: Json = {"name": output.name or "schema"}
    if output.description is not None:
        inner["description"] = output.description
    if output.schema is not None:
        inner["schema"] = output.schema
    if output.strict is not None:
        inner["strict"] = output.strict
    return {"type": "json_schema", "json_schema": inner}


def render_thinking(thinking: ThinkingConfig) -> Json:
    """`reasoning_effort` where that says it all, else the object `reasoning`. Empty if nothing was asked."""
    implied = None if thinking.effort is None else thinking.effort != "none"
    if thinking.budget is None and thinking.include and thinking.enabled is implied:
        return {"reasoning_effort": thinking.effort} if thinking.effort is not None else {}
    inner: Json = {}
    if thinking.enabled is not None:
        inner["enabled"] = thinking.enabled
    if thinking.effort is not None:
        inner["effort"] = thinking.effort
    if thinking.budget is not None:
        inner["max_tokens"] = thinking.budget
    if not thinking.include:
        inner["exclude"] = True
    return {"reasoning": inner}
