"""When a target is given a rest: consecutive faults eject it, and one request at a time tries whether it is back.

    closed --`threshold` faults in a row--> open --`until`, or a healthy probe--> half-open
    half-open --its request is fine--> closed      half-open --it is a fault--> open, twice as long

Pure: the time is an argument, in seconds of the monotonic clock. The caller copies `until` into
`Candidate.ejected_until` after every call here. The rate window (half of 20 outcomes in 30 s), the jitter and the retry
budget come with the full policy set: their place is `_opens` and `_rest`.
"""

from __future__ import annotations

from gateway.errors import Verdict


class Breaker:
    """One per target. `threshold` faults in a row, `base` seconds of rest, doubled each time up to `cap`; a trial that
    does not report within `trial` seconds (it should be the first-byte limit) frees its place."""

    __slots__ = ("_faults", "_open", "_openings", "_trial", "_trying", "base", "cap", "threshold", "until")

    def __init__(self, threshold: int = 5, base: float = 10.0, cap: float = 120.0, *, trial: float = 120.0) -> None:
        self.threshold = threshold
        self.base = base
        self.cap = cap
        self._trial = trial
        self._faults = 0
        self._openings = 0
        self._open = False
        self._trying = False
        self.until = 0.0
        """No request before this time. 0 = closed, or a trial may start at once."""

    def allow(self, now: float) -> bool:
        """Whether a request may be sent now. In half-open the first one that asks is the trial: it reports with
        `record`, "neutral" if nothing came of it; until then, or the deadline, everybody else gets False."""
        if not self._open:
            return True
        if now < self.until:
            return False
        self._trying = True
        self.until = now + self._trial
        return True

    def record(self, verdict: Verdict, now: float) -> None:
        """One outcome. "neutral" says nothing about health: it neither counts nor breaks a row of faults.

        A fault that comes in while the target rests belongs to a request from before: nothing new. A fine one then
        means that it serves again, so a trial may start at once."""
        if verdict == "fine":
            self._fine(now)
        elif verdict == "fault":
            self._fault(now)
        elif self._trying:
            self._trying = False
            self.until = now

    def alive(self, now: float) -> None:
        """The trial's answer has begun: the next one may be let in. The outcome still comes with `record`."""
        if self._trying:
            self.until = now

    def reset(self) -> None:
        """A health probe was answered: a trial may start at once. One that is under way goes on."""
        if self._open and not self._trying:
            self.until = 0.0

    def _fine(self, now: float) -> None:
        self._faults = 0
        if self._trying:
            self._open = self._trying = False
            self._openings = 0
            self.until = 0.0
        elif self._open:
            self.until = min(self.until, now)

    def _fault(self, now: float) -> None:
        if self._trying or (not self._open and self._opens()):
            self._open, self._trying, self._faults = True, False, 0
            self.until = now + self._rest()
            self._openings += 1

    def _opens(self) -> bool:
        self._faults += 1
        return self._faults >= self.threshold

    def _rest(self) -> float:
        return float(min(self.cap, self.base * 2.0 ** min(self._openings, 30)))
