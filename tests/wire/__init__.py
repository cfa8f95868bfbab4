"""Recorded exchanges with real servers: the request in lines that begin with `> `, the head of the reply with `< `, the
rest is the reply's body byte for byte (and the newline that ends the file)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

HERE = Path(__file__).parent


@dataclass
class Recorded:
    asked: bytes
    status: int
    body: bytes

    @property
    def request(self) -> Any:
        """The request's body; None if it has none that is JSON."""
        try:
            return msgspec.json.decode(self.asked)
        except msgspec.DecodeError:
            return None

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def recorded(name: str) -> Recorded:
    """`vllm/stream` -> what tests/wire/vllm/stream.txt holds."""
    asked, _, answered = (HERE / f"{name}.txt").read_bytes().partition(b"\n< HTTP/1.")
    head, _, body = answered.partition(b"\n<\n")
    return Recorded(asked.rpartition(b"\n> ")[2], int(head[2:5]), body)


def names(pattern: str) -> list[str]:
    """`*/*stream*` -> the names of the files that match, in order."""
    return sorted(p.relative_to(HERE).with_suffix("").as_posix() for p in HERE.glob(f"{pattern}.txt"))
