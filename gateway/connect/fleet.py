"""What a client has to know of a running gateway: its address, its key, and the models it may ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway.routing.findings import SMALL_CONTEXT

NO_KEY = "none"
"""What clients that insist on a key are given where the gateway wants none."""
CONTEXT, OUTPUT = 32_768, 8_192
"""Tokens that a client is told where the fleet does not say; at most a quarter of the context is for the answer."""


class NoSuchModel(Exception):
    """The fleet has no model of that name, or none at all. The message names what there is."""


@dataclass(slots=True, frozen=True)
class Model:
    name: str
    context: int = CONTEXT
    image: bool = False
    ready: bool = True

    @property
    def output(self) -> int:
        return min(OUTPUT, self.context // 4)


@dataclass(slots=True, frozen=True)
class Fleet:
    """`url` has no path and no final slash. `key` is the gateway's own key, or `NO_KEY`; `key_env` the variable that
    holds it, "" without one. `model` is the one that the client is to use, `models` all that may be chosen."""

    url: str
    key: str
    key_env: str
    model: Model
    models: tuple[Model, ...]


def read(url: str, cards: list[dict[str, Any]], *, name: str | None, key: str, key_env: str) -> Fleet:
    """The fleet that `cards` (`data` of `/v1/models`) describe. Without a `name`, the model is the first one that calls
    tools, is ready and no test stand-in; else the first one. Raises NoSuchModel."""
    models = tuple(_model(card) for card in cards)
    if name is None:
        if not cards:
            raise NoSuchModel("the gateway has no models")
        chosen = models[max(range(len(cards)), key=lambda i: (_suits(cards[i]), -i))]
    else:
        found = [m for m in models if m.name == name]
        if not found:
            raise NoSuchModel(f"no model is called {name}; there are: {', '.join(m.name for m in models) or 'none'}")
        chosen = found[0]
    return Fleet(url.rstrip("/"), key or NO_KEY, key_env if key else "", chosen, models)


def _model(card: dict[str, Any]) -> Model:
    seen = "image" in card.get("architecture", {}).get("input_modalities", ())
    ready = bool(card.get("gateway", {}).get("ready", True))
    return Model(card["id"], card.get("context_length") or CONTEXT, seen, ready)


def _suits(card: dict[str, Any]) -> tuple[bool, bool, bool]:
    """How well a model suits an agent, to be compared."""
    about = card.get("gateway", {})
    fixtures: Iterable[bool] = (_is_fixture(t) for t in about.get("targets", ()))
    return "tools" in card.get("supported_parameters", ()), not all(fixtures), bool(about.get("ready"))


def remarks(fleet: Fleet) -> list[str]:
    """What will keep a client from working with this model."""
    out = []
    if not fleet.model.ready:
        out.append(f"No server is ready for {fleet.model.name} now: `gateway caps` shows what there is.")
    elif fleet.model.context < SMALL_CONTEXT:
        words = "fewer than most coding agents send with their first request"
        out.append(f"{fleet.model.name} takes {fleet.model.context:,} tokens at once, {words}.")
    return out


def _is_fixture(target: dict[str, Any]) -> bool:
    fact = target.get("facts", {}).get("fixture")
    return bool(fact.get("value") if isinstance(fact, dict) else fact)
