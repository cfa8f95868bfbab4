"""The parts of the file that are about servers: backends, models, routes."""

from __future__ import annotations

from typing import Any

from gateway import backends
from gateway.canonical.facts import Facts
from gateway.canonical.requests import ThinkingConfig
from gateway.routing.rules import DEFAULT_RULES, Rule, Selector
from gateway.settings.address import is_local
from gateway.settings.check import Check
from gateway.settings.model import BackendSettings, BackendTimeouts, ModelSettings, Timeouts
from gateway.settings.problems import Where, choices, path_text, quoted
from gateway.settings.shapes import (
    FactsKeys,
    RouteKeys,
    SamplingKeys,
    SelectorKeys,
    ThinkingKeys,
    facts_of,
    read_kind,
    rule_of,
    sampling_of,
    selector_of,
    thinking_of,
)
from gateway.settings.values import one_of, read_backend_name, read_flag, read_list, read_public_name

ALLOWANCES = ("nvfp4-weight-only",)
"""What an operator may permit on one backend beyond the default."""

AUTO = "auto"
"""The model name that means any."""

_FACTS_BESIDE = ("hardware", "variant", "quantization")


def read_backends(check: Check, raw: object, timeouts: Timeouts) -> dict[str, BackendSettings]:
    """Name -> server, without those that have problems."""
    found: dict[str, BackendSettings] = {}
    for name, value in check.mapping(("backends",), raw).items():
        where = ("backends", name)
        check.value(where, name, read_backend_name)
        if isinstance(value, str):
            value = {"url": value}
        backend = _backend(check, where, name, value, timeouts)
        if backend is not None:
            found[name] = backend
    return found


def _backend(check: Check, where: Where, name: str, value: Any, timeouts: Timeouts) -> BackendSettings | None:
    if not isinstance(value, dict):
        check.problem(where, f"must be a URL, or a mapping of {', '.join(BackendSettings.key_names())}")
        return None
    told: dict[str, Any] = {k: v for k, v in value.items() if v is not None}
    before = len(check.problems)
    if "kind" in told:
        told["kind"] = kind = check.value((*where, "kind"), told["kind"], read_kind)
        if kind and (absent := backends.missing(kind)):
            check.problem((*where, "kind"), absent)
    own = told.pop("timeouts", {})
    allowed = told.pop("allow", ())
    facts = told.pop("facts", {})
    section = check.section(where, BackendSettings, told, name=name)
    extra: dict[str, Any] = {
        "timeouts": _timeouts(check, (*where, "timeouts"), own, timeouts),
        "allow": _allow(check, (*where, "allow"), allowed),
        "facts": _facts(check, (*where, "facts"), facts),
    }
    if section is None:
        _secret_anyway(check, where, told)
        return None
    url = section.url or _default_url(check, where, section)
    extra["url"] = url
    extra["api_key"] = check.secret(where, section.api_key_env, section.api_key_file)
    if extra["facts"] is not None:
        _merge_beside(check, where, section, extra["facts"])
    if "local" not in told:
        extra["local"] = is_local(url)
    return section.model_copy(update=extra) if len(check.problems) == before else None


def _secret_anyway(check: Check, where: Where, told: dict[str, Any]) -> None:
    """A missing variable is told also where the backend has other problems: all errors at once."""
    variable = told.get("api_key_env")
    if isinstance(variable, str) and variable.isidentifier():
        check.secret(where, variable, None)


def _default_url(check: Check, where: Where, section: BackendSettings) -> str:
    """Where servers of that kind are unless the file says so: only hosted ones have such a place."""
    kind = section.kind
    try:
        backend = backends.load(kind) if kind else None
        at = getattr(backend, "url_at", None)
        found = str(at(section.location or "global") if at else getattr(backend, "default_url", ""))
    except ImportError as error:
        check.problem((*where, "kind"), f"{kind} can't be used here: {error.msg}")
        return ""
    if not found:
        check.problem(where, 'url is required, such as url: "http://127.0.0.1:8080"')
    return found


def _timeouts(check: Check, where: Where, own: Any, timeouts: Timeouts) -> BackendTimeouts | None:
    """The backend's own over the top level's."""
    shared = {name: getattr(timeouts, name) for name in BackendTimeouts.model_fields}
    section = check.section(where, BackendTimeouts, own)
    if section is None:
        return None
    if "queue" in section.model_fields_set:
        check_queue(check, (*where, "queue"), section, timeouts)
    return section.model_copy(update={k: v for k, v in shared.items() if k not in section.model_fields_set})


def check_queue(check: Check, where: Where, own: BackendTimeouts, timeouts: Timeouts) -> None:
    """Once a stream has shown a sign of life its status is out, and most clients try again only for a 503."""
    if own.queue >= timeouts.life_sign:
        check.problem(where, f"must be below timeouts.life_sign ({timeouts.life_sign:g} s): overload is said before it")


def _allow(check: Check, where: Where, raw: Any) -> frozenset[str]:
    read = one_of(*ALLOWANCES)
    words = check.value(where, raw, read_list) or ()
    return frozenset(w for i, word in enumerate(words) if (w := check.value((*where, i), word, read)) is not None)


