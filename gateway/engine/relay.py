"""One attempt: send what the backend built, pass what comes back through decoder, filters and encoder.

All events of one network read leave in one send. Nothing of an answer is shown before its first content event, so that
another target may still be tried; from then on the client has the rest, or an error in the stream. A client that wants
a whole answer is shown nothing before it is complete, however the server was asked for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.backends import Backend, Call
from gateway.canonical.events import Answer, Folder, Usage, unfold
from gateway.canonical.needs import Needs
from gateway.canonical.requests import Chat, Relayed, Request, Transcription, conversation
from gateway.engine.deadlines import Sweep, Watch
from gateway.engine.filtering import chain_for
from gateway.engine.http1 import Exchange
from gateway.engine.job import Header, Job
from gateway.engine.receipt import fates_of, fold_receipt
from gateway.engine.servers import Deployment, check_model
from gateway.engine.stream import REFUSAL_LIMIT, Limits, StreamedReply, decode_reply
from gateway.engine.upstream import Upstream
from gateway.errors import BadResponse, ClientGone, GatewayError, PrivacyRail, Truncated
from gateway.filters import complete
from gateway.routing.fit import kept_home, privacy_lacks, weight_only
from gateway.settings import BackendTimeouts


class Relay:
    def __init__(self, upstream: Upstream, sweep: Sweep) -> None:
        self._upstream = upstream
        self._sweep = sweep

    # ---- the life of a job ----

    def start(self, job: Job) -> None:
        """Arms the life signs of a stream: a timer per request, not per read. They do not end with the first content,
        since a call may be held until it is complete."""
        if job.streamed:
            loop = asyncio.get_running_loop()
            job.said = loop.time()
            job.timer = loop.call_later(_life_sign(job), self._listen, job)

    def _listen(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        every, now = _life_sign(job), loop.time()
        silent = now - job.said
        if silent >= every and (job.signs is None or job.signs.done()):
            job.said = now
            job.signs = asyncio.create_task(self._show_life(job), name="life signs")
        wait = every - silent if 0.0 <= silent < every else every
        job.timer = loop.call_later(wait, self._listen, job)

    async def _show_life(self, job: Job) -> None:
        try:
            job.encoder = job.encoder or job.codec.encoder(job.request, job.model)
            if not job.outlet.committed:
                job.shown = job.headers
                await job.outlet.begin(job.headers, job.encoder.media_type)
            await job.outlet.write(job.encoder.life_sign(*((0, 0) if job.content else job.progress)))
        except ClientGone:
            return  # the request's own task is told in its own way

    async def say_last(self, job: Job, data: bytes) -> None:
        """The last words of a stream, to a client that may have stopped reading."""
        now = asyncio.get_running_loop().time()
        end = now + job.context.snapshot.timeouts.send_stall
        watch = Watch(self._sweep, end, float("inf"), "send")  # its end is the client's fault, not the answer's
        try:
            with watch:
                await job.outlet.end(data)
        except ClientGone:
            if watch.expired is not None:
                job.outlet.abort()
            raise

    # ---- one attempt ----

    async def attempt(self, job: Job, d: Deployment, call: Call, asked: Request | None = None) -> None:
        """Raises GatewayError when it failed. After content was shown, the error's `failover` no longer matters:
        `job.content` says so. `asked`: the request as this target gets it, where that is not `job.request`."""
        backend = d.server.backend
        assert backend is not None
        check_privacy(job.needs, call, d, job.context.snapshot.privacy)
        if job.streamed:
            job.encoder = job.codec.encoder(job.request, job.model)  # nothing of an earlier attempt stays in it
        self._note(job, d, call)
        settings = job.context.snapshot
        asked = asked or job.request
        job.chain = chain_for(
            asked,
            backend,
            d.candidate.facts,
            settings.repair,
            streamed=job.streamed,
            runaway=settings.runaway,
            remember=job.remember(asked) if job.remember is not None and isinstance(asked, Chat) else None,
        )
        if isinstance(job.request, Transcription):
            job.chain = job.chain.for_transcript()
        job.asked = asked
        loop = asyncio.get_running_loop()
        now = loop.time()
        t = d.server.settings.timeouts
        first_byte = _first_byte(job, d) if call.streamed else t.first_byte_unknown
        exchange: Exchange | None = None
        with Watch(self._sweep, now + first_byte, _deadline(job, t, now)) as watch:
            try:
                job.record.sent = job.record.sent or now
                job.sent, job.cold = now, d.candidate.state == "cold"
                trace = job.record.trace.line if job.record.trace is not None else b""
                exchange = await d.server.signed.send(self._upstream, call, job.context.request_id, trace)
                if exchange.status != 200:
                    raise await self._refused(exchange, backend)
                if call.octets_out:
                    await self._pass_on(job, backend, exchange, watch, t.idle)
                elif call.streamed and (job.streamed or exchange.content_type == call.event_type):
                    reply = StreamedReply(job, d, exchange, watch, Limits(first_byte, t.idle))
                    answer = await reply.relay(call.event_type)
                    if answer is not None:
                        await self._reply(job, answer)
                    await reply.settle()
                else:
                    await self._reply(job, await self._whole(job, d, backend, exchange))
            finally:
                job.note_signs()
                if exchange is not None:
                    exchange.close()

    async def fetch(self, call: Call, d: Deployment, seconds: float) -> Any:
        """A small whole call outside of any client's answer (counting). Raises GatewayError. That the server may see it
        is the caller's to check."""
        assert d.server.backend is not None
        end = asyncio.get_running_loop().time() + seconds
        with Watch(self._sweep, end, end):
            exchange = await d.server.signed.send(self._upstream, call, "count")
            try:
                if exchange.status != 200:
                    raise await self._refused(exchange, d.server.backend)
                return decode_reply(await exchange.read_all())
            finally:
                exchange.close()

    async def estimate(self, job: Job, tokens: int) -> None:
        """The answer to a request for a count that no server can do: it says of itself that it is a guess."""
        job.headers = [(b"x-gateway-estimated", b"input_tokens")]
        await self._reply(job, {"input_tokens": tokens, "estimated": True})

    def _note(self, job: Job, d: Deployment, call: Call) -> None:
        """The receipt and the other headers, as they stand for this target."""
        record = job.record
        record.target = d.candidate.target
        record.begin_attempt()
        job.progress = (0, 0)
        record.dropped = call.dropped
        headers: list[Header] = [(b"x-gateway-target", d.candidate.target.label.encode())]
        chat = conversation(job.request) if isinstance(job.request, Chat | Transcription) else None
        if chat is not None:
            record.parts = fates_of(chat, call.fates)
            headers.append((b"x-gateway-parts", fold_receipt(record.parts).encode()))
        if call.dropped:
            headers.append((b"x-gateway-dropped", _header_list(call.dropped)))
        as_storage = weight_only(d.candidate)
        if as_storage:
            headers.append((b"x-gateway-quantization", as_storage.encode()))
        headers.append((b"x-gateway-attempts", str(len(record.attempts) + 1).encode()))
        job.headers = headers

    async def _refused(self, exchange: Exchange, backend: Backend) -> GatewayError:
        body = b""
        try:
            body = await exchange.read_all(REFUSAL_LIMIT)
        except GatewayError:
            pass  # the status says enough
        return backend.refusal(exchange.status, exchange.headers, body)

    # ---- a reply that is passed on ----

    async def _pass_on(self, job: Job, backend: Backend, exchange: Exchange, watch: Watch, idle: float) -> None:
        """Octets, as they come. Nothing is shown before the first of them, so that another target may be tried."""
        kind = exchange.content_type
        if kind == "application/json" or kind.startswith("text/"):
            error = backend.error_in(decode_reply(await exchange.read_all(REFUSAL_LIMIT)))
            raise error or BadResponse("the server answered with text where octets were asked for")
        clock = asyncio.get_running_loop().time
        stall = job.context.snapshot.timeouts.send_stall
        while data := await exchange.read_some():
            now = clock()
            if not job.content:
                job.content, job.phase, job.record.first = True, "streaming", now
                await job.outlet.begin(job.headers, kind or "application/octet-stream")
            watch.phase, watch.expires = "send", now + stall
            await job.outlet.write(data)
            watch.phase, watch.expires = "idle", clock() + idle
        if not job.content:
            raise Truncated("the server's answer is empty")
        await job.outlet.end()

    # ---- a whole reply ----

    async def _whole(self, job: Job, d: Deployment, backend: Backend, exchange: Exchange) -> Answer | dict[str, Any]:
        if exchange.content_type not in ("application/json", ""):
            await exchange.read_all(REFUSAL_LIMIT)
            raise BadResponse("the server answered with something that is not JSON")
        value = decode_reply(await exchange.read_all())
        if not isinstance(value, dict):
            raise BadResponse("the server answered with JSON that is not an object")
        answer = backend.read(job.asked or job.request, value)
        if not isinstance(answer, Answer):
            check_model(d, str(value.get("model") or ""))
            job.record.usage = job.record.usage or _usage_in(answer)
            return answer
        check_model(d, answer.model)
        job.record.usage = answer.usage
        return _filtered(job, answer)

    async def _reply(self, job: Job, answer: Answer | dict[str, Any]) -> None:
        if isinstance(answer, Answer):
            if not answer.choices or any(choice.finish is None for choice in answer.choices):
                raise Truncated("the server's answer has no finish reason")
            job.chain.verify(answer)
            answer.model = job.model
            if job.streamed:
                await self._as_stream(job, answer)
                return
        else:
            named = not isinstance(job.request, Relayed) or "model" in answer
            answer = {**answer, "model": job.model} if named else answer
        value = job.codec.render_answer(answer, job.request)
        job.content = True
        job.note_repairs()
        if isinstance(value, str):
            await job.outlet.whole(200, job.headers, value.encode(), "text/plain; charset=utf-8")
        else:
            await job.outlet.whole(200, job.headers, msgspec.json.encode(value))

    async def _as_stream(self, job: Job, answer: Answer) -> None:
        """A server that answers whole to a client that wants a stream."""
        assert job.encoder is not None
        job.content = True
        job.quiet()
        job.name_target()
        job.note_repairs()
        if not job.outlet.committed:
            await job.outlet.begin(job.headers, job.encoder.media_type)
        await job.outlet.end(job.encoder.encode(unfold(answer)))


