"""Which of the targets that fit is best.

Targets of one model: what the request and the rules prefer, then the least work per weight. Across models (`auto`):
local before hosted, what is preferred, the readiness tier, the larger model, then the least work. Work that others have
given a server counts as much as ours, as far as it tells. A conversation stays where its prompt is in the cache: its
own server may have one request more than the others. What has no tools and no server yet (an agent's request for a
title, beside its conversation) goes where a conversation is longest ago. All other ties go by a rendezvous hash of
affinity and target: stable without chance, the same on every replica, and when a target leaves only its own requests
move (https://en.wikipedia.org/wiki/Rendezvous_hashing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from zlib import crc32

from gateway.routing.candidate import Candidate
from gateway.routing.rules import Selector, selects, unmet_wishes

_MASK = (1 << 64) - 1
_ODD = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: multiplying by it spreads every bit into the high ones
_INFINITE = float("inf")

CACHE_FULL = 0.9
"""From this share of its cache on a server has no room for another prompt without taking it from one that runs: it
queues, or starts those again. https://docs.vllm.ai/en/latest/configuration/optimization.html#preemption"""

Wish = Mapping[str, Sequence[str]]


def at_limit(c: Candidate) -> bool:
    """Whether a new request would have to wait. One that has a queue is at its limit even in the moment in which a slot
    is handed over."""
    return c.in_flight + c.queued >= c.limit


def crowded(c: Candidate) -> bool:
    """Whether a new request would be let in there, and then wait for what others have given the server."""
    return (c.others > 0 and c.in_flight + c.queued + c.others >= c.limit) or (
        c.cache is not None and c.cache >= CACHE_FULL
    )


def order(
    candidates: Sequence[Candidate],
    *,
    auto: bool,
    text_only: bool = True,
    wishes: Sequence[Wish] = (),
    prefer: Sequence[Selector] = (),
    affinity: str = "",
    home: str = "",
    aside: bool = False,
    losses: Mapping[int, int] | None = None,
    tokens: int = 0,
) -> tuple[list[Candidate], list[Candidate]]:
    """(all of them in the order in which they are tried, those of them that are at their limit).

    `wishes`: the request's own tiers, `prefer`: the rules', which decide among what the wishes leave equal. A tier that
    is at its limit spills over to the next: first come those that may be sent to now, best first, then those at their
    limit, the best to wait for first. Ready ones come before cold ones, in each state the crowded ones last, and for
    text (`text_only`) a fixture, whose words mean nothing, comes after everything, however busy the others are. Where
    to wait: where there is still a place in the queue, then the fewest ahead per slot. `home`: the label of the target
    that has the conversation in its cache; `aside`: a request that must not take another conversation's place there.
    `losses`: what would be lost of the media, or changed, on the way to each, by its `id`: what the rules leave equal
    goes where the least is. `tokens`: about how long the prompt is: where it probably has no room comes last."""
    if len(candidates) == 1:
        return list(candidates), (list(candidates) if at_limit(candidates[0]) else [])
    seed = crc32(affinity.encode("utf-8", "surrogatepass")) * _ODD & _MASK
    free: list[tuple[Any, ...]] = []
    busy: list[tuple[Any, ...]] = []
    for i, c in enumerate(candidates):
        f = c.facts
        load = c.in_flight + c.queued
        last = text_only and f.fixture is True
        tight = f.context is not None and tokens > f.context
        waits = (tight, c.state == "cold", crowded(c))
        wish = _wish_tier(wishes, c) if wishes else 0
        tier = _tier(prefer, c) if prefer else 0
        loss = losses.get(id(c), 0) if losses else 0
        target = c.target
        away = not home or target.label != home
        work = load + c.others if away else max(0, load + c.others - 1)
        share = work / c.weight if c.weight > 0 else _INFINITE
        tie = away, c.used if aside else 0.0, (seed ^ _hash(target.backend, target.model)) * _ODD & _MASK
        if auto:
            key: tuple[Any, ...] = (last, waits, not c.local, wish, tier, loss, c.tier, -(f.size or 0.0), share, tie, i)
        else:
            key = (last, waits, wish, tier, loss, share, tie, i)
        if load < c.limit:
            free.append(key)
        else:
            busy.append((last, c.queued >= c.queue_limit, (c.queued + c.others + 1) / max(c.limit, 1), *key))
    free.sort()
    line = [candidates[key[-1]] for key in free]
    if not busy:
        return line, []
    busy.sort()
    queue = [candidates[key[-1]] for key in busy]
    line += queue
    if free and free[-1][0]:
        line.sort(key=_is_fixture)
    return line, queue


def _is_fixture(c: Candidate) -> bool:
    return c.facts.fixture is True


def _tier(tiers: Sequence[Selector], c: Candidate) -> int:
    """The first tier that the target is in; behind all of them if it is in none."""
    for i, selector in enumerate(tiers):
        if selects(selector, c):
            return i
    return len(tiers)


def _wish_tier(wishes: Sequence[Wish], c: Candidate) -> int:
    for i, wish in enumerate(wishes):
        if not unmet_wishes(wish, c):
            return i
    return len(wishes)


@lru_cache(4096)
def _hash(backend: str, model: str) -> int:
    octets = f"{backend}\0{model}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(octets, digest_size=8).digest(), "big")
