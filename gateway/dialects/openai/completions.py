"""Legacy text completions (`/v1/completions`), both ways: requests, whole answers, streams.

An answer is the same canonical `Answer` with text parts only; `logprobs` is kept as the object that servers write.
Source: https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final

from gateway.canonical.content import Text
from gateway.canonical.events import Answer, Choice
from gateway.canonical.requests import Completion
from gateway.dialects import LIMITS, Limits
from gateway.dialects.fields import (
    INT32,
    Fate,
    Json,
    boolean_or_none,
    integer,
    integer_or_none,
    items,
    missing,
    model_name,
    rest,
    sort_out,
    text,
    text_or_none,
    wrong_type,
)
from gateway.dialects.openai.answers import (
    CHOICE,
    TOP,
    in_order,
    layer,
    parse_created,
    parse_finish,
    parse_usage,
    put_back,
    render_usage,
)
from gateway.dialects.openai.chat import FATES as CHAT_FATES
from gateway.dialects.openai.chat import include_usage, parse_sampling, render_sampling
from gateway.dialects.openai.encoder import ChatEncoder
from gateway.dialects.openai.errors import error_of, read_error
from gateway.dialects.openai.stream import ChatDecoder
from gateway.dialects.options import parse_options
from gateway.errors import BadRequest, BadResponse

_MODELLED: Final = """
    model prompt suffix echo best_of n logprobs stream stream_options gateway provider temperature top_p seed max_tokens
    max_completion_tokens stop presence_penalty frequency_penalty logit_bias top_k min_p repetition_penalty
    repeat_penalty
"""
_REFUSED: Final = "response_format tools tool_choice use_beam_search"

FATES: Final[dict[str, Fate]] = {
    **{k: v for k, v in CHAT_FATES.items() if v in ("extra", "dropped")},
    **dict.fromkeys(_MODELLED.split(), "modelled"),
    **dict.fromkeys(_REFUSED.split(), "refused"),
}
"""What becomes of each field of a request. A field that is not here is dropped and named."""


def parse_request(body: Json, header_options: str | None = None, limits: Limits = LIMITS) -> Completion:
    """Raises BadRequest or ModelNotFound."""
    extra, dropped = sort_out(body, FATES, lambda value: value is False or value == [], " here")
    get = body.get
    out = Completion(
        model=model_name(get("model"), limits),
        prompt=token_lists(get("prompt"), "prompt", limits),
        suffix=text_or_none(get("suffix"), "suffix"),
        echo=bool(boolean_or_none(get("echo"), "echo")),
        best_of=integer_or_none(get("best_of"), "best_of", 1, limits.choices),
        sampling=parse_sampling(body, limits),
        choices=1 if get("n") is None else integer(get("n"), "n", 1, limits.choices),
        logprobs=_logprobs(get("logprobs"), limits),
        stream=bool(boolean_or_none(get("stream"), "stream")),
        extra=layer(TOP, extra),
        dropped=dropped,
    )
    if get("stream_options") is not None:
        out.include_usage = include_usage(body["stream_options"], dropped) and out.stream
    if out.best_of is not None and out.best_of < out.choices:
        raise BadRequest("`best_of` must be at least `n`", param="best_of")
    if "gateway" in body or "provider" in body or header_options is not None:
        out.options = parse_options(get("gateway"), get("provider"), header_options)
    return out


def _logprobs(value: object, limits: Limits) -> int | None:
    """How many alternatives a token; true, as chat writes it, is none but the token itself."""
    if value is None or value is False:
        return None
    return 0 if value is True else integer(value, "logprobs", 0, limits.top_logprobs)


def token_lists(value: object, path: str, limits: Limits) -> list[str] | list[list[int]]:
    """A text, texts, token ids, or lists of token ids -> one entry per prompt."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise missing(path) if value is None else wrong_type(path, "a string or an array", value)
    if not value:
        raise BadRequest(f"`{path}` is empty", param=path)
    if isinstance(value[0], int):
        return [_tokens(value, path)]
    if len(value) > limits.prompts:
        raise BadRequest(
            f"`{path}` has {len(value)} elements, at most {limits.prompts} are allowed",
            param=path,
            code="array_above_max_length",
        )
    if isinstance(value[0], list):
        return [_tokens(tokens, f"{path}[{i}]") for i, tokens in enumerate(value)]
    return [text(entry, f"{path}[{i}]") for i, entry in enumerate(value)]


