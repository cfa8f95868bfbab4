"""Pictures, sounds and videos as arrays. Pillow and PyAV do the decoding; both are of the extra `keras`.

What can't be read, and what would be cut to fit, is refused by its path: nothing of a medium is left out in silence but
the sound of a video, which this kind of server has never promised to hear.
"""

from __future__ import annotations

import io
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.canonical.content import Audio, Image, Media, Segments, Video
from gateway.errors import PartRefused

Pixels = npt.NDArray[np.uint8]
Wave = npt.NDArray[np.float32]

RATE = 16_000
"""Samples a second that the model hears."""
LONGEST_SOUND = 30
"""Seconds of one clip: https://ai.google.dev/gemma/docs/capabilities/audio."""
LONGEST_VIDEO = 600
"""Seconds. Of more, 32 frames say nothing."""
FRAMES = 32
"""Of a video: what the model was trained with."""
_SIDE = 2048
"""Pixels: what is larger is made smaller first. The model sees at most 280 squares of 48 x 48."""
_FRAME_SIDE = 896
_MOST_PIXELS = 100_000_000
_JPEGS = "video/jpeg"


@dataclass(slots=True, frozen=True)
class Frame:
    """`seconds` from the video's start."""

    seconds: float
    pixels: Pixels


def picture(part: Image) -> Pixels:
    """Height x width x 3, as it is meant to be looked at; of an animation the first picture."""
    return _picture(octets(part), part.path, _SIDE)


def sound(part: Audio) -> Wave:
    """One channel, RATE, in -1 to 1."""
    import av

    held, size = [], 0
    with _decoding(av, part.path, "sound"), av.open(io.BytesIO(octets(part)), "r") as container:
        if not container.streams.audio:
            raise PartRefused("there is no sound in this", param=part.path)
        resampler = av.AudioResampler(format="fltp", rate=RATE)
        for frame in _and_none(container.decode(audio=0)):
            for piece in resampler.resample(frame):
                held.append(piece.to_ndarray().mean(axis=0))  # FFmpeg's own mix of two channels is louder by half
                size += len(held[-1])
            if size > LONGEST_SOUND * RATE:
                raise PartRefused(f"a sound is at most {LONGEST_SOUND} s long here; cut it", param=part.path)
    if not size:
        raise PartRefused("this sound is empty", param=part.path)
    return np.concatenate(held).astype(np.float32)


def film(part: Video, left: Callable[[], bool] = lambda: False) -> list[Frame]:
    """At most FRAMES, evenly spread over the video. `left`: nobody waits for it any more."""
    if part.media.mime == _JPEGS and isinstance(part.media.base64, str):
        jpegs = part.media.base64.split(",")
        return [
            Frame(float(i), _picture(b64decode(jpegs[i]), part.path, _FRAME_SIDE)) for i in spread(len(jpegs), FRAMES)
        ]
    import av

    data = octets(part)
    with _decoding(av, part.path, "video"):
        times = _times(av, data, part.path)
        wanted = set(spread(len(times), FRAMES))
        frames = []
        with av.open(io.BytesIO(data), "r") as container:
            for number, frame in enumerate(container.decode(video=0)):
                if left():
                    return []
                if number in wanted:
                    seconds = max(0.0, (frame.time or 0.0) - times[0])
                    frames.append(Frame(seconds, _shrunk(frame)))
                if number >= len(times):
                    break
    if not frames:
        raise PartRefused("there are no frames in this video", param=part.path)
    return frames


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def stamp(seconds: float) -> str:
    """`75.4` -> `01:15`, as the model reads the time of a frame."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def octets(part: Image | Audio | Video) -> bytes:
    """The medium itself. Raises PartRefused for one that would have to be fetched."""
    media: Media = part.media
    if media.octets is not None:
        return media.octets
    if media.base64 is None:
        raise PartRefused("this server fetches nothing; send the medium as a data: URL", param=part.path)
    if media.clip is not None and (media.clip.start is not None or media.clip.end is not None):
        raise PartRefused("this server cuts no piece out of a medium; send the piece", param=part.path)
    text = media.base64.text() if isinstance(media.base64, Segments) else media.base64
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise PartRefused("the data is not base64", param=part.path) from None


def _picture(data: bytes, path: str, side: int) -> Pixels:
    from PIL import Image as Pillow
    from PIL import ImageOps

    try:
        with Pillow.open(io.BytesIO(data)) as opened:
            width, height = opened.size
            if width * height > _MOST_PIXELS:
                raise PartRefused("this picture has too many pixels", param=path)
            image: Any = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as e:
        raise PartRefused("this picture can't be read", param=path) from e
    if max(width, height) > side:
        image.thumbnail((side, side), Pillow.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8)


def _times(av: Any, data: bytes, path: str) -> list[float]:
    """When each frame is shown, in that order; read without decoding any."""
    with av.open(io.BytesIO(data), "r") as container:
        if not container.streams.video:
            raise PartRefused("there is no video in this", param=path)
        times = sorted(float(p.pts * p.time_base) for p in container.demux(video=0) if p.pts is not None and p.size)
    if times and times[-1] - times[0] > LONGEST_VIDEO:
        raise PartRefused(f"a video is at most {LONGEST_VIDEO} s long here; cut it", param=path)
    if not times:
        raise PartRefused("there are no frames in this video", param=path)
    return times


def _shrunk(frame: Any) -> Pixels:
    scale = min(1.0, _FRAME_SIDE / max(frame.width, frame.height))
    width, height = max(2, int(frame.width * scale)), max(2, int(frame.height * scale))
    pixels: Pixels = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
    return pixels


@contextmanager
def _decoding(av: Any, path: str, what: str) -> Iterator[None]:
    """What the library can't read is the part's fault."""
    try:
        yield
    except (av.FFmpegError, ValueError, OSError) as e:
        raise PartRefused(f"this {what} can't be read", param=path) from e


def _and_none(frames: Iterator[Any]) -> Iterator[Any]:
    """The frames, and None: it empties a resampler."""
    yield from frames
    yield None
