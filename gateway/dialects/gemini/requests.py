"""Requests to generate content and to count its tokens, both ways: `parse_request(render_request(chat)) == chat`.

The model and whether the answer is streamed stand in the URL. Here the model is the body's field `model`, as in the
API's own nested requests; the caller puts it there and takes it out again. Every field of a body is modelled, kept for
servers of this dialect, dropped and named, or refused by its path.
Source: https://ai.google.dev/api/generate-content.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.canonical.content import Image, Message, Part, Text, ToolResult
from gateway.canonical.requests import Bound, Chat, CountTokens
from gateway.dialects import LIMITS, Limits
from gateway.dialects.fields import Json, field_name, fields, model_name
from gateway.dialects.gemini.config import EXTRA as CONFIG_EXTRA
from gateway.dialects.gemini.config import PATH as CONFIG
from gateway.dialects.gemini.config import parse_config, render_config
from gateway.dialects.gemini.contents import parse_contents, render_contents
from gateway.dialects.gemini.fields import DIALECT, FORM, Shape, objects, plain, under
from gateway.dialects.gemini.parts import parse_content_part, read_part
from gateway.dialects.gemini.receiver import WHOLE, Receiver
from gateway.dialects.gemini.tools import allowed, parse_choice, parse_tools, render_choice, render_tools
from gateway.dialects.options import parse_options
from gateway.errors import BadRequest, InvalidJson

_MODELLED: Final = "model contents systemInstruction tools toolConfig generationConfig gateway provider"
_EXTRA: Final = "safetySettings labels serviceTier store"
_BOUND: Final = "cachedContent"
_DROPPED: Final = (
    "modelArmorConfig continuationToken generationOutputConfig audioTranscriptionConfig enableEnhancedCivicAnswers "
    "routingConfig modelSelectionConfig"
)
_REQUEST: Final = Shape(f"{_MODELLED} {_EXTRA} {_BOUND} {_DROPPED}")
_COUNT: Final = Shape(f"{_MODELLED} {_EXTRA} {_BOUND} {_DROPPED} generateContentRequest")
_CONTENT: Final = Shape("role parts")

FATES: Final[dict[str, str]] = {
    **dict.fromkeys(_MODELLED.split(), "modelled"),
    **dict.fromkeys(_EXTRA.split(), "extra"),
    **dict.fromkeys(_BOUND.split(), "bound"),
    **dict.fromkeys(_DROPPED.split(), "dropped"),
}
"""What becomes of each field of a request. A field that is not here is dropped and named. `bound` ones are refused by
servers of other dialects."""

_DETAILS: Final = {"MEDIA_RESOLUTION_LOW": "low", "MEDIA_RESOLUTION_HIGH": "high"}


def model_id(name: object, limits: Limits = LIMITS) -> str:
    """The model's name without the resource's path: `models/x`, `publishers/google/models/x`. Raises BadRequest or
    ModelNotFound."""
    given = name
    if isinstance(given, str):
        found = given.lstrip("/")
        if found.startswith("projects/"):
            found = "/".join(found.split("/")[4:])  # projects/P/locations/L/...
        publisher = ""
        if found.startswith("publishers/"):
            _, publisher, _, rest = [*found.split("/", 3), "", "", ""][:4]
            found = rest
        while found.startswith("models/"):
            found = found.removeprefix("models/")
        given = found if publisher in ("", "google") else f"{publisher}/{found}"
    return model_name(given, limits)


def parse_request(
    body: Json, header_options: str | None = None, limits: Limits = LIMITS, *, stream: bool = False
) -> Chat:
    """`header_options` is the text of the header `x-gateway-options`. Raises BadRequest or ModelNotFound."""
    known, others = _REQUEST.read(body, "")
    try:
        return _chat(known, others, header_options, limits, stream)
    except RecursionError:
        raise InvalidJson("the request is nested too deeply") from None


def _chat(known: Json, others: Json, header_options: str | None, limits: Limits, stream: bool) -> Chat:
    dropped = [field_name(key) for key in (*others, *(k for k in known if FATES.get(k) == "dropped"))]
    tools, bound = parse_tools(known["tools"], limits) if "tools" in known else ([], [])
    bound += [Bound(DIALECT, name, plain(known[name]), path=name) for name in _BOUND.split() if name in known]
    config = parse_config(known.get(CONFIG), limits, dropped)
    messages = parse_contents(known.get("contents"), limits)
    if "systemInstruction" in known:
        messages = [*_instruction(known["systemInstruction"], "systemInstruction"), *messages]
    kept = {name: plain(known[name]) for name in _EXTRA.split() if name in known}
    form: Json = {}
    for name, entry in config.kept.items():
        if name == "mediaResolution" and _set_details(messages, entry):
            form[under(CONFIG, name)] = entry
        else:
            kept[under(CONFIG, name)] = entry
    chat = Chat(
        model_id(known.get("model"), limits),
        messages,
        tools,
        parse_choice(known.get("toolConfig"), tools, dropped),
        sampling=config.sampling,
        choices=config.choices,
        logprobs=config.logprobs,
        top_logprobs=config.top_logprobs,
        output=config.output,
        thinking=config.thinking,
        audio_out=config.audio_out,
        stream=stream,
        include_usage=stream,
        prefill=messages[-1].role == "assistant",
        extra={name: layer for name, layer in ((DIALECT, kept), (FORM, form)) if layer} or None,
        bound=bound,
        dropped=dropped,
    )
    if "gateway" in known or "provider" in known or header_options is not None:
        chat.options = parse_options(known.get("gateway"), known.get("provider"), header_options)
    return chat


def _instruction(value: object, path: str) -> list[Message]:
    """The system's words as one text, whatever they came in: a content, a text, a list of parts. The role that some
    clients write there means nothing."""
    if isinstance(value, dict) and not ({"parts", "role"} & set(value)):
        value = [value]  # a part alone
    if isinstance(value, dict):
        known, others = _CONTENT.read(value, path)
        if others:
            raise BadRequest(f"`{path}` is a content: it has no field {next(iter(others))[:60]!r}", param=path)
        entries = objects(known["parts"], under(path, "parts")) if "parts" in known else []
    else:
        entries = objects(value, path)
    texts: list[str] = []
    for entry, where in entries:
        kind, part = read_part(entry, where)
        found = parse_content_part(kind, part, where) if kind in ("text", "inlineData") else None
        if kind != "text" and not isinstance(found, Text):
            raise BadRequest(f"`{where}` must be text: instructions hold nothing else", param=where)
        if isinstance(found, Text):
            texts.append(found.text)
    return [Message("system", [Text("\n".join(texts), path=path)], path=path)] if texts else []


def _set_details(messages: list[Message], resolution: Any) -> bool:
    """The request's one resolution becomes the detail of each picture that has none of its own. False, and nothing is
    set, if there is no picture to say it of."""
    detail = _DETAILS.get(resolution, "auto") if isinstance(resolution, str) else "auto"
    found = False
    for part in _all_parts(messages):
        if isinstance(part, Image):
            found = True
            part.media.detail = part.media.detail or detail
    return found


def _all_parts(messages: list[Message]) -> list[Part]:
    out: list[Part] = []
    for message in messages:
        for part in message.parts:
            out += part.content if isinstance(part, ToolResult) and isinstance(part.content, list) else [part]
    return out


def parse_count(body: Json, header_options: str | None = None, limits: Limits = LIMITS) -> CountTokens:
    """Three forms: contents alone, contents with instructions and tools beside them, or a whole request within."""
    known, _ = _COUNT.read(body, "")
    if "generateContentRequest" not in known:
        return CountTokens(parse_request(body, header_options, limits))
    inner = dict(fields(known.pop("generateContentRequest"), "generateContentRequest"))
    if "contents" in known:
        raise BadRequest("`contents` and generateContentRequest exclude each other", param="contents")
    if "model" in known:
        inner["model"] = known["model"]
    try:
        return CountTokens(parse_request(inner, header_options, limits))
    except BadRequest as error:
        if error.param is not None:
            error.param = under("generateContentRequest", error.param)
        raise


def render_request(chat: Chat, receiver: Receiver = WHOLE) -> Json:
    """The request as JSON values; a long medium stays Segments. Nothing that was not asked for is written.

    The model is in the field `model`, for the caller to put into the path. Raises BadRequest or PartRefused for what
    the dialect, or this receiver, has no form for."""
    system, contents = render_contents(_with_own_details(chat), receiver)
    out: Json = {"model": f"models/{chat.model}", "contents": contents}
    if system:
        out["systemInstruction"] = {"parts": system}
    tools = allowed(chat.tool_choice, chat.tools, receiver)
    rendered = render_tools(tools, chat.bound, receiver)
    if rendered:
        out["tools"] = rendered
    if tools and (choice := render_choice(chat.tool_choice, tools, receiver)) is not None:
        out["toolConfig"] = choice
    kept = _kept(chat) if receiver.extras else {}
    own = {k.removeprefix(f"{CONFIG}."): v for k, v in kept.items() if k.startswith(f"{CONFIG}.")}
    if not receiver.resolution:
        own.pop("mediaResolution", None)
    config = render_config(chat, receiver, {k: own[k] for k in CONFIG_EXTRA.split() if k in own})
    if config:
        out[CONFIG] = config
    out |= {k: v for k, v in kept.items() if k in _EXTRA.split()}
    out |= {b.name: b.value for b in chat.bound if b.dialect == DIALECT and b.name in _BOUND.split()}
    return out


def _kept(chat: Chat) -> Json:
    extra = chat.extra or {}
    return {**(extra.get(DIALECT) or {}), **(extra.get(FORM) or {})}


def _with_own_details(chat: Chat) -> list[Message]:
    """The messages without the details that the request's one resolution says already."""
    resolution = ((chat.extra or {}).get(FORM) or {}).get(f"{CONFIG}.mediaResolution")
    if resolution is None:
        return chat.messages
    said = _DETAILS.get(resolution, "auto") if isinstance(resolution, str) else "auto"
    return [_plain_pictures(m, said) for m in chat.messages]


def _plain_pictures(message: Message, said: str) -> Message:
    parts = [_plain_picture(p, said) for p in message.parts]
    return Message(message.role, parts, message.name, message.extra, message.path)


def _plain_picture(part: Part, said: str) -> Part:
    if isinstance(part, Image) and part.media.detail == said:
        media = part.media
        bare = type(media)(
            media.mime, media.base64, media.octets, media.url, media.file_id, media.name, None, media.clip
        )
        return Image(bare, part.signature, part.extra, part.path)
    if isinstance(part, ToolResult) and isinstance(part.content, list):
        content = [_plain_picture(p, said) for p in part.content]
        return ToolResult(part.call_id, content, part.name, part.is_error, part.signature, part.extra, part.path)
    return part
