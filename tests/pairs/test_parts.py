"""Every part in every dialect to every kind: what arrived and what was refused is what was sent.

What the receipt says of a part is held against the bytes that would go to the server: a part that is said to go as it
is, is there; one that was converted is there as what it became, and not as what it was; a sound that was dropped is not
there. Nothing is there twice, and nothing that nobody sent.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import AsyncIterator
from math import ceil
from typing import Any

import httpx2
import msgspec
import pytest
import yaml

from gateway.backends import Discovery, Model, kinds, load
from gateway.canonical.content import Media, Segments
from gateway.canonical.context import Context
from gateway.canonical.facts import Facts
from gateway.canonical.media.identify import Wrong, identified
from gateway.canonical.requests import Chat
from gateway.engine.deadlines import Sweep
from gateway.engine.fleet import Fleet
from gateway.engine.media.convert import Piece, Workers
from gateway.engine.media.fetch import Fetcher
from gateway.engine.media.pipe import Job
from gateway.engine.media.stage import MediaStage
from gateway.engine.media.store import Store
from gateway.engine.receipt import fates_of
from gateway.engine.relay import Relay
from gateway.engine.route import Router
from gateway.engine.upstream import Upstream
from gateway.errors import GatewayError
from gateway.settings import Settings, parse
from tests.pairs.media import DIALECTS, CannotSay, Given
from tests.pairs.variants import FILES, VARIANTS, Variant, marked, name_in, shown, wav

BEFORE, AFTER = "words before it", "words behind it"
PIECES = {"picture": ("image/png", FILES["png"][1]), "frame": ("image/jpeg", FILES["jpeg"][1])}
LONG = {"long wav": 70.0, "long flac": 70.0}


def made(kind: str, name: str, number: int = 0) -> str:
    """The mark of what was made out of a medium."""
    return f"{kind[0]}{number} {name}"[:22]


class Marking(Workers):
    """Makes of a marked medium what marks tell it from."""

    async def convert(self, job: Job, media: Media) -> list[Piece]:
        assert media.base64 is not None
        text = media.base64 if isinstance(media.base64, str) else media.base64.text()
        data = b64decode(text)
        name = name_in(data)
        if job["do"] == "picture":
            return [self._piece("picture", name)]
        longest = job.get("longest") or 0.0
        count = ceil(LONG.get(name, 1.0) / longest) if longest else 1
        sounds = [self._piece("sound", name, i) for i in range(count)]
        if job["do"] == "sound":
            return sounds
        frames = [self._piece("frame", name, i) for i in range(min(job["frames"], 4))]
        return frames + (sounds if job.get("sound") else [])

    def _piece(self, kind: str, name: str, number: int = 0) -> Piece:
        mime, data = PIECES.get(kind, ("audio/wav", wav(8000, 1, 8, 0.01)))
        content = Segments([b64encode(marked(data, made(kind, name, number)))])
        return Piece(kind, mime, content, 0.5 + number)


def settings() -> Settings:
    backends: dict[str, Any] = {k: {"kind": k, "url": "http://127.0.0.1:9", "local": True} for k in kinds()}
    backends["gemini"]["api_key_env"] = "KEY"
    backends["vertex"] |= {"project": "p", "location": "global"}
    models = {k: {"targets": [{"backend": k, "model": "m"}]} for k in backends}
    value = {"backends": backends, "models": models, "media": {"remote": {"allow": ["files.example:80"]}}}
    return parse(yaml.safe_dump(value), {"KEY": "k"})


SETTINGS = settings()
REMOTE = {path: data for v in VARIANTS for path, data in v.files}


async def remote(asked: httpx2.Request) -> httpx2.Response:
    async def body() -> AsyncIterator[bytes]:
        yield REMOTE[asked.url.path]

    return httpx2.Response(200, content=body())


async def resolve(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest.fixture
async def router() -> Router:
    """Servers of every kind, which take all that their kind may take."""
    fleet = Fleet()
    fleet.apply(SETTINGS)
    for server in fleet.servers.values():
        assumed = load(server.kind).assumed
        takes = {m: getattr(assumed, m) is not False for m in ("image", "audio", "video", "document")}
        facts = Facts(**takes, context=1_000_000, family="gemma4", tools=True)
        server.learn(Discovery("ready", [Model("m", facts=facts)]))
    fleet.rename()
    stage = MediaStage(Fetcher(Store(1 << 24), resolve, httpx2.MockTransport(remote)), Marking())
    stage._installed = True
    return Router(fleet, Relay(Upstream(), Sweep()), stage)


async def foreseen(router: Router, dialect: str, kind: str, body: Any) -> tuple[bytes, list[str]]:
    """The body of the call, the receipt. Raises GatewayError or Wrong."""
    chosen = DIALECTS[dialect]
    chat = identified(chosen.codec.parse_request(msgspec.json.decode(msgspec.json.encode({"model": kind, **body}))))
    assert isinstance(chat, Chat)
    chat.model = kind
    route = router.route(Context("r", chosen.name, "", SETTINGS, 0.0, 1e9), chat)
    found = await router.foresee(route, chat)
    if isinstance(found, GatewayError):
        raise found
    return found[1].octets(), fates_of(chat, found[1].fates)


def place_of(dialect: str) -> str:
    """How the paths of its media begin."""
    return {"responses": "input[0]", "gemini": "contents[0]", "chat, a tool's result": "messages[2]"}.get(
        dialect, "messages[0]"
    )


def refused_by_path(error: GatewayError | Wrong, dialect: str) -> bool:
    if isinstance(error, Wrong):
        return error.path.startswith(place_of(dialect))
    places = {error.param} | {p for t in (error.detail or {}).get("targets", ()) for x in t["lacks"]
                              for p in x.get("paths", ())}  # fmt: skip
    return error.status in (400, 413, 415) and any((p or "").startswith(place_of(dialect)) for p in places)


def expected(word: str, name: str) -> Counter[str]:
    """The marks that must be in the call, by what the receipt says of one medium."""
    first, *more = word.split(",")
    out: Counter[str] = Counter()
    if ">" not in first or first.partition(">")[2] in ("first", "last_turn"):
        out.update([name] if name != "jpegs" else [f"jpeg {i}" for i in range(3)])
    elif first.startswith("image>"):
        out[made("picture", name)] += 1
    elif first.startswith("audio>wav16k"):
        out.update(made("sound", name, i) for i in range(_count(first)))
    else:
        assert first.startswith("video>frames:"), word
        out.update(f"jpeg {i}" if name == "jpegs" else made("frame", name, i) for i in range(_count(first)))
    for said in more:
        if said.startswith("sound=wav16k"):
            out.update(made("sound", name, i) for i in range(_count(said)))
        else:
            assert said.startswith("claimed=") or said in ("sound=dropped", "sound=unknown"), word
    return out


def _count(word: str) -> int:
    found = re.search(r":(\d+)", word)
    return int(found[1]) if found else 1


def marks_in(sent: bytes, variant: Variant) -> Counter[str]:
    """All marks in a call, of whatever was sent or made."""
    out: Counter[str] = Counter()
    for name in variant.names:
        known = [name, made("picture", name), *(made(k, name, i) for k in ("sound", "frame") for i in range(8))]
        known += [f"jpeg {i}" for i in range(8)] if name == "jpegs" else []
        out.update({k: sent.count(shown(k)) for k in known})
    return +out


async def judge(router: Router, dialect: str, kind: str, variant: Variant) -> str:
    """`arrived`, `refused` or `cannot say`, and an AssertionError for anything else."""
    words = [] if dialect == "ollama" and variant.name == "words" else [Given(words=BEFORE)]
    try:
        body = DIALECTS[dialect].write([*words, *variant.parts, Given(words=AFTER)])
    except CannotSay:
        return "cannot say"
    try:
        sent, receipt = await foreseen(router, dialect, kind, body)
    except (GatewayError, Wrong) as e:
        assert refused_by_path(e, dialect), (e, getattr(e, "param", ""), getattr(e, "detail", ""))
        return "refused"
    sent = sent.replace(b"\\/", b"/")
    said = [w for w in receipt if w.split(",")[0].split(">")[0] not in ("text",)]
    assert len(said) == len(variant.names), receipt
    want: Counter[str] = Counter()
    for word, name in zip(said, variant.names, strict=True):
        want += expected(word, name)
    found = marks_in(sent, variant)
    assert found == want, (receipt, found, want)
    assert sent.count(AFTER.encode()) == 1 and (not words or sent.count(BEFORE.encode()) == 1)
    assert not variant.parts[0].words or sent.count(variant.parts[0].words.encode()) == 1
    return "arrived"


@pytest.mark.parametrize("dialect", list(DIALECTS))
async def test_what_arrived_and_what_was_refused_is_what_was_sent(dialect: str, router: Router) -> None:
    counted: Counter[str] = Counter()
    wrong = []
    for kind in kinds():
        for variant in VARIANTS:
            try:
                counted[await judge(router, dialect, kind, variant)] += 1
            except (AssertionError, ValueError) as e:
                wrong.append(f"{variant.name} to {kind}: {str(e)[:300]}")
    assert not wrong, "\n".join(wrong)
    assert counted.total() == len(kinds()) * len(VARIANTS) and len(VARIANTS) >= 60
    assert counted["arrived"] > 100 and counted["refused"] > 50, counted
