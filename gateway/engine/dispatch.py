"""One request's way: names -> decision -> admission -> attempts, until one succeeds or nothing is left to try.

Another target may be tried until the first content was shown to the client; what an error says about that is a matter
of its class (gateway/errors). Counting, building and deciding are the same code for serving and for explain.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.backends import Call
from gateway.canonical.content import Text
from gateway.canonical.context import Context
from gateway.canonical.needs import Needs, needs_of
from gateway.canonical.requests import Chat, Completion, CountTokens, Request
from gateway.engine.admission import Slot
from gateway.engine.deadlines import Sweep
from gateway.engine.fleet import Deployment, Fleet, Name
from gateway.engine.job import Job
from gateway.engine.probe import Prober
from gateway.engine.record import Recorder
from gateway.engine.relay import Relay
from gateway.engine.upstream import Upstream
from gateway.errors import (
    ClientGone,
    ConnectError,
    GatewayError,
    ModelGone,
    Overloaded,
    PrivacyRail,
    Reset,
    Verdict,
    WrongModality,
)
from gateway.routing.candidate import Candidate, Lack
from gateway.routing.fit import context_lack, likely
from gateway.routing.policy import Decision, Policy, decide, refusal
from gateway.routing.rules import Match, Rule
from gateway.settings import Settings

MAX_ATTEMPTS = 3
MAY_ASK_EVERY = 1.0
"""Seconds between two requests to a target that fails but is the only one."""
COUNT_SECONDS = 5.0
"""How long a server may take to count a prompt before its bounds have to do."""


@dataclass(slots=True)
class Route:
    """What was found out about where a request may go."""

    name: Name
    needs: Needs
    decision: Decision
    by_candidate: dict[int, Deployment]
    short: list[tuple[Candidate, Lack]] = field(default_factory=list)
    """Targets that the prompt turned out to be too long for."""
    resting: list[Candidate] = field(default_factory=list)
    """Targets that fit, but are left alone for a moment after their failures."""
    unable: list[tuple[Candidate, GatewayError]] = field(default_factory=list)
    """Targets whose kind refused this very request when the call was built."""

    @property
    def candidates(self) -> list[Candidate]:
        """The targets that may take the request, best first, those at their limit last. For text a test stand-in comes
        behind all others, however busy they are."""
        decision = self.decision
        out = decision.order + decision.busy if decision.busy else decision.order
        if not self.needs.modalities and len(out) > 1 and any(c.facts.fixture for c in out):
            out = sorted(out, key=lambda c: bool(c.facts.fixture))
        return out


class Dispatcher:
    """The engine's front: one per process."""

    def __init__(
        self, fleet: Fleet, upstream: Upstream, prober: Prober, sweep: Sweep, recorder: Recorder, settings: Settings
    ) -> None:
        self._fleet = fleet
        self._prober = prober
        self._recorder = recorder
        self._relay = Relay(upstream, sweep)
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        rules = list(settings.routes)
        if settings.auto.prefer:
            rules.append(Rule(Match(model=("auto",)), prefer=settings.auto.prefer, path="auto.prefer"))
        self._policy = Policy(rules=rules, privacy=settings.privacy, auto_hosted=settings.auto.hosted)
        self._relay.configure(settings)

    # ---- deciding ----

    def route(self, ctx: Context, request: Request) -> Route:
        """Raises ModelNotFound. A decision without targets is not an error yet: explain wants to see it."""
        name = self._fleet.resolve(request.model)
        needs = needs_of(request)
        decision = decide(
            needs,
            [d.candidate for d in name.deployments],
            model=name.public,
            auto=name.auto,
            dialect=ctx.dialect,
            policy=self._policy,
            now=asyncio.get_running_loop().time(),
            affinity=affinity(request) if len(name.deployments) > 1 else "",
        )
        return Route(name, needs, decision, {id(d.candidate): d for d in name.deployments})

    async def prepare(self, route: Route, request: Request, candidate: Candidate) -> Call | None:
        """The call for one of the targets that the decision found. None, and noted in the route, if the target turns
        out to have too little room or its kind can't take this very request."""
        d = route.by_candidate[id(candidate)]
        assert d.server.backend is not None
        name = self._fleet.resolve(self._fleet.public_name(d)) if route.name.auto else route.name
        request = with_defaults(request, name)
        lack = await self._too_long(route, request, d)
        if lack is not None:
            route.short.append((candidate, lack))
            return None
        try:
            return d.server.backend.build(request, candidate.target, candidate.facts)
        except GatewayError as e:
            route.unable.append((candidate, e))
            return None

    async def _too_long(self, route: Route, request: Request, d: Deployment) -> Lack | None:
        c = d.candidate
        context = c.facts.context
        low, high = route.decision.tokens
        if context is None or high <= context:
            return None
        if isinstance(request, Chat) and c.facts.counts and not route.needs.media:
            # a medium would travel twice, and its bounds say enough
            counted = await self._count(CountTokens(request), d, route.needs)
            if counted is not None:
                return context_lack(counted, c)
        return context_lack(low, c)

    async def _count(self, request: CountTokens, d: Deployment, needs: Needs) -> int | None:
        """The prompt's tokens as the server counts them; None where it can't or does not answer soon."""
        assert d.server.backend is not None
        try:
            call = d.server.backend.count(request, d.candidate.target, d.candidate.facts)
            if call is None:
                return None
            return d.server.backend.read_count(await self._relay.fetch(call, d, needs, COUNT_SECONDS))
        except (GatewayError, KeyError, TypeError, ValueError):
            return None

    def refused(self, route: Route) -> GatewayError:
        """The error for a request that no target can take now: what was found out after the decision counts, too."""
        verdicts = {id(v.candidate): v for v in route.decision.verdicts}
        if len(route.unable) == len(verdicts) and route.unable:
            return route.unable[0][1]
        for c, lack in route.short:
            verdicts[id(c)].lacks.append(lack)
        for c, error in route.unable:
            path = (error.param,) if error.param else ()
            verdicts[id(c)].lacks.append(Lack("need", error.code, error.message, paths=path))
        for c in route.resting:
            verdicts[id(c)].lacks.append(Lack("state", "ejected", "failed just now and rests", "look at its log"))
        return refusal(route.decision, route.needs, route.name.public)

    # ---- serving ----

    async def serve(self, job: Job) -> None:
        """Serves the request. Raises GatewayError when nothing was shown to the client yet; else the error has been
        said in the stream. The caller records the end either way."""
        route = self.route(job.context, job.request)
        job.record.model = route.name.public
        job.model = job.request.model
        job.needs = route.needs
        job.tokens = likely(route.needs)
        self._relay.start(job)
        try:
            error = await self._attempts(job, route)
        finally:
            job.quiet()
        if error is not None:
            await self.fail(job, error)

    async def _attempts(self, job: Job, route: Route) -> GatewayError | None:
        """Tries targets until one has served the request (None) or there is nothing left to try."""
        tries = Tries(job.context.deadline)
        waiting: list[tuple[Deployment, Call]] = []
        text_only = not route.needs.modalities
        for candidate in route.candidates:
            if waiting and candidate.facts.fixture and text_only:
                break  # better to wait for a real model than to be told a fixture's sentence
            d = route.by_candidate[id(candidate)]
            if not self._may_ask(d):
                route.resting.append(candidate)
                continue
            call = await self.prepare(route, job.request, candidate)
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
            tries.last = self.refused(route)
            if isinstance(tries.last, PrivacyRail):
                self._recorder.metrics.privacy_refusal()
        return tries.last

    async def _try(self, job: Job, route: Route, d: Deployment, call: Call, slot: Slot, tries: Tries) -> bool:
        """One attempt; True = there is nothing more to try."""
        now = asyncio.get_running_loop().time()
        allowed = d.breaker.allow(now)
        d.note_rest()
        if not allowed and d.candidate.ejected_until > now and now - d.asked > MAY_ASK_EVERY:
            slot.leave()  # it was ejected while the request waited
            route.resting.append(d.candidate)
            return False
        tries.last = await self._attempt(job, d, call, slot)
        return job.content or tries.over(tries.last, asyncio.get_running_loop().time())

    def _may_ask(self, d: Deployment) -> bool:
        """The last target that fits is never given up: routing offers it though it is ejected, and it is asked once a
        second at most."""
        now = asyncio.get_running_loop().time()
        if d.candidate.ejected_until <= now:
            return True
        if now - d.asked < MAY_ASK_EVERY:
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

    async def _attempt(self, job: Job, d: Deployment, call: Call, slot: Slot) -> GatewayError | None:
        """One attempt at one target; None = the request is done. What it says about the target's health is recorded
        here, once, at its end."""
        loop = asyncio.get_running_loop()
        outcome = "cancelled"
        verdict: Verdict = "neutral"
        if job.request.model == "auto":
            job.model = job.record.model = self._fleet.public_name(d)
        with slot:
            try:
                await self._relay.attempt(job, d, call)
                outcome, verdict = "ok", "fine"
                return None
            except GatewayError as e:
                outcome, verdict = e.code, e.verdict
                if isinstance(e, Overloaded) and e.retry_after:
                    d.rest_until = loop.time() + e.retry_after
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
        assert job.encoder is not None
        await self._relay.say_last(job, job.encoder.fault(error))


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


def affinity(request: Request) -> str:
    """What keeps a conversation at the server that has its prefix in its cache: a hash of its first turns' text."""
    if not isinstance(request, Chat):
        return ""
    digest = hashlib.blake2b(digest_size=8)
    for message in request.messages[:2]:
        for part in message.parts:
            if isinstance(part, Text):
                digest.update(part.text[:2048].encode("utf-8", "surrogatepass"))
        if message.role == "user":
            break
    return digest.hexdigest()


def with_defaults(request: Request, name: Name) -> Request:
    """The request with the configured defaults of a public name where the client said nothing. A new value: the
    client's request stays as it was."""
    if not isinstance(request, Chat | Completion) or (not name.defaults and name.thinking is None):
        return request
    said: dict[str, Any] = {k: v for k, v in name.defaults.items() if getattr(request.sampling, k, ...) is None}
    sampling = replace(request.sampling, **said)
    if isinstance(request, Completion):
        return replace(request, sampling=sampling)
    thinking = request.thinking
    if name.thinking is not None and thinking.enabled is None:
        thinking = replace(name.thinking, include=thinking.include)
    return replace(request, sampling=sampling, thinking=thinking)
