"""Parts of a content, both ways. A part holds exactly one of the `DATA` fields.

A part of the same kind that other servers have too becomes that; what only this dialect's own servers can run (code
execution, server-side tools) stays an `Opaque`. Fields beside the data are kept in `part.extra["gemini"]`.
"""

from __future__ import annotations

from base64 import b64encode
from binascii import Error as NotBase64
from binascii import a2b_base64
from typing import Final, cast
from urllib.parse import urlsplit

from gateway.canonical.content import (
    Audio,
    Base64,
    Clip,
    Document,
    Image,
    Media,
    MediaPart,
    Opaque,
    Part,
    Refusal,
    Segments,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Video,
)
from gateway.dialects.data_url import parse_base64
from gateway.dialects.fields import Json, boolean, fields, long_text, missing, number, text, text_or_none
from gateway.dialects.gemini.fields import (
    DIALECT,
    FORM,
    Shape,
    duration,
    form_of,
    inside,
    is_base64,
    kept_of,
    layer,
    render_duration,
    signature,
    under,
)
from gateway.dialects.gemini.files import file_id, mime_of_name, uri_of
from gateway.dialects.gemini.receiver import Receiver
from gateway.errors import BadRequest, PartRefused

DATA: Final = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
)
OPAQUE: Final = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
_BESIDE: Final = "thought thoughtSignature videoMetadata mediaResolution"
_ABOUT: Final = (
    "partMetadata mediaProcessing audioTranscription speechMetadata documentMetadata spreadsheetMetadata audioMetadata"
)
PART: Final = Shape(f"{' '.join(DATA)} {_BESIDE} {_ABOUT}")
_BLOB: Final = Shape("mimeType data displayName")
_FILE: Final = Shape("mimeType fileUri displayName")
_VIDEO: Final = Shape("startOffset endOffset fps")
_RESOLUTION: Final = Shape("level")

_DETAIL: Final = {"MEDIA_RESOLUTION_LOW": "low", "MEDIA_RESOLUTION_HIGH": "high"}
_LEVEL: Final = {detail: level for level, detail in _DETAIL.items()}
_SAME: Final = {
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "audio/x-flac": "audio/flac",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "image/jpg": "image/jpeg",
    "video/mov": "video/quicktime",
    "video/x-m4v": "video/mp4",
}


def read_part(value: object, path: str) -> tuple[str, Json]:
    """(which data field it has, its known fields). Raises BadRequest unless it is exactly one."""
    if isinstance(value, str):
        return "text", {"text": value}
    known, others = PART.read(value, path)
    if others:
        # a kind of content that is not known here must not be taken for a decoration
        key = next(iter(others))
        shown = key if len(key) <= 60 and key.isprintable() else "a field"
        raise BadRequest(
            f"`{path}` has {shown}, which is no known kind of content (choices: {', '.join(DATA)})",
            param=under(path, shown) if shown == key else path,
            code="unsupported_content",
        )
    held = [name for name in DATA if name in known]
    if len(held) > 1:
        raise BadRequest(f"`{path}` holds both {held[0]} and {held[1]}: a part is one thing", param=path)
    if not held:
        if "thoughtSignature" in known or "thought" in known:
            return "text", {"text": "", **known}
        raise BadRequest(f"`{path}` holds nothing (choices: {', '.join(DATA)})", param=path)
    return held[0], known


def parse_content_part(kind: str, part: Json, path: str) -> Part | None:
    """A part that is neither a call nor a result; None for an empty text, which says nothing."""
    signed = text_signature(part, path)
    kept = {k: v for k, v in part.items() if k in _ABOUT.split()}
    if kind == "text":
        words = text(part["text"], under(path, "text"))
        if "thought" in part and boolean(part["thought"], under(path, "thought")):
            return Thinking(words, signature=signed, extra=layer(kept), path=path)
        return Text(words, signature=signed, extra=layer(kept), path=path) if words or signed else None
    if kind in OPAQUE:
        inner = fields(part[kind], under(path, kind))
        return Opaque(DIALECT, kind, inner, signature=signed, extra=layer(kept), path=path)
    return _media_part(kind, part, signed, kept, path)


