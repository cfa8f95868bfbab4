"""Embeddings, both ways, in the forms that there are: one content, several requests in one, and the older `instances`.

The canonical reply is the JSON object of the OpenAI dialect (`data[i].embedding`), whose vectors nobody looks at.
Sources: https://ai.google.dev/api/embeddings,
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api.
"""

from __future__ import annotations

from base64 import b64decode
from struct import iter_unpack
from typing import Any, Final, Literal

from gateway.canonical.content import Text
from gateway.canonical.requests import Embedding
from gateway.dialects import LIMITS, Limits
from gateway.dialects.fields import INT32, Json, field_name, fields, missing, shown, text, text_or_none
from gateway.dialects.gemini.errors import error_of, read_fault
from gateway.dialects.gemini.fields import DIALECT, Shape, objects, plain, under, whole
from gateway.dialects.gemini.parts import parse_content_part, read_part
from gateway.dialects.gemini.requests import model_id
from gateway.dialects.options import parse_options
from gateway.errors import BadRequest, BadResponse

Form = Literal["one", "batch", "predict"]

_TUNING: Final = "taskType title autoTruncate mimeType documentOcr audioTrackExtraction embedContentConfig"
_ONE: Final = Shape(f"model content outputDimensionality {_TUNING} gateway provider")
_BATCH: Final = Shape("model requests gateway provider")
_PREDICT: Final = Shape("model instances parameters gateway provider")
_CONTENT: Final = Shape("role parts")
_PARAMETERS: Final = Shape("outputDimensionality autoTruncate")


def parse_request(
    body: Json, header_options: str | None = None, limits: Limits = LIMITS, *, form: Form = "batch"
) -> Embedding:
    """Raises BadRequest with the path of what is wrong. All texts of one body go to one model at one size: what
    differs between its requests can't be said at once, and is refused."""
    known, others = _SHAPES[form].read(body, "")
    model = model_id(known.get("model"), limits)
    out = Embedding(model, [], dropped=[field_name(k) for k in others])
    texts: list[str] = []
    if form == "batch":
        if known.get("requests") is None:
            raise missing("requests")
        entries = objects(known["requests"], "requests")
    elif form == "predict":
        if known.get("instances") is None:
            raise missing("instances")
        entries = objects(known["instances"], "instances")
    else:
        entries = [({k: v for k, v in known.items() if k not in ("model", "gateway", "provider")}, "")]
    if not entries or len(entries) > limits.prompts:
        path = "instances" if form == "predict" else "requests"
        raise BadRequest(f"`{path}` must have 1 to {limits.prompts} elements", param=path)
    for number, (entry, path) in enumerate(entries):
        read = _instance if form == "predict" else _single
        texts.append(read(entry, path, out, number, model))
    if form == "predict" and "parameters" in known:
        parameters, more = _PARAMETERS.read(known["parameters"], "parameters")
        out.dropped += [under("parameters", field_name(k)) for k in more]
        _settle(out, parameters, "parameters", 0)
    out.input = texts
    if "gateway" in known or "provider" in known or header_options is not None:
        out.options = parse_options(known.get("gateway"), known.get("provider"), header_options)
    return out


def _single(value: object, path: str, out: Embedding, number: int, model: str) -> str:
    known, others = _ONE.read(value, path)
    where = under(path, "model")
    if path and "model" in known and model_id(text(known["model"], where)) != model:
        raise BadRequest(f"`{where}` must be the model of the URL", param=where)
    out.dropped += [name for k in others if (name := field_name(k)) not in out.dropped]
    config = known.pop("embedContentConfig", None)
    if config is not None:
        known = {**_ONE.read(config, under(path, "embedContentConfig"))[0], **known}
    _settle(out, known, path, number)
    if "content" not in known:
        raise missing(under(path, "content"))
    return _text(known["content"], under(path, "content"))


def _settle(out: Embedding, known: Json, path: str, number: int) -> None:
    """The settings of one request, which are those of all."""
    size = known.get("outputDimensionality")
    wanted = None if size is None else whole(size, under(path, "outputDimensionality"), 1, INT32)
    if number and wanted != out.dimensions:
        where = under(path, "outputDimensionality")
        raise BadRequest(f"`{where}` differs from that of the requests before it", param=where)
    out.dimensions = wanted if wanted is not None or number else out.dimensions
    kept: Json = (out.extra or {}).get(DIALECT) or {}
    tuning = {k: plain(v) for k, v in known.items() if k in _TUNING.split()}
    for key in ("taskType", "title"):
        text_or_none(tuning.get(key), under(path, key))
    for key, entry in tuning.items():
        if number and key == "taskType" and kept.get(key) != entry:
            where = under(path, key)
            raise BadRequest(f"`{where}` differs from that of the requests before it", param=where)
        if key == "title" and (number or key in kept):
            titles = kept[key] if isinstance(kept.get(key), list) else [kept.get(key)] * number
            kept[key] = [*titles, entry]
        else:
            kept[key] = entry
    if kept:
        out.extra = {DIALECT: kept}


