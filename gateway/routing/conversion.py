"""What the gateway would do to each medium for one target: nothing, fetch it, convert it, or there is no way.

Pure: it goes by what the media's headers told (`Needs.media`), the target's facts and what this gateway is able to do.
The engine carries it out (engine/media) and explain tells it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from gateway.canonical.facts import Facts
from gateway.canonical.media.kinds import CLAIMS_NOTHING, FRAMES, usual
from gateway.canonical.needs import MediaNeed
from gateway.families.budget import Budget, budget_of

LONGEST_SOUND = 1200.0
"""Seconds of a sound that are converted."""

_PICTURES = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/avif", "image/heic"}
)
_OUT = ("image/png", "image/jpeg")
_CONTAINERS = frozenset(
    {"wav", "mpeg", "flac", "ogg", "opus", "mp4", "quicktime", "3gpp", "webm", "x-matroska", "aac", "aiff", "amr"}
    | {"x-msvideo", "x-ms-asf", "l16", "pcm"}
)
_SLACK = 0.5
"""Seconds by which a sound may be longer than a model hears at once: padding of codecs."""
_PER_IMAGE, _PER_FRAME, _START = 0.05, 0.03, 0.3
_SOUND_RATE, _VIDEO_RATE = 150.0, 15.0
"""How many seconds of sound, and of video, are converted in one."""

Make = Literal["", "sound", "picture", "frames"]
SoundTrack = Literal["", "clip", "dropped", "unknown"]


@dataclass(slots=True, frozen=True)
class Able:
    """What this gateway can do: convert `sound` (and videos) and `pictures`, `fetch` what is elsewhere."""

    sound: bool = False
    pictures: bool = False
    fetch: bool = False


NOTHING = Able()


@dataclass(slots=True)
class Way:
    """One medium's way to a target. `make` "" = it goes as it is; `frames` = how many pictures of a video. `track` =
    what becomes of a video's sound: "" (it has none, or goes with it) | clip (a part of its own) | dropped | unknown
    (there may be some, and nobody there hears it). `lack` = (need, reason) where there is no way."""

    medium: MediaNeed
    make: Make = ""
    fetch: bool = False
    frames: int = 0
    track: SoundTrack = ""
    lack: tuple[str, str] | None = None

    @property
    def native(self) -> bool:
        return not (self.make or self.fetch or self.track == "clip" or self.lack)

    @property
    def loss(self) -> int:
        """What is lost or changed, for the order of targets: the sound of a video weighs most, then its movement, then
        the work of a conversion."""
        lost = {"dropped": 1000, "unknown": 500}.get(self.track, 0)
        return lost + (100 if self.make == "frames" else 1 if self.make or self.track == "clip" else 0)

    def words(self) -> str:
        """As explain says it: `frames:32,sound=wav16k`."""
        out = {"": "", "sound": "wav16k", "picture": "png or jpeg", "frames": f"frames:{self.frames}"}[self.make]
        if self.track:
            out += {"clip": ",sound=wav16k"}.get(self.track, f",sound={self.track}")
        return (f"fetch,{out}" if out else "fetch") if self.fetch else out.removeprefix(",")

    def seconds(self) -> float:
        """About how long the conversion takes."""
        if not self.make and self.track != "clip":
            return 0.0
        length = self.medium.seconds or 10.0
        if self.make == "picture":
            return _PER_IMAGE + self.medium.width * self.medium.height / 40e6
        took = length / _SOUND_RATE if self.make == "sound" or self.track == "clip" else 0.0
        return took + (length / _VIDEO_RATE + self.frames * _PER_FRAME if self.make == "frames" else 0.0)


def ways_to(media: Sequence[MediaNeed], f: Facts, able: Able) -> list[Way]:
    """One way for each medium, in the same order. Media of a modality that the target is not known to take or not to
    take are left as they are: what to make of that is the caller's."""
    budget = budget_of(f.family)
    ways = [_way(m, f, able, budget) for m in media]
    films = [w for w in ways if w.make == "frames"]
    if films:
        _share_frames(ways, films, f, budget)
    if f.audio_limit is not None:
        _count_clips(ways, f, f.audio_limit)
    return ways


def clips_of(way: Way, f: Facts) -> int:
    """About how many parts a sound, or a video's sound track, is for a model that hears so much at once."""
    clip = budget_of(f.family).clip
    if not (way.make == "sound" or way.track == "clip") or not clip or f.splits_sound or way.medium.cut:
        return 1
    return max(1, ceil((way.medium.seconds or 0.0) / clip))


def seconds_of(ways: Sequence[Way]) -> float:
    """About how long all conversions take, one after the other."""
    took = sum(w.seconds() for w in ways)
    return took + _START if took else 0.0


def _way(m: MediaNeed, f: Facts, able: Able, budget: Budget) -> Way:
    way = Way(m)
    if m.form == "url" and not _reads_itself(m, f):
        way.fetch = True
        if not able.fetch:
            way.lack = "url", f"a URL at {m.path} is not fetched here: send it as base64"
            return way
    if m.form == "file_id":
        way.lack = "file_id", f"a file id at {m.path} is not known here: send it as base64"
    elif m.modality == "image" and f.image:
        _image(way, f, able)
    elif m.modality == "audio" and f.audio:
        _audio(way, f, able, budget)
    elif m.modality == "video" and (f.video or f.image):
        _video(way, f, able)
    return way


