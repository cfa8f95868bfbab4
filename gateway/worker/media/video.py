"""Videos -> pictures of some moments, evenly spread: what models that read video look at, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.worker.media.demux import opened
from gateway.worker.media.picture import encode, small_enough
from gateway.worker.media.refused import Refused

LONGEST = 4 * 3600.0
MOST_PACKETS = 500_000
MOST_PIXELS = 36_000_000
"""Of one frame: 8K."""
_QUALITY = 88
_BROKEN = 64
_KEYS = 4
"""Key frames per frame that is wanted from which on only these are decoded."""
_SHORT = 512
"""Frames up to which all are decoded, so that the moments are exact."""


def frames(
    data: bytes, mime: str, most: int, pixels: int, start: float | None, end: float | None, fps: float | None
) -> Iterator[tuple[float, bytes]]:
    """(seconds from the beginning, JPEG) of at most `most` frames. Raises Refused."""
    wanted, keys_only, begin = _moments(data, mime, most, start, end, fps)
    with opened(data, mime) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        context.thread_type = "AUTO"
        context.thread_count = 2
        if keys_only:
            context.skip_frame = "NONKEY"
        left = sorted(wanted)
        for frame in _decoded(container, stream):
            if frame.pts is None or frame.pts < left[0]:
                continue
            left = [pts for pts in left if pts > frame.pts]
            yield float(frame.pts * stream.time_base) - begin, _picture(frame, pixels)
            if not left:
                break


def _moments(
    data: bytes, mime: str, most: int, start: float | None, end: float | None, fps: float | None
) -> tuple[list[int], bool, float]:
    """(the times of the frames to take, in units of the stream; only key frames?; when it begins, in seconds). Read
    from the packets' heads: nothing is decoded."""
    with opened(data, mime) as container:
        if not container.streams.video:
            raise Refused("there is no picture in this video")
        stream = container.streams.video[0]
        size = stream.codec_context.width * stream.codec_context.height
        if size > MOST_PIXELS:
            raise Refused(f"its frames have {size:,} pixels: at most {MOST_PIXELS:,} are decoded")
        base = float(stream.time_base)
        times: list[tuple[int, bool]] = []
        for packet in container.demux(stream):
            if packet.pts is not None and packet.size:
                times.append((packet.pts, packet.is_keyframe))
            if len(times) > MOST_PACKETS:
                raise Refused(f"this video has more than {MOST_PACKETS} frames; cut it")
    if not times:
        raise Refused("there are no frames in this video")
    times.sort()
    begin = times[0][0] * base
    if times[-1][0] * base - begin > LONGEST:
        raise Refused(f"this video is longer than {LONGEST:.0f} s; cut it")
    inside = [t for t in times if (start or 0.0) <= t[0] * base - begin <= (end if end is not None else LONGEST)]
    if not inside:
        raise Refused("the piece that is asked for is not in this video")
    if fps is not None:
        most = min(most, max(1, round(fps * (inside[-1][0] - inside[0][0]) * base)))
    keys = [t for t in inside if t[1]]
    keys_only = len(inside) > _SHORT and len(keys) >= _KEYS * most
    chosen = keys if keys_only else inside
    return [chosen[i][0] for i in spread(len(chosen), most)], keys_only, begin


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)] if most > 1 else [count // 2]


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    import av

    broken = 0
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.FFmpegError as e:
            broken += 1
            if broken > _BROKEN:
                raise Refused("this video can't be read: it is broken") from e


def _picture(frame: Any, pixels: int) -> bytes:
    """Turned as the camera was held."""
    scale = min(1.0, (pixels / (frame.width * frame.height)) ** 0.5)
    width, height = max(2, int(frame.width * scale)), max(2, int(frame.height * scale))
    image = frame.reformat(width=width, height=height, format="rgb24").to_image()
    turn = int(getattr(frame, "rotation", 0) or 0) % 360
    if turn:
        image = image.rotate(turn, expand=True)
    return encode(small_enough(image, pixels), "JPEG", _QUALITY)
