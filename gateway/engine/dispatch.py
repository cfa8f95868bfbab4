"""One request's way: route -> admission -> attempts, until one succeeds or nothing is left to try.

Another target may be tried until the first content was shown to the client; what an error says about that is a matter
of its class (gateway/errors). Who is tried, and in which order, is engine/route's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway.backends import Call
from gateway.canonical.needs import Needs
from gateway.canonical.requests import Chat, CountTokens, Request
from gateway.engine.admission import Slot
from gateway.engine.fleet import Fleet
from gateway.engine.job import Job
from gateway.engine.probe import Prober
from gateway.engine.record import Recorder
from gateway.engine.relay import Relay
from gateway.engine.route import Route, Router
from gateway.engine.servers import MAY_ASK_EVERY, Deployment
from gateway.engine.thoughts import Remember, Thoughts
from gateway.errors import (
    BadRequest,
    ClientGone,
    ConnectError,
    GatewayError,
    MediumRefused,
    ModelGone,
    NeedsOtherForm,
    NoTargetFits,
    Overloaded,
    PartRefused,
    PrivacyRail,
    Reset,
    SchemaNotSatisfied,
    ToolChoiceNotSatisfied,
    UpstreamRefused,
    Verdict,
    WrongModality,
)
from gateway.filters.instructions import nudged
from gateway.observe.catalogue import MODALITIES
from gateway.routing.fit import likely

MAX_ATTEMPTS = 3


class Dispatcher:
    """The engine's front: one per process."""

    def __init__(
        self,
        fleet: Fleet,
        router: Router,
        relay: Relay,
        prober: Prober,
        recorder: Recorder,
        thoughts: Thoughts | None = None,
    ) -> None:
        self._fleet = fleet
        self._prober = prober
        self._recorder = recorder
        self._relay = relay
        self.router = router
        self._thoughts = thoughts or Thoughts()

    async def serve(self, job: Job) -> None:
        """Serves the request. Raises GatewayError when nothing was shown to the client yet; else the error has been
        said in the stream. The caller records the end either way."""
        chat, key = job.request, job.context.key_id
        if isinstance(chat, Chat):
            job.request = self._thoughts.restored(chat, key)
            if chat.tools:
                job.remember = lambda asked: Remember(self._thoughts, key, thinking=bool(asked.thinking.enabled))
        route = self.router.route(job.context, job.request)
        job.record.model = route.name.public
        job.model = job.request.model
        job.needs = route.needs
        if route.needs.media:
            job.record.modality = heaviest(route.needs)
        job.tokens = likely(route.needs)
        ticket = job.record.ticket
        if ticket is not None and not isinstance(job.request, CountTokens):
            ticket.reserve(job.tokens, asyncio.get_running_loop().time())
        self._relay.start(job)
        try:
            error = await self._attempts(job, route)
        finally:
            job.quiet()
            route.done()
        if isinstance(error, PrivacyRail):
            self._recorder.metrics.privacy_refusal()
        if error is not None:
            job.record.refused = refused_with(route.needs, error)
            await self.fail(job, error)

    async def _attempts(self, job: Job, route: Route) -> GatewayError | None:
        """Tries targets until one has served the request (None) or there is nothing left to try."""
        tries = Tries(job.context.deadline)
        waiting: list[tuple[Deployment, Call]] = []
        for candidate in route.decision.order:
            if waiting and route.stands_back(candidate, waiting):
                break
            d = route.by_candidate[id(candidate)]
            if not self._may_ask(d):
                route.rests(candidate)
                continue
            call = await self.router.prepare(route, job.request, candidate)
            if call is None:
                continue
            slot = d.gate.try_enter()
            if slot is None:
                waiting.append((d, call))
            elif await self._try(job, route, d, call, slot, tries):
                return tries.last
        for d, call in waiting:
            slot = await self._wait(job, d, tries)
            if slot is not None and await self._try(job, route, d, call, slot, tries):
                return tries.last
        if tries.last is None:
            if isinstance(job.request, CountTokens) and route.nobody_counts:
                await self._relay.estimate(job, job.tokens)
                return None
            tries.last = self.router.refused(route)
        return tries.last

    async def _try(self, job: Job, route: Route, d: Deployment, call: Call, slot: Slot, tries: Tries) -> bool:
        """One attempt; True = there is nothing more to try."""
        now = asyncio.get_running_loop().time()
        allowed = d.breaker.allow(now)
        d.note_rest()
        if not allowed and d.candidate.ejected_until > now and now - d.asked > MAY_ASK_EVERY:
            slot.leave()  # it was ejected while the request waited
            route.rests(d.candidate)
            return False
        tries.last = await self._attempt(job, route, d, call, slot)
        while isinstance(tries.last, NeedsOtherForm) and not job.content and d.learn(tries.last.learned):
            tries.last = await self._in_other_form(job, route, d, tries)
        if isinstance(tries.last, ToolChoiceNotSatisfied | SchemaNotSatisfied) and not (job.content or job.nudged):
            job.nudged = True
            tries.last = await self._ask_again(job, route, d, tries)
        return job.content or tries.over(tries.last, asyncio.get_running_loop().time())

    async def _in_other_form(self, job: Job, route: Route, d: Deployment, tries: Tries) -> GatewayError | None:
        """The same request at the same server, written as its refusal told."""
        first = tries.last
        assert isinstance(first, NeedsOtherForm)
        return await self._again(job, route, d, tries, job.request, UpstreamRefused(first.message))

    async def _ask_again(self, job: Job, route: Route, d: Deployment, tries: Tries) -> GatewayError | None:
        """Once more at the same server, with what was wrong in words, after an answer that is not what was demanded."""
        first = tries.last
        assert first is not None and isinstance(job.request, Chat)
        error = await self._again(job, route, d, tries, nudged(job.request, first), first)
        return first if isinstance(error, BadRequest) else error  # without our words it was no bad request

    async def _again(
        self, job: Job, route: Route, d: Deployment, tries: Tries, request: Request, otherwise: GatewayError
    ) -> GatewayError | None:
        """One more attempt at the same server; `otherwise` where it can't be made."""
        call = await self.router.prepare(route, request, d.candidate)
        slot = await self._wait(job, d, tries) if call is not None else None
        if call is None or slot is None:
            return otherwise
        return await self._attempt(job, route, d, call, slot)

    def _may_ask(self, d: Deployment) -> bool:
        """Whether it is its turn; uses the turn up."""
        now = asyncio.get_running_loop().time()
        if d.candidate.ejected_until <= now:
            return True
        if d.left_alone(now):
            return False
        d.asked = now
        return True

    async def _wait(self, job: Job, d: Deployment, tries: Tries) -> Slot | None:
        """Queues at a target that is at its limit; None if there is no place, and the error is kept."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        limit = d.server.settings.timeouts.queue - job.record.queued
        try:
            return await d.gate.enter(max(0.0, limit))
        except Overloaded as e:
            tries.last = tries.last or e
            return None
        except asyncio.CancelledError:
            job.phase = "queued"
            raise
        finally:
            waited = loop.time() - since
            job.record.queued += waited
            self._recorder.metrics.queue(d.server.name, waited)

    async def _attempt(self, job: Job, route: Route, d: Deployment, call: Call, slot: Slot) -> GatewayError | None:
        """One attempt at one target; None = the request is done. What it says about the target's health is recorded
        here, once, at its end."""
        loop = asyncio.get_running_loop()
        outcome = "cancelled"
        verdict: Verdict = "neutral"
        if job.request.model == "auto":
            job.model = job.record.model = self._fleet.public_name(d)
        with slot:
            try:
                await self._relay.attempt(job, d, call, self.router.asked(route, job.request, d))
                outcome, verdict = "ok", "fine"
                self.router.served(route, d, loop.time())
                if job.cold:
                    self._prober.loaded(d.server)
                return None
            except GatewayError as e:
                outcome, verdict = e.code, e.verdict
                if isinstance(e, MediumRefused | WrongModality) and e.param is None:
                    e.param = only_medium(job.needs, e.modality if isinstance(e, MediumRefused) else "")
                if isinstance(e, Overloaded) and (rest := max(e.rest, e.retry_after or 0.0)):
                    d.rest_until = loop.time() + rest
                if isinstance(e, WrongModality | ModelGone | ConnectError | Reset):
                    self._prober.suspect(d.server)
                return e
            finally:
                self._judge(d, verdict, loop.time())
                job.record.attempts.append(f"{d.candidate.target.label}: {outcome}")
                self._recorder.metrics.attempt(d.server.name, outcome)

    def _judge(self, d: Deployment, verdict: Verdict, now: float) -> None:
        was = d.breaker.until
        d.breaker.record(verdict, now)
        if verdict == "fault" and d.breaker.until > max(was, now):
            self._recorder.metrics.ejection(d.server.name)
        d.note_rest()

    def left(self, job: Job, at: float) -> None:
        """The client left at `at`: what was under way for it has been closed by now."""
        self._recorder.metrics.left(job.phase)
        if job.record.target is not None:
            late = asyncio.get_running_loop().time() - at
            self._recorder.metrics.orphaned(job.record.backend, max(0.0, late))

    async def fail(self, job: Job, error: GatewayError) -> None:
        """Says the error in the stream if there is one, else hands it to the caller."""
        if isinstance(error, ClientGone):
            job.outlet.abort()
            raise error
        if job.outlet.done:
            return
        if not job.outlet.committed:
            raise error
        job.record.status, job.record.code = error.status, error.code
        if job.encoder is None:
            job.outlet.abort()  # octets that are passed on have no way to say it: their end is missing
            return
        await self._relay.say_last(job, job.encoder.fault(error))


def heaviest(needs: Needs) -> str:
    """The kind of content that decides how long a request takes."""
    return max(needs.modalities, key=MODALITIES.index, default="text")


def refused_with(needs: Needs, error: GatewayError) -> tuple[str, ...]:
    """Modalities of the media that this error refuses: of the one that it names, or of all."""
    named = tuple(m.modality for m in needs.media if m.path == error.param)
    if named or not isinstance(error, PartRefused | NoTargetFits | WrongModality | MediumRefused | PrivacyRail):
        return named
    return tuple(m.modality for m in needs.media)


def only_medium(needs: Needs, modality: str) -> str | None:
    """Where the one medium of that modality ("" = of any) stands in the request; None if there are several: the server
    does not say which of them it can't read."""
    places = [m.path for m in needs.media if modality in ("", m.modality)]
    return places[0] if len(places) == 1 else None


@dataclass(slots=True)
class Tries:
    """How often a request was tried. `last` = the newest error."""

    deadline: float
    count: int = 0
    once: bool = False
    last: GatewayError | None = None

    def over(self, error: GatewayError | None, now: float) -> bool:
        """Is that the end, after this outcome of one more attempt? An error that may be the request's own fault is
        worth one other target, not two."""
        self.count += 1
        if error is None or error.failover == "never" or self.count >= MAX_ATTEMPTS or now >= self.deadline:
            return True
        if error.failover == "once":
            if self.once:
                return True
            self.once = True
        return False