def _reads_itself(m: MediaNeed, f: Facts) -> bool:
    return f.own_uris is not None and m.url.lower().startswith(tuple(f.own_uris))


def _image(way: Way, f: Facts, able: Able) -> None:
    m = way.medium
    if _takes(m.mime, f.image_formats):
        return
    if usual(m.mime) not in _PICTURES:
        way.lack = "image_format", f"{_shown(m.mime)} at {m.path} can't be converted: send it as PNG or JPEG"
    elif not any(_takes(mime, f.image_formats) for mime in _OUT):
        way.lack = "image_format", f"takes neither PNG nor JPEG, and {_shown(m.mime)} at {m.path} is neither"
    elif not able.pictures:
        way.lack = "image_format", f"{_shown(m.mime)} at {m.path} would have to be converted to PNG or JPEG{_ADD}"
    else:
        way.make = "picture"


def _audio(way: Way, f: Facts, able: Able, budget: Budget) -> None:
    m = way.medium
    long = budget.clip and not f.splits_sound and m.seconds is not None and m.seconds > budget.clip + _SLACK
    film = usual(m.mime).startswith("video/")  # of which only the sound is meant: its pictures go nowhere
    if not film and _takes(m.mime, f.audio_formats) and (not m.cut or f.cuts):
        if long and able.sound and _convertible(m) and _takes("audio/wav", f.audio_formats):
            _as_sound(way)
        return
    if not _convertible(m):
        way.lack = "audio_format", f"{_shown(m.mime)} at {m.path} can't be converted: send it as WAV or MP3"
    elif not _takes("audio/wav", f.audio_formats):
        way.lack = "audio_format", f"does not take WAV, and {_shown(m.mime)} at {m.path} would have to become one"
    elif not able.sound:
        way.lack = "audio_format", f"{_shown(m.mime)} at {m.path} would have to be converted to WAV{_ADD}"
    else:
        _as_sound(way)


def _as_sound(way: Way) -> None:
    m = way.medium
    if m.seconds is not None and m.seconds > LONGEST_SOUND and not m.cut:
        long_words = f"the sound at {m.path} is {m.seconds:.0f} s long"
        way.lack = "audio_format", f"{long_words}, and at most {LONGEST_SOUND:.0f} s are converted: cut it"
    else:
        way.make = "sound"


def _video(way: Way, f: Facts, able: Able) -> None:
    m = way.medium
    whole = bool(f.video) and _takes(m.mime, f.video_formats) and (not m.cut or bool(f.cuts))
    if whole:
        way.track = "" if f.video_sound is not False else _track(m, f, able)
        return
    words = "does not take video" if not f.video else f"{_shown(m.mime)} at {m.path} is not among the videos it takes"
    if not f.image or not any(_takes(mime, f.image_formats) for mime in _OUT):
        way.lack = "video" if not f.video else "video_format", words
    elif not _convertible(m) and usual(m.mime) != FRAMES:
        way.lack = "video_format", f"{_shown(m.mime)} at {m.path} can't be converted: send it as MP4"
    elif not able.sound and usual(m.mime) != FRAMES:
        way.lack = "video" if not f.video else "video_format", f"{words}, and would get its frames as pictures{_ADD}"
    else:
        way.make = "frames"
        way.track = _track(m, f, able)


def _track(m: MediaNeed, f: Facts, able: Able) -> SoundTrack:
    if m.sound is False:
        return ""
    short = m.seconds is None or m.seconds <= LONGEST_SOUND or m.cut
    if short and f.audio and able.sound and _convertible(m) and _takes("audio/wav", f.audio_formats):
        return "clip"
    return "dropped" if m.sound else "unknown"


def _share_frames(ways: list[Way], films: list[Way], f: Facts, budget: Budget) -> None:
    """As many frames a video as there is room for among the pictures of one request."""
    most = budget.frames
    if f.image_limit is not None:
        room = f.image_limit - sum(w.medium.modality == "image" for w in ways)
        most = min(most, room // len(films))
    for way in films:
        known = way.medium.frames
        way.frames = most if known is None or way.medium.cut else min(most, known)
        if most < 1:
            reason = f"takes at most {f.image_limit} image part(s) in one request: too few for the frames of a video"
            way.lack = "image_limit", reason


def _count_clips(ways: list[Way], f: Facts, limit: int) -> None:
    """The sound of a video goes only where there is still room for all of it."""
    room = limit - sum(clips_of(w, f) for w in ways if w.medium.modality == "audio")
    for way in ways:
        if way.track == "clip":
            count = clips_of(way, f)
            if count > room:
                way.track = "dropped" if way.medium.sound else "unknown"
            else:
                room -= count


_ADD = ", for which the extra `media` is not installed: pip install 'gemma-gateway[media]'"


def _convertible(m: MediaNeed) -> bool:
    """A medium that is elsewhere may be anything."""
    return usual(m.mime).partition("/")[2] in _CONTAINERS or (m.form == "url" and usual(m.mime) in CLAIMS_NOTHING)


def _takes(mime: str, known: frozenset[str] | None) -> bool:
    """A medium without a claimed type passes: what it is, is seen when it is prepared."""
    if known is None or mime in known:
        return True
    plain = usual(mime)
    return plain in CLAIMS_NOTHING or plain in known or any(usual(k) == plain for k in known)


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
