"""A streamed reply: nothing before the first content, everything after it, and never a clean end of what was cut."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.backends import load
from gateway.canonical.facts import Facts
from gateway.canonical.requests import Chat, Tool
from gateway.dialects.openai import chat_codec
from gateway.engine.deadlines import Sweep, Watch
from gateway.engine.filtering import chain_for
from gateway.engine.job import Job
from gateway.engine.servers import Deployment
from gateway.engine.stream import SPOKEN, TELLING, Limits, StreamedReply, decode_reply
from gateway.errors import BadResponse, GatewayError, ModelGone, ProtocolFault, Reset, Truncated, UpstreamRefused
from tests.engine.jobs import Client, ask, deployment, job_of, settings_of
from tests.faults import answers
from tests.faults.steps import event_bytes

SSE = "text/event-stream"
ROLE, HELLO, WORLD = (event_bytes(x) for x in answers.chunks(["Hello", " world"], finish=None))
END = b"".join(event_bytes(x) for x in [answers.chunk({}, finish="stop"), answers.chunk(None, usage=answers.USAGE)])
DONE = event_bytes(None)
PROGRESS = {"total": 800, "cache": 0, "processed": 200, "time_ms": 9}


class Scripted:
    """A reply whose reads are known. An error among them is raised."""

    def __init__(self, *reads: bytes | GatewayError, content_type: str = SSE) -> None:
        self.content_type = content_type
        self._reads = list(reads)

    @property
    def at_end(self) -> bool:
        return not self._reads

    async def read_some(self) -> bytes:
        await asyncio.sleep(0)
        got = self._reads.pop(0) if self._reads else b""
        if isinstance(got, GatewayError):
            raise got
        return got

    async def read_all(self, limit: int = 0) -> bytes:
        return b"".join([await self.read_some() for _ in list(self._reads)])


class Relayed:
    """One streamed reply, with what came of it."""

    def __init__(
        self,
        *reads: bytes | GatewayError,
        streamed: bool = True,
        kind: str = "openai",
        facts: Facts | None = None,
        request: Chat | None = None,
        **about: Any,
    ) -> None:
        settings = settings_of(backend={"kind": kind})
        self.d: Deployment = deployment(settings, facts)
        self.job: Job
        self.client: Client
        self.job, self.client = job_of(settings, request or ask(), streamed=streamed)
        if facts is not None:
            self.job.chain = chain_for(self.job.request, load(kind), facts, "fix", streamed=streamed)
        if streamed:
            self.job.encoder = chat_codec.encoder(self.job.request, "m")
        self.watch = Watch(Sweep(), 0.0, 1e9)
        self.exchange = Scripted(*reads, **about)
        self.reply = StreamedReply(self.job, self.d, self.exchange, self.watch, Limits(30.0, 5.0))  # type: ignore[arg-type]

    async def run(self) -> Any:
        return await self.reply.relay(SSE)

    @property
    def words(self) -> str:
        """What the client was told."""
        lines = [x[6:] for x in self.client.text.splitlines() if x.startswith("data: {")]
        return "".join(c["delta"].get("content") or "" for x in lines for c in json.loads(x)["choices"])


async def test_it_is_passed_on_read_by_read():
    r = Relayed(ROLE + HELLO, WORLD, END + DONE)
    r.job.headers = [(b"x-gateway-target", b"one/m")]
    assert await r.run() is None
    assert len(r.client.said) == 3, "all events of one read leave in one send"
    assert r.words == "Hello world" and r.client.text.rstrip().endswith("data: [DONE]")
    assert r.client.done and r.client.headers == {"x-gateway-target": "one/m"}
    record = r.job.record
    assert record.usage is not None and record.usage.input == answers.USAGE["prompt_tokens"]
    assert record.deltas == 2 and record.first <= record.last
    assert (r.job.phase, r.job.content) == ("streaming", True)


async def test_who_wants_it_whole_is_shown_nothing():
    r = Relayed(ROLE + HELLO, WORLD, END, DONE, streamed=False)
    answer = await r.run()
    assert [p.text for c in answer.choices for p in c.parts] == ["Hello world"]
    assert answer.choices[0].finish == "stop" and not r.client.committed


BEFORE: dict[str, tuple[list[bytes | GatewayError], type[GatewayError]]] = {
    "it ends": ([ROLE], Truncated),
    "it only comments": ([b": keep-alive\n\n"], Truncated),
    "it breaks": ([ROLE, Reset("broken")], Reset),
    "it is no SSE": ([b"data: {nope\n\n"], ProtocolFault),
    "it says an error": ([event_bytes({"error": {"message": "no", "code": 400}})], UpstreamRefused),
    "it is another model": ([event_bytes(answers.chunk({"content": "x"}, model="other"))], ModelGone),
}


@pytest.mark.parametrize("name", BEFORE)
async def test_before_the_first_content_the_client_is_told_nothing(name: str):
    reads, error = BEFORE[name]
    r = Relayed(*reads)
    r.d.known_as = frozenset([answers.MODEL])
    with pytest.raises(error):
        await r.run()
    assert not r.client.committed and not r.job.content, "another target may still be tried"


@pytest.mark.parametrize("cut", [b"", Reset("broken"), b"data: {nope\n\n"], ids=["an end", "a break", "no JSON"])
async def test_after_it_what_was_said_stays_said_and_the_cut_is_an_error(cut: bytes | GatewayError):
    r = Relayed(ROLE + HELLO, WORLD, cut)
    with pytest.raises(GatewayError):
        await r.run()
    assert r.words == "Hello world"
    assert "[DONE]" not in r.client.text and 'finish_reason":"' not in r.client.text and not r.client.done


async def test_what_stands_before_a_fault_in_the_same_read_is_the_client_s():
    r = Relayed(ROLE + HELLO, WORLD + b"data: {nope\n\n")
    with pytest.raises(ProtocolFault):
        await r.run()
    assert r.words == "Hello world"


@pytest.mark.parametrize("end", [b"", Reset("broken")], ids=["closed", "broken"])
async def test_with_every_finish_said_it_is_complete_however_it_ends(end: bytes | GatewayError):
    r = Relayed(ROLE + HELLO, END, end)
    await r.run()
    assert r.client.done and r.client.text.rstrip().endswith("data: [DONE]")


CUTS: list[bytes | GatewayError] = [b"", Reset("broken"), b"data: {nope\n\n"]
cuts = pytest.mark.parametrize("cut", CUTS, ids=["an end", "a break", "no JSON"])


@cuts
async def test_what_the_filters_hold_is_the_client_s_however_it_breaks(cut: bytes | GatewayError):
    may_begin_markup = event_bytes(answers.chunk({"content": " 1 <"}))
    r = Relayed(ROLE + HELLO, may_begin_markup, cut, facts=Facts(family="gemma4"))
    with pytest.raises(GatewayError):
        await r.run()
    assert r.words == "Hello 1 <"


@cuts
@pytest.mark.parametrize("together", [False, True])
async def test_what_is_held_to_be_verified_is_not_shown_when_it_breaks(cut: bytes | GatewayError, together: bool):
    tool = Tool("f", parameters={"type": "object", "required": ["a"]}, strict=True)
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"b": 1}'}}
    more = WORLD + event_bytes(answers.chunk({"tool_calls": [call]}))
    reads = [ROLE + HELLO, more + cut] if together and isinstance(cut, bytes) else [ROLE + HELLO, more, cut]
    r = Relayed(*reads, facts=Facts(tools=True), request=ask(tools=[tool], stream=True))
    with pytest.raises(GatewayError):
        await r.run()
    assert "tool_calls" not in r.client.text and r.words.startswith("Hello")


async def test_only_what_moves_the_answer_puts_its_limit_off():
    loop = asyncio.get_running_loop()
    r = Relayed(b": keep-alive\n\n", Reset("broken"))
    with pytest.raises(Reset):
        await r.run()
    assert r.watch.expires == 0.0 and r.watch.phase == "first_byte", "comments are no progress"

    r = Relayed(event_bytes(answers.chunk({}, prompt_progress=PROGRESS)), Reset("broken"), kind="llamacpp")
    with pytest.raises(Reset):
        await r.run()
    assert r.watch.expires == pytest.approx(loop.time() + 30.0, abs=5.0) and r.watch.phase == "first_byte"
    assert r.job.progress == (200, 800)
    before = r.watch.expires = 1.0
    again = Scripted(event_bytes(answers.chunk({}, prompt_progress=PROGRESS)), Reset("broken"))
    with pytest.raises(Reset):
        await StreamedReply(r.job, r.d, again, r.watch, Limits(30.0, 5.0)).relay(SSE)  # type: ignore[arg-type]
    assert r.watch.expires == before, "the same progress once more is none"

    r = Relayed(ROLE + HELLO, Reset("broken"))
    with pytest.raises(Reset):
        await r.run()
    assert r.watch.expires == pytest.approx(loop.time() + 5.0, abs=2.5) and r.watch.phase == "idle"


async def test_while_the_client_does_not_read_it_is_the_client_who_is_waited_for():
    r = Relayed(ROLE + HELLO, END + DONE)
    r.client.reads.clear()
    task = asyncio.create_task(r.run())
    while not r.client.committed:
        await asyncio.sleep(0)
    stall = r.job.context.snapshot.timeouts.send_stall
    assert r.watch.phase == "send"
    assert r.watch.expires == pytest.approx(asyncio.get_running_loop().time() + stall, abs=10.0)
    r.client.reads.set()
    await task
    assert r.words == "Hello"


async def test_a_stream_that_is_none():
    r = Relayed(json.dumps(answers.chat()).encode(), content_type="application/json")
    with pytest.raises(BadResponse):
        await r.run()
    r = Relayed(json.dumps({"error": {"message": "no", "code": 400}}).encode(), content_type="application/json")
    with pytest.raises(UpstreamRefused):
        await r.run()
    assert not r.client.committed


@pytest.mark.parametrize(
    ("usage", "rate"),
    [
        ({"prompt_tokens": TELLING + 1000, "prompt_tokens_details": {"cached_tokens": 1000}}, TELLING / 2.0),
        ({"prompt_tokens": TELLING + 999, "prompt_tokens_details": {"cached_tokens": 1000}}, None),
        ({"prompt_tokens": 100_000}, None),
    ],
    ids=["told", "too few to tell", "not known what was cached"],
)
async def test_a_server_s_reading_speed_is_learnt_from_what_was_not_cached(usage: dict[str, Any], rate: float | None):
    said = {**usage, "completion_tokens": 1, "total_tokens": 1}
    r = Relayed(
        ROLE + HELLO, event_bytes(answers.chunk({}, finish="stop")), event_bytes(answers.chunk(None, usage=said))
    )
    await r.run()
    r.job.sent, r.job.record.first = 10.0, 12.0
    await r.reply.settle()
    assert r.d.candidate.rate == (pytest.approx(rate) if rate else r.d.candidate.rate)
    assert bool(r.d.candidate.rate) == bool(rate)


async def test_how_long_a_model_took_to_load_is_no_reading_speed():
    said = {"prompt_tokens": TELLING, "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens": 1}
    r = Relayed(
        ROLE + HELLO, event_bytes(answers.chunk({}, finish="stop")), event_bytes(answers.chunk(None, usage=said))
    )
    await r.run()
    r.job.sent, r.job.record.first, r.job.cold = 10.0, 90.0, True
    await r.reply.settle()
    assert not r.d.candidate.rate


async def test_a_server_s_writing_speed_is_learnt_from_answers_that_are_long_enough():
    for tokens, want in ((SPOKEN - 1, 0.0), (SPOKEN + 5, 10.0)):
        said = {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": tokens + 9}
        r = Relayed(
            ROLE + HELLO, event_bytes(answers.chunk({}, finish="stop")), event_bytes(answers.chunk(None, usage=said))
        )
        await r.run()
        r.job.record.first, r.job.record.last = 12.0, 14.0
        await r.reply.settle()
        assert r.d.candidate.decode_rate == pytest.approx(want)


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": "\xff"}', b"[" * 100_000])
def test_broken_json_is_a_bad_response(body: bytes):
    with pytest.raises(BadResponse):
        decode_reply(body)
