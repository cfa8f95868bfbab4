"""Content parts of a message, both ways.

Many servers' spellings of the same part are understood; one form of each is rendered, the one that most servers take:
`image_url` and `video_url` with a data: URL, `input_audio` with plain base64 and a format, `file`.
Fields of a part that no dialect shares are kept in `part.extra["openai"]`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Container
from typing import Final

from gateway.canonical.content import (
    Audio,
    Base64,
    Clip,
    Document,
    Extra,
    Image,
    Media,
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
from gateway.dialects import Limits
from gateway.dialects.data_url import parse_base64, parse_data_url, parse_media, render_data_url
from gateway.dialects.fields import (
    Json,
    fields,
    items,
    kind_of,
    long_text,
    missing,
    number,
    rest,
    shown,
    text,
    text_or_none,
    wrong_type,
)
from gateway.errors import BadRequest, PartRefused

DIALECT: Final = "openai"
CLIP: Final = "video_metadata"
"""The piece of a video that is meant, and how often to look at it: no server's field, but what this gateway does."""
_CLIP: Final = (("start_offset_s", 1e9), ("end_offset_s", 1e9), ("fps", 240.0))
"""A field of it -> its greatest value."""

AUDIO_FORMATS: Final = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "opus": "audio/opus",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "webm": "audio/webm",
    "aiff": "audio/aiff",
    "pcm16": "audio/l16",
}
"""`input_audio.format` -> media type."""
_FORMAT_OF: Final = {mime: name for name, mime in AUDIO_FORMATS.items()}
_SAME_AUDIO: Final = {
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/m4a": "audio/mp4",
}
_FOREIGN: Final = {"image": ("audio/", "video/", "application/pdf"), "audio": ("image/",), "video": ("audio/",)}
"""Media types that can't be meant in a part of that modality."""


def parse_content(value: object, path: str, limits: Limits) -> list[Part]:
    """A message's content, a string or an array of parts. An empty array gives no parts."""
    if isinstance(value, str):
        return [Text(value, path=path)]
    if not isinstance(value, list):
        raise missing(path) if value is None else wrong_type(path, "a string or an array of parts", value)
    return [parse_part(part, f"{path}[{i}]") for i, part in enumerate(items(value, path, limits.parts))]


def parse_part(value: object, path: str) -> Part:
    if isinstance(value, str):
        return Text(value, path=path)
    part = fields(value, path)
    kind = part.get("type")
    if kind is None:
        raise missing(f"{path}.type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise BadRequest(
            f"`{path}.type` is {shown(kind) if isinstance(kind, str) else kind_of(kind)}: not a known kind of content "
            f"(choices: {', '.join(_READERS)})",
            param=f"{path}.type",
            code="unsupported_content",
        )
    return reader(part, path)


def _text_part(part: Json, path: str) -> Part:
    extra = None
    annotations = None
    if len(part) > 2:
        annotations = part.get("annotations") or None
        extra = _kept(part, ("type", "text", "annotations"))
    return Text(text(part.get("text"), f"{path}.text"), annotations, extra=extra, path=path)


def _refusal_part(part: Json, path: str) -> Part:
    words = text(part.get("refusal"), f"{path}.refusal")
    return Refusal(words, extra=_kept(part, ("type", "refusal")), path=path)


def _thinking_part(part: Json, path: str) -> Part:
    words = text(part.get("thinking"), f"{path}.thinking")
    signature = text_or_none(part.get("signature"), f"{path}.signature")
    closed = ("type", "thinking", "signature", "closed")
    return Thinking(words, signature=signature, extra=_kept(part, closed), path=path)


def _image_part(part: Json, path: str) -> Part:
    if part.get("file_id") is not None and part.get("image_url") is None:
        media = Media(file_id=text(part["file_id"], f"{path}.file_id"))
        media.detail = text_or_none(part.get("detail"), f"{path}.detail")
        return Image(media, extra=_kept(part, ("type", "file_id", "detail")), path=path)
    url, inner, where = _payload(part, ("image_url",), ("url",), path)
    detail = text_or_none((inner or part).get("detail"), f"{path}.detail")
    media = parse_media(url, where, detail=detail)
    _check_modality(media, "image", where)
    known = ("type", "image_url") if inner else ("type", "image_url", "detail")
    return Image(media, extra=_kept(part, known, "image_url", inner, ("url", "detail")), path=path)


def _audio_part(part: Json, path: str) -> Part:
    if part.get("input_audio") is None:
        url, inner, where = _payload(part, ("audio_url",), ("url",), path)
        media = parse_media(url, where)
        extra = _kept(part, ("type", "audio_url"), "audio_url", inner, ("url",))
    else:
        inner = fields(part["input_audio"], f"{path}.input_audio")
        media, where = _input_audio(inner, f"{path}.input_audio")
        extra = _kept(part, ("type", "input_audio"), "input_audio", inner, ("data", "url", "format"))
    media.mime = _SAME_AUDIO.get(media.mime, media.mime)
    _check_modality(media, "audio", where)
    return Audio(media, extra=extra, path=path)


