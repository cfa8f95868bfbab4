"""`generationConfig`, both ways: sampling, the form of the answer, thinking.

Source: https://ai.google.dev/api/generate-content#generationconfig.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, cast

from gateway.canonical.requests import Chat, Effort, OutputFormat, Sampling, ThinkingConfig
from gateway.dialects import Limits
from gateway.dialects.fields import (
    INT32,
    INT64,
    Json,
    boolean,
    field_name,
    fields,
    number,
    one_of,
    text,
    wrong_type,
)
from gateway.dialects.gemini.fields import Shape, plain, strings, under, whole
from gateway.dialects.gemini.openapi import tidy, to_openapi
from gateway.dialects.gemini.receiver import Receiver, nearest_level
from gateway.dialects.gemini.schema import to_json_schema
from gateway.errors import BadRequest, UnsupportedParameter

PATH: Final = "generationConfig"
_MODELLED: Final = (
    "temperature topP topK candidateCount maxOutputTokens stopSequences presencePenalty frequencyPenalty seed "
    "responseLogprobs logprobs responseMimeType responseSchema responseJsonSchema responseFormat thinkingConfig "
    "responseModalities"
)
EXTRA: Final = (
    "mediaResolution speechConfig imageConfig audioTimestamp enableAffectiveDialog enableEnhancedCivicAnswers "
    "translationConfig routingConfig modelSelectionConfig modelConfig audioTranscriptionConfig"
)
"""Fields that only this dialect's own servers know: kept for them."""
FATES: Final = {**dict.fromkeys(_MODELLED.split(), "modelled"), **dict.fromkeys(EXTRA.split(), "extra")}
"""What becomes of each field of a `generationConfig`. A field that is not here is dropped and named."""
_CONFIG: Final = Shape(f"{_MODELLED} {EXTRA} _responseJsonSchema")
_THINKING: Final = Shape("includeThoughts thinkingBudget thinkingLevel")
_FORMAT: Final = Shape("text audio image video")
_TEXT_FORMAT: Final = Shape("mimeType jsonSchema schema")
_NUMBERS: Final = {
    "temperature": ("temperature", 0.0, 2.0),
    "topP": ("top_p", 0.0, 1.0),
    "presencePenalty": ("presence_penalty", -2.0, 2.0),
    "frequencyPenalty": ("frequency_penalty", -2.0, 2.0),
}
_LEVELS: Final = ("THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
_SCHEMA_NAME: Final = "response"
_BUDGETS: Final = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
"""Effort -> tokens, for models that know budgets only. https://ai.google.dev/gemini-api/docs/openai#thinking"""


@dataclass(slots=True)
class Config:
    """What a `generationConfig` says. `kept` = the fields that only this dialect has."""

    sampling: Sampling = field(default_factory=Sampling)
    choices: int = 1
    logprobs: bool = False
    top_logprobs: int | None = None
    output: OutputFormat | None = None
    thinking: ThinkingConfig = field(default_factory=lambda: ThinkingConfig(include=False))
    audio_out: bool = False
    kept: Json = field(default_factory=dict)


def parse_config(value: object, limits: Limits, dropped: list[str]) -> Config:
    """Names in `dropped` what is not known. Raises BadRequest."""
    out = Config()
    if value is None:
        return out
    known, others = _CONFIG.read(value, PATH)
    dropped += [under(PATH, field_name(key)) for key in others]
    _sampling(out.sampling, known, limits)
    if "candidateCount" in known:
        out.choices = whole(known["candidateCount"], under(PATH, "candidateCount"), 1, limits.choices)
    _logprobs(out, known, limits)
    out.output = _output(known)
    if "thinkingConfig" in known:
        out.thinking = _thinking(known["thinkingConfig"], under(PATH, "thinkingConfig"), dropped)
    if "responseModalities" in known:
        out.audio_out = _audio_out(known["responseModalities"], under(PATH, "responseModalities"))
    out.kept = {name: plain(known[name]) for name in EXTRA.split() if name in known}
    return out


def _sampling(out: Sampling, known: Json, limits: Limits) -> None:
    for name, (ours, low, high) in _NUMBERS.items():
        if name in known:
            setattr(out, ours, number(known[name], under(PATH, name), low, high))
    if "topK" in known:
        out.top_k = whole(known["topK"], under(PATH, "topK"), 0, INT32)
    if "maxOutputTokens" in known:
        out.max_tokens = whole(known["maxOutputTokens"], under(PATH, "maxOutputTokens"), 1, INT32)
    if "seed" in known:
        out.seed = whole(known["seed"], under(PATH, "seed"), -INT64 - 1, INT64)
    if "stopSequences" in known:
        path = under(PATH, "stopSequences")
        stops = strings(known["stopSequences"], path)
        if len(stops) > limits.stop:
            raise BadRequest(
                f"`{path}` has {len(stops)} elements, at most {limits.stop} are allowed",
                param=path,
                code="array_above_max_length",
            )
        if "" in stops:
            raise BadRequest("a stop sequence is empty", param=f"{path}[{stops.index('')}]")
        out.stop = stops or None


def _logprobs(out: Config, known: Json, limits: Limits) -> None:
    if "responseLogprobs" in known:
        out.logprobs = boolean(known["responseLogprobs"], under(PATH, "responseLogprobs"))
    if "logprobs" in known:
        path = under(PATH, "logprobs")
        out.top_logprobs = whole(known["logprobs"], path, 0, limits.top_logprobs)
        if not out.logprobs and out.top_logprobs:
            raise BadRequest(f"`{path}` needs responseLogprobs: true", param=path)
        if not out.logprobs:
            out.top_logprobs = None


def _output(known: Json) -> OutputFormat | None:
    """A JSON schema wins over the other form where both are given; a format of the newest kind over both."""
    if "responseFormat" in known:
        return _format(known["responseFormat"], under(PATH, "responseFormat"))
    mime = text(known.get("responseMimeType", ""), under(PATH, "responseMimeType")).strip().lower()
    if mime not in ("", "text/plain", "application/json", "text/x.enum"):
        path = under(PATH, "responseMimeType")
        raise BadRequest(f"`{path}` must be one of text/plain, application/json, text/x.enum", param=path)
    for name in ("responseJsonSchema", "_responseJsonSchema"):
        if name in known:
            path = under(PATH, name)
            return _schema(plain(fields(known[name], path)), mime, path)
    if "responseSchema" in known:
        path = under(PATH, "responseSchema")
        return _schema(to_json_schema(known["responseSchema"], path), mime, path)
    if mime == "text/x.enum":
        path = under(PATH, "responseSchema")
        raise BadRequest(f"`{path}` with an enum is required for text/x.enum", param=path)
    return OutputFormat("json_object") if mime == "application/json" else None


def _schema(schema: Json, mime: str, path: str) -> OutputFormat:
    if mime == "text/plain":
        where = under(PATH, "responseMimeType")
        raise BadRequest(f"a schema needs `{where}`: application/json", param=where)
    if mime != "text/x.enum":
        return OutputFormat("json_schema", _SCHEMA_NAME, schema, path=path)
    values = schema.get("enum")
    if not isinstance(values, list) or not values or not all(isinstance(v, str) and v for v in values):
        raise BadRequest(f"`{path}.enum` must list the texts to choose from", param=f"{path}.enum")
    return OutputFormat("choice", choices=values, path="generationConfig.responseSchema")


def _format(value: object, path: str) -> OutputFormat | None:
    """The list form of newer clients: one entry for text, with or without a schema."""
    entries = value if isinstance(value, list) else [value]
    out: OutputFormat | None = None
    for i, entry in enumerate(entries):
        where = f"{path}[{i}]" if isinstance(value, list) else path
        known, others = _FORMAT.read(entry, where)
        wrong = next((k for k in (*known, *others) if k != "text"), None)
        if wrong is not None:
            raise UnsupportedParameter(f"`{where}`: no server here answers in {field_name(wrong)}", param=where)
        if "text" not in known:
            continue
        inside, _ = _TEXT_FORMAT.read(known["text"], under(where, "text"))
        mime = text(inside.get("mimeType", ""), f"{where}.text.mimeType").strip().lower()
        schema = inside.get("jsonSchema", inside.get("schema"))
        if schema is not None:
            out = _schema(plain(fields(schema, f"{where}.text.jsonSchema")), mime, f"{where}.text.jsonSchema")
        elif mime == "application/json":
            out = OutputFormat("json_object")
    return out


def _thinking(value: object, path: str, dropped: list[str]) -> ThinkingConfig:
    """A level or a budget asks for thinking; to have the thoughts shown does not."""
    known, others = _THINKING.read(value, path)
    dropped += [under(path, field_name(key)) for key in others]
    out = ThinkingConfig(include=False)
    if "includeThoughts" in known:
        out.include = boolean(known["includeThoughts"], under(path, "includeThoughts"))
    if "thinkingBudget" in known:
        _budget(out, whole(known["thinkingBudget"], under(path, "thinkingBudget"), -1, INT32))
    if "thinkingLevel" in known:
        given = known["thinkingLevel"]
        level = one_of(given.upper() if isinstance(given, str) else given, under(path, "thinkingLevel"), _LEVELS)
        if level != _LEVELS[0]:
            out.enabled, out.effort = True, cast(Effort, level.lower())
    return out


def _budget(out: ThinkingConfig, budget: int) -> None:
    if budget < 0:  # as much as the model thinks right
        out.enabled = True
    elif budget == 0:
        out.enabled, out.effort = False, "none"
    else:
        out.enabled, out.budget = True, budget
        out.effort = effort_of(budget)


def effort_of(budget: int) -> Effort:
    if budget <= 0:
        return "none"
    return "low" if budget <= 1024 else "medium" if budget <= 8192 else "high"


def _audio_out(value: object, path: str) -> bool:
    if not isinstance(value, list):
        raise wrong_type(path, "an array", value)
    wanted = [one_of(v.upper() if isinstance(v, str) else v, f"{path}[{i}]", _MODALITIES) for i, v in enumerate(value)]
    for i, modality in enumerate(wanted):
        if modality in ("IMAGE", "VIDEO"):
            raise UnsupportedParameter(f"no server here answers in {modality.lower()}s", param=f"{path}[{i}]")
    return "AUDIO" in wanted


_MODALITIES: Final = ("MODALITY_UNSPECIFIED", "TEXT", "AUDIO", "IMAGE", "VIDEO")


def render_config(chat: Chat, receiver: Receiver, kept: Json) -> Json:
    """Only what is asked for. `kept` = the dialect's own fields, by their names here."""
    out: Json = {}
    sampling = chat.sampling
    for name, (ours, _, _) in _NUMBERS.items():
        if (value := getattr(sampling, ours)) is not None:
            out[name] = value
    if sampling.top_k is not None and sampling.top_k >= 0:
        out["topK"] = sampling.top_k
    if chat.choices != 1:
        out["candidateCount"] = chat.choices
    if sampling.max_tokens is not None:
        out["maxOutputTokens"] = sampling.max_tokens
    if sampling.stop:
        out["stopSequences"] = sampling.stop
    if sampling.seed is not None:
        out["seed"] = sampling.seed
    if chat.logprobs:
        out["responseLogprobs"] = True
        if chat.top_logprobs is not None:
            out["logprobs"] = chat.top_logprobs
    if chat.output is not None:
        out |= render_output(chat.output, receiver)
    thinking = render_thinking(chat.thinking, receiver)
    if thinking:
        out["thinkingConfig"] = thinking
    if chat.audio_out:
        out["responseModalities"] = ["AUDIO"]
    return {**kept, **out}


def render_output(output: OutputFormat, receiver: Receiver) -> Json:
    if output.kind == "choice":
        return {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": output.choices or []}}
    out: Json = {"responseMimeType": "application/json"}
    if output.kind == "json_schema" and output.schema is not None:
        if receiver.schema_form == "openapi":
            out["responseSchema"] = to_openapi(output.schema, ordered=True)
        else:
            out["responseJsonSchema"] = tidy(output.schema)
    return out


def render_thinking(thinking: ThinkingConfig, receiver: Receiver) -> Json:
    """Empty if nothing is asked, or the receiver knows nothing of it. Thoughts are asked for, never forbidden: servers
    that send them anyway do so whatever they are told."""
    if not (receiver.levels or receiver.budget):
        return {}
    shown = thinking.include and thinking.enabled is not False and not receiver.unasked
    out: Json = {"includeThoughts": True} if shown else {}
    effort: Any = "none" if thinking.enabled is False else thinking.effort
    if receiver.budget and (thinking.budget is not None or effort == "none" or not receiver.levels):
        if thinking.budget is not None and effort != "none":
            out["thinkingBudget"] = thinking.budget
        elif effort is not None:
            out["thinkingBudget"] = _BUDGETS[effort]
        elif thinking.enabled:
            out["thinkingBudget"] = -1
    elif receiver.levels:
        if effort is None and thinking.budget is not None:
            effort = effort_of(thinking.budget)
        if effort is not None:
            out["thinkingLevel"] = nearest_level(effort, receiver.levels).upper()
        elif thinking.enabled and receiver.budget:
            out["thinkingBudget"] = -1
        elif thinking.enabled:
            out["thinkingLevel"] = nearest_level("high", receiver.levels).upper()
    return out
