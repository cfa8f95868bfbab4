"""What the file says about facts, rules and thinking, checked against the types that the rest of the gateway has for
them: a field that is added there is a key here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import BeforeValidator, create_model

from gateway import backends
from gateway.canonical.facts import FACT_NAMES, Facts, Grip
from gateway.canonical.needs import Operation
from gateway.canonical.requests import Effort, Sampling, ThinkingConfig
from gateway.routing.rules import Match, Rule, Selector
from gateway.settings.model import Section
from gateway.settings.problems import choices, quoted
from gateway.settings.values import (
    MODALITIES,
    Count,
    Flag,
    Line,
    Lines,
    Mimes,
    Positive,
    Whole,
    Word,
    Words,
    between,
    one_of,
    read_biases,
    read_entries,
    read_list,
    read_stops,
    read_word,
    whole_between,
)


def read_kind(value: object) -> str:
    """A kind of server that exists here. Raises ValueError with the choices."""
    kind = read_word(value)
    valid = backends.kinds()
    if kind not in valid:
        raise ValueError(f"unknown kind {quoted(kind)} {choices(kind, valid)}")
    return kind


def _words_of(*valid: str) -> Any:
    return Annotated[tuple[Annotated[str, BeforeValidator(one_of(*valid))], ...], BeforeValidator(read_list)]


_KINDS = Annotated[tuple[Annotated[str, BeforeValidator(read_kind)], ...], BeforeValidator(read_list)]

_BY_HINT: dict[Any, Any] = {
    bool: Flag,
    bool | None: Flag,
    int | None: Count,
    float | None: Positive,
    str | None: Word,
    frozenset[str] | None: Words,
    tuple[str, ...]: Words,
    Grip | None: Annotated[str, BeforeValidator(one_of(*get_args(Grip)))],
    Effort | None: Annotated[str, BeforeValidator(one_of(*get_args(Effort)))],
}


def _section_for(cls: type, names: tuple[str, ...], special: Mapping[str, Any]) -> type[Section]:
    """A section whose keys are the fields of the dataclass `cls`, all of them optional (None = not said)."""
    hints = get_type_hints(cls)
    types = {name: special.get(name) or _BY_HINT[hints[name]] for name in names}
    types |= {name: kind for name, kind in special.items() if name not in types}
    spec: Any = {
        name: (kind | None if isinstance(kind, type) else _optional(kind), None) for name, kind in types.items()
    }
    made: type[Section] = create_model(f"{cls.__name__}Keys", __base__=Section, **spec)
    return made


def _optional(kind: Any) -> Any:
    return kind | None


def _names(cls: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls))


FactsKeys = _section_for(
    Facts,
    FACT_NAMES,
    {
        "operations": _words_of(*get_args(Operation)),
        "image_formats": Mimes,
        "audio_formats": Mimes,
        "video_formats": Mimes,
        "image_limit": Whole,
        "audio_limit": Whole,
        "video_limit": Whole,
        "version": Line,
        "modalities": _words_of(*MODALITIES),
    },
)
ThinkingKeys = _section_for(ThinkingConfig, _names(ThinkingConfig), {})
_INT32, _INT64 = 2**31 - 1, 2**63 - 1
SamplingKeys = _section_for(
    Sampling,
    _names(Sampling),
    {
        "temperature": Annotated[float, BeforeValidator(between(0, 2))],
        "top_p": Annotated[float, BeforeValidator(between(0, 1))],
        "top_k": Annotated[int, BeforeValidator(whole_between(-1, _INT32))],
        "min_p": Annotated[float, BeforeValidator(between(0, 1))],
        "seed": Annotated[int, BeforeValidator(whole_between(-_INT64 - 1, _INT64))],
        "max_tokens": Annotated[int, BeforeValidator(whole_between(1, _INT32))],
        "stop": Annotated[tuple[str, ...], BeforeValidator(read_stops)],
        "presence_penalty": Annotated[float, BeforeValidator(between(-2, 2))],
        "frequency_penalty": Annotated[float, BeforeValidator(between(-2, 2))],
        "repetition_penalty": Annotated[float, BeforeValidator(between(0, 10))],
        "logit_bias": Annotated[dict[str, float], BeforeValidator(read_biases)],
    },
)
MatchKeys = _section_for(Match, _names(Match), {"modality": _words_of(*MODALITIES), "kind": _KINDS, "model": Lines})
SelectorKeys = _section_for(Selector, _names(Selector), {"kind": _KINDS, "model": Lines, "backend": Lines})
_PREFER = Annotated[tuple[SelectorKeys, ...], BeforeValidator(read_entries)]  # type: ignore[valid-type]


def said(section: Section) -> dict[str, Any]:
    """The keys that the file has, with their values."""
    return {name: value for name in type(section).model_fields if (value := getattr(section, name)) is not None}


def facts_of(section: Section) -> Facts:
    """`modalities: [text, image]` tells all of them at once: what is not listed is not there. Raises ValueError where
    the two ways of saying it contradict each other."""
    told = said(section)
    modalities = told.pop("modalities", None)
    facts = Facts()
    for name, value in told.items():
        setattr(facts, name, frozenset(value) if isinstance(value, tuple) else value)
    if modalities is not None:
        for name in MODALITIES[1:]:
            listed = name in modalities
            if getattr(facts, name) not in (None, listed):
                raise ValueError(f"modalities and {name} contradict each other")
            setattr(facts, name, listed)
    facts.sources = {name: "operator" for name in FACT_NAMES if getattr(facts, name) is not None}
    return facts


def thinking_of(section: Section) -> ThinkingConfig:
    """An effort means thinking, `none` means none. Raises ValueError on a contradiction."""
    thinking = ThinkingConfig(**said(section))
    implied = None if thinking.effort is None else thinking.effort != "none"
    if thinking.budget is not None and implied is None:
        implied = True
    if implied is not None and thinking.enabled not in (None, implied):
        raise ValueError("enabled contradicts effort or budget")
    if implied is not None:
        thinking.enabled = implied
    return thinking


def sampling_of(section: Section) -> dict[str, Any]:
    """Fields of `Sampling` and their values."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said(section).items()}


def selector_of(section: Section) -> Selector:
    return Selector(**said(section))


class RouteKeys(Section):
    match: MatchKeys | None = None  # type: ignore[valid-type]
    require: SelectorKeys | None = None  # type: ignore[valid-type]
    prefer: _PREFER = ()


def rule_of(route: RouteKeys, path: str) -> Rule:
    return Rule(
        Match(**said(route.match)) if route.match is not None else Match(),
        selector_of(route.require) if route.require is not None else Selector(),
        tuple(map(selector_of, route.prefer)),
        path,
    )
