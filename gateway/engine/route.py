"""Where a request may go: names -> needs -> decision -> what only a count or the built call tells.

Serving and explain share this file. Nothing here sends a request to a target but for a count of its prompt.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.backends import Call
from gateway.canonical.content import Audio, Document, Image, Text, Video
from gateway.canonical.context import EVERYTHING, Context, Rights
from gateway.canonical.media.octets import fingerprint
from gateway.canonical.needs import Needs, media_in, needs_of
from gateway.canonical.requests import Chat, Completion, CountTokens, Request, Transcription, conversation
from gateway.engine.admission import Hold, Memory, queue_full
from gateway.engine.fleet import Fleet, Name
from gateway.engine.media.stage import MediaStage
from gateway.engine.receipt import as_asked, with_claims
from gateway.engine.relay import Relay, check_privacy
from gateway.engine.rights import check_modalities, permitted
from gateway.engine.servers import Deployment
from gateway.errors import GatewayError, ModalityNotAllowed, Overloaded
from gateway.filters.instructions import instructed
from gateway.filters.transcript import in_words
from gateway.routing.candidate import Candidate, Lack
from gateway.routing.fit import carried, context_lack, facts_for, own_route, privacy_lacks
from gateway.routing.policy import Decision, decide, refusal
from gateway.routing.strict import parameter_lacks, part_lacks
from gateway.routing.within import within
from gateway.settings import Settings

MOST_HOMES = 4096
COUNT_SECONDS = 5.0
"""How long a server may take to count a prompt before its bounds have to do."""


@dataclass(slots=True)
class Route:
    """What was found out about where a request may go."""

    name: Name
    needs: Needs
    decision: Decision
    by_candidate: dict[int, Deployment]
    privacy: Mapping[str, str]
    """As it was set when the request came."""
    settings: Settings
    """Those that were in force then."""
    tenant: str = ""
    """Whose request it is: the id of the key that it came with, "" where nobody needs one."""
    conversation: str = ""
    """What `affinity` says of the request, "" where there is only one target."""
    rights: Rights = EVERYTHING
    short: list[tuple[Candidate, Lack]] = field(default_factory=list)
    """Targets that the prompt turned out to be too long for."""
    hold: Hold = field(default_factory=Hold)
    """What was fetched and converted for it is held until `done`."""
    unable: list[GatewayError] = field(default_factory=list)
    """What the kinds of targets said that refused this very request when the call was built."""

    def done(self) -> None:
        """Nobody will be asked any more."""
        self.hold.release()

    def add(self, candidate: Candidate, lack: Lack) -> None:
        """What was found out about a target after the decision."""
        for verdict in self.decision.verdicts:
            if verdict.candidate is candidate:
                verdict.lacks.append(lack)

    @property
    def nobody_counts(self) -> bool:
        """Some target would take the request, and all that would do not count tokens."""
        able = [v for v in self.decision.verdicts if all(x.need == "count_tokens" for x in v.lacks if x.kind == "need")]
        return bool(able) and all(any(x.need == "count_tokens" for x in v.lacks) for v in able)

    def rests(self, candidate: Candidate) -> None:
        """Notes that a target fits, but is left alone for a moment after its failures."""
        self.add(candidate, Lack("state", "ejected", "failed just now and rests", "look at its log"))

    def stands_back(self, candidate: Candidate, waiting: Sequence[tuple[Deployment, Call]]) -> bool:
        """Better to wait for a real model than to be told the sentence of a test stand-in: for text it, and all that
        come after it, are not asked while there are real ones to wait for."""
        stand_in = candidate.facts.fixture and not self.needs.modalities
        return bool(stand_in) and not waiting[0][0].candidate.facts.fixture


class Router:
    """Finds routes through the fleet. One per process."""

    def __init__(
        self, fleet: Fleet, relay: Relay, media: MediaStage | None = None, memory: Memory | None = None
    ) -> None:
        self._memory = memory
        self._fleet = fleet
        self._relay = relay
        self._media = media or MediaStage()
        self._homes: OrderedDict[str, str] = OrderedDict()
        """Where conversations were answered last: what `affinity` says of them -> the target's label."""

    def route(self, ctx: Context[Settings], request: Request) -> Route:
        """Raises ModelNotFound, and ModelNotAllowed or ModalityNotAllowed where its key does not go so far. A decision
        without targets is not an error yet: explain wants to see it. Who asks for a route says when it is `done`."""
        name = permitted(self._fleet, request.model, ctx.rights)
        needs = needs_of(request)
        if ctx.rights.modalities is not None:
            check_modalities(needs, ctx.rights)
        policy = ctx.snapshot.policy
        conversation = affinity(request) if len(name.deployments) > 1 else ""
        decision = decide(
            needs,
            [d.candidate for d in name.deployments],
            model=name.public,
            auto=name.auto,
            dialect=ctx.dialect,
            policy=policy,
            now=asyncio.get_running_loop().time(),
            affinity=conversation,
            home=self._homes.get(conversation, ""),
            aside=isinstance(request, Chat) and not request.tools,
            able=self._media.able(ctx.snapshot),
        )
        tenant = "" if ctx.snapshot.auth.mode == "none" else ctx.key_id
        by_candidate = {id(d.candidate): d for d in name.deployments}
        route = Route(name, needs, decision, by_candidate, policy.privacy, ctx.snapshot, tenant, conversation)
        route.hold = Hold(self._memory)
        route.rights = ctx.rights
        return route

    def served(self, route: Route, d: Deployment, now: float) -> None:
        """A target has answered: its cache holds the conversation, which should come back to it."""
        d.candidate.used = now
        if route.conversation:
            self._homes[route.conversation] = d.candidate.target.label
            self._homes.move_to_end(route.conversation)
            if len(self._homes) > MOST_HOMES:
                self._homes.popitem(last=False)

    def asked(self, route: Route, request: Request, d: Deployment) -> Request:
        """The request as this target gets it: with what its public name sets, as a chat where it has no other route."""
        if isinstance(request, Transcription) and not own_route(request.operation, d.candidate.facts):
            request = in_words(request)
        return with_defaults(request, self._fleet.name_of(d) if route.name.auto else route.name)

    async def prepare(self, route: Route, request: Request, candidate: Candidate) -> Call | None:
        """The call for one of the targets that the decision found. None, and noted in the route, if the target turns
        out to have too little room, its kind can't take this very request, or would take it but not as it must be."""
        d = route.by_candidate[id(candidate)]
        assert d.server.backend is not None
        asked, request = request, self.asked(route, request, d)
        if d.server.backend.parts_tenants:
            request = of_tenant(request, route.tenant)
        if isinstance(request, Chat) and candidate.facts.json_schema == "verified":
            request = instructed(request)
        request, lowered = within(request, route.needs, candidate.facts)
        lack = await self._too_long(route, request, d)
        if lack is not None:
            route.short.append((candidate, lack))
            route.add(candidate, lack)
            return None
        try:
            facts = facts_for(route.needs.operation, candidate.facts)
            fetched: list[Needs] = []

            def allowed(needs: Needs) -> None:
                fetched.append(needs)
                check_modalities(needs, route.rights)

            ready = await self._media.ready(request, facts, route.settings, route.hold, allowed)
            lack = _kept_home(ready.request, fetched, candidate, route.privacy)
            if lack is not None:
                route.add(candidate, lack)
                return None
            call = d.server.backend.build(ready.request, candidate.target, facts)
            call.carries = carried(media_in(ready.request)) | carried(route.needs.media)
            call.carries |= carried(m for needs in fetched for m in needs.media)
        except GatewayError as e:
            route.unable.append(e)
            route.add(candidate, Lack("need", e.code, e.message, paths=(e.param,) if e.param else ()))
            return None
        call.fates = ready.merged(call.fates)
        chat = conversation(asked) if isinstance(asked, Chat | Transcription) else None
        if chat is not None and isinstance(request, Chat):
            call.fates = as_asked(call.fates, chat, request)
        if isinstance(asked, Transcription):
            lowered = []  # a limit that nobody asked for
        call.dropped += [name for name in lowered if name.partition(">")[0] not in call.dropped]
        options = route.needs.options
        if options.strict_parts or options.strict_parameters:
            lacks = part_lacks(asked, call.fates, call.dropped) if options.strict_parts else []
            if options.strict_parameters:
                lacks += parameter_lacks(asked, call.dropped)
            for lack in lacks:
                route.add(candidate, lack)
            if lacks:
                return None
        if chat is not None and route.needs.media:
            call.fates = with_claims(call.fates, chat)
        return call

    async def foresee(self, route: Route, request: Request) -> tuple[Candidate, Call] | GatewayError:
        """Whom serving would ask now, or wait for, first, and with which call; else the error it would give. Like
        Dispatcher.serve, but nobody is asked, and nobody's turn to be asked again is used up."""
        waiting: list[tuple[Deployment, Call]] = []
        for candidate in route.decision.order:
            if waiting and route.stands_back(candidate, waiting):
                break
            d = route.by_candidate[id(candidate)]
            if d.left_alone(asyncio.get_running_loop().time()):
                route.rests(candidate)
                continue
            call = await self.prepare(route, request, candidate)
            if call is None:
                continue
            if d.gate.free:
                return candidate, call
            waiting.append((d, call))
        for d, call in waiting:
            if not d.gate.full:
                return d.candidate, call
        return queue_full() if waiting else self.refused(route)

    async def _too_long(self, route: Route, request: Request, d: Deployment) -> Lack | None:
        c = d.candidate
        context = c.facts.context
        low, high = route.decision.tokens
        if context is None or high <= context:
            return None
        if isinstance(request, Chat) and c.facts.counts and not route.needs.media:
            # a medium would travel twice, and its bounds say enough
            counted = await self._count(CountTokens(request), d, route)
            if counted is not None:
                return context_lack(counted, c)
        return context_lack(low, c)

    async def _count(self, request: CountTokens, d: Deployment, route: Route) -> int | None:
        """The prompt's tokens as the server counts them; None where it can't or does not answer soon."""
        assert d.server.backend is not None
        try:
            call = d.server.backend.count(request, d.candidate.target, d.candidate.facts)
            if call is None:
                return None
            call.carries = carried(media_in(request))
            check_privacy(route.needs, call, d, route.privacy)
            return d.server.backend.read_count(await self._relay.fetch(call, d, COUNT_SECONDS))
        except (GatewayError, KeyError, TypeError, ValueError):
            return None

    def refused(self, route: Route) -> GatewayError:
        """The error for a request that no target can take now: what was found out after the decision counts, too. That
        there is no room for a medium just now says nothing about the request; that its key may not send what was found
        at a URL says enough."""
        if said := next((e for e in route.unable if isinstance(e, Overloaded | ModalityNotAllowed)), None):
            return said
        if route.unable and len(route.unable) == len(route.decision.verdicts):
            return route.unable[0]
        return refusal(route.decision, route.needs, route.name.public)


