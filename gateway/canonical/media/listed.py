"""A video as a list of pictures: base64 of each, joined by commas (`kinds.FRAMES`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from gateway.canonical.content import Media

MOST_LISTED: Final = 1000
"""Pictures: a quarter of an hour of one a second. Servers decode all of them before they choose some."""


def count_of(media: Media) -> int:
    """How many pictures. What has no comma is one."""
    return media.base64.count(",") + 1 if isinstance(media.base64, str) else 1


def pictures_of(media: Media) -> Iterator[Media]:
    """Each picture, under the media type that the list says they have."""
    text = media.base64
    if not isinstance(text, str):
        yield replace(media, mime="image/jpeg", claimed="", header=None)
        return
    start = 0
    while start <= len(text):
        end = text.find(",", start)
        end = len(text) if end < 0 else end
        yield Media("image/jpeg", base64=text[start:end])
        start = end + 1
