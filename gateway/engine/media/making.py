"""One request on its way through the media stage: its parts fetched, then converted, as the ways of each say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from gateway.canonical.content import (
    MODALITY,
    Audio,
    Document,
    Header,
    Image,
    Media,
    MediaPart,
    Message,
    Part,
    Text,
    ToolResult,
    Video,
)
from gateway.canonical.facts import Facts
from gateway.canonical.identity import same
from gateway.canonical.media.headers import header_of
from gateway.canonical.media.identify import Wrong, identified_part
from gateway.canonical.media.kinds import FRAMES, usual
from gateway.canonical.media.listed import count_of, pictures_of
from gateway.canonical.requests import Chat
from gateway.engine.media.convert import Piece
from gateway.engine.media.fetch import Fetched
from gateway.engine.media.pipe import Job
from gateway.errors import BadRequest, PartRefused
from gateway.families.budget import budget_of
from gateway.routing.conversion import Way
from gateway.settings.model import Limits

T = TypeVar("T")
Fetch = Callable[[str, int, str], Awaitable[Fetched]]
"""(url, octets at most, path of the part)."""
Convert = Callable[[Job, Media, str], Awaitable[list[Piece]]]
"""(job, medium, path of the part)."""


class Making:
    """Parts are known by their identity; all of them live as long as this. `numbers`: where each stands in the request
    that came in, for who wants to note it. `came_from`: the part of that request that a new one was made of. `fates`:
    what became of such a part."""

    def __init__(self, facts: Facts, limits: Limits, fetch: Fetch, convert: Convert) -> None:
        self._facts = facts
        self._limits = limits
        self._fetcher = fetch
        self._converter = convert
        self._budget = budget_of(facts.family)
        self._kept: list[Part] = []
        self.numbers: dict[int, int] = {}
        self.came_from: dict[int, int] = {}
        self.fates: dict[int, str] = {}

    def _derived(self, part: Part, origin: Part) -> Part:
        """Notes where a new part comes from."""
        self._kept += (part, origin)
        self.came_from[id(part)] = self.came_from.get(id(origin), id(origin))
        return part

    # ---- fetching ----

    async def fetched(self, chat: Chat, ways: Sequence[Way]) -> Chat:
        """The chat with what is elsewhere in it, under its true media types."""
        if not any(w.fetch for w in ways):
            return chat
        parts = list(_media_parts(chat.messages))
        found = await _all(*(self._fetch(p) for p, w in zip(parts, ways, strict=True) if w.fetch))
        new = iter(found)
        instead = {id(p): [next(new)] for p, w in zip(parts, ways, strict=True) if w.fetch}
        return replace(chat, messages=[_replaced(m, instead) for m in chat.messages])

    async def _fetch(self, part: MediaPart) -> Part:
        media = part.media
        assert media.url is not None
        most = self._limits.most_octets(MODALITY[type(part)])
        got = await self._fetcher(media.url, most, part.path)
        mime = usual(got.mime or media.mime)
        medium = Media(mime, base64=got.content, name=media.name, detail=media.detail, clip=media.clip)
        try:
            new = identified_part(replace(part, media=medium))
        except Wrong as e:
            raise BadRequest(f"what was fetched is not taken: {e}", param=part.path) from None
        new.media.claimed = ""  # that was the other server's word
        return self._derived(new, part)

    # ---- converting ----

    async def converted(self, chat: Chat, ways: Sequence[Way]) -> Chat:
        for way in ways:
            if way.lack is not None:
                raise PartRefused(way.lack[1], param=way.medium.path)
        if all(w.native for w in ways):
            return chat
        instead: dict[int, list[Part]] = {}
        for part, way in zip(_media_parts(chat.messages), ways, strict=True):
            if not way.native:
                instead[id(part)] = await self._convert(part, way)
        return replace(chat, messages=[_replaced(m, instead) for m in chat.messages])

    async def _convert(self, part: MediaPart, way: Way) -> list[Part]:
        origin = self.came_from.get(id(part), id(part))
        if way.make == "picture":
            return [await self._picture(part, origin)]
        if way.make == "sound":
            sounds = await self._sounds(part)
            self.fates[origin] = "audio>wav16k" if len(sounds) == 1 else f"audio>wav16k:{len(sounds)}"
            return [self._derived(s, part) for s in sounds]
        if way.make == "frames":
            return await self._frames(part, way, origin)
        assert way.track == "clip"
        sounds = await self._sounds(part)
        self.fates[origin] = f"video,sound={_wav(sounds)}" if sounds else "video"
        return [part, *(self._derived(s, part) for s in sounds)]

    async def _picture(self, part: MediaPart, origin: int) -> Part:
        formats = self._facts.image_formats
        to = [m for m in ("image/png", "image/jpeg") if formats is None or m in formats]
        job: Job = {"do": "picture", "mime": usual(part.media.mime), "pixels": self._budget.pixels, "to": to}
        pieces = await self._converter(job, part.media, part.path)
        piece = pieces[0]
        kind = piece.mime.partition("/")[2]
        self.fates[origin] = f"image>{kind}" if piece.of == 1 else f"image>{kind}:1/{piece.of}"
        return self._derived(replace(part, media=_medium(piece, part.media.detail)), part)

    async def _sounds(self, part: MediaPart) -> list[Part]:
        """The clips of a sound: at least one. Of a video's sound track: there may be none, if it is looked at, too."""
        job: Job = {"do": "sound", "mime": usual(part.media.mime), "longest": self._longest()}
        _cut(job, part.media)
        if isinstance(part, Audio) and job["mime"].startswith("video/"):
            job["silence"] = True
        rate = _rate(part.media.mime)
        if rate:
            job["rate"] = rate
        pieces = await self._converter(job, part.media, part.path)
        return [Audio(_medium(p), path=part.path) for p in pieces]

    def _longest(self) -> float:
        return 0.0 if self._facts.splits_sound else self._budget.clip

    async def _frames(self, part: MediaPart, way: Way, origin: int) -> list[Part]:
        if part.media.mime == FRAMES:
            return self._listed(part, way, origin)
        clip = part.media.clip
        job: Job = {
            "do": "frames",
            "mime": usual(part.media.mime),
            "frames": way.frames,
            "pixels": self._budget.frame_pixels,
            "sound": way.track == "clip",
            "longest": self._longest(),
            "fps": clip.fps if clip is not None else None,
        }
        _cut(job, part.media)
        out: list[Part] = []
        sounds: list[Part] = []
        for piece in await self._converter(job, part.media, part.path):
            if piece.kind == "frame":
                out += Text(stamp(piece.seconds), path=part.path), Image(_medium(piece), path=part.path)
            else:
                sounds.append(Audio(_medium(piece), path=part.path))
        fate = f"video>frames:{len(out) // 2}"
        if way.track == "clip":
            fate += f",sound={_wav(sounds)}" if sounds else ""
        elif way.track:
            fate += f",sound={way.track}"
        self.fates[origin] = fate
        return [self._derived(p, part) for p in (*out, *sounds)]

    def _listed(self, part: MediaPart, way: Way, origin: int) -> list[Part]:
        """A list of JPEG pictures, whose times nobody knows."""
        count, most = count_of(part.media), max(1, way.frames)
        chosen = range(count) if count <= most else [round(i * (count - 1) / max(1, most - 1)) for i in range(most)]
        self.fates[origin] = f"video>frames:{len(chosen)}"
        wanted = frozenset(chosen)
        images = [Image(m, path=part.path) for i, m in enumerate(pictures_of(part.media)) if i in wanted]
        for image in images:
            image.media.mime = header_of(image.media, "image").mime or image.media.mime
        return [self._derived(p, part) for p in images]


