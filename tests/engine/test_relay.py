"""One attempt, from the call to the client's answer: limits, headers, privacy, life signs and last words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from gateway.canonical.content import Audio, Media, Message
from gateway.canonical.facts import Facts
from gateway.canonical.needs import needs_of
from gateway.canonical.requests import Chat
from gateway.engine import relay as module
from gateway.engine.deadlines import Sweep
from gateway.engine.job import Job
from gateway.engine.relay import Relay, check_privacy
from gateway.engine.servers import Deployment
from gateway.engine.upstream import Upstream
from gateway.errors import BadResponse, ClientGone, GatewayError, ModelGone, PrivacyRail, Truncated, UpstreamRefused
from gateway.settings import Settings
from tests.engine.jobs import Client, ask, deployment, job_of, settings_of
from tests.faults import answers
from tests.faults.steps import Body, Events, Finish, Head, Json, Reply, Sse
from tests.faults.wire import Wire


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with Wire(kind="openai") as one:
        yield one


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    upstream = Upstream()
    yield Relay(upstream, Sweep())
    await upstream.close()


async def attempt(relay: Relay, wire: Wire, *, streamed: bool = False, **backend: Any) -> tuple[Job, Client]:
    settings = settings_of(wire.url, {"kind": wire.kind, **backend})
    d = deployment(settings)
    request = ask(stream=streamed)
    job, client = job_of(settings, request, streamed=streamed)
    assert d.server.backend is not None
    await relay.attempt(job, d, d.server.backend.build(request, d.candidate.target, d.candidate.facts))
    return job, client


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_answer_says_who_gave_it_and_goes_by_the_name_that_was_asked_for(
    streamed: bool, relay: Relay, wire: Wire
):
    job, client = await attempt(relay, wire, streamed=streamed)
    assert client.done and client.status == 200
    assert client.headers["x-gateway-target"] == f"one/{answers.MODEL}"
    assert client.headers["x-gateway-parts"] == "0=text" and client.headers["x-gateway-attempts"] == "1"
    assert '"model":"m"' in client.text and answers.MODEL not in client.text
    assert wire.requests[0].json()["model"] == answers.MODEL
    assert job.record.usage is not None and job.record.sent


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Json(answers.error("no such thing", kind="invalid_request_error"), 400), UpstreamRefused),
        (Reply(b"<html>", type="text/html"), BadResponse),
        (Json([1]), BadResponse),
        (Json(answers.chat(finish=None)), Truncated),
        (Json(answers.chat(model="another")), ModelGone),
    ],
    ids=["refused", "no JSON", "no object", "no finish", "another model"],
)
async def test_a_failed_attempt_shows_the_client_nothing(
    step: Any, error: type[GatewayError], relay: Relay, wire: Wire
):
    wire.kind = "llamacpp"  # whose answers name the model that it has
    wire.answer(step)
    with pytest.raises(error):
        await attempt(relay, wire)
    assert wire.requests[0].settled


async def test_a_whole_answer_to_who_wants_a_stream_is_a_failure(relay: Relay, wire: Wire):
    wire.answer(Json())
    with pytest.raises(BadResponse):
        await attempt(relay, wire, streamed=True)


async def test_numbers_of_an_earlier_attempt_do_not_stay(relay: Relay, wire: Wire):
    settings = settings_of(wire.url)
    d, request = deployment(settings), ask(stream=True)
    job, client = job_of(settings, request, streamed=True)
    backend = d.server.backend
    assert backend is not None
    call = backend.build(request, d.candidate.target, d.candidate.facts)
    role, hello = answers.chunks(["x"], finish=None)
    early = answers.chunk(None, usage={"prompt_tokens": 999, "completion_tokens": 1, "total_tokens": 1000})
    wire.answer(Head(), Events([role, early]), Finish(), nth=0)
    wire.answer(Head(), Events([role, hello, answers.chunk({}, finish="stop"), None]), Finish(), nth=1)
    with pytest.raises(Truncated):
        await relay.attempt(job, d, call)
    assert job.record.usage is not None
    job.record.attempts.append("one: failed")
    await relay.attempt(job, d, call)
    assert job.record.usage is None and client.headers["x-gateway-attempts"] == "2"


# ---- limits ----


@pytest.mark.parametrize(
    ("facts", "measured", "tokens", "seconds"),
    [
        (Facts(), None, 10, 600.0),
        (Facts(prompt_rate=100.0), None, 10, 120.0),
        (Facts(prompt_rate=100.0), None, 20_000, 400.0),
        (Facts(prompt_rate=100.0), 50.0, 20_000, 800.0),
    ],
    ids=["not known how fast it reads", "a short prompt", "twice the prefill", "as it was measured"],
)
def test_the_first_byte_has_twice_the_time_that_the_prompt_takes(
    facts: Facts, measured: float | None, tokens: int, seconds: float
):
    settings = settings_of()
    d = deployment(settings, facts)
    d.candidate.rate = measured
    job, _ = job_of(settings, ask())
    job.tokens = tokens
    assert module._first_byte(job, d) == seconds
    d.candidate.state = "cold"
    assert module._first_byte(job, d) == max(seconds, 600.0), "the model has to be loaded first"


def test_a_backend_s_own_total_is_what_an_attempt_there_may_take():
    settings = settings_of(backend={"timeouts": {"total": 7.0}})
    d = deployment(settings)
    job, _ = job_of(settings, ask())
    assert module._deadline(job, d.server.settings.timeouts, 100.0) == 107.0
    assert module._deadline(job, settings.timeouts, 100.0) == job.context.deadline


# ---- the last hop ----


def hears(settings: Settings) -> tuple[Deployment, Chat]:
    return deployment(settings), Chat("m", [Message("user", [Audio(Media("audio/wav", base64="UklGRg=="))])])


async def test_sound_does_not_leave_whatever_routing_thought(relay: Relay, wire: Wire):
    settings = settings_of(wire.url, {"local": False})
    d, chat = hears(settings)
    job, client = job_of(settings, chat)
    job.needs = needs_of(chat)
    assert d.server.backend is not None
    call = d.server.backend.build(ask(), d.candidate.target, d.candidate.facts)
    with pytest.raises(PrivacyRail):
        await relay.attempt(job, d, call)
    assert not wire.requests and not client.committed
    call.carries = frozenset()
    check_privacy(job.needs, call, deployment(settings_of(wire.url, {"local": True})), settings.policy.privacy)
    check_privacy(needs_of(ask()), call, d, settings.policy.privacy)
    for inside in (None, {"audio"}, {"image", "audio"}):
        call.carries = inside if inside is None else frozenset(inside)
        with pytest.raises(PrivacyRail):
            check_privacy(needs_of(ask()), call, d, settings.policy.privacy)
        check_privacy(needs_of(ask()), call, d, {"audio": "any"})


async def test_a_count_is_a_small_call_of_its_own(relay: Relay, wire: Wire):
    d = deployment(settings_of(wire.url))
    assert d.server.backend is not None
    call = d.server.backend.build(ask(), d.candidate.target, d.candidate.facts)
    wire.answer(Json({"count": 7}))
    assert await relay.fetch(call, d, 5.0) == {"count": 7}
    wire.answer(Json(answers.error("no"), 400))
    with pytest.raises(UpstreamRefused):
        await relay.fetch(call, d, 5.0)
    wire.answer(Reply(b"{"))
    with pytest.raises(BadResponse):
        await relay.fetch(call, d, 5.0)


# ---- life signs and last words ----


async def reached(holds: Callable[[], bool]) -> None:
    """Lets the loop turn until it is so."""
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0)


async def test_a_stream_shows_that_it_lives_until_there_is_content(relay: Relay):
    settings = settings_of(timeouts={"life_sign": 0.001, "queue": 0.0005})
    job, client = job_of(settings, ask(stream=True), streamed=True)
    job.headers = [(b"x-gateway-target", b"one/m")]
    relay.start(job)
    await reached(lambda: len(client.said) >= 1)
    job.progress = (430, 1000)
    before = len(client.said)
    await reached(lambda: len(client.said) >= before + 2)
    assert all(said.startswith(b":") for said in client.said)
    assert b"43" in client.said[-1] and client.headers == {"x-gateway-target": "one/m"}
    job.content = True
    job.quiet()
    said = len(client.said)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(client.said) == said


async def test_a_whole_answer_shows_no_life(relay: Relay):
    job, _ = job_of(settings_of(), ask())
    relay.start(job)
    assert job.timer is None


async def test_a_life_sign_commits_to_nobody_s_answer(relay: Relay, wire: Wire):
    """What goes behind the answer says who gave it in the end."""
    settings = settings_of(wire.url)
    d, request = deployment(settings), ask(stream=True)
    job, client = job_of(settings, request, streamed=True)
    assert d.server.backend is not None
    await client.begin([], "text/event-stream")
    wire.answer(Sse())
    await relay.attempt(job, d, d.server.backend.build(request, d.candidate.target, d.candidate.facts))
    assert f'"target":"one/{answers.MODEL}"' in client.text and client.text.rstrip().endswith("[DONE]")


async def test_last_words_wait_only_so_long_for_a_client_that_does_not_read():
    sweep = Sweep()
    relay = Relay(None, sweep)  # type: ignore[arg-type]
    job, client = job_of(settings_of(), ask(stream=True), streamed=True)
    client.reads.clear()
    task = asyncio.create_task(relay.say_last(job, b"last"))
    await reached(lambda: bool(sweep.watches))
    now = asyncio.get_running_loop().time()
    stall = job.context.snapshot.timeouts.send_stall
    sweep.sweep(now + stall - 5.0)
    await asyncio.sleep(0)
    assert not task.done(), "not before its time"
    sweep.sweep(now + stall + 1.0)
    with pytest.raises(ClientGone):
        await task
    assert client.aborted and not client.done

    job, client = job_of(settings_of(), ask(stream=True), streamed=True)
    await relay.say_last(job, b"last")
    assert client.done and client.said == [b"last"] and not client.aborted


async def test_comments_of_the_server_are_not_passed_on(relay: Relay, wire: Wire):
    wire.answer(Head(), Body(b": secret\n\n"), Events([*answers.chunks(), None]), Finish())
    _, client = await attempt(relay, wire, streamed=True)
    assert "secret" not in client.text and client.done
