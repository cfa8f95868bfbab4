"""What the harness needs of an upstream, scripted or real."""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

HELLO = "Hello! I am a tiny test model always saying this one thing."
"""What the recorded servers said: their model always says it."""
THOUGHT = "I need no time to think"
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather in N days",
        "parameters": {"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]},
    },
}
CLOCK: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}},
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 10}, "n": {"type": "integer"}},
    "required": ["city", "n"],
    "additionalProperties": False,
}
PLACE = '{"city":"Paris","n":1}'

KnownBy = Literal["run", "replayed", "documented"]
"""run: the server itself. replayed: recorded bytes of one. documented: bytes as its source or documentation has
them."""

Feature = Literal["", "stop", "forced", "named", "none", "one_call", "json", "counts"]
"""What a server may leave to the gateway; "" = nothing."""

_TAG = re.compile(r"scenario (\w+) (\S+?)\.")


def prompt(scenario: str, tag: str) -> str:
    """Words that tell a scripted model what to do; `tag` is another one for every request."""
    return f"scenario {scenario} {tag}."


def scenario_of(text: str) -> tuple[str, str]:
    """The newest one in a request's text: (scenario, tag)."""
    found = _TAG.findall(text)
    return found[-1] if found else ("talk", "")


@dataclass
class Traits:
    """`native`: what the server does itself. `text`: what its model says. `arguments`: of its first and second call.
    `backend`: its entry in the configuration. `cases`: those that this stage shows; None = all. `extra`: case ->
    fields without which this model would not do what the case is about. `slow`: what it takes long to read."""

    kind: str
    native: frozenset[str] = frozenset()
    text: str = HELLO
    thought: str = THOUGHT
    arguments: tuple[dict[str, Any], ...] = ({"days": 3}, {"days": 4})
    backend: dict[str, Any] = field(default_factory=dict)
    long: int = 100_000
    """Octets of a prompt that is too long."""
    refuses_long: str = ""
    """A shorter prompt, which only the server itself sees to be too long; "" where it takes anything."""
    cases: frozenset[str] | None = None
    extra: dict[str, dict[str, Any]] = field(default_factory=dict)
    slow: str = ""
    name: str = ""
    """Of backend and model in the configuration."""

    def __post_init__(self) -> None:
        self.name = self.name or self.kind


class Stage(AbstractAsyncContextManager["Stage"], Protocol):
    """An upstream of one kind, that listens while its context lasts."""

    traits: Traits

    async def __aenter__(self) -> Self: ...
    @property
    def url(self) -> str: ...
    def known_by(self, case: str) -> KnownBy:
        """How it is known what this server does in that case, once it was asked."""
        ...

    def got(self, tag: str) -> str | None:
        """The newest request of that tag, as text; "" if none came, None if nobody can look."""
        ...

    def complaints(self) -> list[str]:
        """What was sent that such a server refuses or ignores."""
        ...

    async def arrived(self, tag: str) -> None: ...
    async def left(self, tag: str) -> None:
        """Returns when the server has seen that its client left. AssertionError if that takes longer than a second."""
        ...
