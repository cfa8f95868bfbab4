"""What may not leave does not: every dialect, every modality, whatever fails on the way and whatever was converted.

Requests in the words of each dialect go through router, dispatcher and relay to servers that are only a list of what
would have been sent to whom. What is private is looked for in those bytes.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backends import Call, Discovery, Model
from gateway.backends.wire.samples import PNG, WAV
from gateway.canonical.content import Audio, Media, Segments
from gateway.canonical.context import Context
from gateway.canonical.facts import Facts
from gateway.canonical.media.identify import identified
from gateway.canonical.media.kinds import sniff
from gateway.canonical.requests import Transcription
from gateway.dialects.openai import transcription_codec
from gateway.engine import relay as relay_module
from gateway.engine import route as route_module
from gateway.engine.deadlines import Sweep
from gateway.engine.dispatch import Dispatcher
from gateway.engine.fleet import Fleet
from gateway.engine.job import Job
from gateway.engine.media.convert import Piece, Workers
from gateway.engine.media.fetch import Fetcher
from gateway.engine.media.pipe import Job as MediaJob
from gateway.engine.media.stage import MediaStage
from gateway.engine.media.store import Store
from gateway.engine.probe import Prober
from gateway.engine.record import Record, Recorder
from gateway.engine.relay import Relay
from gateway.engine.route import Router
from gateway.engine.upstream import Upstream
from gateway.errors import ConnectError, GatewayError
from gateway.observe import Log, Metrics
from gateway.routing import policy as policy_module
from gateway.settings import Settings, parse
from tests.engine.jobs import Client
from tests.pairs.media import DIALECTS, Given, chat

MP4 = b64encode(b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\0\0\0\x08moov" + bytes(300)).decode()
OGG = b64encode(b"OggS\0\2" + bytes(22) + b"\x01\x13OpusHead\x01\x01" + bytes(90)).decode()
PDF = b64encode(b"%PDF-1.7\n" + bytes(90)).decode()
WEBP = b64encode(b"RIFF\x40\0\0\0WEBPVP8L\x10\0\0\0\x2f" + bytes(60)).decode()
UNKNOWN = b64encode(b"\x01\x02\x03\x04" * 40).decode()

MEDIA: dict[str, tuple[str, str]] = {
    "png": ("image/png", PNG),
    "webp": ("image/webp", WEBP),
    "wav": ("audio/wav", WAV),
    "ogg": ("audio/ogg", OGG),
    "mp4": ("video/mp4", MP4),
    "pdf": ("application/pdf", PDF),
    "sound called a picture": ("image/png", WAV),
    "sound called nothing": ("application/octet-stream", OGG),
    "video called a document": ("application/pdf", MP4),
    "nobody knows": ("application/octet-stream", UNKNOWN),
}
INSIDE = {
    "png": {"image"},
    "webp": {"image"},
    "wav": {"audio"},
    "ogg": {"audio"},
    "mp4": {"video", "image", "audio"},
    "pdf": {"document", "image"},
    "sound called a picture": {"audio"},
    "sound called nothing": {"audio"},
    "video called a document": {"video", "image", "audio"},
    "nobody knows": {"document", "image", "audio", "video"},
}
"""What may be inside of each, whatever it is called."""


class Canned(Workers):
    """Makes something of everything, at once."""

    async def convert(self, job: MediaJob, media: Media) -> list[Piece]:
        picture = Segments([PNG.encode()])
        sound = Segments([WAV.encode()])
        if job["do"] == "picture":
            return [Piece("picture", "image/png", picture)]
        if job["do"] == "sound":
            return [Piece("sound", "audio/wav", sound, 0.5)]
        frames = [Piece("frame", "image/png", picture, float(i)) for i in range(2)]
        return [*frames, Piece("sound", "audio/wav", sound, 0.5)] if job.get("sound") else frames


Json = dict[str, Any]


@dataclass
class Listening(Upstream):
    """Where calls end: noted, and never answered."""

    sent: list[tuple[str, bytes]] = field(default_factory=list)

    async def send(self, call: Call, address: Any, request_id: str, *more: Any) -> Any:
        self.sent.append((str(address.origin[1]), call.octets()))
        raise ConnectError("nobody there")


class NoProber(Prober):
    def __init__(self) -> None:
        pass

    def suspect(self, server: Any) -> None:
        pass


_LONG = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")
HOSTED = {"openai": 1, "gemini": 2, "vllm": 3}
LOCAL = {"llamacpp": 11, "ollama": 12}
ABLE = Facts(image=True, audio=True, video=True, document=True, context=1_000_000, family="gemma4")


def settings_of(order: Sequence[str], privacy: dict[str, str], facts: dict[str, Json]) -> Settings:
    ports = HOSTED | LOCAL
    backends: Json = {
        k: {"kind": k, "url": f"http://127.0.0.1:{ports[k]}", "local": k in LOCAL, "facts": facts.get(k, {})}
        for k in order
    }
    if "gemini" in backends:
        backends["gemini"]["api_key_env"] = "KEY"
    targets = [{"backend": k, "model": "m"} for k in order]
    value = {
        "backends": backends,
        "models": {"g": {"targets": targets}},
        "privacy": privacy,
        "media": {"remote": {"allow": ["files.example:80"]}},
    }
    return parse(yaml.safe_dump(value), {"KEY": "k"})


@dataclass
class Outcome:
    sent: list[tuple[str, bytes]]
    error: GatewayError | None
    refusals: float

    @property
    def left(self) -> list[bytes]:
        """What hosted servers were sent."""
        hosted = {str(port) for port in HOSTED.values()}
        return [body for port, body in self.sent if port in hosted]


def found_in(body: bytes) -> Iterator[str]:
    """The modality of every medium in the bytes of a request."""
    for match in _LONG.finditer(body.replace(b"\\/", b"/")):
        try:
            head = b64decode(match[0][:88], validate=True)
        except ValueError:
            continue
        mime = sniff(head, "audio" if b"OpusHead" in head else "video")
        yield mime.partition("/")[0].replace("application", "document") or "unknown"


async def serve(dialect: str, body: Json, settings: Settings, url_data: dict[str, str]) -> Outcome:
    chosen = DIALECTS[dialect]
    request = identified(chosen.codec.parse_request({"model": "g", **body}))
    if dialect == "gemini":
        request.model = "g"
    return await served(request, chosen.codec, chosen.name, settings, url_data)


async def served(request: Any, codec: Any, name: str, settings: Settings, url_data: dict[str, str]) -> Outcome:
    fleet = Fleet()
    fleet.apply(settings)
    for server in fleet.servers.values():
        server.learn(Discovery("ready", [Model("m", facts=ABLE)]))
    fleet.rename()
    upstream = Listening()
    relay, metrics = Relay(upstream, Sweep()), Metrics()

    async def answer(asked: httpx2.Request) -> httpx2.Response:
        async def body() -> AsyncIterator[bytes]:
            yield b64decode(url_data[asked.url.path])

        return httpx2.Response(200, content=body())

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    fetcher = Fetcher(Store(1 << 20), resolve, httpx2.MockTransport(answer))
    stage = MediaStage(fetcher, Canned())
    stage._installed = True
    dispatcher = Dispatcher(fleet, Router(fleet, relay, stage), relay, NoProber(), Recorder(metrics, Log()))
    context = Context("r", name, "", settings, 0.0, 1e9)
    job = Job(context, request, codec, Client(), Record("r", name, "chat", 0.0))
    error = None
    try:
        await dispatcher.serve(job)
    except GatewayError as e:
        error = e
    finally:
        await stage.close()
    [count] = re.findall(rb"^gateway_privacy_refusals_total (\S+)$", metrics.render(), re.MULTILINE)
    return Outcome(upstream.sent, error, float(count))


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, Json, list[str], Settings, dict[str, str]]:
    dialect = draw(st.sampled_from(sorted(DIALECTS)))
    names = draw(st.lists(st.sampled_from(sorted(MEDIA)), min_size=1, max_size=2))
    files: dict[str, str] = {}
    parts = []
    for i, medium in enumerate(names):
        mime, data = MEDIA[medium]
        if dialect != "ollama" and draw(st.integers(0, 3)) == 0:
            files[f"/{i}"] = data
            parts.append(Given(mime, data, url=f"http://files.example:80/{i}"))
        else:
            parts.append(Given(mime, data))
    where = st.sampled_from(["local", "local", "any"])
    privacy = draw(st.dictionaries(st.sampled_from(["image", "audio", "video", "document"]), where, max_size=3))
    order = draw(st.permutations([*HOSTED, *LOCAL]))[: draw(st.integers(1, 4))]
    some = st.dictionaries(st.sampled_from(["image", "audio", "video", "document"]), st.booleans(), max_size=3)
    facts = {kind: draw(some) for kind in order}
    return dialect, DIALECTS[dialect].write(parts), names, settings_of(order, privacy, facts), files


def leaks(names: list[str], settings: Settings, got: Outcome) -> list[str]:
    """What left and should not have: found in what was sent, or inside of what was asked for."""
    marked = {name for name, where in settings.privacy.items() if where != "any"}
    asked = set().union(*(INSIDE[n] for n in names))
    return sorted({m for body in got.left for m in marked & (asked | set(found_in(body)))})


CASES: list[Outcome] = []


@settings(max_examples=max(60, settings().max_examples))
@given(requests())
async def test_nothing_private_leaves(case: tuple[str, Json, list[str], Settings, dict[str, str]]) -> None:
    dialect, body, names, settings, files = case
    try:
        got = await serve(dialect, body, settings, files)
    except GatewayError:
        return  # not what this dialect can say
    assert leaks(names, settings, got) == []
    assert got.refusals == (got.error is not None and got.error.code == "privacy_rail")
    CASES.append(got)


@pytest.mark.parametrize("privacy", [{"video": "local"}, {"audio": "local"}])
async def test_frames_of_what_was_fetched_are_of_a_video(privacy: dict[str, str]) -> None:
    """It was called a document, at a URL; the target takes pictures only."""
    body = {
        "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_url": "http://files.example:80/0"}}]}]
    }
    settings = settings_of(["openai"], privacy, {"openai": {"video": False, "audio": False}})
    got = await serve("chat", body, settings, {"/0": MP4})
    assert got.sent == [] and got.error is not None and got.error.code == "privacy_rail" and got.refusals == 1


def test_the_cases_say_something() -> None:
    if not CASES:
        pytest.skip("the law above was not tried")
    assert sum(bool(c.left) for c in CASES) > 4, "some may leave"
    assert sum(c.refusals for c in CASES) > 2, "some may not"
    assert sum(len(c.sent) > 1 for c in CASES) > 4, "and some are tried elsewhere, too"


@given(requests())
async def test_the_last_hop_does_not_take_routing_s_word(
    case: tuple[str, Json, list[str], Settings, dict[str, str]],
) -> None:
    dialect, body, names, settings, files = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy_module, "privacy_lacks", lambda *_: [])
        patch.setattr(route_module, "privacy_lacks", lambda *_: [])
        try:
            got = await serve(dialect, body, settings, files)
        except GatewayError:
            return
    assert leaks(names, settings, got) == []


@pytest.mark.parametrize("dialect", list(DIALECTS))
@pytest.mark.parametrize("medium", ["wav", "mp4"])
async def test_sound_is_refused_with_403_in_every_dialect_and_counted(dialect: str, medium: str) -> None:
    mime, data = MEDIA[medium]
    body = DIALECTS[dialect].write([Given(mime, data)])
    settings = settings_of(["openai", "vllm"], {"audio": "local"}, {})
    got = await serve(dialect, body, settings, {})
    assert got.error is not None and (got.error.status, got.error.code) == (403, "privacy_rail")
    assert got.refusals == 1 and not got.sent
    settings = settings_of(["openai", "vllm"], {"audio": "any"}, {})
    got = await serve(dialect, body, settings, {})
    assert got.refusals == 0 and len(got.left) == 2, "where it may, it goes, and elsewhere when that fails"


@pytest.mark.parametrize("own_route", [True, False])
@pytest.mark.parametrize("medium", ["wav", "ogg", "mp4"])
async def test_recordings_to_be_written_down(own_route: bool, medium: str) -> None:
    """At a server's own route, or as a chat."""
    mime, data = MEDIA[medium]
    facts: dict[str, Json] = {"openai": {"operations": ["chat", *(["transcription"] if own_route else [])]}}
    for where, left in (("local", 0), ("any", 1)):
        request = identified(Transcription("g", Audio(Media(mime, base64=data), path="file")))
        settings = settings_of(["openai"], {"audio": where}, facts)
        got = await served(request, transcription_codec, "openai", settings, {})
        assert (len(got.left), got.refusals) == (left, 1 - left), where
        assert got.error is not None and (got.error.code == "privacy_rail") == (where == "local")


