"""A picture, a sound and a video, small and made here."""

from __future__ import annotations

import io
import math
import struct
import subprocess
import wave
import zlib


def png(width: int = 96, height: int = 96) -> bytes:
    """A colour gradient, 8-bit RGB."""
    rows = b"".join(
        b"\0" + bytes(c for x in range(width) for c in (255 * x // width, 255 * y // height, 128))
        for y in range(height)
    )

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wav(seconds: float = 0.5, hertz: float = 440.0, rate: int = 16_000) -> bytes:
    """A tone, mono, 16 bits."""
    samples = (int(12_000 * math.sin(2 * math.pi * hertz * i / rate)) for i in range(int(seconds * rate)))
    out = io.BytesIO()
    with wave.open(out, "wb") as w:
        w.setnchannels(1)
        w.setsampwidth(2)
        w.setframerate(rate)
        w.writeframes(b"".join(struct.pack("<h", s) for s in samples))
    return out.getvalue()


def mp4(seconds: int = 1) -> bytes:
    """A moving test picture without sound. Needs ffmpeg; raises OSError or CalledProcessError."""
    picture = f"testsrc=duration={seconds}:size=96x96:rate=8"
    # Streamable, since a pipe cannot be rewound to write the index; mpeg4 is in every build of ffmpeg.
    form = ["-c:v", "mpeg4", "-pix_fmt", "yuv420p", "-f", "mp4", "-movflags", "frag_keyframe+empty_moov", "-"]
    made = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, *form],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=30,
    )
    return made.stdout