def text_signature(part: Json, path: str) -> str | None:
    given = part.get("thoughtSignature")
    return None if given is None or given == "" else signature(given, under(path, "thoughtSignature"))


def _media_part(kind: str, part: Json, signed: str | None, kept: Json, path: str) -> Part:
    where = under(path, kind)
    form: Json = {}
    if kind == "inlineData":
        inner, others = _BLOB.read(part[kind], where)
        mime = media_type(inner.get("mimeType"), where, required=True)
        name = text_or_none(inner.get("displayName"), under(where, "displayName"))
        data = parse_base64(long_text(inner.get("data"), under(where, "data")), under(where, "data"))
        if mime.startswith("text/") and (words := _decoded(data)) is not None:
            kept |= inside(kind, others)
            form = {"mimeType": mime, "displayName": name} if name is not None else {"mimeType": mime}
            return Text(words, signature=signed, extra=layer(kept, form), path=path)
        media = Media(mime=mime, base64=data, name=name)
    else:
        media, form, others = _file(part[kind], where)
    kept |= inside(kind, others)
    if "videoMetadata" in part:
        media.clip, rest = _clip(part["videoMetadata"], under(path, "videoMetadata"))
        kept |= inside("videoMetadata", rest)
    if "mediaResolution" in part:
        where = under(path, "mediaResolution")
        wanted, more = _RESOLUTION.read(part["mediaResolution"], where)
        level = text_or_none(wanted.get("level"), under(where, "level")) or ""
        media.detail = _DETAIL.get(level, "auto")
        if more or level not in _DETAIL:
            form["mediaResolution"] = {**wanted, **more}
    return _of_kind(media, signed, kept, form, path)


def _of_kind(media: Media, signed: str | None, kept: Json, form: Json, path: str) -> MediaPart:
    modality = media.mime.partition("/")[0]
    extra = layer(kept, form)
    if modality == "image":
        return Image(media, signed, extra, path)
    if modality == "audio":
        return Audio(media, signed, extra, path)
    return Video(media, signed, extra, path) if modality == "video" else Document(media, signed, extra, path)


def media_type(value: object, path: str, required: bool = False) -> str:
    """The `mimeType` of the object at `path`, in its registered spelling; "" if it has none. Raises BadRequest."""
    if not value:
        if required:
            raise missing(under(path, "mimeType"))
        return ""
    mime = text(value, under(path, "mimeType")).strip().lower()
    plain = mime.partition(";")[0].rstrip()
    main, slash, sub = plain.partition("/")
    if not (main and slash and sub) or not mime.isascii() or not mime.isprintable() or len(mime) > 120 or " " in plain:
        raise BadRequest(f"`{under(path, 'mimeType')}` is no media type like image/png", param=under(path, "mimeType"))
    if plain in ("audio/l16", "audio/pcm"):
        return mime  # its rate is only said there
    return _SAME.get(plain, plain)


def _file(value: object, path: str) -> tuple[Media, Json, Json]:
    """(the medium, how it was written, the fields that are not known)."""
    inner, others = _FILE.read(value, path)
    uri = text(inner.get("fileUri"), under(path, "fileUri"))
    name = text_or_none(inner.get("displayName"), under(path, "displayName"))
    mime = media_type(inner.get("mimeType"), path) or mime_of_name(uri)
    found = file_id(uri)
    if found is not None:
        return Media(mime=mime, file_id=found, name=name), {"fileUri": uri} if uri != found else {}, others
    parts = urlsplit(uri) if len(uri) <= 8192 and uri.isprintable() and " " not in uri else None
    if parts is None or parts.scheme.lower() not in ("http", "https", "gs") or not parts.netloc:
        raise BadRequest(
            f"`{under(path, 'fileUri')}` must be an uploaded file, or an https:, http: or gs: URI",
            param=under(path, "fileUri"),
        )
    return Media(mime=mime, url=uri, name=name), {}, others


