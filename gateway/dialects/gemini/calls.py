"""A function's call and its result, both ways.

A result here is a JSON object. `{"output": X}` and `{"result": X}` are wrappers that clients put around X; anything
else is the result itself. `{"error": X}` says that the tool failed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway.canonical.content import Audio, Document, Image, Part, Refusal, Text, ToolCall, ToolResult, Video
from gateway.dialects.fields import Json, fields, missing, shown, text
from gateway.dialects.gemini.fields import (
    Shape,
    form_of,
    inside,
    json_text,
    kept_of,
    layer,
    objects,
    of_inside,
    plain,
    under,
)
from gateway.dialects.gemini.parts import parse_content_part, read_part, render_part, sign, text_signature
from gateway.dialects.gemini.receiver import Receiver
from gateway.errors import BadRequest, PartRefused

_CALL: Final = Shape("id name args")
_RESPONSE: Final = Shape("id name response parts")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_WRAPPERS: Final = ("output", "result")


def function_name(value: object, path: str) -> str:
    name = text(value, path)
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"`{path}` must begin with a letter or `_`, and go on with up to 127 letters, digits, `_`, `.`, `:` or `-`",
            param=path,
        )
    return name


def parse_call(part: Json, path: str, made_id: str) -> ToolCall:
    """`made_id` is for a call without an id of its own."""
    where = under(path, "functionCall")
    call, others = _CALL.read(part["functionCall"], where)
    name = function_name(call.get("name"), under(where, "name"))
    arguments = json_text(fields(call.get("args", {}), under(where, "args")))
    given = text(call.get("id", ""), under(where, "id"))
    return ToolCall(
        given or made_id,
        name,
        arguments,
        signature=text_signature(part, path),
        extra=layer(inside("functionCall", others)),
        path=path,
    )


@dataclass(slots=True)
class Response:
    """A result before its call is known."""

    id: str
    name: str
    result: ToolResult


def parse_response(part: Json, path: str) -> Response:
    where = under(path, "functionResponse")
    inner, others = _RESPONSE.read(part["functionResponse"], where)
    name = inner.get("name")
    if name is None:
        raise missing(under(where, "name"))
    given = text(inner.get("id", ""), under(where, "id"))
    response = plain(fields(inner.get("response", {}), under(where, "response")))
    content, form = _content(response)
    if "parts" in inner:
        media = [_medium(value, at) for value, at in objects(inner["parts"], under(where, "parts"))]
        if isinstance(content, dict):
            form["json"] = True
            content = [Text(json_text(content), path=under(where, "response"))] if content else []
        content = [*content, *media]
    result = ToolResult(
        "",
        content or {},
        is_error=set(response) == {"error"},
        signature=text_signature(part, path),
        extra=layer(inside("functionResponse", others), form),
        path=path,
    )
    return Response(given, text(name, under(where, "name")), result)


def _content(response: Json) -> tuple[list[Part] | Json, Json]:
    """(what the tool said, how it was wrapped)."""
    if len(response) != 1:
        return response, {}
    wrapper, inner = next(iter(response.items()))
    if wrapper not in _WRAPPERS:
        return response, {}
    form: Json = {"wrap": wrapper}
    if isinstance(inner, dict):
        return (inner, form) if inner else (response, {})
    if isinstance(inner, str):
        return [Text(inner)], form if wrapper != "output" or _is_json(inner) else {}
    return [Text(json_text(inner))], {**form, "json": True}


def _is_json(words: str) -> bool:
    return _decoded(words) is not None


def _medium(value: object, path: str) -> Part:
    kind, part = read_part(value, path)
    if kind not in ("inlineData", "fileData"):
        raise BadRequest(f"`{path}` must hold inlineData or fileData: a result has its words elsewhere", param=path)
    found = parse_content_part(kind, part, path)
    assert found is not None
    return found


def render_call(call: ToolCall, receiver: Receiver) -> Json:
    """Raises BadRequest with the path of arguments that are no JSON object: an empty object in their place would be
    another call."""
    inner: Json = {"id": call.id} if receiver.call_ids and call.id else {}
    inner["name"] = call.name
    inner["args"] = {"input": call.arguments} if call.kind == "custom" else _arguments(call)
    if receiver.extras:
        inner |= of_inside("functionCall", kept_of(call.extra))
    out: Json = {"functionCall": inner}
    sign(out, call.signature)
    return out


def _arguments(call: ToolCall) -> Json:
    if not call.arguments.strip():
        return {}
    try:
        value = msgspec.json.decode(call.arguments)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        value = None
    if isinstance(value, dict):
        return value
    # where the arguments stand in a call depends on the client's dialect; only chat messages may hold broken ones
    path = f"{call.path}.function.arguments" if "tool_calls[" in call.path else f"{call.path}.arguments"
    raise BadRequest(
        f"`{path}` must be the text of a JSON object, which {shown(call.arguments)} is not", param=path.strip(".")
    )


def render_result(result: ToolResult, name: str, receiver: Receiver) -> tuple[Json, list[Json]]:
    """(the part, media that stand beside it because this receiver takes none within)."""
    inner: Json = {"id": result.call_id} if receiver.call_ids and result.call_id else {}
    inner["name"] = name
    media: list[Json] = []
    form = form_of(result.extra)
    if isinstance(result.content, dict):
        inner["response"] = _response(result.content, form, result.is_error)
    else:
        words: list[str] = []
        for part in result.content:
            if isinstance(part, Text | Refusal):
                words.append(part.text)
            elif isinstance(part, Image | Audio | Video | Document):
                media += [p for p in (render_part(part, receiver),) if p is not None]
            else:
                raise PartRefused("this part can't be sent in a tool's result", param=part.path or None)
        inner["response"] = _response_of_text("\n".join(words), form, result.is_error) if words else {}
    if receiver.extras:
        inner |= of_inside("functionResponse", kept_of(result.extra))
    if media and receiver.result_media:
        inner["parts"], media = media, []
    out: Json = {"functionResponse": inner}
    sign(out, result.signature)
    return out, media


def _response(content: Json, form: Json, is_error: bool) -> Json:
    if "wrap" in form:
        return {form["wrap"]: content}
    if is_error:
        return content if set(content) == {"error"} else {"error": content}
    # a key of that name is read as a reference to a medium: https://ai.google.dev/api/caching#FunctionResponse
    return {"output": content} if "$ref" in content else content


def _response_of_text(words: str, form: Json, is_error: bool) -> Json:
    found = _decoded(words)
    if form.get("json") and (found is not None or words == "null"):
        value: Any = found[0] if found is not None else None
        return {form["wrap"]: value} if "wrap" in form else _response(value, {}, is_error)
    if "wrap" in form:
        return {form["wrap"]: words}
    value = found[0] if found is not None else words
    if isinstance(value, dict):
        return _response(value, {}, is_error)
    if not isinstance(value, list):
        value = words
    return {"error": value} if is_error else {"output": value}


def _decoded(words: str) -> tuple[Any] | None:
    """The JSON value that the text is, in a tuple; None if it is none."""
    try:
        return (json.loads(words),)
    except (ValueError, RecursionError):
        return None


def bare_name(name: str, declared: frozenset[str]) -> str:
    """A function's name without the module that some models put before it, where the bare one is declared."""
    for prefix in ("default_api:", "default_api."):
        if name not in declared and name.startswith(prefix) and name[len(prefix) :] in declared:
            return name[len(prefix) :]
    return name