def _facts(check: Check, where: Where, raw: Any) -> Facts | None:
    section = check.section(where, FactsKeys, raw)
    return None if section is None else check.value(where, section, lambda _: facts_of(section))


def _merge_beside(check: Check, where: Where, section: BackendSettings, facts: Facts) -> None:
    """`hardware: x` beside `facts:` says the same as inside it; saying two things is a problem."""
    for key in _FACTS_BESIDE:
        value = getattr(section, key)
        if value is None:
            continue
        if getattr(facts, key) not in (None, value):
            check.problem((*where, key), f"contradicts facts.{key}")
        setattr(facts, key, value)
        facts.sources[key] = "operator"


def read_models(check: Check, raw: object, backend_names: list[str]) -> dict[str, ModelSettings]:
    """Public name -> model, without those that have problems."""
    found: dict[str, ModelSettings] = {}
    models = check.mapping(("models",), raw)
    taken: dict[str, str] = {}
    for name, value in models.items():
        where = ("models", name)
        check.value(where, name, read_public_name)
        if name == AUTO:
            check.problem(where, "auto is reserved: it means any model")
        told = dict(value) if isinstance(value, dict) else value
        thinking = _thinking(check, (*where, "thinking"), told)
        defaults = _defaults(check, (*where, "defaults"), told)
        model = check.section(where, ModelSettings, told, name=name)
        if model is None:
            continue
        _check_targets(check, where, model, backend_names)
        _check_aliases(check, where, model, list(models), taken)
        found[name] = model.model_copy(update={"thinking": thinking, "defaults": defaults})
    return found


def _thinking(check: Check, where: Where, told: Any) -> ThinkingConfig | None:
    """Takes `thinking` out of the mapping: `off`, `on`, an effort, or {enabled, effort, budget, include}."""
    raw = told.pop("thinking", None) if isinstance(told, dict) else None
    if raw is None:
        return None
    if isinstance(raw, str) and raw.lower() not in ("on", "off", "yes", "no"):
        raw = {"effort": raw}
    elif isinstance(raw, str | bool):
        return ThinkingConfig(enabled=check.value(where, raw, read_flag))
    section = check.section(where, ThinkingKeys, raw)
    return None if section is None else check.value(where, section, lambda _: thinking_of(section))


def _defaults(check: Check, where: Where, told: Any) -> dict[str, Any]:
    """Takes `defaults` out of the mapping: fields of a request that say how tokens are chosen."""
    raw = told.pop("defaults", None) if isinstance(told, dict) else None
    section = None if raw is None else check.section(where, SamplingKeys, raw)
    return {} if section is None else sampling_of(section)


def _check_targets(check: Check, where: Where, model: ModelSettings, backend_names: list[str]) -> None:
    seen: set[tuple[str, str | None]] = set()
    for i, target in enumerate(model.targets):
        place = (*where, "targets", i)
        if target.backend not in backend_names:
            known = choices(target.backend, backend_names)
            check.problem((*place, "backend"), f"unknown backend {quoted(target.backend)} {known}")
        elif (target.backend, target.model) in seen:
            check.problem(place, "is the same target as one before it")
        seen.add((target.backend, target.model))


def _check_aliases(check: Check, where: Where, model: ModelSettings, names: list[str], taken: dict[str, str]) -> None:
    for i, alias in enumerate(model.aliases):
        place = (*where, "aliases", i)
        if alias == AUTO:
            check.problem(place, "auto is reserved: it means any model")
        elif alias in names:
            check.problem(place, f"{quoted(alias)} is the name of a model")
        elif alias in taken:
            check.problem(place, f"{quoted(alias)} is already an alias of {taken[alias]}")
        taken.setdefault(alias, model.name)


def read_routes(check: Check, raw: object, backend_names: list[str]) -> tuple[Rule, ...]:
    """Absent = the default rules; an empty list = none."""
    if raw is None:
        return DEFAULT_RULES
    rules: list[Rule] = []
    for where, item in check.listed(("routes",), raw):
        route = check.section(where, RouteKeys, item)
        if route is None:
            continue
        rule = rule_of(route, path_text(where))
        if rule.require == Selector() and not rule.prefer:
            check.problem(where, "does nothing: write require or prefer")
        _check_selector(check, (*where, "require"), rule.require, backend_names)
        for i, selector in enumerate(rule.prefer):
            _check_selector(check, (*where, "prefer", i), selector, backend_names)
        rules.append(rule)
    return tuple(rules)


def read_prefer(check: Check, where: Where, raw: object, backend_names: list[str]) -> tuple[Selector, ...]:
    """A list of selectors, the best first; one alone needs no list."""
    found: list[Selector] = []
    for place, item in check.listed(where, [raw] if isinstance(raw, dict) else raw):
        section = check.section(place, SelectorKeys, item)
        if section is not None:
            found.append(selector_of(section))
            _check_selector(check, place, found[-1], backend_names)
    return tuple(found)


def _check_selector(check: Check, where: Where, selector: Selector, backend_names: list[str]) -> None:
    for name in selector.backend:
        if name not in backend_names:
            check.problem((*where, "backend"), f"unknown backend {quoted(name)} {choices(name, backend_names)}")
