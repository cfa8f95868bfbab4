"""The decision: which targets may take a request, in which order, and why not the others.

Serving and explain share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.canonical.needs import Needs
from gateway.canonical.requests import Options
from gateway.errors import GatewayError
from gateway.routing.candidate import Candidate, Lack, Verdict
from gateway.routing.conversion import NOTHING, Able, ways_to
from gateway.routing.fit import HEARING, context_lack, estimate, facts_for, lacks, likely, privacy_lacks
from gateway.routing.order import order
from gateway.routing.refusal import refuse
from gateway.routing.rules import ANYONE, DEFAULT_RULES, SELECTABLE, Rule, Selector, matching, unmet, unmet_wishes


@dataclass(slots=True)
class Policy:
    """What the operator decided. `privacy`: modality -> `local` | `any`. `auto_hosted`: `auto` may leave the house when
    no local target fits."""

    rules: Sequence[Rule] = DEFAULT_RULES
    privacy: Mapping[str, str] = field(default_factory=lambda: {"audio": "local"})
    auto_hosted: bool = False


@dataclass(slots=True)
class Decision:
    """`order`: who may take it, in the order in which they are tried. `busy`: those of them at their limit, the best to
    wait for first. `verdicts`: all candidates, as they were given. `rules`: paths of the rules that matched. `tokens`:
    (low, high) bounds of the prompt; a target whose context lies between them is worth a count."""

    order: list[Candidate] = field(default_factory=list)
    busy: list[Candidate] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    tokens: tuple[int, int] = (0, 0)


def decide(
    needs: Needs,
    candidates: Sequence[Candidate],
    *,
    model: str,
    auto: bool,
    dialect: str,
    policy: Policy,
    now: float,
    affinity: str = "",
    home: str = "",
    aside: bool = False,
    tokens: int | None = None,
    able: Able = NOTHING,
) -> Decision:
    """`candidates`: every target of the public name `model`; `auto`: they are of different models. `now` in seconds of
    the monotonic clock. `affinity`, `home`, `aside`: see `order`. `tokens`: the prompt's length where a server counted
    it; else it is estimated. `able`: what the gateway can do to media."""
    options = needs.options
    matched = matching(policy.rules, needs, model, dialect, options, candidates) if policy.rules else []
    base = matched
    demanding: list[Rule] = []
    if matched:
        if options.require:
            base = matching(policy.rules, needs, model, dialect, _NO_OPTIONS, candidates)
        demanding = [r for r in base if r.require is not ANYONE and r.require != ANYONE]
    low, high = estimate(needs) if tokens is None else (tokens, tokens)
    verdicts: list[Verdict] = []
    pool: list[Verdict] = []
    for c in candidates:
        facts = c.facts if needs.operation not in HEARING else facts_for(needs.operation, c.facts)
        ways = ways_to(needs.media, facts, able) if needs.media else []
        found = lacks(needs, c if facts is c.facts else replace(c, facts=facts), ways)
        if not c.local:
            found += privacy_lacks(needs, c, policy.privacy)
            if auto and not policy.auto_hosted:
                found.append(_HOSTED_OFF)
        context = c.facts.context
        if context is not None and low > context:
            found += filter(None, (context_lack(low, c),))
        if demanding:
            found += _rule_lacks(demanding, c)
        verdict = Verdict(c, found, ways)
        verdicts.append(verdict)
        if not found:
            pool.append(verdict)
        if options.require:
            found += _wish_lacks(options.require, c)
            found += _rule_lacks([r for r in matched if r not in base], c)
    text_only = not needs.modalities
    if auto and policy.auto_hosted:
        pool = _home_first(pool, text_only)
    usable = _usable(verdicts, pool, now)
    line: list[Candidate] = []
    busy: list[Candidate] = []
    if usable:
        prefer = _first_prefer(matched) if matched else ()
        wishes = options.prefer
        line, busy = order(
            usable,
            auto=auto,
            text_only=text_only,
            wishes=wishes,
            prefer=prefer,
            affinity=affinity,
            home=home,
            aside=aside,
            losses={id(v.candidate): sum(w.loss for w in v.ways) for v in verdicts} if needs.media else None,
            tokens=likely(needs) if tokens is None else tokens,
        )
        if busy:
            _say_busy(pool, busy)
    return Decision(line, busy, verdicts, [r.path for r in matched] if matched else [], (low, high))


_NO_OPTIONS = Options()
_HOSTED_OFF = Lack(
    "rule",
    "hosted",
    "auto does not use hosted servers",
    "`auto: {hosted: true}` in the configuration, or name the model",
)
_HOME_FITS = Lack("rule", "hosted", "auto uses a hosted server only when no local one fits", "name the model")


def _first_prefer(rules: list[Rule]) -> tuple[Selector, ...]:
    for rule in rules:
        if rule.prefer:
            return rule.prefer
    return ()


def _rule_lacks(rules: list[Rule], c: Candidate) -> list[Lack]:
    return [
        Lack("rule", missing.partition(":")[0], f"{rule.path or 'a route'} requires {missing}")
        for rule in rules
        for missing in unmet(rule, c)
    ]


def _wish_lacks(require: Mapping[str, Sequence[str]], c: Candidate) -> list[Lack]:
    """What of the request's own `require` the target is not. Like a rule that holds only because the request requires
    something, this must not make another target usable: it narrows what would be used without it."""
    out = []
    for name in unmet_wishes(require, c):
        wanted = " or ".join(require[name])[:80] or "none at all"
        hint = "" if name in SELECTABLE else f"what can be required: {', '.join(SELECTABLE)}"
        out.append(Lack("rule", name[:40], f"the request requires {name[:40]}: {wanted}", hint))
    return out


def _home_first(pool: list[Verdict], text_only: bool) -> list[Verdict]:
    """Without the hosted ones if a local one fits, be it busy or down, or not what the request would like (which must
    not open the door). For text a fixture does not count."""
    if not any(v.candidate.local and not (text_only and v.candidate.facts.fixture) for v in pool):
        return pool
    for v in pool:
        if not v.candidate.local:
            v.lacks.append(_HOME_FITS)
    return [v for v in pool if v.candidate.local]


_STATES = {
    "down": ("does not answer", "start it, or look at its log"),
    "loading": ("is loading its model", "wait"),
    "unprobed": ("has not been reached since the gateway started", "start it, or correct its url"),
    "mismatch": ("serves another model than it should", "load the right model, or change the configuration and reload"),
}


def _usable(verdicts: list[Verdict], pool: list[Verdict], now: float) -> list[Candidate]:
    """Those that lack nothing and can be sent to; says of all others in which state they are.

    `pool` = those that fit whatever the request itself requires. The last of them is never ejected: if all that are up
    rest after faults, the one that is back soonest is used anyway. A request that requires another one must wait: what
    it requires only ever narrows."""
    usable: list[Candidate] = []
    resting = False
    for v in verdicts:
        c = v.candidate
        state = c.state
        if state != "ready" and state != "cold":
            reason, hint = _STATES[state]
            v.lacks.append(Lack("state", state, reason, hint))
        elif c.ejected_until > now:
            resting = True
        elif not v.lacks:
            usable.append(c)
    if not resting:
        return usable
    up = [v for v in pool if v.candidate.state in ("ready", "cold")]
    spared = None
    if up and all(v.candidate.ejected_until > now for v in up):
        spared = min(up, key=lambda v: (v.candidate.ejected_until, v.candidate.target.label))
        if not spared.lacks:
            usable.append(spared.candidate)
    for v in verdicts:
        if v.candidate.ejected_until > now and v.candidate.state in ("ready", "cold") and v is not spared:
            v.lacks.append(Lack("state", "ejected", "failed several times in a row and is given a rest", "wait"))
    return usable


def _say_busy(pool: list[Verdict], busy: list[Candidate]) -> None:
    waited_for = set(map(id, busy))
    for v in pool:
        c = v.candidate
        if id(c) in waited_for:
            v.lacks.append(Lack("busy", "slot", f"works on {c.in_flight} of {c.limit} requests, {c.queued} wait"))


def refusal(decision: Decision, needs: Needs, model: str) -> GatewayError:
    """The error to answer with when `order` is empty; `routing/refusal.py` says which one it is."""
    return refuse(decision.verdicts, needs, model)