def _input_audio(inner: Json, path: str) -> tuple[Media, str]:
    """Plain base64 with a format; data: URLs, and `url` in place of `data`, are understood too."""
    if inner.get("data") is None and inner.get("url") is not None:
        return parse_media(long_text(inner["url"], f"{path}.url"), f"{path}.url"), f"{path}.url"
    where = f"{path}.data"
    data = long_text(inner.get("data"), where)
    claimed = (text_or_none(inner.get("format"), f"{path}.format") or "").lower()
    if len(claimed) > 40 or (claimed and not claimed.replace("-", "").replace(".", "").isalnum()):
        raise BadRequest(f"`{path}.format` is {shown(claimed)}: write wav or mp3", param=f"{path}.format")
    mime = AUDIO_FORMATS.get(claimed) or (f"audio/{claimed}" if claimed else "")
    if _head(data).lower().startswith("data:"):
        told, base64 = parse_data_url(data, where)
        return Media(mime=told or mime, base64=base64), where
    return Media(mime=mime, base64=parse_base64(data, where)), where


def _video_part(part: Json, path: str) -> Part:
    url, inner, where = _payload(part, ("video_url", "input_video", "video"), ("url", "data"), path)
    if where.endswith(".data") and not _head(url).lower().startswith("data:"):
        media = Media(base64=parse_base64(url, where))
    else:
        media = parse_media(url, where)
    _check_modality(media, "video", where)
    known = ("type", "video_url", "input_video", "video", CLIP)
    extra = _kept(part, known, "video_url", inner, ("url", "data"))
    if part.get(CLIP) is not None:
        media.clip, rest_ = _clip(fields(part[CLIP], f"{path}.{CLIP}"), f"{path}.{CLIP}")
        if rest_:
            extra = {DIALECT: {**(extra or {}).get(DIALECT, {}), CLIP: rest_}}
    return Video(media, extra=extra, path=path)


def _clip(given: Json, path: str) -> tuple[Clip | None, Json | None]:
    """(the piece that is meant, the fields that are not known)."""
    start, end, fps = (
        None if given.get(name) is None else number(given[name], f"{path}.{name}", 0, most) for name, most in _CLIP
    )
    if start is not None and end is not None and end < start:
        raise BadRequest(f"`{path}` ends before it starts", param=path)
    clip = None if start is end is fps is None else Clip(start, end, fps)
    return clip, rest(given, [name for name, _ in _CLIP])


def _render_clip(clip: Clip) -> Json:
    values = zip(_CLIP, (clip.start, clip.end, clip.fps), strict=True)
    return {name: value for (name, _), value in values if value is not None}


def _file_part(part: Json, path: str) -> Part:
    """A file by its data, id or URL. One whose type says image, sound or video is that."""
    inner: Json | None = None
    source, where = part, path
    if part.get("file") is not None:
        source = inner = fields(part["file"], f"{path}.file")
        where = f"{path}.file"
    known = ("file_data", "filename", "file_id", "file_url")
    name = text_or_none(source.get("filename"), f"{where}.filename")
    if source.get("file_data") is not None:
        data = long_text(source["file_data"], f"{where}.file_data")
        if _head(data).lower().startswith("data:"):
            mime, base64 = parse_data_url(data, f"{where}.file_data")
            media = Media(mime=mime, base64=base64, name=name)
        else:
            media = Media(base64=parse_base64(data, f"{where}.file_data"), name=name)
    elif source.get("file_id") is not None:
        media = Media(file_id=text(source["file_id"], f"{where}.file_id"), name=name)
    elif source.get("file_url") is not None:
        media = parse_media(long_text(source["file_url"], f"{where}.file_url"), f"{where}.file_url", name)
    else:
        raise missing(f"{where}.file_data")
    extra = _kept(part, ("type", *known)) if inner is None else _kept(part, ("type", "file"), "file", inner, known)
    modality = media.mime.partition("/")[0]
    if modality in ("image", "audio", "video") and media.base64 is not None:
        if name is not None:
            extra = {DIALECT: {**(extra or {}).get(DIALECT, {}), "filename": name}}
            media.name = None
        if modality == "image":
            return Image(media, extra=extra, path=path)
        if modality == "audio":
            media.mime = _SAME_AUDIO.get(media.mime, media.mime)
            return Audio(media, extra=extra, path=path)
        return Video(media, extra=extra, path=path)
    return Document(media, extra=extra, path=path)


def _head(value: Base64) -> str:
    return value[:5] if isinstance(value, str) else value.head(5)


def _payload(
    part: Json, keys: tuple[str, ...], inner_keys: tuple[str, ...], path: str
) -> tuple[Base64, Json | None, str]:
    """(the URL or data, the object that held it if there was one, its path)."""
    for key in keys:
        value = part.get(key)
        if value is None:
            continue
        where = f"{path}.{key}"
        if isinstance(value, str | Segments):
            return value, None, where
        inner = fields(value, where)
        for inner_key in inner_keys:
            if inner.get(inner_key) is not None:
                return long_text(inner[inner_key], f"{where}.{inner_key}"), inner, f"{where}.{inner_key}"
        raise missing(f"{where}.{inner_keys[0]}")
    raise missing(f"{path}.{keys[0]}")


