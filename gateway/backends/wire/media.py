"""What a medium really is, and whether a server takes it as it stands."""

from __future__ import annotations

from dataclasses import replace

from gateway.canonical.content import MODALITY, Media, MediaPart
from gateway.canonical.facts import Facts
from gateway.canonical.media.headers import header_of
from gateway.canonical.media.kinds import usual
from gateway.errors import PartRefused


def fit_media(part: MediaPart, facts: Facts) -> Media:
    """The medium as this server takes it, untouched where it is right already. Raises PartRefused with the part's path
    for everything that should have been fetched or converted before."""
    media = part.media
    modality = MODALITY[type(part)]
    if getattr(facts, modality) is False:
        raise PartRefused(f"this server takes no {modality}", param=part.path)
    if media.url is not None:
        if facts.own_uris is not None and media.url.lower().startswith(tuple(facts.own_uris)):
            return media
        raise PartRefused("this medium is elsewhere, and was not fetched: send it as base64", param=part.path)
    if media.file_id is not None:
        raise PartRefused("no server here keeps files; send the medium as base64", param=part.path)
    if media.clip is not None and (media.clip.start is not None or media.clip.end is not None) and not facts.cuts:
        raise PartRefused(f"this server can't cut a piece out of {_an(modality)}: send the piece", param=part.path)
    mime = _mime(media, modality)
    if not mime and modality != "document":
        raise PartRefused(f"what kind of {modality} this is can't be told; name its media type", param=part.path)
    formats: frozenset[str] | None = getattr(facts, f"{modality}_formats", None)
    if formats is not None and mime not in formats and not any(usual(f) == usual(mime) for f in formats):
        takes = ", ".join(sorted({usual(f) for f in formats}))
        raise PartRefused(f"{mime} was not converted; this server takes {takes}", param=part.path)
    return media if mime == media.mime else replace(media, mime=mime)


def _mime(media: Media, modality: str) -> str:
    """What the bytes show, where that is of the right modality; else the client's claim (a list of JPEG frames is
    video); "" if neither tells."""
    shown = header_of(media, modality).mime
    if shown.startswith(f"{modality}/") or (modality == "document" and shown):
        return shown
    claim = usual(media.mime) if ";" not in media.mime else media.mime
    return claim if modality == "document" or claim.startswith(f"{modality}/") else ""


def _an(modality: str) -> str:
    return f"an {modality}" if modality[0] in "ai" else f"a {modality}"
