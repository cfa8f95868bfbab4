"""Sounds -> 16 kHz, one channel, 16 bits, in a WAV file: what every server that hears understands."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from typing import Any

import av

from gateway.worker.media.demux import opened
from gateway.worker.media.refused import Refused

RATE = 16_000
LONGEST = 1200.0
"""Seconds of a sound that are converted: 38 MB."""
_OCTETS = 2
_BROKEN = 16
"""Packets that may be unreadable before the whole is."""
_WINDOW = RATE // 5
"""Samples over which loudness is looked at where a sound is cut: a fifth of a second."""
_COUNTED = ("audio/flac", "audio/aiff")
"""Formats whose header counts the samples."""
_WHOLE = 0.98
_SILENT = 8
"""Samples whose value never goes above this are silence: -72 dB."""


def samples_of(data: bytes, mime: str, start: float | None, end: float | None, rate: int = 0) -> bytes:
    """The first sound track, from `start` to `end` in seconds; b"" if there is none. Raises Refused."""
    most = int(LONGEST * RATE * _OCTETS)
    first = round((start or 0.0) * RATE) * _OCTETS
    last = None if end is None else round(end * RATE) * _OCTETS
    out = bytearray()
    with opened(data, mime, rate) as container:
        if not container.streams.audio:
            return b""
        stream = container.streams.audio[0]
        length = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        if min(length, end or length) - (start or 0.0) > LONGEST:
            raise Refused(f"this sound is {length:.0f} s long: at most {LONGEST:.0f} s are converted; cut it")
        for piece in _resampled(container, stream):
            out += piece
            if last is not None and len(out) >= last:
                break
            if len(out) - first > most:
                raise Refused(f"this sound is longer than {LONGEST:.0f} s, which is all that is converted; cut it")
    seconds = len(out) / _OCTETS / RATE
    if mime in _COUNTED and last is None and seconds < _WHOLE * length:
        raise Refused(f"this sound is cut: its header says {length:.1f} s, and {seconds:.1f} s are here")
    return bytes(out[first:last])


def _resampled(container: Any, stream: Any) -> Iterator[bytes]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    stream.codec_context.thread_count = 1
    broken = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError as e:
            broken += 1
            if broken > _BROKEN:
                raise Refused("this sound can't be read: it is broken") from e
            continue
        for frame in frames:
            for piece in resampler.resample(frame):
                yield bytes(piece.planes[0])[: piece.samples * _OCTETS]
    for piece in resampler.resample(None):
        yield bytes(piece.planes[0])[: piece.samples * _OCTETS]


def is_silent(samples: bytes) -> bool:
    values = array("h", samples)
    return not values or (max(values) <= _SILENT and min(values) >= -_SILENT)


def clips(samples: bytes, longest: float) -> Iterator[bytes]:
    """The samples in pieces of at most `longest` seconds (0 = in one), cut where it is quietest in the last third of
    each. Together they are the whole."""
    most = int(longest * RATE) if longest else 0
    total = len(samples) // _OCTETS
    at = 0
    while most and total - at > most:
        cut = _quietest(samples, at + most * 2 // 3, at + most)
        yield samples[at * _OCTETS : cut * _OCTETS]
        at = cut
    yield samples[at * _OCTETS :]


def _quietest(samples: bytes, start: int, end: int) -> int:
    """The middle of the quietest window between two samples, the latest of equals."""
    values = array("h", samples[start * _OCTETS : end * _OCTETS])
    half = _WINDOW // 2
    steps = [sum(map(abs, values[i : i + half : 4])) for i in range(0, len(values) - half + 1, half)]
    if len(steps) < 2:
        return end
    best = min(range(len(steps) - 1), key=lambda i: (steps[i] + steps[i + 1], -i))
    return start + (best + 1) * half


def wav(samples: bytes) -> bytes:
    size = len(samples)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16, b"data", size
    )
    return head + samples
