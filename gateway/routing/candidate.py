"""A target as routing sees it: what it can do, how it is, and how busy it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.canonical.facts import Facts, State, Target
from gateway.routing.conversion import Way


@dataclass(slots=True)
class Candidate:
    """The engine keeps one per target while the configuration stands and updates it in place; routing reads it.

    `in_flight` and `queued` count requests; `limit` is how many may be in flight, `queue_limit` how many may wait.
    `others` = requests there that are not ours, `cache` = the share of its cache that is in use, 0 to 1: as the server
    told it when it was last asked (0 and None where it does not tell).
    `ejected_until` in seconds of the monotonic clock (0 = not ejected). `rate` and `decode_rate` = prompt and answer
    tokens per second as measured, 0 before.
    `used` = when a conversation was last answered there, on the same clock.
    `allow` lists what the operator permits here beyond the default (`nvfp4-weight-only`).
    """

    target: Target
    facts: Facts = field(default_factory=Facts)
    state: State = "unprobed"
    detail: str = ""
    weight: float = 1.0
    local: bool = True
    tier: int = 0
    limit: int = 1
    queue_limit: int = 64
    in_flight: int = 0
    queued: int = 0
    others: int = 0
    cache: float | None = None
    ejected_until: float = 0.0
    rate: float = 0.0
    decode_rate: float = 0.0
    used: float = 0.0
    allow: frozenset[str] = frozenset()
    hints: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Lack:
    """One reason why a target can't take a request. `kind`: need (it can't do it), context (too little room), privacy
    (it may not), rule (a route or the request excludes it), state (it can't now), busy.

    `hint` is the flag or action that would change it. `paths` are the places in the client's body that the reason is
    about, where it is about places."""

    kind: str
    need: str
    reason: str
    hint: str = ""
    paths: tuple[str, ...] = ()


@dataclass(slots=True)
class Verdict:
    """What routing made of one candidate: no lacks = it may take the request. `ways` = how each of the request's media
    would get there."""

    candidate: Candidate
    lacks: list[Lack] = field(default_factory=list)
    ways: list[Way] = field(default_factory=list)
