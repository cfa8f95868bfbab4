"""One configured server, and each model there that the configuration or its own listing names.

The prober (engine/probe.py) calls `learn` and `live`; routing only reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.backends import Backend, Discovery, Model, Place
from gateway.canonical.facts import FACT_NAMES, Facts, Finding, Source, State, Target, layer
from gateway.engine.admission import Gate
from gateway.engine.credentials import Credentials, Signed, Tokens
from gateway.engine.news import News, drift
from gateway.engine.upstream import Address
from gateway.errors import ModelGone
from gateway.families import identify
from gateway.routing.breaker import Breaker
from gateway.routing.candidate import Candidate
from gateway.settings import BackendSettings

MAY_ASK_EVERY = 1.0
"""Seconds between two requests to a target that fails but is the only one."""


@dataclass(slots=True)
class Deployment:
    """A candidate with what the engine keeps beside it. `named` = a target of the configuration; `wanted` = the model
    that it asks for, "" = the one that the server serves when it is first seen. `listed` = the newest full probe found
    it; `model` = what that probe said of it."""

    candidate: Candidate
    gate: Gate
    breaker: Breaker
    server: Server
    wanted: str = ""
    named: bool = False
    listed: bool = False
    model: Model = field(default_factory=lambda: Model(""))
    known_as: frozenset[str] = frozenset()
    """What its answers may call it. Empty where the server only repeats what it was asked for."""
    seen: Facts | None = None
    """What the newest probe of the model while it was ready, and its names, said of it."""
    asked: float = 0.0
    """When it was last asked although it was ejected."""
    learned: Facts = field(default_factory=Facts)
    """What its refusals told of the form that it wants."""
    rest_until: float = 0.0
    """Until when it asked to be left alone (Retry-After)."""

    def learn(self, facts: dict[str, Any]) -> bool:
        """Takes what a refusal told into account. False if that is known already."""
        if all(getattr(self.candidate.facts, name) == value for name, value in facts.items()):
            return False
        self.learned = replace(self.learned, **facts)
        self.server.configure(self.server.settings, self.server.queue)
        return all(getattr(self.candidate.facts, name) == value for name, value in facts.items())

    def note_rest(self) -> None:
        """Lets routing see what breaker and Retry-After say. To be called after every call of the breaker."""
        self.candidate.ejected_until = max(self.breaker.until, self.rest_until)

    def left_alone(self, now: float) -> bool:
        """The last target that fits is never given up: routing offers it though it is ejected, and it is asked once in
        MAY_ASK_EVERY seconds. Is this a moment in between?"""
        return self.candidate.ejected_until > now and now - self.asked < MAY_ASK_EVERY


class Server:
    """One backend of the configuration. `state` is the server's own; each deployment's state follows it. `queue` = how
    many may wait for one of its targets at most. `deployments`: by what the configuration asks for, the others by the
    model's id. `findings`: the newest full probe's. `skew`: seconds that its clock is ahead of ours, None where it does
    not tell the time."""

    def __init__(
        self,
        settings: BackendSettings,
        backend: Backend | None,
        queue: int = 100,
        credentials: Credentials | None = None,
    ) -> None:
        self.settings = settings
        self.backend = backend
        self.queue = queue
        self._credentials = credentials or Credentials()
        self.models: tuple[str, ...] = ()
        self._locate()
        self.state: State = "unprobed"
        self.detail = ""
        self.findings: list[Finding] = []
        self.skew: float | None = None
        self.failures = 0
        self.late = 0
        self.slow = False
        self.suspected = False
        self.again = False
        self.next_facts = 0.0
        self.deployments: dict[str, Deployment] = {}

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def kind(self) -> str:
        return self.backend.kind if self.backend is not None else "unknown"

    def configure(self, settings: BackendSettings, queue: int) -> None:
        """Takes other settings for the same server: what runs, what waits and what is known stays."""
        if settings != self.settings:
            self.settings = settings
            self._locate()
        self.queue = queue
        for d in self.deployments.values():
            self._size(d)

    def detected(self, backend: Backend) -> None:
        """What kind of server it is was found out."""
        self.backend = backend
        self._locate()

    def _locate(self) -> None:
        """What follows from the settings for where it is and how it is called."""
        s = self.settings
        if self.backend is not None:
            place = Place(s.url or "", s.project or "", s.location or "", s.endpoint or "", self.models)
            self.backend = self.backend.placed(place)
        self.signed = Signed(_address(s, self.backend), self._tokens())

    def _tokens(self) -> Tokens | None:
        """None where the configuration has a key for it, or its kind wants none. One's own machines get no token."""
        scope = self.backend.token_scope if self.backend is not None else ""
        wanted = scope and self.settings.api_key is None and not self.settings.local
        return self._credentials.of(scope) if wanted else None

    @property
    def address(self) -> Address:
        return self.signed.plain

    def live(self, state: State, detail: str = "") -> None:
        """Liveness changed. Deployments that were usable follow; a mismatch stays one until the next full probe."""
        self.state, self.detail = state, detail
        for d in self.deployments.values():
            c = d.candidate
            if state in ("ready", "cold"):
                if c.state in ("down", "loading"):
                    c.state, c.detail = "unprobed", "waiting for its facts"
            elif c.state != "unprobed" or state != "down":
                c.state, c.detail = state, detail
            else:
                c.detail = detail  # never of use since the start: but what answers there is known

    def learn(self, found: Discovery) -> list[News]:
        """A full probe's result. Returns what changed since the last one."""
        self.state, self.detail, self.findings = found.state, found.detail, found.findings
        if found.state not in ("ready", "cold"):
            self.live(found.state, found.detail)
            return []
        news: list[News] = []
        listed = {m.id: m for m in found.models}
        for d in [d for d in self.deployments.values() if d.named]:
            model = _wanted_model(d, found.models)
            if model is None:
                news += self._mismatch(d, found.models)
            else:
                news += self._adopt(d, model)
                listed.pop(model.id, None)
        for d in [d for d in self.deployments.values() if not d.named]:
            model = listed.pop(d.candidate.target.model, None)
            if model is None:
                self._mismatch(d, found.models)
            else:
                news += self._adopt(d, model)
        for model in listed.values():
            news += self._adopt(self._deployment(model.id), model)
        self.tidy()
        self._share_gates()
        return news

    def want(self, models: Iterable[str]) -> None:
        """The models that the configuration names here ("" = whatever it serves): each gets the deployment that is
        about it already, if there is one. An open target that found another model than it had is open again."""
        before = [d for d in self.deployments.values() if d.named or d.listed]
        left = {id(d): d for d in before}
        names = sorted(set(models), reverse=True)  # the open one takes what nobody asks for by name
        if self.models != tuple(names):
            self.models = tuple(names)
            self._locate()
        chosen: dict[str, Deployment] = {}
        for same in (_asked_before, _is_about):
            for model in names:
                d = next((d for d in left.values() if same(d, model)), None) if model not in chosen else None
                if d is not None:
                    chosen[model] = left.pop(id(d))
        kept = {id(d) for d in chosen.values()}
        self.deployments = {d.candidate.target.model: d for d in self.deployments.values() if id(d) not in kept}
        for d in self.deployments.values():
            d.named, d.wanted, d.candidate.weight = False, d.candidate.target.model, 1.0
        for model in names:
            d = chosen.get(model) or self._deployment(model)
            d.named, d.wanted = True, model
            self.deployments[model] = d
        self.tidy()
        self._share_gates()

    def wanted(self, model: str) -> Deployment:
        """The deployment of a model that `want` was told of."""
        return self.deployments[model]

    def tidy(self) -> None:
        """Forgets models that nobody names and the server no longer lists, once nothing runs there any more, or where
        what runs is counted at another target that stays."""
        kept = {d.gate for d in self.deployments.values() if d.named or d.listed}
        for key, d in list(self.deployments.items()):
            busy = (d.candidate.in_flight or d.candidate.queued) and d.gate not in kept
            if not (d.named or d.listed or busy):
                del self.deployments[key]

    def _share_gates(self) -> None:
        """Targets that are one and the same model of this server go through one gate: its slots are there once. One
        that has requests at a gate of its own joins at a later look."""
        counted: dict[Gate, tuple[int, int]] = {}
        same: dict[str, list[Deployment]] = {}
        for d in self.deployments.values():
            counted[d.gate] = d.gate.candidate.in_flight, d.gate.candidate.queued
            same.setdefault(d.candidate.target.model, []).append(d)
        taken: dict[Gate, list[Candidate]] = {}
        for group in same.values():
            free = dict.fromkeys(d.gate for d in group if d.gate not in taken)
            gate = max(free, key=lambda g: sum(counted[g]), default=None) or Gate(group[0].candidate)
            for d in group:
                apart = d.gate in free and d.gate is not gate and any(counted[d.gate])
                if not apart:
                    d.gate = gate
                taken.setdefault(d.gate, []).append(d.candidate)
        for gate, candidates in taken.items():
            gate.belongs_to(candidates, *counted.get(gate, (0, 0)))

    def _deployment(self, model: str) -> Deployment:
        c = Candidate(Target(self.name, self.kind, model))
        d = Deployment(c, Gate(c), Breaker(), self, wanted=model)
        self._size(d)
        self.deployments[model] = d
        return d

    def _size(self, d: Deployment) -> None:
        """What follows from the settings, the kind and the newest probe together."""
        b, backend, c, model = self.settings, self.backend, d.candidate, d.model
        told = layer(("probed", d.learned), ("probed", model.facts))
        c.facts = self._facts(told, model.id or c.target.model, model.root, *model.aliases)
        c.local, c.allow = b.local, frozenset(b.allow)
        c.hints = backend.hints if backend else {}
        c.tier = backend.tier if backend else 9
        c.limit = b.max_in_flight or c.facts.slots or (backend.slots if backend else 1)
        c.queue_limit = min(self.queue, max(8, 2 * c.limit))

    def _facts(self, probed: Facts, *names: str) -> Facts:
        """What a kind of server can't do it can't do with any model; what it can, the model decides."""
        assumed = self.backend.assumed if self.backend else Facts()
        never = Facts()
        for name in FACT_NAMES:
            if getattr(assumed, name) is False:
                setattr(never, name, False)
        said: tuple[Source, Facts] = ("operator", self.settings.facts)
        family = _family(*names)
        return layer(said, ("probed", probed), ("assumed", never), ("family", family), ("assumed", assumed))

    def _adopt(self, d: Deployment, model: Model) -> list[News]:
        """A model that is not loaded tells less than one that is: only what was seen while it was is compared."""
        c = d.candidate
        before = d.seen if d.model.id == model.id else None
        if c.target.model != model.id or c.target.kind != self.kind:
            c.target = Target(self.name, self.kind, model.id)
        d.model, d.listed = model, True
        self._size(d)
        news = []
        if model.state == "ready":
            d.seen = layer(("probed", model.facts), ("family", _family(model.id, model.root, *model.aliases)))
            news = drift(c.target.label, before, d.seen) if before is not None else []
        c.state, c.detail = model.state, self.detail
        if self.backend is not None and self.backend.names_itself:
            d.known_as = frozenset(("", model.id, *model.aliases))
        return news

    def _mismatch(self, d: Deployment, models: list[Model]) -> list[News]:
        c = d.candidate
        before = c.state, c.detail
        serves = ", ".join(_shown(m.id) for m in models) or "nothing"
        want = _shown(d.wanted or c.target.model)
        d.listed = False
        c.state = "mismatch"
        c.detail = f"it now serves {serves}, not {want}; change the configuration or the server, then reload"
        return [News("mismatch", c.detail)] if (c.state, c.detail) != before else []


