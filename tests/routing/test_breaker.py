from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.routing.breaker import Breaker


def opened(now: float = 0.0) -> Breaker:
    b = Breaker(threshold=3, base=10.0, cap=25.0, trial=60.0)
    for _ in range(3):
        b.record("fault", now)
    return b


def test_a_row_of_faults_opens() -> None:
    b = Breaker(threshold=3)
    b.record("fault", 1.0)
    b.record("fault", 1.0)
    assert b.allow(1.0) and b.until == 0.0
    b.record("fault", 1.0)
    assert b.until == 11.0
    assert not b.allow(10.9)


def test_fine_breaks_the_row_and_neutral_does_not() -> None:
    b = Breaker(threshold=2)
    b.record("fault", 0.0)
    b.record("fine", 0.0)
    b.record("fault", 0.0)
    assert b.allow(0.0)
    b.record("neutral", 0.0)
    b.record("fault", 0.0)
    assert not b.allow(0.0)


def test_exactly_one_trial() -> None:
    b = opened()
    assert b.allow(10.0)
    assert not b.allow(10.0)
    assert b.until == 70.0
    b.record("fine", 12.0)
    assert b.allow(12.0) and b.allow(12.0) and b.until == 0.0


def test_a_failed_trial_rests_twice_as_long_up_to_the_cap_and_recovery_forgets() -> None:
    b = opened()
    assert b.allow(10.0)
    b.record("fault", 11.0)
    assert b.until == 31.0
    assert b.allow(31.0)
    b.record("fault", 31.0)
    assert b.until == 56.0  # the cap
    assert b.allow(56.0)
    b.record("fine", 57.0)
    for _ in range(3):
        b.record("fault", 60.0)
    assert b.until == 70.0


def test_a_trial_that_never_reports_frees_its_place() -> None:
    b = opened()
    assert b.allow(10.0)
    assert not b.allow(69.9)
    assert b.allow(70.0)
    assert not b.allow(70.0)


def test_a_neutral_trial_lets_the_next_one_try() -> None:
    b = opened()
    assert b.allow(10.0)
    b.record("neutral", 12.0)
    assert b.allow(12.0)
    assert not b.allow(12.0)


def test_a_healthy_probe_lets_a_trial_start_early_but_never_a_second_one() -> None:
    b = opened()
    b.reset()
    assert b.until == 0.0
    assert b.allow(1.0)
    b.reset()
    assert not b.allow(1.0)
    b.record("fine", 2.0)
    b.reset()
    assert b.allow(2.0) and b.allow(2.0)


def test_what_started_before_the_ejection() -> None:
    b = opened()
    b.record("fault", 5.0)
    assert b.until == 10.0
    b.record("fine", 6.0)
    assert b.allow(6.0)
    assert not b.allow(6.0)  # it was only a trial


def test_many_openings_do_not_overflow() -> None:
    b = Breaker(threshold=1, cap=120.0)
    now = 0.0
    for _ in range(3000):
        b.record("fault", now)
        now = b.until
        assert b.allow(now)
    assert b.until <= now + 120.0


class Model(RuleBasedStateMachine):
    """A breaker beside a plain account of what it may do; the clock is a number."""

    @initialize(threshold=st.integers(1, 4))
    def start(self, threshold: int) -> None:
        self.breaker = Breaker(threshold, base=10.0, cap=40.0, trial=30.0)
        self.threshold = threshold
        self.now = 0.0
        self.row = 0
        self.is_open = False
        self.trial_ends: float | None = None
        self.rest_ends = 0.0
        self.rests = 0

    @rule(seconds=st.sampled_from([0.0, 0.5, 5.0, 10.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        allowed = self.breaker.allow(self.now)
        if not self.is_open:
            assert allowed
        elif self.trial_ends is not None:
            assert allowed is (self.now >= self.trial_ends)
            if allowed:
                self.trial_ends = self.now + 30.0
        else:
            assert allowed is (self.now >= self.rest_ends)
            if allowed:
                self.trial_ends = self.now + 30.0

    @rule()
    def fine(self) -> None:
        self.breaker.record("fine", self.now)
        self.row = 0
        if self.trial_ends is not None:
            self.is_open, self.trial_ends, self.rests = False, None, 0
        elif self.is_open:
            self.rest_ends = min(self.rest_ends, self.now)

    @rule()
    def neutral(self) -> None:
        self.breaker.record("neutral", self.now)
        if self.trial_ends is not None:
            self.trial_ends, self.rest_ends = None, self.now

    @rule()
    def fault(self) -> None:
        self.breaker.record("fault", self.now)
        if self.is_open and self.trial_ends is None:
            return
        self.row += 1
        if self.is_open or self.row >= self.threshold:
            self.rest_ends = self.now + min(40.0, 10.0 * 2**self.rests)
            self.rests += 1
            self.is_open, self.trial_ends, self.row = True, None, 0

    @precondition(lambda self: self.trial_ends is None)
    @rule()
    def healthy(self) -> None:
        self.breaker.reset()
        if self.is_open:
            self.rest_ends = 0.0

    @invariant()
    def until_is_what_routing_may_believe(self) -> None:
        if not hasattr(self, "breaker"):
            return
        if not self.is_open:
            assert self.breaker.until == 0.0
        else:
            assert self.breaker.until == (self.trial_ends if self.trial_ends is not None else self.rest_ends)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("verdict", ["neutral", "fine"])
def test_what_never_opens(verdict: str) -> None:
    b = Breaker(threshold=1)
    for _ in range(20):
        b.record(verdict, 0.0)  # type: ignore[arg-type]
    assert b.allow(0.0) and b.until == 0.0
