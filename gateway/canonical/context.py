"""What every layer may know about the request at hand, besides the request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Generic, TypeVar

from gateway.canonical.requests import Options

Snapshot = TypeVar("Snapshot")


def is_like(name: str, pattern: str) -> bool:
    """Does a model's name fit that pattern? `*` and `?` are its only wildcards: names of models have brackets in them,
    as `claude-opus-4-6[1m]` has."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


@dataclass(slots=True, frozen=True)
class Rights:
    """What a key may ask for; None = everything. `models` are public names and aliases, * and ? are wildcards. Text is
    always allowed."""

    models: tuple[str, ...] | None = None
    modalities: frozenset[str] | None = None

    def covers(self, *names: str) -> bool:
        """Is a model of one of these names allowed?"""
        return self.models is None or any(is_like(name, own) for own in self.models for name in names)

    def lacks(self, modalities: Iterable[str]) -> list[str]:
        """Those of `modalities` that are not allowed."""
        own = self.modalities
        return [] if own is None else sorted(m for m in modalities if m != "text" and m not in own)


EVERYTHING = Rights()


@dataclass(slots=True, frozen=True)
class Context(Generic[Snapshot]):
    """Built once, after authentication. `deadline` in seconds of the monotonic clock. `snapshot` is the configuration
    that was in force when the request came: rules, privacy, and what clients are given stay as they were under a
    running request. Which servers there are, and what they are given, is not the request's: that is the fleet as it
    is."""

    request_id: str
    dialect: str
    key_id: str
    snapshot: Snapshot
    started: float
    deadline: float
    priority: int = 0
    options: Options = field(default_factory=Options)
    rights: Rights = EVERYTHING
