"""The receipt: what became of each content part of a request, in the form of the header `x-gateway-parts`."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.canonical.content import MODALITY, Audio, Document, Image, Opaque, Refusal, Text, ToolResult, Video
from gateway.canonical.needs import content_parts
from gateway.canonical.requests import Chat

LIMIT = 2048
"""Octets of the header. The log and explain have the whole receipt."""


def fates_of(chat: Chat, changed: Mapping[int, str]) -> list[str]:
    """One word a part, in request order: its kind as it was delivered, or what `changed` says for its number."""
    out = []
    for number, part in enumerate(content_parts(chat)):
        if isinstance(part, Text | Refusal | ToolResult):
            word = "text"
        elif isinstance(part, Image | Audio | Video | Document):
            word = MODALITY[type(part)]
        else:
            assert isinstance(part, Opaque)
            word = part.type
        out.append(changed.get(number, word))
    return out


def as_asked(fates: dict[int, str], asked: Chat, sent: Chat) -> dict[int, str]:
    """`fates` of the parts of `sent`, by their numbers in `asked`: the engine may have put in a text of its own."""
    if not fates or sent.messages is asked.messages:
        return fates
    before, after = list(content_parts(asked)), list(content_parts(sent))
    if len(before) == len(after):
        return fates
    new = next((n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a is not b), len(before))
    return {n - (n > new): fate for n, fate in fates.items() if n != new}


def with_claims(fates: dict[int, str], chat: Chat) -> dict[int, str]:
    """`fates` and a notice for each medium that is something else than its client said: `image,claimed=image/webp`."""
    out = fates
    for number, part in enumerate(content_parts(chat)):
        if isinstance(part, Image | Audio | Video | Document) and part.media.claimed:
            word = fates.get(number, MODALITY[type(part)])
            out = {**out, number: f"{word},claimed={part.media.claimed}"}
    return out


def fold_receipt(fates: list[str], limit: int | None = LIMIT) -> str:
    """`["text", "text", "audio"]` -> `0-1=text,2=audio`; cut at `limit` octets with `+N` for N parts left out."""
    if len(fates) == 1:
        return f"0={fates[0]}"
    out = ""
    start = 0
    total = len(fates)
    while start < total:
        end = start
        while end + 1 < total and fates[end + 1] == fates[start]:
            end += 1
        item = f"{start}={fates[start]}" if start == end else f"{start}-{end}={fates[start]}"
        if limit is not None and len(out) + len(item) + 8 > limit:
            return f"{out},+{total - start}"
        out = f"{out},{item}" if out else item
        start = end + 1
    return out