def affinity(request: Request) -> str:
    """What keeps a conversation at the server that has its prefix in its cache: a hash of how it begins, up to and with
    the first words of its user. What an agent asks aside (a title, a summary) begins in another way. Where media stand
    in the beginning, these alone: what was encoded once is worth more than the words before it, whoever asks about
    it."""
    chat = conversation(request) if isinstance(request, Chat | Transcription) else None
    if chat is None:
        return ""
    digest = hashlib.blake2b(digest_size=8)
    seen = False
    for message in chat.messages[:_BEGINNING]:
        for part in message.parts:
            if isinstance(part, Image | Audio | Video | Document):
                if not seen:
                    digest, seen = hashlib.blake2b(digest_size=8, person=b"media"), True
                digest.update(fingerprint(part.media))
            elif isinstance(part, Text) and not seen:
                digest.update(part.text[:2048].encode("utf-8", "surrogatepass"))
        if message.role not in ("system", "developer"):
            break
    return digest.hexdigest()


_BEGINNING = 8
"""Messages, if not even one of them is the user's."""


def _kept_home(request: Request, fetched: Sequence[Needs], c: Candidate, privacy: Mapping[str, str]) -> Lack | None:
    """What privacy says of the request as the target would get it, after all that was done to its media, and as it was
    when these had been `fetched`: frames of a video that nobody knew to be one are still of that video."""
    if c.local:
        return None
    found = [lack for needs in (needs_of(request), *fetched) for lack in privacy_lacks(needs, c, privacy)]
    return found[0] if found else None


def of_tenant(request: Request, tenant: str) -> Request:
    """The request with whose it is, for servers that keep the prompts of several apart."""
    if not tenant or isinstance(request, CountTokens):
        return request
    return replace(request, options=replace(request.options, tenant=tenant))


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
