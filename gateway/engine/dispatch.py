"""One request's way: names -> decision -> admission -> attempts, until one succeeds or nothing is left to try.

Another target may be tried until the first content was shown to the client; what an error says about that is a matter
of its class (gateway/errors). Counting, building and deciding are the same code for serving and for explain.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.backends import Call
from gateway.canonical.context import Context
from gateway.canonical.needs import Needs, needs_of
from gateway.canonical.requests import Chat, CountTokens, Request
from gateway.engine.admission import Slot
from gateway.engine.deadlines import Sweep
from gateway.engine.fleet import Deployment, Fleet, Name
from gateway.engine.job import Job
from gateway.engine.probe import Prober
from gateway.engine.receipt import fold_receipt
from gateway.engine.record import Record, Recorder
from gateway.engine.relay import Relay
from gateway.engine.upstream import Upstream
from gateway.errors import (
    ClientGone,
    ConnectError,
    ContextTooLong,
    GatewayError,
    ModelGone,
    NoHealthyBackend,
    Overloaded,
    PrivacyRail,
    Reset,
    WrongModality,
)
from gateway.routing.candidate import Candidate, Lack
from gateway.routing.fit import context_lack, likely
from gateway.routing.policy import Decision, Policy, decide, refusal
from gateway.routing.rules import Match, Rule
from gateway.settings import Settings

MAX_ATTEMPTS = 3


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
        """The targets that may take the request, best first, those at their limit last."""
        busy = self.decision.busy
        return self.decision.order + busy if busy else self.decision.order


class Dispatcher:
    """The engine's front: one per process."""

    def __init__(
        self, fleet: Fleet, upstream: Upstream, prober: Prober, sweep: Sweep, recorder: Recorder, settings: Settings
    ) -> None:
        self._fleet = fleet
        self._prober = prober
        self._upstream = upstream
        self._recorder = recorder
        self._relay = Relay(upstream, sweep, recorder)
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        rules = list(settings.routes)
        if settings.auto.prefer:
            rules.append(Rule(Match(model=("auto",)), prefer=settings.auto.prefer, path="auto.prefer"))
        self._policy = Policy(rules=rules, privacy=settings.privacy, auto_hosted=settings.auto.hosted)
        self._relay.configure(settings)
        self._queue_wait = settings.timeouts.queue

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
            affinity=ctx.affinity,
        )
        return Route(name, needs, decision, {id(d.candidate): d for d in name.deployments})

    async def prepare(self, route: Route, request: Request, candidate: Candidate) -> Call | None:
        """The call for one of the targets that the decision found. None, and noted in the route, if the target turns
        out to have too little room or its kind can't take this very request."""
        lack = await self._too_long(route, request, candidate)
        if lack is not None:
            route.short.append((candidate, lack))
            return None
        backend = route.by_candidate[id(candidate)].server.backend
        assert backend is not None
        try:
            return backend.build(request, candidate.target, candidate.facts)
        except GatewayError as e:
            route.unable.append((candidate, e))
            return None

    async def _too_long(self, route: Route, request: Request, c: Candidate) -> Lack | None:
        context = c.facts.context
        if context is None:
            return None
        low, high = route.decision.tokens
        if high <= context:
            return None
        if isinstance(request, Chat) and c.facts.counts and low <= context * 64:
            counted = await self.count(CountTokens(request), route.by_candidate[id(c)])
            if counted is not None:
                return context_lack(counted, c)
        return context_lack(low, c)

    async def count(self, request: CountTokens, d: Deployment) -> int | None:
        """The prompt's tokens as the server counts them; None where it can't or does not answer."""
        assert d.server.backend is not None
        call = d.server.backend.count(request, d.candidate.target, d.candidate.facts)
        if call is None:
            return None
        try:
            value = await self._relay.fetch(call, d)
        except GatewayError:
            return None
        try:
            return d.server.backend.read_count(value)
        except (KeyError, TypeError, ValueError):
            return None

    def refused(self, route: Route) -> GatewayError:
        """The error for a request that no target can take now."""
        if route.resting:
            now = asyncio.get_running_loop().time()
            soonest = min(c.ejected_until for c in route.resting)
            return NoHealthyBackend(
                "every target that fits failed just now and rests", retry_after=max(1.0, min(soonest - now, 30.0))
            )
        if route.unable:
            return route.unable[0][1]
        if route.short:
            most = max(route.short, key=lambda s: s[0].facts.context or 0)
            return ContextTooLong(most[1].reason, param="messages")
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
        if isinstance(job.request, Chat):
            job.request = _with_defaults(job.request, route.name)
        self._relay.start(job)
        try:
            await self._attempts(job, route)
        finally:
            job.quiet()

    async def _attempts(self, job: Job, route: Route) -> None:
        last: GatewayError | None = None
        tried = 0
        once = False
        waiting: list[tuple[Deployment, Call]] = []
        for candidate in route.candidates:
            call = await self.prepare(route, job.request, candidate)
            if call is None:
                continue
            d = route.by_candidate[id(candidate)]
            if not self._may_ask(d):
                route.resting.append(candidate)
                continue
            slot = d.gate.try_enter()
            if slot is None:
                waiting.append((d, call))
                continue
            tried += 1
            last = await self._attempt(job, d, call, slot)
            if last is None or job.content or last.failover == "never" or (last.failover == "once" and once):
                break
            once = once or last.failover == "once"
            if tried == MAX_ATTEMPTS:
                break
        else:
            if waiting:
                last = await self._wait(job, waiting)
            elif last is None:
                last = self.refused(route)
        if last is not None:
            if isinstance(last, PrivacyRail):
                self._recorder.metrics.privacy_refusal()
            await self.fail(job, last)

    def _may_ask(self, d: Deployment) -> bool:
        """Does the target's breaker mind? The last target that fits is never given up: routing offers it though it is
        ejected, and it is asked once a second at most."""
        now = asyncio.get_running_loop().time()
        if d.candidate.ejected_until <= now:
            return d.breaker.allow(now)
        if now - d.asked < 1.0:
            return False
        d.asked = now
        return True

    async def _wait(self, job: Job, waiting: list[tuple[Deployment, Call]]) -> GatewayError | None:
        """Queues at the best of the targets that are at their limit."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        d, call = min(waiting, key=lambda w: w[0].candidate.queued / w[0].candidate.weight)
        try:
            slot = await d.gate.enter(self._queue_wait)
        except Overloaded as e:
            return e
        except asyncio.CancelledError:
            job.phase = "queued"
            raise
        finally:
            job.record.queued = loop.time() - since
            self._recorder.metrics.queue(d.server.name, job.record.queued)
        return await self._attempt(job, d, call, slot)

    async def _attempt(self, job: Job, d: Deployment, call: Call, slot: Slot) -> GatewayError | None:
        """One attempt at one target; None = the request is done. What it says about the target's health is recorded
        here, once, at its end."""
        loop = asyncio.get_running_loop()
        outcome = "cancelled"
        if job.request.model == "auto":
            job.model = job.record.model = self._fleet.public_name(d)
        with slot:
            try:
                await self._relay.attempt(job, d, call)
                outcome = "ok"
                self._judge(d, "fine", loop.time())
                return None
            except GatewayError as e:
                outcome = e.code
                self._judge(d, e.verdict, loop.time())
                if isinstance(e, Overloaded) and e.retry_after:
                    d.candidate.ejected_until = max(d.candidate.ejected_until, loop.time() + e.retry_after)
                if isinstance(e, WrongModality | ModelGone | ConnectError | Reset):
                    self._prober.suspect(d.server)
                return e
            except asyncio.CancelledError:
                self._judge(d, "neutral", loop.time())
                raise
            finally:
                job.record.attempts.append(f"{d.candidate.target.label}: {outcome}")
                self._recorder.metrics.attempt(d.server.name, outcome)

    def _judge(self, d: Deployment, verdict: Any, now: float) -> None:
        was = d.breaker.until
        d.breaker.record(verdict, now)
        if d.breaker.until > was:
            self._recorder.metrics.ejection(d.server.name)
        d.candidate.ejected_until = d.breaker.until

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
        if not job.outlet.committed:
            raise error
        job.record.status, job.record.code = error.status, error.code
        assert job.encoder is not None
        await job.outlet.write(job.encoder.fault(error))
        await job.outlet.end()


def _with_defaults(chat: Chat, name: Name) -> Chat:
    """The request with the configured defaults of its public name where the client said nothing. A new value: the
    client's request stays as it was."""
    if not name.defaults and name.thinking is None:
        return chat
    said: dict[str, Any] = {k: v for k, v in name.defaults.items() if getattr(chat.sampling, k, ...) is None}
    sampling = replace(chat.sampling, **said)
    thinking = chat.thinking
    if name.thinking is not None and thinking.enabled is None:
        thinking = replace(name.thinking, include=thinking.include)
    return replace(chat, sampling=sampling, thinking=thinking)


def receipt(record: Record) -> str:
    """The whole receipt, for the log."""
    return fold_receipt(record.parts, None) if record.parts else ""
