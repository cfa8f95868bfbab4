"""What this machine computes with, read from what its own tools print. Nothing is run here."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass

NVIDIA_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits")
"""Prints a line for each GPU: its name, its memory in MiB, its compute capability."""
APPLE_QUERY = ("sysctl", "-n", "machdep.cpu.brand_string", "hw.memsize")
"""Prints two lines on a Mac: `Apple M3 Max`, and its memory in bytes."""

BLACKWELL = (10, 0)
"""The first compute capability with arithmetic for NVFP4 (https://developer.nvidia.com/cuda-gpus)."""


@dataclass(slots=True, frozen=True)
class Gpu:
    """One NVIDIA GPU. `memory` in GiB; `capability` like (8, 9)."""

    name: str
    memory: float
    capability: tuple[int, int]

    @property
    def blackwell(self) -> bool:
        return self.capability >= BLACKWELL


@dataclass(slots=True, frozen=True)
class Hardware:
    """`gpus` as they can work side by side: all of one kind. `others` = names of GPUs that are left out. `memory`: the
    machine's, in GiB. `apple` = the chip's name on a Mac with Apple silicon."""

    memory: float
    gpus: tuple[Gpu, ...] = ()
    others: tuple[str, ...] = ()
    apple: str | None = None


def read(nvidia: str | None, apple: str | None, meminfo: str | None) -> Hardware:
    """From the outputs of NVIDIA_QUERY and APPLE_QUERY and from /proc/meminfo; None where there is no such thing.
    Memory that nobody tells is 0. Raises ValueError, naming the line, for what is no such output."""
    if apple is not None and (found := read_apple(apple)):
        name, memory = found
        return Hardware(memory, apple=name)
    gpus, others = _side_by_side(read_nvidia(nvidia or ""))
    return Hardware(read_meminfo(meminfo or ""), gpus, others)


def read_nvidia(text: str) -> list[Gpu]:
    gpus = []
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if not row:
            continue
        try:
            name, memory, capability = row
            major, minor = capability.split(".")
            gpus.append(Gpu(name, int(memory) / 1024, (int(major), int(minor))))
        except ValueError:
            raise ValueError(f"nvidia-smi says {', '.join(row)!r}, which is no GPU") from None
    return gpus


def read_apple(text: str) -> tuple[str, float] | None:
    """The chip and its memory in GiB; None for a Mac without Apple silicon."""
    lines = text.split("\n")
    if not lines[0].startswith("Apple "):
        return None
    size = lines[1].strip() if len(lines) > 1 else ""
    return lines[0].strip(), int(size) / 2**30 if size.isdigit() else 0.0


def read_meminfo(text: str) -> float:
    """MemTotal of proc(5), in GiB."""
    found = re.search(r"^MemTotal:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) / 2**20 if found else 0.0


def _side_by_side(gpus: list[Gpu]) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """The kind that has the most memory together: a model that is split over GPUs wants equal ones."""
    if not gpus:
        return (), ()
    total: Counter[Gpu] = Counter()
    for gpu in gpus:
        total[gpu] += round(gpu.memory * 1024)
    best = max(total, key=lambda gpu: (total[gpu], gpu.capability, gpu.name))
    return tuple(g for g in gpus if g == best), tuple(g.name for g in gpus if g != best)
