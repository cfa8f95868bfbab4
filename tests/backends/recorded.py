"""Recorded exchanges with real servers (tests/wire/*): a request, and the reply byte for byte."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gateway.backends import Call, Reply

WIRE = Path(__file__).parent.parent / "wire"


@dataclass
class Exchange:
    method: str
    path: str
    request: Any
    reply: Reply


def exchange(name: str) -> Exchange:
    """`vllm/err_bad_audio` -> the exchange of tests/wire/vllm/err_bad_audio.txt."""
    raw = (WIRE / f"{name}.txt").read_bytes()
    asked, _, answered = raw.partition(b"\n< HTTP/1.1 ")
    head, _, body = answered.partition(b"\n<\n")
    first = asked.split(b" ")
    text = asked.rpartition(b"\n>\n> ")[2].strip()
    headers = {}
    for line in head.decode().splitlines()[1:]:
        key, _, value = line.removeprefix("< ").partition(":")
        headers[key.lower()] = value.strip()
    try:
        request = msgspec.json.decode(text) if text else None
    except msgspec.DecodeError:
        request = text
    status = int(re.match(rb"\d+", head)[0])  # type: ignore[index]
    return Exchange(first[1].decode(), first[2].decode(), request, Reply(status, headers, body.removesuffix(b"\n")))


def reply(name: str) -> Reply:
    return exchange(name).reply


def names(folder: str, pattern: str) -> list[str]:
    return sorted(f"{folder}/{p.stem}" for p in (WIRE / folder).glob(f"{pattern}.txt"))


def body_of(call: Call) -> Any:
    """The decoded body of a call."""
    return msgspec.json.decode(call.octets())
