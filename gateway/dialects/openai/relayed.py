"""Operations whose answers are passed on: rerank, speech, images, infill. Their requests are read all the same: fields
that nobody here knows might hold media, or a server's own paths. None of them takes media: where an API has a place for
some, texts alone are taken.

Sources: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html#re-rank-api,
https://platform.openai.com/docs/api-reference/audio/createSpeech,
https://platform.openai.com/docs/api-reference/images/create,
https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md#post-infill-for-code-infilling
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from gateway.canonical.requests import Relayed, RelayedOperation
from gateway.dialects import LIMITS, Encoder, Limits
from gateway.dialects.fields import (
    Fate,
    Json,
    field_name,
    fields,
    integer,
    items,
    lenient_boolean,
    missing,
    model_name,
    number,
    one_of,
    sort_out,
    text,
    wrong_type,
)
from gateway.dialects.openai.answers import TOP, layer
from gateway.dialects.openai.errors import error_of, read_error
from gateway.dialects.options import parse_options
from gateway.errors import BadRequest, BadResponse, UnsupportedParameter

_OURS: Final = ("model", "gateway", "provider")
_SOUNDS: Final = ("mp3", "opus", "aac", "flac", "wav", "pcm")


@dataclass(slots=True, frozen=True)
class Form:
    """`path`: where servers have it. `known`: its fields, each with what reads it. `extras`: fields that go as they
    are. `refused`: fields that change what the answer is. `result`: the answer's field without which it is none, ""
    where the answer is no JSON. `model`: whom it is for where nobody says."""

    path: str
    known: dict[str, Callable[[object, str], Any]]
    extras: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    result: str = ""
    model: str = ""

    @property
    def fates(self) -> dict[str, Fate]:
        return {
            **dict.fromkeys((*_OURS, *self.known), "modelled"),
            **dict.fromkeys(self.extras, "extra"),
            **dict.fromkeys(self.refused, "refused"),
        }


def _plain(value: object, path: str) -> Any:
    """A text, or an object that holds one and nothing else."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise wrong_type(path, "a text", value)
    more = [key for key in value if key != "text"]
    if more:
        raise UnsupportedParameter(f"`{path}` may hold a text only: nothing else is passed on", param=path)
    return {"text": text(value.get("text"), f"{path}.text")}


def _documents(value: object, path: str) -> list[Any]:
    found = items(value, path, LIMITS.prompts)
    if not found:
        raise BadRequest(f"`{path}` is empty", param=path)
    return [_plain(entry, f"{path}[{i}]") for i, entry in enumerate(found)]


def _voice(value: object, path: str) -> Any:
    return {"id": text(fields(value, path).get("id"), f"{path}.id")} if isinstance(value, dict) else text(value, path)


def _files(value: object, path: str) -> list[Any]:
    """Other files that the model sees: their names and texts."""
    out = []
    for i, entry in enumerate(items(value, path, LIMITS.parts)):
        one = fields(entry, f"{path}[{i}]")
        out.append({k: text(one[k], f"{path}[{i}].{k}") for k in ("filename", "text") if one.get(k) is not None})
    return out


def _told(value: object, path: str) -> list[str]:
    """What the answer shall tell, which is nothing without what was filled in."""
    names = [text(name, f"{path}[{i}]") for i, name in enumerate(items(value, path, LIMITS.parts))]
    if names and "content" not in names:
        raise BadRequest(f"`{path}` must name content: there is no answer without it", param=path)
    return names


def _whole(value: object, path: str) -> bool:
    if lenient_boolean(value, path):
        raise UnsupportedParameter(f"`{path}` is not supported: ask for the whole answer", param=path)
    return False


def _filled(value: object, path: str) -> str:
    words = text(value, path)
    if not words:
        raise BadRequest(f"`{path}` is empty", param=path)
    return words