def _check_modality(media: Media, modality: str, path: str) -> None:
    if media.mime.startswith(_FOREIGN[modality]):
        raise BadRequest(f"`{path}` holds {shown(media.mime)}, which is not {modality}", param=path)


def _kept(
    part: Json, known: Container[str], key: str = "", inner: Json | None = None, inner_known: tuple[str, ...] = ()
) -> Extra | None:
    """The fields of a part beyond the `known` ones, and under `key` those of the object in it."""
    out = {k: v for k, v in part.items() if k not in known and v is not None}
    if inner is not None and len(inner) > 1:
        more = rest(inner, inner_known)
        if more:
            out[key] = more
    return {DIALECT: out} if out else None


_READERS: Final[dict[str, Callable[[Json, str], Part]]] = {
    "text": _text_part,
    "input_text": _text_part,
    "output_text": _text_part,
    "image_url": _image_part,
    "input_image": _image_part,
    "input_audio": _audio_part,
    "audio_url": _audio_part,
    "video_url": _video_part,
    "input_video": _video_part,
    "video": _video_part,
    "file": _file_part,
    "input_file": _file_part,
    "refusal": _refusal_part,
    "thinking": _thinking_part,
}
"""Part type -> its reader."""


def render_part(part: Part, extras: Container[str] | None) -> Json:
    """One content part. `extras` = the part's own fields that the receiver takes; None = all.

    Raises PartRefused for what the dialect can't say."""
    out: Json
    if isinstance(part, Text):
        out = {"type": "text", "text": part.text}
        if part.annotations and (extras is None or "annotations" in extras):
            out["annotations"] = part.annotations
    elif isinstance(part, Image):
        out = _render_image(part.media)
    elif isinstance(part, Audio):
        out = _render_audio(part.media)
    elif isinstance(part, Video):
        out = {"type": "video_url", "video_url": {"url": _url(part.media, part.path)}}
        if part.media.clip is not None and (extras is None or CLIP in extras):
            out[CLIP] = _render_clip(part.media.clip)
    elif isinstance(part, Document):
        out = _render_file(part.media)
    elif isinstance(part, Refusal):
        out = {"type": "refusal", "refusal": part.text}
    elif isinstance(part, Thinking):
        out = {"type": "thinking", "thinking": part.text}
    elif isinstance(part, Opaque | ToolCall | ToolResult):
        raise _refused(part)
    put_back(out, part.extra, extras)
    return out


def put_back(out: Json, extra: Extra | None, extras: Container[str] | None) -> None:
    """Puts the dialect's own fields back into a rendered object: those named in `extras`, or all for None."""
    for key, value in ((extra or {}).get(DIALECT) or {}).items():
        if extras is not None and key not in extras:
            continue
        held = out.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            out[key] = {**held, **value}
        else:
            out[key] = value


def _render_image(media: Media) -> Json:
    if media.file_id is not None:
        out: Json = {"type": "input_image", "file_id": media.file_id}
        if media.detail is not None:
            out["detail"] = media.detail
        return out
    inner: Json = {"url": _url(media, "")}
    if media.detail is not None:
        inner["detail"] = media.detail
    return {"type": "image_url", "image_url": inner}


def _render_audio(media: Media) -> Json:
    data = _base64(media)
    if data is not None and (not media.mime or media.mime in _FORMAT_OF):
        inner: Json = {"data": data}
        if media.mime:
            inner["format"] = _FORMAT_OF[media.mime]
        return {"type": "input_audio", "input_audio": inner}
    return {"type": "audio_url", "audio_url": {"url": _url(media, "")}}


def _render_file(media: Media) -> Json:
    inner: Json = {}
    data = _base64(media)
    if media.url is not None:
        inner["file_url"] = media.url
    elif media.file_id is not None:
        inner["file_id"] = media.file_id
    elif data is not None:
        inner["file_data"] = render_data_url(media.mime, data) if media.mime else data
    if media.name is not None:
        inner["filename"] = media.name
    return {"type": "file", "file": inner}


def _base64(media: Media) -> Base64 | None:
    if media.octets is not None:
        return Segments([b64encode(media.octets)])
    return media.base64


def _url(media: Media, path: str) -> Base64:
    if media.url is not None:
        return media.url
    data = _base64(media)
    if data is None:
        raise BadRequest("a medium by file id can't be sent to this server", param=path or None)
    return render_data_url(media.mime, data)


def _refused(part: Opaque | ToolCall | ToolResult) -> BadRequest:
    what = f"a part of type {part.type!r} of the {part.dialect} dialect" if isinstance(part, Opaque) else "this part"
    return PartRefused(f"{what} can't be sent in this place", param=part.path or None)