def _instance(value: object, path: str, out: Embedding, number: int, model: str) -> str:
    known = fields(value, path)
    settings = {"taskType": known.get("task_type", known.get("taskType")), "title": known.get("title")}
    _settle(out, {k: v for k, v in settings.items() if v is not None}, path, number)
    words = text(known.get("content"), under(path, "content"))
    if not words:
        raise BadRequest("a text to embed is empty", param=under(path, "content"))
    return words


def _text(value: object, path: str) -> str:
    """The texts of a content, joined. Embeddings of other media have no canonical form."""
    if isinstance(value, str):
        value = {"parts": [value]}
    known, _ = _CONTENT.read(value, path)
    words: list[str] = []
    for entry, where in objects(known.get("parts", []), under(path, "parts")):
        kind, part = read_part(entry, where)
        found = parse_content_part(kind, part, where) if kind in ("text", "inlineData") else None
        if kind != "text" and not isinstance(found, Text):
            raise BadRequest(f"`{where}` is {shown(kind)}: only text is embedded here", param=where)
        if isinstance(found, Text):
            words.append(found.text)
    if not words:
        raise BadRequest("a text to embed is empty", param=path)
    return "\n".join(words)


_SHAPES: Final = {"one": _ONE, "batch": _BATCH, "predict": _PREDICT}


def render_request(request: Embedding) -> Json:
    """The form with several requests, which takes any number of texts."""
    model = f"models/{request.model}"
    kept: Json = (request.extra or {}).get(DIALECT) or {}
    out: list[Json] = []
    for i, words in enumerate(request.input):
        if not isinstance(words, str):
            raise BadRequest("this server embeds text, no token ids", param=f"input[{i}]")
        entry: Json = {"model": model, "content": {"parts": [{"text": words}]}}
        if request.dimensions is not None:
            entry["outputDimensionality"] = request.dimensions
        for key, value in kept.items():
            value = value[i] if key == "title" and isinstance(value, list) else value
            if value is not None:
                entry[key] = value
        out.append(entry)
    return {"model": model, "requests": out}


def parse_answer(body: Any) -> Json:
    """The canonical reply. Raises BadResponse if `body` holds no embeddings, or the error that it tells."""
    fault = read_fault(body)
    if fault is not None:
        raise error_of(fault)
    held = body.get("embeddings") if isinstance(body, dict) else None
    if held is None and isinstance(body, dict) and isinstance(body.get("embedding"), dict):
        held = [body["embedding"]]
    if not isinstance(held, list) or not held or not all(isinstance(e, dict) and "values" in e for e in held):
        raise BadResponse("the server's answer holds no embeddings")
    out: Json = {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": e["values"]} for i, e in enumerate(held)],
    }
    usage = body.get("usageMetadata")
    if isinstance(usage, dict) and isinstance(usage.get("promptTokenCount"), int):
        out["usage"] = {"prompt_tokens": usage["promptTokenCount"], "total_tokens": usage["promptTokenCount"]}
    return out


def render_answer(reply: Json, form: Form = "batch") -> Json:
    """The reply in the form in which it was asked for."""
    data = sorted(reply.get("data") or (), key=lambda d: d.get("index") or 0)
    vectors = [_vector(d.get("embedding")) for d in data]
    usage = reply.get("usage")
    spent = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    if form == "predict":
        statistics: Json = {"truncated": False}
        if len(vectors) == 1 and spent is not None:
            statistics["token_count"] = spent
        return {"predictions": [{"embeddings": {"values": v, "statistics": statistics}} for v in vectors]}
    out: Json = {"embedding": {"values": vectors[0] if vectors else []}}
    if form == "batch":
        out = {"embeddings": [{"values": v} for v in vectors]}
    if spent is not None:
        out["usageMetadata"] = {"promptTokenCount": spent, "totalTokenCount": spent}
    return out


def _vector(value: Any) -> Any:
    """Numbers, also of a server that writes them as base64 of little-endian floats."""
    return [n for (n,) in iter_unpack("<f", b64decode(value))] if isinstance(value, str) else value
