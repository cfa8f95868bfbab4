"""How much each key may ask for: requests and tokens a minute, requests at once.

Two buckets per key that fill evenly, a minute's worth each (https://en.wikipedia.org/wiki/Token_bucket). Tokens are
taken out twice: what the prompt probably has when a request is let in, and the difference to what the server counted
when it is over. A bucket may be in debt then, and the next request waits until it is paid: over time the limit holds,
however wrong the guess was. Time is an argument, in seconds of any clock that only goes forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from gateway.errors import RateLimited
from gateway.settings import KeySettings, QuotaSettings

Header = tuple[bytes, bytes]
MINUTE = 60.0
_NAMES = tuple(
    tuple(b"x-ratelimit-%s-%s" % (what, of) for what in (b"limit", b"remaining", b"reset"))
    for of in (b"requests", b"tokens")
)


@dataclass(slots=True, frozen=True)
class Quota:
    """None = not limited."""

    requests: int | None = None
    tokens: int | None = None
    in_flight: int | None = None

    @property
    def limits(self) -> bool:
        return not (self.requests is self.tokens is self.in_flight is None)


def quota_of(key: KeySettings | None, default: QuotaSettings) -> Quota:
    """What a key says of itself goes before what holds for all."""

    def of(name: str) -> int | None:
        own: int | None = getattr(key, name) if key is not None else None
        return own if own is not None else getattr(default, name)

    return Quota(of("requests_per_minute"), of("tokens_per_minute"), of("in_flight"))


class Bucket:
    """Holds at most a minute's worth."""

    __slots__ = ("_at", "_level", "size")

    def __init__(self, size: int, now: float) -> None:
        self.size = size
        self._level = float(size)
        self._at = now

    def level(self, now: float) -> float:
        """What is in it; below 0 = in debt."""
        if now > self._at:
            self._level = min(float(self.size), self._level + (now - self._at) * self.size / MINUTE)
            self._at = now
        return self._level

    def wait(self, amount: float, now: float) -> float:
        """Seconds until so much is in it, or it is full; 0 = now."""
        missing = min(amount, self.size) - self.level(now)
        return max(0.0, missing * MINUTE / self.size)

    def take(self, amount: float, now: float) -> None:
        """May leave a debt. A negative amount is given back."""
        self._level = min(float(self.size), self.level(now) - amount)

    def resize(self, size: int, now: float) -> None:
        """What was used of the old size counts as used."""
        self._level = size - (self.size - self.level(now))
        self.size = size


class Meter:
    """One key's use, over all of its requests; a new configuration changes its limits and forgets nothing."""

    __slots__ = ("_requests", "_tokens", "in_flight", "quota")

    def __init__(self, quota: Quota, now: float) -> None:
        self.in_flight = 0
        self._requests: Bucket | None = None
        self._tokens: Bucket | None = None
        self.quota = Quota()
        self.change(quota, now)

    def change(self, quota: Quota, now: float) -> None:
        self.quota = quota
        self._requests = _resized(self._requests, quota.requests, now)
        self._tokens = _resized(self._tokens, quota.tokens, now)

    def enter(self, now: float) -> Ticket:
        """One more request. Raises RateLimited, whose headers are those of `headers`."""
        most = self.quota.in_flight
        if most is not None and self.in_flight >= most:
            raise self._refusal(f"this key may have {most} requests under way at once", 1.0)
        if self._requests is not None:
            wait = self._requests.wait(1, now)
            if wait:
                raise self._refusal(f"this key may send {self._requests.size} requests a minute", wait)
        if self._tokens is not None and (wait := self._tokens.wait(1, now)):
            raise self._no_tokens(wait)
        if self._requests is not None:
            self._requests.take(1, now)
        self.in_flight += 1
        return Ticket(self)

    def _refusal(self, words: str, wait: float) -> RateLimited:
        return RateLimited(f"{words}; try again in {_shown(wait)}", retry_after=wait)

    def _no_tokens(self, wait: float) -> RateLimited:
        assert self._tokens is not None
        return self._refusal(f"this key may use {self._tokens.size} tokens a minute", wait)

    def reserve(self, tokens: int, now: float) -> None:
        """Raises RateLimited if there are not so many. A request that is larger than a minute's worth needs all."""
        if self._tokens is None:
            return
        wait = self._tokens.wait(tokens, now)
        if wait:
            raise self._no_tokens(wait)
        self._tokens.take(tokens, now)

    def settle(self, reserved: int, used: int, now: float) -> None:
        if self._tokens is not None:
            self._tokens.take(used - reserved, now)

    def headers(self, now: float) -> list[Header]:
        """In the words of OpenAI's API, which SDKs and agents of other dialects read, too:
        https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers"""
        out: list[Header] = []
        for (limit, remaining, reset), bucket in zip(_NAMES, (self._requests, self._tokens), strict=True):
            if bucket is not None:
                size, level = bucket.size, bucket.level(now)
                out.append((limit, b"%d" % size))
                out.append((remaining, b"%d" % level if level > 0 else b"0"))
                out.append((reset, _shown((size - level) * MINUTE / size).encode()))
        return out


class Ticket:
    """One request that was let in."""

    __slots__ = ("_meter", "reserved")

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.reserved = 0

    def reserve(self, tokens: int, now: float) -> None:
        """What the prompt probably has. Raises RateLimited."""
        self._meter.reserve(tokens, now)
        self.reserved = tokens

    def headers(self, now: float) -> list[Header]:
        return self._meter.headers(now)

    def leave(self, used: int, now: float) -> None:
        """It is over, and has used so many tokens."""
        self._meter.in_flight -= 1
        self._meter.settle(self.reserved, used, now)


class Meters:
    """The meters of all keys, by the id of the key; one that is not limited has none."""

    def __init__(self) -> None:
        self._all: dict[str, Meter] = {}

    def meter(self, key: str, quota: Quota, now: float) -> Meter | None:
        found = self._all.get(key)
        if found is not None:
            found.change(quota, now)
        elif quota.limits:
            found = self._all[key] = Meter(quota, now)
        return found if quota.limits else None


def _resized(bucket: Bucket | None, size: int | None, now: float) -> Bucket | None:
    if size is None:
        return None
    if bucket is None:
        return Bucket(size, now)
    bucket.resize(size, now)
    return bucket


def _shown(seconds: float) -> str:
    """6m0s, 1.5s, 20ms: as Go writes durations."""
    if seconds < 1:
        return f"{ceil(seconds * 1000 - 1e-6)}ms"
    tenths = ceil(seconds * 10 - 1e-6)
    minutes, rest = divmod(tenths, 600)
    whole, tenth = divmod(rest, 10)
    shown = f"{whole}.{tenth}s" if tenth else f"{whole}s"
    return f"{minutes}m{shown}" if minutes else shown
