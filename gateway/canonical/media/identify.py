"""Each medium of a request under its true name: what the bytes show wins over what the client claims."""

from __future__ import annotations

import re
from dataclasses import replace

from gateway.canonical.content import (
    MODALITY,
    Audio,
    Document,
    Image,
    MediaPart,
    Message,
    Part,
    Text,
    ToolResult,
    Video,
)
from gateway.canonical.identity import same
from gateway.canonical.media.headers import header_of
from gateway.canonical.media.kinds import FRAMES, MAGICAL, contradicts, usual
from gateway.canonical.media.listed import MOST_LISTED, count_of, pictures_of
from gateway.canonical.media.octets import Octets
from gateway.canonical.requests import Chat, CountTokens, Request, Transcription

_KINDS: dict[str, type[MediaPart]] = {"image": Image, "audio": Audio, "video": Video, "application": Document}
SHORTEST = 3
"""Octets. Fewer show nothing, neither for a claim nor against it: what they are is left to the server."""
_TOKEN = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,60}")


class Wrong(ValueError):
    """A medium that is not what it says it is, or that nobody should decode. `path` = where it stands."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class NoSound(Wrong):
    """What was sent to be heard has no sound in it."""


def identified(request: Request) -> Request:
    """The same request where everything is what it claims to be, else a new one with each medium that is here under its
    true media type and as the kind of part that it is. Raises Wrong."""
    if isinstance(request, CountTokens):
        chat = identified_chat(request.chat)
        return request if chat is request.chat else replace(request, chat=chat)
    if isinstance(request, Transcription):
        sound = identified_sound(request.sound)
        return request if sound is request.sound else replace(request, sound=sound)
    return identified_chat(request) if isinstance(request, Chat) else request


def identified_chat(chat: Chat) -> Chat:
    messages = [_message(m) for m in chat.messages]
    return chat if same(messages, chat.messages) else replace(chat, messages=messages)


def _message(message: Message) -> Message:
    if len(message.parts) == 1 and type(message.parts[0]) is Text:
        return message
    parts = _parts(message.parts)
    return message if parts is message.parts else replace(message, parts=parts)


def _parts(parts: list[Part]) -> list[Part]:
    new: list[Part] = []
    for part in parts:
        if isinstance(part, Image | Audio | Video | Document):
            new.append(identified_part(part))
        elif isinstance(part, ToolResult) and isinstance(part.content, list):
            content = _parts(part.content)
            new.append(part if content is part.content else replace(part, content=content))
        else:
            new.append(part)
    return parts if same(new, parts) else new


def identified_part(part: MediaPart) -> MediaPart:
    """The part as what it is. Raises Wrong for bytes that contradict a claim and show nothing, and for what is broken
    or made to break decoders. What is not here (a URL, a file id) is left as it is."""
    media = part.media
    if media.base64 is None and media.octets is None:
        return part
    claim = usual(media.mime)
    header = header_of(media, MODALITY[type(part)])
    if claim == FRAMES:
        _check_pictures(part)
        return part if media.mime == FRAMES else replace(part, media=replace(media, mime=FRAMES))
    if header.problem:
        raise Wrong(f"this {_word(part, header.mime)} is not taken: {header.problem}", part.path)
    if not header.mime:
        if claim in MAGICAL and not 0 < Octets(media).size < SHORTEST:
            raise Wrong(f"this is not {claim}: its first octets show no such file", part.path)
        return part
    kind = _KINDS.get(header.mime.partition("/")[0], type(part))
    claimed = claim if contradicts(media.mime, header.mime) and _TOKEN.fullmatch(claim) else ""
    if kind is type(part) and header.mime == media.mime and claimed == media.claimed:
        return part
    media = replace(media, mime=header.mime, claimed=claimed)
    if kind is type(part):
        return replace(part, media=media)
    return kind(media, part.signature, part.extra, part.path)


def _check_pictures(part: MediaPart) -> None:
    """Each picture of a list is what one that stands alone has to be. Raises Wrong, whose path names the picture."""
    count = count_of(part.media)
    if count > MOST_LISTED:
        raise Wrong(f"this is a list of {count} pictures: at most {MOST_LISTED} are taken; send a video", part.path)
    for i, picture in enumerate(pictures_of(part.media)):
        one = identified_part(Image(picture, path=f"{part.path}.frames[{i}]"))
        if not isinstance(one, Image):
            raise Wrong(f"this is {one.media.mime}: the list is one of pictures", one.path)


def identified_sound(part: Audio) -> Audio:
    """What is to be heard in a medium that is sent to be heard: a sound, or the track of a video. Raises NoSound for
    anything else."""
    header = header_of(part.media, "audio")
    if not header.mime.startswith(("audio/", "video/")) and (header.mime or usual(part.media.mime) not in _BARE):
        shown = f"is {header.mime}" if header.mime else "shows no sound that is known"
        raise NoSound(f"this file {shown}: send WAV, MP3, M4A, OGG, WebM or FLAC", part.path)
    if header.pictures and header.sound is False:
        raise NoSound("this video has no sound track", part.path)
    found = identified_part(part)
    return found if isinstance(found, Audio) else Audio(found.media, part.signature, part.extra, part.path)


_BARE = ("audio/l16", "audio/pcm")
"""Samples without a header."""


def _word(part: MediaPart, mime: str) -> str:
    kind = mime.partition("/")[0]
    return kind if kind in ("image", "audio", "video") else MODALITY[type(part)]