FORMS: Final[dict[RelayedOperation, Form]] = {
    "rerank": Form(
        "/v1/rerank",
        {"query": _plain, "documents": _documents},
        extras=("top_n", "return_documents", "max_tokens_per_doc", "truncate_prompt_tokens"),
        needed=("query", "documents"),
        result="results",
    ),
    "speech": Form(
        "/v1/audio/speech",
        {
            "input": _filled,
            "voice": _voice,
            "instructions": text,
            "response_format": lambda v, p: one_of(v, p, _SOUNDS),
            "speed": lambda v, p: number(v, p, 0.25, 4.0),
            "stream_format": lambda v, p: one_of(v, p, ("audio",)),
        },
        needed=("input",),
    ),
    "images": Form(
        "/v1/images/generations",
        {"prompt": _filled, "n": lambda v, p: integer(v, p, 1, LIMITS.choices), "stream": _whole},
        extras=(
            *("size", "quality", "style", "background", "moderation", "output_format", "output_compression"),
            *("response_format", "negative_prompt", "seed", "steps", "num_inference_steps", "guidance_scale"),
        ),
        refused=("partial_images",),
        needed=("prompt",),
        result="data",
    ),
    "infill": Form(
        "/infill",
        {
            "input_prefix": text,
            "input_suffix": text,
            "input_extra": _files,
            "prompt": text,
            "stream": _whole,
            "response_fields": _told,
        },
        extras=(
            *("n_predict", "max_tokens", "n_indent", "n_probs", "stop", "seed", "temperature", "top_k", "top_p"),
            *("min_p", "samplers", "repeat_penalty", "repeat_last_n", "presence_penalty", "frequency_penalty"),
            *("cache_prompt", "t_max_prompt_ms", "t_max_predict_ms"),
        ),
        result="content",
        model="auto",
    ),
}


def parse_request(
    operation: RelayedOperation, body: Json, header_options: str | None = None, limits: Limits = LIMITS
) -> Relayed:
    """Raises BadRequest or ModelNotFound."""
    form = FORMS[operation]
    extra, dropped = sort_out(body, form.fates, lambda v: v in (0, [], ""))
    for name in form.needed:
        if body.get(name) is None:
            raise missing(name)
    known = {k: read(body[k], k) for k, read in form.known.items() if body.get(k) is not None}
    out = Relayed(operation, model_name(body.get("model") or form.model or None, limits), known)
    dropped += [name for k, kept in known.items() for name in _left_out(body[k], kept, k)]
    out.extra, out.dropped = layer(TOP, extra), dropped
    if "gateway" in body or "provider" in body or header_options is not None:
        out.options = parse_options(body.get("gateway"), body.get("provider"), header_options)
    return out


def _left_out(sent: object, kept: object, path: str) -> Iterator[str]:
    """The paths of what stood within a field and was not read."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        yield from (f"{path}.{field_name(k)}" for k, v in sent.items() if v is not None and k not in kept)
    elif isinstance(sent, list) and isinstance(kept, list):
        for i, (entry, read) in enumerate(zip(sent, kept, strict=True)):
            yield from _left_out(entry, read, f"{path}[{i}]")


def render_request(request: Relayed, model: str) -> Json:
    """The body for a server, which calls the model so."""
    return {"model": model, **request.fields, **((request.extra or {}).get(TOP) or {})}


def parse_answer(request: Relayed, body: Any) -> Json:
    """The reply, as it came. Raises BadResponse if it is none, or the error that it tells."""
    result = FORMS[request.operation].result
    if not isinstance(body, dict) or not result or body.get(result) is None:
        fault = read_error(body)
        raise error_of(fault) if fault else BadResponse(f"the server's answer holds no {result or request.operation}")
    return body


class RelayedCodec:
    """See `gateway.dialects.Codec`; there are no events."""

    def __init__(self, operation: RelayedOperation) -> None:
        self._operation = operation

    def parse_request(self, body: Json, header_options: str | None = None, limits: Limits = LIMITS) -> Relayed:
        return parse_request(self._operation, body, header_options, limits)

    def render_answer(self, answer: Json, request: Relayed) -> Json:
        return answer

    def encoder(self, request: Relayed, model: str) -> Encoder:
        raise TypeError(f"{self._operation} has no events")
