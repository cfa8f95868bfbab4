"""Routes: which requests a rule is about, what it demands of their target, and what it prefers.

Words are compared as they are: facts and settings are lower case. A value that nobody has simply matches nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.canonical.needs import Needs
from gateway.canonical.requests import Options
from gateway.routing.candidate import Candidate
from gateway.routing.fit import WEIGHT_ONLY, likely


@dataclass(slots=True, frozen=True)
class Match:
    """Which requests a rule is about. Every field that is set must hold; a tuple means any of its values.

    `quantization`, `variant`, `kind` and `hardware` hold when the request requires them or every target of its public
    name has them; the other fields are asked of the request. `context` = needs at least so many tokens, about.
    `modality: text` = a request without media.
    """

    modality: tuple[str, ...] = ()
    tools: bool | None = None
    context: int | None = None
    model: tuple[str, ...] = ()
    dialect: tuple[str, ...] = ()
    quantization: tuple[str, ...] = ()
    variant: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class Selector:
    """Which targets are meant. Every field that is set must hold; a tuple means any of its values."""

    kind: tuple[str, ...] = ()
    variant: tuple[str, ...] = ()
    quantization: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    family: tuple[str, ...] = ()
    backend: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    local: bool | None = None


ANYONE = Selector()
"""Demands nothing."""


@dataclass(slots=True, frozen=True)
class Rule:
    """`require` of every matching rule applies; `prefer` of the first matching rule that has one orders the targets."""

    match: Match
    require: Selector = ANYONE
    prefer: tuple[Selector, ...] = ()
    path: str = ""
    """Where the rule stands: `routes[1]`, or `default[1]`."""


DEFAULT_RULES: tuple[Rule, ...] = (
    Rule(
        Match(quantization=("nvfp4",)),
        require=Selector(kind=("vllm",), hardware=("blackwell",)),
        path="default[0]",
    ),
    Rule(Match(modality=("video",)), prefer=(Selector(kind=("vllm",)),), path="default[1]"),
    Rule(
        Match(modality=("audio",)),
        prefer=(Selector(kind=("llamacpp",)), Selector(kind=("vllm",), variant=("e2b", "e4b", "12b"))),
        path="default[2]",
    ),
)


SELECTABLE = ("kind", "variant", "quantization", "hardware", "family", "backend", "model", "local")
"""What a selector, and a request's own `require` and `prefer`, may ask of a target."""


def matching(
    rules: Sequence[Rule],
    needs: Needs,
    model: str,
    dialect: str,
    options: Options,
    candidates: Sequence[Candidate],
) -> list[Rule]:
    """The rules that are about this request, in their order. `candidates` = every target of its public name."""
    return [r for r in rules if _holds(r.match, needs, model, dialect, options, candidates)]


def _holds(m: Match, needs: Needs, model: str, dialect: str, options: Options, candidates: Sequence[Candidate]) -> bool:
    if m.modality and not _has_modality(m.modality, needs):
        return False
    if m.tools is not None and m.tools != needs.tools:
        return False
    if (m.model and model not in m.model) or (m.dialect and dialect not in m.dialect):
        return False
    if m.context is not None and likely(needs) < m.context:
        return False
    return (
        (not m.quantization or _all_have("quantization", m.quantization, options, candidates))
        and (not m.variant or _all_have("variant", m.variant, options, candidates))
        and (not m.kind or _all_have("kind", m.kind, options, candidates))
        and (not m.hardware or _all_have("hardware", m.hardware, options, candidates))
    )


def _has_modality(wanted: tuple[str, ...], needs: Needs) -> bool:
    if not needs.modalities:
        return "text" in wanted
    return not needs.modalities.isdisjoint(wanted)


def _all_have(field: str, wanted: tuple[str, ...], options: Options, candidates: Sequence[Candidate]) -> bool:
    """Whether whatever target is chosen will have one of the values: the request leaves no other, or there is none."""
    asked = options.require.get(field)
    if asked and all(value.lower() in wanted for value in asked):
        return True
    for c in candidates:
        value = c.target.kind if field == "kind" else getattr(c.facts, field)
        if value not in wanted:
            return False
    return bool(candidates)


def selects(s: Selector, c: Candidate) -> bool:
    """Whether the target is one of those that are meant."""
    f, t = c.facts, c.target
    return (
        (not s.kind or _is_kind(c, s.kind))
        and (not s.variant or f.variant in s.variant)
        and (not s.quantization or f.quantization in s.quantization)
        and (not s.hardware or f.hardware in s.hardware)
        and (not s.family or f.family in s.family)
        and (not s.backend or t.backend in s.backend)
        and (not s.model or t.model in s.model)
        and (s.local is None or s.local == c.local)
    )


def _is_kind(c: Candidate, kinds: tuple[str, ...]) -> bool:
    """A server on one's own machines that only wraps another one (a container with an engine inside) counts as both."""
    return c.target.kind in kinds or (c.local and c.facts.runtime in kinds)


def unmet(rule: Rule, c: Candidate) -> list[str]:
    """What of the rule's `require` the target is not, as `kind: vllm`; empty = the rule lets it be.

    Where the operator allows NVFP4 weights off Blackwell, that stands above the hardware that a rule about NVFP4
    demands."""
    if selects(rule.require, c):
        return []
    out = []
    for name in SELECTABLE[:-1]:
        wanted: tuple[str, ...] = getattr(rule.require, name)
        met = _is_kind(c, wanted) if name == "kind" else trait(name, c) in wanted
        if wanted and not met and not (name == "hardware" and _allowed_off_blackwell(rule, c)):
            out.append(f"{name}: {' or '.join(wanted)}")
    if rule.require.local is not None and rule.require.local != c.local:
        out.append(f"local: {str(rule.require.local).lower()}")
    return out


def _allowed_off_blackwell(rule: Rule, c: Candidate) -> bool:
    return "nvfp4" in rule.match.quantization and c.facts.quantization == "nvfp4" and WEIGHT_ONLY in c.allow


def trait(name: str, c: Candidate) -> str | None:
    """What a target has for a selectable word; None = unknown, or no such word."""
    if name in ("kind", "backend", "model"):
        return str(getattr(c.target, name))
    if name in ("variant", "quantization", "hardware", "family"):
        value: str | None = getattr(c.facts, name)
        return value
    return str(c.local).lower() if name == "local" else None


def unmet_wishes(wishes: Mapping[str, Sequence[str]], c: Candidate) -> list[str]:
    """What of a request's own `require` (or of one of its `prefer`) the target is not; empty = it is all of that.

    A client may write a model as an answer's header shows it (`<backend>/<model>`, of a path the last component). A
    word that is none of SELECTABLE is never met."""
    out = []
    for name, wanted in wishes.items():
        has = trait(name, c)
        names = {has.lower()} if has is not None else set()
        if name == "model":
            label = c.target.label.lower()
            names |= {label, label[len(c.target.backend) + 1 :]}
        if names.isdisjoint(value.lower() for value in wanted):
            out.append(name)
    return out
