"""How long a sound is: WAV, AIFF, FLAC, MP3, AAC, AMR, Ogg. From headers where they tell, else from the first frames'
size."""

from __future__ import annotations

import struct

from gateway.canonical.content import Header
from gateway.canonical.media.octets import Octets

_CHUNKS = 64
_NEAR = 64 * 1024
_STREAMED = (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFF000, 0xFFFFF000)
"""Lengths that are written where the real one is not known yet."""


def tag_of(octets: Octets) -> int:
    """Octets of the ID3 tag that stands before a sound, with its pictures: https://id3.org/id3v2.4.0-structure"""
    head = octets.read(0, 10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum((b & 0x7F) << shift for b, shift in zip(head[6:], (21, 14, 7, 0), strict=True))


def read_wav(octets: Octets, header: Header) -> None:
    """https://learn.microsoft.com/windows/win32/multimedia/waveform-audio-file-format"""
    at, rate = 12, 0
    for _ in range(_CHUNKS):
        head = octets.read(at, 8)
        if len(head) < 8:
            return
        name, length = head[:4], int.from_bytes(head[4:8], "little")
        if name == b"fmt ":
            form = octets.read(at + 8, 16)
            if len(form) < 16:
                return
            coding, header.channels, header.rate, rate, _, header.bits = struct.unpack("<HHIIHH", form)
            header.plain = coding in (1, 0xFFFE)
            if not rate:
                header.problem = "its header has no sample rate"
        elif name == b"data":
            here = octets.size - at - 8
            if here <= 0:
                header.problem = "there is no sound in it"
            elif (
                length > here and length & ~0xFF not in {s & ~0xFF for s in _STREAMED} and octets.read(0, 4) == b"RIFF"
            ):
                header.problem = f"it is cut: its header promises {length} octets, {here} are here"
            header.seconds = min(length, here) / rate if rate and length else here / rate if rate else None
            return
        at += 8 + length + length % 2


def read_aiff(octets: Octets, header: Header) -> None:
    at = 12
    for _ in range(_CHUNKS):
        head = octets.read(at, 26)
        if len(head) < 8:
            return
        if head[:4] == b"COMM" and len(head) >= 26:
            count = int.from_bytes(head[10:14], "big")
            exponent, mantissa = struct.unpack(">HQ", head[16:26])
            rate = mantissa * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63) if exponent & 0x7FFF < 16450 else 0.0
            header.seconds = count / rate if rate else None
            return
        length = int.from_bytes(head[4:8], "big")
        at += 8 + length + length % 2


def read_flac(octets: Octets, header: Header) -> None:
    """STREAMINFO: https://www.rfc-editor.org/rfc/rfc9639#section-8.2"""
    info = octets.read(tag_of(octets) + 8, 18)
    if len(info) == 18:
        bits = int.from_bytes(info[10:18], "big")
        rate, count = bits >> 44, bits & ((1 << 36) - 1)
        header.seconds = count / rate if rate and count else None


_MP3_RATES = ((44100, 48000, 32000), (22050, 24000, 16000), (11025, 12000, 8000))
_MP3_KBIT = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)


def read_mp3(octets: Octets, header: Header) -> None:
    """The count of frames in a Xing or VBRI header, else the first frame's bit rate."""
    at = tag_of(octets)
    near = octets.read(at, 4096)
    for i in range(len(near) - 4):
        found = _mp3_frame(near[i : i + 4])
        if found is None:
            continue
        rate, kbit, samples = found
        frame = near[i : i + 200]
        for name in (b"Xing", b"Info"):
            where = frame.find(name)
            if where > 0 and len(frame) >= where + 12 and frame[where + 7] & 1:
                header.seconds = int.from_bytes(frame[where + 8 : where + 12], "big") * samples / rate
                return
        where = frame.find(b"VBRI")
        if where > 0 and len(frame) >= where + 18:
            header.seconds = int.from_bytes(frame[where + 14 : where + 18], "big") * samples / rate
            return
        header.seconds = max(0, octets.size - at - i) * 8 / (kbit * 1000)
        return


def _mp3_frame(head: bytes) -> tuple[int, int, int] | None:
    """(sample rate, kbit/s, samples) of a Layer III frame's header."""
    if head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version = {3: 0, 2: 1, 0: 2}.get(head[1] >> 3 & 3)
    kbit, rate = head[2] >> 4, head[2] >> 2 & 3
    if version is None or kbit in (0, 15) or rate == 3:
        return None
    return _MP3_RATES[version][rate], _MP3_KBIT[min(version, 1)][kbit], 1152 if version == 0 else 576


_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


def read_aac(octets: Octets, header: Header) -> None:
    """ADTS: the average size of the first frames, 1,024 samples each."""
    start = tag_of(octets)
    near = octets.read(start, _NEAR)
    at = count = rate = 0
    while at + 7 <= len(near) and near[at] == 0xFF and near[at + 1] & 0xF6 == 0xF0:
        index = near[at + 2] >> 2 & 15
        length = (near[at + 3] & 3) << 11 | near[at + 4] << 3 | near[at + 5] >> 5
        if index >= len(_AAC_RATES) or length < 7:
            break
        rate, count, at = _AAC_RATES[index], count + 1, at + length
    if count and rate:
        header.seconds = (octets.size - start) / (at / count) * 1024 / rate


_AMR = (13, 14, 16, 18, 20, 21, 27, 32, 6)
_AMR_WB = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6)


def read_amr(octets: Octets, header: Header) -> None:
    """50 frames a second, whose size the first one tells: https://www.rfc-editor.org/rfc/rfc4867#section-5"""
    head = octets.read(0, 10)
    wide = head.startswith(b"#!AMR-WB\n")
    start, sizes = (9, _AMR_WB) if wide else (6, _AMR)
    if len(head) > start:
        mode = head[start] >> 3 & 15
        if mode < len(sizes):
            header.seconds = (octets.size - start) / sizes[mode] / 50


def read_ogg(octets: Octets, header: Header) -> None:
    """The codecs of the first pages, and the position that the last page tells (RFC 3533, RFC 7845)."""
    near = octets.read(0, 4096)
    rate = skip = 0
    at = near.find(b"OpusHead")
    if at >= 0 and len(near) >= at + 12:
        rate, skip = 48000, int.from_bytes(near[at + 10 : at + 12], "little")
    elif (at := near.find(b"\x01vorbis")) >= 0 and len(near) >= at + 16:
        rate = int.from_bytes(near[at + 12 : at + 16], "little")
    elif (at := near.find(b"\x7fFLAC")) >= 0 and len(near) >= at + 30:
        rate = int.from_bytes(near[at + 27 : at + 30], "big") >> 4
    elif (at := near.find(b"Speex   ")) >= 0 and len(near) >= at + 40:
        rate = int.from_bytes(near[at + 36 : at + 40], "little")
    header.pictures = b"\x80theora" in near or b"BBCD\x00" in near
    if rate or header.pictures:
        header.sound = rate > 0
    start = max(0, octets.size - _NEAR)
    last = octets.read(start, _NEAR)
    at = last.rfind(b"OggS")
    if rate and at >= 0 and len(last) >= at + 14:
        position = int.from_bytes(last[at + 6 : at + 14], "little", signed=True)
        if position > 0:
            header.seconds = max(0, position - skip) / rate
