"""What kind of server answers at an address, from what it says of itself.

First its list of models, which most servers sign in some way. Where that leaves it open (behind a key, or signed by
nobody), each kind that has a `witness` is given the reply to it; so is a kind that is another one with more around it.
A server that lists models and is none of all these is taken for the general kind, and `sure` says that it was.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from gateway.backends import Backend, Call, Reply, kinds, load
from gateway.backends.wire.listing import cards

GENERAL = "openai"
"""The kind of whatever lists models and says nothing else of itself."""
GUESSED = "nothing tells what it is: taken for a server that speaks the OpenAI API"
_OURS = b"\ngateway_"


@dataclass(slots=True)
class Detected:
    """`backend` None = no kind that is known here. `models`: its reply to GET /v1/models. `sure` False = it is of the
    general kind only because nothing tells more. `gateway` = it is one like this."""

    backend: Backend | None
    models: Reply
    sure: bool = True
    gateway: bool = False


Detection = Generator[Call, Reply, Detected]


def detect() -> Detection:
    """The calls, all GETs that cost a server nothing; it is done after the first one if nobody answers."""
    models = yield Call("GET", "/v1/models")
    listed = cards(models)
    if any(isinstance(c.get("gateway"), dict) for c in listed or ()):
        return Detected(None, models, gateway=True)
    known = [load(kind) for kind in kinds() if kind != GENERAL]
    claimed = next((b for b in known if b.claims(models)), None)
    if claimed is not None:
        asked = [b for b in known if b.witness and b is not claimed and isinstance(b, type(claimed))]
    elif listed or models.status in (401, 403, 404):
        asked = [b for b in known if b.witness]
    else:
        asked = []
    heard: dict[str, Reply] = {}
    for backend in asked:
        if backend.witness not in heard:
            heard[backend.witness] = yield Call("GET", backend.witness)
        if backend.admits(heard[backend.witness]):
            return Detected(backend, models)
    if claimed is not None:
        return Detected(claimed, models)
    if any(r.status == 200 and _OURS in b"\n" + r.body for r in heard.values()):
        return Detected(None, models, gateway=True)
    general = load(GENERAL)
    return Detected(general if general.claims(models) else None, models, sure=False)