def _tokens(value: object, path: str) -> list[int]:
    tokens = items(value, path, INT32)
    if not tokens:
        raise BadRequest(f"`{path}` is empty", param=path)
    return [integer(token, f"{path}[{i}]", 0, INT32) for i, token in enumerate(tokens)]


def render_request(request: Completion, *, extras: Container[str] | None = None) -> Json:
    """The inverse of `parse_request`. `extras`: the dialect's own fields that the receiver takes (None = all)."""
    prompt = request.prompt
    out: Json = {"model": request.model, "prompt": prompt[0] if len(prompt) == 1 else prompt}
    if request.suffix is not None:
        out["suffix"] = request.suffix
    if request.echo:
        out["echo"] = True
    if request.best_of is not None:
        out["best_of"] = request.best_of
    out |= render_sampling(request.sampling)
    if request.choices != 1:
        out["n"] = request.choices
    if request.logprobs is not None:
        out["logprobs"] = request.logprobs
    if request.stream:
        out["stream"] = True
        if request.include_usage:
            out["stream_options"] = {"include_usage": True}
    for key, value in ((request.extra or {}).get(TOP) or {}).items():
        if extras is None or key in extras:
            out[key] = value
    return out


_CHOICE_FIELDS: Final = ("index", "text", "finish_reason", "logprobs")


def parse_answer(body: Any) -> Answer:
    """Raises BadResponse if `body` is no text completion, or the error that it tells."""
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or body.get("error"):
        fault = read_error(body)
        raise error_of(fault) if fault else BadResponse("the server's answer has no choices")
    answer_id, model = body.get("id"), body.get("model")
    return Answer(
        id=answer_id if isinstance(answer_id, str) else "",
        model=model if isinstance(model, str) else "",
        created=parse_created(body.get("created")),
        choices=in_order(choices, _choice, ""),
        usage=parse_usage(body.get("usage")),
        extra=layer(TOP, rest(body, ("id", "object", "created", "model", "choices", "usage", "error"))),
    )


def _choice(value: Json, _: str) -> Choice:
    words = value.get("text")
    if not isinstance(words, str):
        raise BadResponse("a choice in the server's answer has no text")
    extra: Json = rest(value, _CHOICE_FIELDS) or {}
    finish, stop_sequence = parse_finish(value.get("finish_reason"), extra)
    return Choice([Text(words)] if words else [], finish, stop_sequence, value.get("logprobs"), layer(CHOICE, extra))


def render_answer(answer: Answer, *, created: int = 0) -> Json:
    """The `text_completion` object. `created` (Unix seconds) is used where the server did not say."""
    choices = []
    for index, choice in enumerate(answer.choices):
        words = "".join(p.text for p in choice.parts if isinstance(p, Text))
        one: Json = {"index": index, "text": words, "logprobs": choice.logprobs, "finish_reason": choice.finish}
        if choice.stop_sequence is not None:
            one["stop_reason"] = choice.stop_sequence
        choices.append(put_back(one, choice.extra, CHOICE))
    out: Json = {
        "id": answer.id,
        "object": "text_completion",
        "created": answer.created or created,
        "model": answer.model,
        "choices": choices,
    }
    if answer.usage is not None:
        out["usage"] = render_usage(answer.usage)
    return put_back(out, answer.extra, TOP)


class CompletionDecoder(ChatDecoder):
    """A stream of text completion chunks -> events. `expected_choices`: prompts times `n`."""

    _choice_fields = frozenset(_CHOICE_FIELDS)

    def _delta_of(self, item: Json) -> Any:
        return {"content": item.get("text")}


class CompletionEncoder(ChatEncoder):
    """Events -> a stream of text completion chunks."""

    object_name = "text_completion"
    _text_tail = b',"logprobs":null,"finish_reason":null}]}\n\n'

    def _text_head(self, choice: int) -> bytes:
        return b'%b,"choices":[{"index":%d,"text":' % (self._prefix, choice)

    def _item(self, choice: int, delta: Json, logprobs: Any, finish: str | None) -> Json:
        if choice not in self._begun:
            self._begin(choice)
        return {"index": choice, "text": delta.get("content", ""), "logprobs": logprobs, "finish_reason": finish}


def decoder(expected_choices: int = 1) -> CompletionDecoder:
    return CompletionDecoder(expected_choices)