def _clip(value: object, path: str) -> tuple[Clip | None, Json]:
    known, rest = _VIDEO.read(value, path)
    start, end, fps = known.get("startOffset"), known.get("endOffset"), known.get("fps")
    clip = Clip(
        None if start is None else duration(start, under(path, "startOffset")),
        None if end is None else duration(end, under(path, "endOffset")),
        None if fps is None else number(fps, under(path, "fps"), 0, 240),
    )
    if clip.start is not None and clip.end is not None and clip.end < clip.start:
        raise BadRequest(f"`{path}` ends before it starts", param=path)
    return (clip if known else None), rest


def _decoded(data: Base64) -> str | None:
    """The text that a blob of type text/* holds; None if it is not UTF-8."""
    try:
        return a2b_base64(data if isinstance(data, str) else b"".join(data)).decode()
    except (NotBase64, UnicodeDecodeError):
        return None


def render_part(part: Part, receiver: Receiver) -> Json | None:
    """One part; None for what this receiver does not get (thoughts). Calls and results are `calls.render_*`.

    Raises PartRefused for what the dialect can't say."""
    if isinstance(part, ToolCall | ToolResult):
        raise PartRefused("this part can't be sent in this place", param=part.path or None)
    out: Json
    if isinstance(part, Text):
        blob = form_of(part.extra)
        if "mimeType" in blob:
            out = {"inlineData": {**blob, "data": b64encode(part.text.encode()).decode()}}
        else:
            out = {"text": part.text}
    elif isinstance(part, Thinking):
        if not receiver.thoughts:
            return None
        out = {"text": part.text, "thought": True}
    elif isinstance(part, Refusal):
        out = {"text": part.text}
    elif isinstance(part, Opaque):
        if part.dialect != DIALECT:
            raise PartRefused(
                f"a part of type {part.type[:40]!r} can't be sent to this server", param=part.path or None
            )
        out = {part.type: part.raw}
    else:
        out = render_media(part, receiver)
    sign(out, part.signature)
    if receiver.extras:
        for key, value in kept_of(part.extra).items():
            name, dot, inner = key.partition(".")
            if dot and isinstance(out.get(name, {}), dict):
                out[name] = {inner: value, **out.get(name, {})}
            else:
                out[key] = value
    return out


def sign(out: Json, given: str | None) -> None:
    if given is not None and is_base64(given):
        out["thoughtSignature"] = given


def render_media(part: MediaPart, receiver: Receiver) -> Json:
    media, form = part.media, form_of(part.extra)
    if media.file_id is not None or media.url is not None:
        inner: Json = {"fileUri": form.get("fileUri") or uri_of(media)}
        if media.mime:
            inner["mimeType"] = media.mime
        key = "fileData"
    else:
        data = Segments([b64encode(media.octets)]) if media.octets is not None else cast(Base64, media.base64)
        if not media.mime:
            raise PartRefused("this server must be told the media type", param=part.path or None)
        inner = {"mimeType": media.mime, "data": data}
        key = "inlineData"
    if media.name is not None:
        inner["displayName"] = media.name
    out: Json = {key: inner}
    if media.clip is not None:
        out["videoMetadata"] = _render_clip(media.clip)
    if receiver.resolution:
        if "mediaResolution" in form:
            out["mediaResolution"] = form["mediaResolution"]
        elif media.detail in _LEVEL:
            out["mediaResolution"] = {"level": _LEVEL[media.detail]}
    return out


def _render_clip(clip: Clip) -> Json:
    out: Json = {}
    if clip.fps is not None:
        out["fps"] = clip.fps
    if clip.start is not None:
        out["startOffset"] = render_duration(clip.start)
    if clip.end is not None:
        out["endOffset"] = render_duration(clip.end)
    return out


__all__ = [
    "DATA",
    "FORM",
    "OPAQUE",
    "PART",
    "parse_content_part",
    "read_part",
    "render_media",
    "render_part",
    "sign",
    "text_signature",
]