def _wav(sounds: Sequence[Part]) -> str:
    return "wav16k" if len(sounds) == 1 else f"wav16k:{len(sounds)}"


def stamp(seconds: float) -> str:
    """`75.4` -> `01:15`, as models read the time of a frame."""
    whole = max(0, int(seconds + 1e-6))
    return f"{whole // 60:02d}:{whole % 60:02d}"


def _medium(piece: Piece, detail: str | None = None) -> Media:
    """What a worker made. Its header is known: nobody need look at it again."""
    header = Header(piece.mime, piece.content.size * 3 // 4)
    if piece.kind == "sound":
        header.seconds = piece.seconds
    return Media(piece.mime, base64=piece.content, detail=detail, header=header)


def _cut(job: Job, media: Media) -> None:
    if media.clip is not None:
        job["start"], job["end"] = media.clip.start, media.clip.end


def _rate(mime: str) -> int:
    """`audio/pcm;rate=16000` -> 16000; 0 if it does not say."""
    for parameter in mime.lower().split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name == "rate" and value.isdigit() and 4000 <= int(value) <= 192_000:
            return int(value)
    return 0


def _media_parts(messages: Sequence[Message]) -> list[MediaPart]:
    """In the order of `Needs.media`."""
    out: list[MediaPart] = []
    for message in messages:
        _collect(message.parts, out)
    return out


def _collect(parts: Sequence[Part], out: list[MediaPart]) -> None:
    for part in parts:
        if isinstance(part, Image | Audio | Video | Document):
            out.append(part)
        elif isinstance(part, ToolResult) and isinstance(part.content, list):
            _collect(part.content, out)


def _replaced(message: Message, instead: dict[int, list[Part]]) -> Message:
    parts = _swapped(message.parts, instead)
    return message if parts is message.parts else replace(message, parts=parts)


def _swapped(parts: list[Part], instead: dict[int, list[Part]]) -> list[Part]:
    out: list[Part] = []
    for part in parts:
        if isinstance(part, ToolResult) and isinstance(part.content, list):
            content = _swapped(part.content, instead)
            out.append(part if content is part.content else replace(part, content=content))
        else:
            out += instead.get(id(part), [part])
    return parts if same(out, parts) else out


async def _all(*waiting: Coroutine[Any, Any, T]) -> list[T]:
    """All of them at once; the first error ends the others."""
    tasks = [asyncio.ensure_future(w) for w in waiting]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