def _family(*names: str) -> Facts:
    return identify(*[n for n in names if n]) if any(names) else Facts()


def _shown(model: str) -> str:
    """A model's id as everybody may see it: by the rule of the label, without a path."""
    return Target("", "", model).label[1:]


def _asked_before(d: Deployment, model: str) -> bool:
    """Is it the target of the configuration before this one that asked for the same?"""
    return d.named and d.wanted == model and not (model == "" and d.candidate.state == "mismatch")


def _is_about(d: Deployment, model: str) -> bool:
    """Does it serve that model now, whoever asked for it? An open target takes any."""
    return d.listed and (model in ("", d.model.id, *d.model.aliases) or (d.model.root != "" and model == d.model.root))


def _wanted_model(d: Deployment, models: list[Model]) -> Model | None:
    """The listed model that the deployment is about. One that the configuration left open takes the first that the
    server is seen with, and stays with it."""
    want = d.wanted or d.candidate.target.model
    if not want:
        return models[0] if models else None
    exact = next((m for m in models if m.id == want), None)
    return exact or next((m for m in models if want in m.aliases or (m.root and want == m.root)), None)


def _address(settings: BackendSettings, backend: Backend | None) -> Address:
    headers: dict[str, str] = {}
    if settings.api_key is not None:
        key = settings.api_key.get_secret_value()
        headers = backend.credentials(key) if backend is not None else {"Authorization": f"Bearer {key}"}
    return Address((settings.url or "").rstrip("/"), headers, settings.timeouts.connect)


def check_model(d: Deployment, told: str) -> None:
    """Raises ModelGone when an answer comes from another model than the one that was asked: the server was restarted
    with it since the last probe. Nothing of that answer may be shown."""
    if d.known_as and told not in d.known_as:
        raise ModelGone("the server serves another model now")
