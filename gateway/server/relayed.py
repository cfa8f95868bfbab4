"""Where the operations are asked for whose answers are passed on."""

from __future__ import annotations

from typing import Any, Final

from gateway.canonical.requests import RelayedOperation
from gateway.errors import NotImplementedHere

RELAYED_PATHS: Final[dict[str, RelayedOperation]] = {
    "/v1/rerank": "rerank",
    "/v2/rerank": "rerank",
    "/rerank": "rerank",
    "/v1/audio/speech": "speech",
    "/v1/images/generations": "images",
    "/infill": "infill",
    "/v1/infill": "infill",
}
PICTURE_FORMS: Final = ("/v1/images/edits", "/v1/images/variations")


async def no_pictures(*_: Any) -> None:
    """What is asked of pictures that come in a form."""
    raise NotImplementedHere(
        "pictures are made here from words (/v1/images/generations); forms with pictures in them are not passed on"
    )
