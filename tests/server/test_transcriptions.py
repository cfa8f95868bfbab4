"""Sound into words through a running gateway: as a chat, over a server's own route, whole and as a stream."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64decode, b64encode
from typing import Any

import openai
import pytest

from gateway.demo.media import png, wav
from gateway.server.multipart import FormReader, Part, boundary_of
from tests import made
from tests.conftest import GatewayFor, Upstreams
from tests.faults import answers
from tests.faults.rawclient import RawClient, Response, json_request, request_bytes
from tests.faults.running import CANARY, CHAT, KEY, PROMPT, PUBLIC, Running, config
from tests.faults.steps import Answer, Events, Finish, Gate, Hang, Head, Json, Reset
from tests.made import needs_ffmpeg
from tests.server.test_form import file
from tests.server.test_multipart import field, form

TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
SOUND = wav(0.2)
TYPE = {"Content-Type": "multipart/form-data; boundary=XX"}


def request(path: str = TRANSCRIPTIONS, sound: bytes = SOUND, *more: tuple[str, bytes], **fields: str) -> bytes:
    told = {"model": PUBLIC, **fields}
    parts = [(file("a.wav", "audio/wav"), sound), *more, *((field(k), v.encode()) for k, v in told.items())]
    return request_bytes("POST", path, TYPE, form(*parts))


async def ask(gateway: Running, path: str = TRANSCRIPTIONS, sound: bytes = SOUND, **fields: str) -> Response:
    return await gateway.send(request(path, sound, **fields))


async def served(upstreams: Upstreams, gateway_for: GatewayFor, kind: str = "llamacpp", **more: Any) -> Any:
    [wire] = await upstreams(kind=kind, **{k: more.pop(k) for k in ("more", "slots") if k in more})
    wire.answer(Answer())
    return wire, await gateway_for(config(wire, **more))


async def test_a_server_that_converses_is_asked_in_a_chat(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    got = await ask(gateway, language="de", prompt=PROMPT, temperature="0.3", zz="1")
    assert got.status == 200, got.body
    usage = {"type": "tokens", "input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    assert got.json() == {"text": answers.TEXT, "usage": usage}
    assert got.header("x-gateway-parts") == "0=audio"
    assert got.header("x-gateway-target") == f"one/{answers.MODEL}"
    assert got.header("x-gateway-dropped") == "zz"
    [sent] = wire.requests
    assert sent.path == CHAT
    body = sent.json()
    told, heard = body["messages"][0]["content"]
    assert len(body["messages"]) == 1 and "spoken: de." in told["text"] and PROMPT in told["text"]
    assert heard["input_audio"] == {"data": b64encode(SOUND).decode(), "format": "wav"}
    assert body["temperature"] == 0.3 and body["chat_template_kwargs"] == {"enable_thinking": False}
    await gateway.settled()
    [line] = [x for x in gateway.log_lines if x.get("operation") == "transcription"]
    assert (line["status"], line["parts"], line["input_tokens"]) == (200, "0=audio", 7)


async def test_text_alone(upstreams: Upstreams, gateway_for: GatewayFor):
    _, gateway = await served(upstreams, gateway_for)
    got = await ask(gateway, TRANSLATIONS, response_format="text")
    assert got.body.decode() == answers.TEXT + "\n"
    assert got.header("content-type") == "text/plain; charset=utf-8"
    assert got.header("x-gateway-parts") == "0=audio"


async def test_what_thinks_by_default_does_not_here(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    settings = config(wire)
    settings["models"][PUBLIC] |= {"thinking": {"enabled": True}, "defaults": {"top_p": 0.5, "temperature": 0.9}}
    gateway = await gateway_for(settings)
    assert (await ask(gateway)).status == 200
    body = wire.requests[0].json()
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert (body["temperature"], body["top_p"]) == (0, 0.5)


async def test_a_stream(upstreams: Upstreams, gateway_for: GatewayFor):
    _, gateway = await served(upstreams, gateway_for)
    got = await ask(gateway, stream="true")
    assert got.header("content-type") == "text/event-stream" and got.header("x-gateway-parts") == "0=audio"
    *deltas, last = [json.loads(e) for e in got.events]
    assert [d["delta"] for d in deltas] == answers.TEXTS
    assert (last["type"], last["text"]) == ("transcript.text.done", answers.TEXT)


async def test_a_stream_that_breaks(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    wire.answer(Head(), Events(answers.chunks()[:3]), Reset())
    *deltas, last = [json.loads(e) for e in (await ask(gateway, stream="true")).events]
    assert [d["delta"] for d in deltas] == answers.TEXTS[:2] and "error" in last


@pytest.mark.parametrize("stream", ["false", "true"])
async def test_half_a_transcript_is_an_error(stream: str, upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    wire.answer(Head(), Events([*answers.chunks(finish="length"), None]), Finish())
    got = await ask(gateway, stream=stream)
    error = got.error
    assert error is not None and error["code"] == "transcript_incomplete"
    assert got.status == (200 if stream == "true" else 502)
    metrics = await gateway.settled()
    assert metrics.sum("gateway_ejected") == 0


# ---- a server's own route ----

WORDS = {"text": "Hello from the route.", "usage": {"type": "duration", "seconds": 1}}


async def test_what_is_expected_of_a_transcript_is_expected_of_nothing_else(
    upstreams: Upstreams, gateway_for: GatewayFor
):
    wire, gateway = await served(upstreams, gateway_for, "vllm", more=("transcription",))
    half = answers.completion()
    half["choices"][0]["finish_reason"] = "length"
    first, second = asyncio.Event(), asyncio.Event()
    wire.answer(Gate(first), Json(half), path="/v1/completions")
    wire.answer(Gate(second), Json(WORDS), path=TRANSCRIPTIONS)
    completion = asyncio.create_task(gateway.post("/v1/completions", {"model": PUBLIC, "prompt": "a"}))
    await wire.until(lambda: len(wire.requests) == 1)
    transcript = asyncio.create_task(ask(gateway))
    await wire.until(lambda: len(wire.requests) == 2)
    first.set()
    assert (await completion).status == 200
    second.set()
    assert (await transcript).status == 200


def parts_of(wire: Any) -> list[tuple[str, bytes]]:
    [sent] = wire.requests
    reader = FormReader(boundary_of(sent.header("content-type") or ""))
    out: list[tuple[str, bytes]] = []
    for event in reader.feed(sent.body):
        if isinstance(event, Part):
            out.append((event.name, b""))
        elif event is not None:
            out[-1] = (out[-1][0], out[-1][1] + event)
    assert reader.done
    return out


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, TRANSLATIONS])
async def test_a_server_with_the_route(path: str, upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for, "vllm", more=("transcription",))
    wire.answer(Json(WORDS))
    got = await ask(gateway, path, language="de", prompt="x", temperature="0", response_format="verbose_json", zz="1")
    assert got.json() == {
        "task": "translate" if path == TRANSLATIONS else "transcribe",
        "language": "english" if path == TRANSLATIONS else "de",
        "duration": 0.2,
        **WORDS,
    }
    assert got.header("x-gateway-parts") == "0=audio" and got.header("x-gateway-dropped") == "zz"
    assert wire.requests[0].path == path
    assert parts_of(wire) == [
        ("model", answers.MODEL.encode()),
        ("response_format", b"json"),
        ("language", b"de"),
        ("prompt", b"x"),
        ("temperature", b"0"),
        ("file", SOUND),
    ]


async def test_a_large_sound_over_the_route(upstreams: Upstreams, gateway_for: GatewayFor):
    """Above what goes in one piece: decoded while it is sent."""
    wire, gateway = await served(upstreams, gateway_for, "vllm", more=("transcription",))
    wire.answer(Json(WORDS))
    large = wav(20.0)
    assert (await ask(gateway, sound=large)).status == 200
    assert parts_of(wire)[-1] == ("file", large)


async def test_the_route_and_a_stream(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for, "vllm", more=("transcription",))
    wire.answer(Json(WORDS))
    first, last = [json.loads(e) for e in (await ask(gateway, stream="true")).events]
    assert first == {"type": "transcript.text.delta", "delta": WORDS["text"]}
    assert last == {"type": "transcript.text.done", **WORDS}


async def test_times_only_where_a_server_tells_them(upstreams: Upstreams, gateway_for: GatewayFor):
    plain, made_for_it = [*await upstreams(), *await upstreams(kind="vllm", more=("transcription",))]
    segments = [{"id": 0, "start": 0.0, "end": 0.2, "text": "Hi"}]
    made_for_it.answer(Json({"text": "Hi", "language": "en", "duration": 0.2, "segments": segments}))
    gateway = await gateway_for(config(plain, made_for_it))
    asked = {"response_format": "verbose_json", "timestamp_granularities[]": "segment"}
    got = await ask(gateway, **asked)
    assert got.json()["segments"] == segments
    assert not plain.requests and ("timestamp_granularities[]", b"segment") in parts_of(made_for_it)
    alone = await gateway_for(config(plain))
    refused = await ask(alone, **asked)
    assert refused.status == 400 and "does not tell times" in refused.json()["error"]["message"]
    assert refused.json()["error"]["param"] == "timestamp_granularities"


async def test_a_refusal_of_the_route(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for, "vllm", more=("transcription",))
    wire.answer(Json({"error": {"message": "Audio too short", "type": "BadRequestError", "code": 400}}, status=400))
    got = await ask(gateway)
    assert got.status == 400 and "too short" in got.json()["error"]["message"]


# ---- what is refused ----


FILES = [
    (b"", 400, "empty"),
    (png(), 415, "is image/png"),
    (b"hello, this is no sound", 415, "no sound that is known"),
    (b"%PDF-1.7 ...", 415, "is application/pdf"),
    (bytes(200_000), 413, "100000 octets"),
]


async def test_files_that_are_not_taken(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for, limits={"audio": 100_000})
    for sound, status, words in FILES:
        got = await ask(gateway, sound=sound)
        error = got.json()["error"]
        assert (got.status, error["param"]) == (status, "file") and words in error["message"], error
    assert not wire.requests


async def test_too_large_is_said_before_it_came(upstreams: Upstreams, gateway_for: GatewayFor):
    _, gateway = await served(upstreams, gateway_for, limits={"audio": 100_000})
    head = {**TYPE, "Content-Length": "3000000", "Expect": "100-continue"}
    got = await gateway.send(request_bytes("POST", TRANSCRIPTIONS, head))
    assert got.status == 413 and got.json()["error"]["param"] == "file"


NONE = [
    (request_bytes("POST", TRANSCRIPTIONS, TYPE, form((field("model"), b"x"))), 400, "file"),
    (request_bytes("POST", TRANSCRIPTIONS, TYPE, form((file(), SOUND))), 400, "model"),
    (request(TRANSCRIPTIONS, SOUND, (file(), SOUND)), 400, "file"),
    (request(response_format="srt"), 400, "response_format"),
    (request(model="nothing"), 404, "model"),
    (request_bytes("POST", TRANSCRIPTIONS, {"Content-Type": "text/plain"}, b"x"), 415, None),
    (request_bytes("POST", TRANSCRIPTIONS, TYPE, form((file(), SOUND))[:-9]), 400, None),
    (request_bytes("GET", TRANSCRIPTIONS), 405, None),
]


async def test_requests_that_are_none(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    for data, status, param in NONE:
        got = await gateway.send(data)
        assert (got.status, got.json()["error"]["param"]) == (status, param), got.body
    assert not wire.requests


async def test_a_wrong_claim_is_told(upstreams: Upstreams, gateway_for: GatewayFor):
    _, gateway = await served(upstreams, gateway_for)
    body = form((field("model"), PUBLIC.encode()), (file("lies.ogg", "audio/ogg"), SOUND))
    got = await gateway.send(request_bytes("POST", TRANSCRIPTIONS, TYPE, body))
    assert got.status == 200 and got.header("x-gateway-parts") == "0=audio,claimed=audio/ogg"


async def test_who_does_not_hear_is_not_asked(upstreams: Upstreams, gateway_for: GatewayFor):
    [deaf] = await upstreams(modalities=("text", "image"))
    gateway = await gateway_for(config(deaf))
    got = await ask(gateway)
    assert got.status == 400 and "--mmproj" in got.json()["error"]["message"]
    assert got.json()["error"]["param"] == "file"


@pytest.mark.parametrize("operations", [["chat"], ["transcription", "translation"]])
async def test_sound_stays_home(operations: list[str], upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams(kind="openai")
    facts = {"audio": True, "operations": operations}
    hosted = {"backends": {"one": {"local": False, "facts": facts}}}
    gateway = await gateway_for(config(wire, **hosted))
    for path in (TRANSCRIPTIONS, TRANSLATIONS):
        got = await ask(gateway, path)
        assert (got.status, got.json()["error"]["code"]) == (403, "privacy_rail"), got.body
    assert not wire.requests
    assert (await gateway.metrics()).sum("gateway_privacy_refusals_total") == 2
    wire.answer(Json(WORDS), path=TRANSCRIPTIONS)
    allowed = await gateway_for(config(wire, privacy={"audio": "any"}, **hosted))
    assert (await ask(allowed)).status == 200


SILENT = ("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono")
FILM = ("-f", "lavfi", "-i", "testsrc=duration=1:size=96x64:rate=8", *SILENT, "-t", "1", "-c:v", "mpeg4", "-c:a", "aac")


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["llamacpp", "vllm"])
async def test_a_silent_video_is_heard_as_silence(kind: str, upstreams: Upstreams, gateway_for: GatewayFor):
    pytest.importorskip("av", reason="the extra `media` is not installed")
    own = {"more": ("transcription",)} if kind == "vllm" else {}
    wire, gateway = await served(upstreams, gateway_for, kind, **own)
    if own:
        wire.answer(Json(WORDS))
    got = await ask(gateway, sound=made.made(FILM, "mp4"))
    assert got.status == 200 and str(got.header("x-gateway-parts")).startswith("0=audio>wav16k,")
    sent = dict(parts_of(wire))["file"] if own else heard_in(wire)
    assert sent[:4] == b"RIFF" and len(sent) > 30_000 and not any(sent[44:])


def heard_in(wire: Any) -> bytes:
    [_, sound] = wire.requests[0].json()["messages"][0]["content"]
    return b64decode(sound["input_audio"]["data"])


@needs_ffmpeg
async def test_a_video_is_one_and_only_its_sound_leaves(upstreams: Upstreams, gateway_for: GatewayFor):
    pytest.importorskip("av", reason="the extra `media` is not installed")
    film = made.video("mp4", 1.0)
    [wire] = await upstreams(kind="openai")
    wire.answer(Json(WORDS), path=TRANSCRIPTIONS)
    hosted = {"backends": {"one": {"local": False, "facts": {"operations": ["transcription"]}}}}
    for kept in ("video", "image", "audio"):
        gateway = await gateway_for(config(wire, privacy={"audio": "any", kept: "local"}, **hosted))
        got = await ask(gateway, sound=film)
        assert (got.status, got.json()["error"]["code"]) == (403, "privacy_rail"), kept
    assert not wire.requests
    gateway = await gateway_for(config(wire, privacy={"audio": "any"}, **hosted))
    got = await ask(gateway, sound=film)
    assert got.status == 200 and got.header("x-gateway-parts") == "0=audio>wav16k,claimed=audio/wav"
    assert parts_of(wire)[-1][1][8:12] == b"WAVE"


async def test_a_key_is_needed_where_one_is(upstreams: Upstreams, gateway_for: GatewayFor):
    [wire] = await upstreams()
    gateway = await gateway_for(config(wire, auth={"api_key_env": "K"}), env={"K": KEY})
    got = await ask(gateway)
    assert got.status == 401 and got.json()["error"]["code"] == "invalid_api_key"


# ---- the client leaves ----


@pytest.mark.parametrize("transcribes", [False, True])
async def test_leaving_closes_upstream(transcribes: bool, upstreams: Upstreams, gateway_for: GatewayFor):
    kind = "vllm" if transcribes else "llamacpp"
    wire, gateway = await served(upstreams, gateway_for, kind, more=("transcription",) if transcribes else ())
    wire.answer(Hang())
    async with RawClient(gateway.url) as client:
        gateway.sent += 1
        await client.send(request())
        sent = await wire.seen()
        left = time.monotonic()
        await client.leave()
        assert await wire.closed(sent) - left < 1.0
    metrics = await gateway.settled()
    assert metrics.labels("gateway_client_disconnects_total", "phase") == {"before_first_byte": 1}


async def test_leaving_in_the_middle_of_the_file(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    async with RawClient(gateway.url) as client:
        gateway.sent += 1
        await client.send(request(sound=wav(3.0))[:-50_000])
        await asyncio.sleep(0)
        await client.abort()
    await gateway.settled()
    assert not wire.requests


# ---- explain, and JSON ----


async def test_explain_is_serving(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    for path in (TRANSCRIPTIONS, TRANSLATIONS):
        told = (await gateway.send(request(f"/v1/route/explain{path}", zz="1"), counts=True)).json()
        assert told["needs"]["operation"] == path.rpartition("/")[2].removesuffix("s")
        assert (told["parts"], told["dropped"]) == (["audio"], ["zz"])
        assert told["chosen"] == f"one/{answers.MODEL}"
    assert not wire.requests
    data = f"data:audio/wav;base64,{b64encode(SOUND).decode()}"
    body = {"model": PUBLIC, "file": data}
    assert (await gateway.post("/v1/route/explain", body)).json()["needs"]["operation"] == "transcription"
    named = {**body, "dialect": "translation"}
    assert (await gateway.post("/v1/route/explain", named)).json()["needs"]["operation"] == "translation"
    got = await gateway.send(json_request(TRANSCRIPTIONS, body))
    assert got.json()["text"] == answers.TEXT


# ---- the official client ----


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the SDK says so of translations
async def test_the_sdk(upstreams: Upstreams, gateway_for: GatewayFor):
    wire, gateway = await served(upstreams, gateway_for)
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=CANARY, max_retries=0) as sdk:
        named = ("memo.wav", SOUND)
        plain = await sdk.audio.transcriptions.create(model="auto", file=named, language="en", temperature=0)
        assert plain.text == answers.TEXT and plain.usage is not None
        assert (await sdk.audio.translations.create(model="auto", file=named)).text == answers.TEXT
        words = await sdk.audio.transcriptions.create(model="auto", file=named, response_format="text")
        assert words == answers.TEXT + "\n"
        verbose = await sdk.audio.transcriptions.create(model="auto", file=named, response_format="verbose_json")
        assert (verbose.text, verbose.duration, verbose.segments) == (answers.TEXT, 0.2, None)
        events = [e async for e in await sdk.audio.transcriptions.create(model="auto", file=named, stream=True)]
        assert [e.type for e in events] == ["transcript.text.delta"] * len(answers.TEXTS) + ["transcript.text.done"]
        assert events[-1].text == answers.TEXT  # type: ignore[union-attr]
        wire.answer(Head(), Events(answers.chunks()[:3]), Reset())
        with pytest.raises(openai.APIError):
            [e async for e in await sdk.audio.transcriptions.create(model="auto", file=named, stream=True)]
        with pytest.raises(openai.BadRequestError, match="needs the time of every line"):
            await sdk.audio.transcriptions.create(model="auto", file=named, response_format="srt")
        gateway.sent += 7
