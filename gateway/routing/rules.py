"""Routes: which requests a rule is about, what it demands of their target, and what it prefers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Match:
    """Which requests a rule is about. Every field that is set must hold; a tuple means any of its values.

    `quantization`, `variant`, `kind` and `hardware` hold when the request requires them or every target of its public
    name has them; the other fields are asked of the request. `context` = needs at least so many tokens.
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


@dataclass(slots=True, frozen=True)
class Rule:
    """`require` of every matching rule applies; `prefer` of the first matching rule that has one orders the targets."""

    match: Match
    require: Selector = Selector()
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