def check_privacy(needs: Needs, call: Call, d: Deployment, privacy: Mapping[str, str]) -> None:
    """Raises PrivacyRail. Routing has refused this already; the last hop does not take its word for it. Both count:
    what the client sent (a frame of a video is still of that video) and what it was made to be."""
    if d.candidate.local:
        return
    if privacy_lacks(needs, d.candidate, privacy) or kept_home(call.carries, privacy):
        raise PrivacyRail("privacy keeps this request on the local servers")


def _life_sign(job: Job) -> float:
    return job.context.snapshot.timeouts.life_sign


def _deadline(job: Job, t: BackendTimeouts, now: float) -> float:
    """When the attempt has to be over: after the time that this backend is given, where it has one of its own, be it
    more or less than a request may take elsewhere; else when the request has to be."""
    context = job.context
    return context.deadline if t.total == context.snapshot.timeouts.total else now + t.total


def _first_byte(job: Job, d: Deployment) -> float:
    """Seconds until the first event: the configured limit or twice the expected prefill, whichever is longer; a fixed
    long time while the server's reading speed is unknown, and where it has to load the model first."""
    t = d.server.settings.timeouts
    rate = d.candidate.rate or d.candidate.facts.prompt_rate or 0.0
    known = rate > 0.0 and d.candidate.state != "cold"
    least = t.first_byte if known else max(t.first_byte, t.first_byte_unknown)
    return max(least, 2 * job.tokens / rate) if rate > 0.0 else least


def _filtered(job: Job, answer: Answer) -> Answer:
    """A whole answer takes the way of a stream: unfolded, filtered, folded."""
    filters = job.chain.filters
    if not filters:
        return answer
    events = unfold(answer)
    folder = Folder()
    folder.feed(complete(filters, events))
    return folder.answer


def _usage_in(answer: dict[str, Any]) -> Usage | None:
    """Of an answer that is not made of events."""
    told = answer.get("usage")
    tokens = told.get("prompt_tokens") if isinstance(told, dict) else None
    return Usage(tokens) if isinstance(tokens, int) and not isinstance(tokens, bool) else None


def _header_list(names: list[str]) -> bytes:
    """Field names for a header: only what may stand in one, at most 1 KiB."""
    return ",".join(n for n in names if n.isascii() and n.isprintable())[:1024].encode()
