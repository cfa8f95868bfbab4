"""The worker's loop: a job from standard input, what was made of it to standard output, and again."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from gateway.engine.media.pipe import HEAD_LIMIT, LENGTHS, PIECE, Head, Job, pack, unpack
from gateway.worker.llamacpp import die_with
from gateway.worker.media.refused import Refused

MEMORY = 2 << 30
"""Octets of address space, code and stacks among them."""
CPU_SECONDS = 90
_OUT_STEP = PIECE // 4 * 3


def main(argv: Sequence[str]) -> int:
    """`argv` = the process id of the gateway, with which this one ends."""
    if argv and not die_with(int(argv[0])):
        return 0
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal, for the gateway
    jobs, results = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no message
    _confine()
    import av.logging

    av.logging.set_level(av.logging.PANIC)
    while True:
        job = _receive(jobs)
        if job is None:
            return 0
        _give_time()
        try:
            for head, body in carry_out(*job):
                _send(results, head, body)
            last: Head = {"kind": "end"}
        except Refused as e:
            last = {"kind": "refused", "why": str(e)}
        except MemoryError:
            last = {"kind": "refused", "why": "this medium needs too much memory to be decoded"}
        _send(results, last, b"")


def carry_out(job: Job, data: bytes) -> Iterator[tuple[Head, bytes]]:
    """What is made of a medium. Raises Refused."""
    from gateway.worker.media import picture, sound, video

    do, mime = job["do"], job["mime"]
    start, end = job.get("start"), job.get("end")
    if do == "picture":
        made, kind, count = picture.convert(data, mime, job["pixels"], job["to"])
        yield {"kind": "picture", "mime": kind, "of": count}, made
        return
    if do == "frames":
        for seconds, jpeg in video.frames(data, mime, job["frames"], job["pixels"], start, end, job.get("fps")):
            yield {"kind": "frame", "mime": "image/jpeg", "seconds": seconds}, jpeg
        if not job.get("sound"):
            return
    samples = sound.samples_of(data, mime, start, end, job.get("rate", 0))
    if mime.startswith("video/") and not job.get("silence") and sound.is_silent(samples):
        return
    if not samples:
        raise Refused("there is no sound in this")
    for clip in sound.clips(samples, job.get("longest", 0.0)):
        yield {"kind": "sound", "mime": "audio/wav", "seconds": len(clip) / 2 / sound.RATE}, sound.wav(clip)


def _confine() -> None:
    """No more memory than this, no file larger than nothing, no core: whatever a decoder can be made to do."""
    import av  # noqa: F401  # while files may still be opened
    import PIL.Image

    PIL.Image.init()
    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):  # not every system has all of them
            resource.setrlimit(what, (most, most))


def _give_time() -> None:
    """So much computing time for the job that comes."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + CPU_SECONDS, hard))


def _receive(jobs: BinaryIO) -> tuple[Job, bytes] | None:
    lengths = jobs.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    size, body = LENGTHS.unpack(lengths)
    if size > HEAD_LIMIT:
        raise ValueError("a head is too long")
    job: Any = unpack(jobs.read(size))
    data = bytearray()
    while body > 0:
        text = jobs.read(min(PIECE, body))
        if not text:
            return None
        body -= len(text)
        with contextlib.suppress(Error):
            data += b64decode(text)
    return job, bytes(data)


def _send(results: BinaryIO, head: Head, body: bytes) -> None:
    """The body leaves in base64, cut where base64 may be cut."""
    results.write(pack(head, (len(body) + 2) // 3 * 4))
    for at in range(0, len(body), _OUT_STEP):
        results.write(b64encode(body[at : at + _OUT_STEP]))
    results.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