async def test_a_frame_of_a_video_is_a_picture_and_a_video(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server gets pictures only; what they are of still counts, and so does what they are."""
    facts: dict[str, Json] = {"openai": {"video": False, "audio": False}}
    mime, data = MEDIA["mp4"]
    any_sound = {"audio": "any"}
    for privacy in ({"video": "local", **any_sound}, {"image": "local", **any_sound}, {"audio": "local"}):
        got = await serve("chat", chat([Given(mime, data)]), settings_of(["openai"], privacy, facts), {})
        assert got.error is not None and got.error.status == 403 and not got.sent, privacy
    got = await serve(
        "chat", chat([Given(mime, data)]), settings_of(["openai"], {"document": "local", **any_sound}, facts), {}
    )
    assert [sorted(set(found_in(body))) for body in got.left] == [["image"]]
    # each of the two alone would stop it at the last hop
    monkeypatch.setattr(policy_module, "privacy_lacks", lambda *_: [])
    monkeypatch.setattr(route_module, "privacy_lacks", lambda *_: [])
    monkeypatch.setattr(relay_module, "privacy_lacks", lambda *_: [])
    for privacy in ({"video": "local", **any_sound}, {"image": "local", **any_sound}):
        got = await serve("chat", chat([Given(mime, data)]), settings_of(["openai"], privacy, facts), {})
        assert got.error is not None and got.error.status == 403 and not got.sent, privacy
        assert got.refusals == 1
