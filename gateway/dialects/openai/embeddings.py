"""Embeddings, both ways. The vectors are not looked at: a reply goes through as it came, with the public model name.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final, Literal, cast

from gateway.canonical.requests import Embedding
from gateway.dialects import LIMITS, Limits
from gateway.dialects.fields import INT32, Fate, Json, integer_or_none, model_name, one_of, sort_out
from gateway.dialects.openai.answers import TOP, layer
from gateway.dialects.openai.completions import token_lists
from gateway.dialects.openai.errors import error_of, read_error
from gateway.dialects.options import parse_options
from gateway.errors import BadRequest, BadResponse

FATES: Final[dict[str, Fate]] = {
    **dict.fromkeys(("model", "input", "dimensions", "encoding_format", "gateway", "provider"), "modelled"),
    **dict.fromkeys(("truncate_prompt_tokens", "normalize", "add_special_tokens", "embd_normalize"), "extra"),
    "user": "dropped",
}


def parse_request(body: Json, header_options: str | None = None, limits: Limits = LIMITS) -> Embedding:
    """Raises BadRequest or ModelNotFound."""
    extra, dropped = sort_out(body, FATES, lambda _: False)
    get = body.get
    out = Embedding(
        model=model_name(get("model"), limits),
        input=token_lists(get("input"), "input", limits),
        dimensions=integer_or_none(get("dimensions"), "dimensions", 1, INT32),
        extra=layer(TOP, extra),
        dropped=dropped,
    )
    if "" in out.input:
        raise BadRequest("a text to embed is empty", param=f"input[{out.input.index('')}]")  # type: ignore[arg-type]
    if get("encoding_format") is not None:
        form = one_of(get("encoding_format"), "encoding_format", ("float", "base64"))
        out.encoding_format = cast(Literal["float", "base64"], form)
    if "gateway" in body or "provider" in body or header_options is not None:
        out.options = parse_options(get("gateway"), get("provider"), header_options)
    return out


def render_request(request: Embedding, *, extras: Container[str] | None = None) -> Json:
    """The inverse of `parse_request`."""
    texts = request.input
    out: Json = {"model": request.model, "input": texts[0] if len(texts) == 1 else texts}
    if request.dimensions is not None:
        out["dimensions"] = request.dimensions
    if request.encoding_format is not None:
        out["encoding_format"] = request.encoding_format
    for key, value in ((request.extra or {}).get(TOP) or {}).items():
        if extras is None or key in extras:
            out[key] = value
    return out


def parse_answer(body: Any) -> Json:
    """The reply, as it came. Raises BadResponse if it holds no list of embeddings, or the error that it tells."""
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list) or not all(isinstance(d, dict) and d.get("embedding") for d in data):
        fault = read_error(body)
        raise error_of(fault) if fault else BadResponse("the server's answer holds no embeddings")
    return cast(Json, body)


def render_answer(reply: Json, model: str | None = None) -> Json:
    """The reply for the client; `model` is the name that the client knows the model by."""
    out = {"object": "list", **reply}
    if model is not None:
        out["model"] = model
    return out
