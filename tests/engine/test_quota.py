"""Limits over time: time is an argument, so every minute of these tests takes none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.quota import Bucket, Meter, Meters, Quota, quota_of
from gateway.errors import RateLimited
from gateway.settings import KeySettings, QuotaSettings


def told(meter: Meter, now: float) -> dict[str, str]:
    return {k.decode(): v.decode() for k, v in meter.headers(now)}


def test_a_minute_s_worth_at_once_and_then_evenly():
    meter = Meter(Quota(requests=60), 0.0)
    tickets = [meter.enter(0.0) for _ in range(60)]
    with pytest.raises(RateLimited, match=r"this key may send 60 requests a minute; try again in 1s") as raised:
        meter.enter(0.0)
    assert raised.value.retry_after == 1.0
    with pytest.raises(RateLimited):
        meter.enter(0.99)
    tickets.append(meter.enter(1.0))
    assert told(meter, 1.0) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
    }
    for ticket in tickets:
        ticket.leave(0, 1.0)
    assert meter.in_flight == 0


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=80), st.integers(1, 40))
def test_never_more_than_the_burst_and_the_rate(steps: list[tuple[float, bool]], limit: int):
    """However requests come: in any time, at most what the bucket held plus what ran in."""
    meter, now = Meter(Quota(requests=limit), 0.0), 0.0
    let_in: list[float] = []
    for pause, wait in steps:
        now += pause
        try:
            meter.enter(now)
            let_in.append(now)
        except RateLimited as error:
            assert error.retry_after is not None and error.retry_after > 0
            if wait:  # who waits as long as told is let in
                now += error.retry_after + 1e-6
                meter.enter(now)
                let_in.append(now)
    for i, start in enumerate(let_in):
        for j in range(i, len(let_in)):
            assert j - i + 1 <= limit + (let_in[j] - start) * limit / 60 + 1e-6


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 900), st.integers(0, 5000)), min_size=1, max_size=60))
def test_what_is_used_over_time_is_the_limit_however_wrong_the_guess(steps: list[tuple[float, int, int]]):
    meter, now, used = Meter(Quota(tokens=1000), 0.0), 0.0, 0
    for pause, guess, true in steps:
        now += pause
        try:
            ticket = meter.enter(now)
        except RateLimited:
            continue
        try:
            ticket.reserve(guess, now)
        except RateLimited:
            ticket.leave(0, now)
            continue
        # before this one, no more was used than the bucket held and what ran in since
        assert used <= 1000 + now * 1000 / 60 + 1e-6
        ticket.leave(true, now)
        used += true


def test_a_guess_is_taken_at_once_and_what_it_was_too_much_comes_back():
    meter = Meter(Quota(tokens=1000), 0.0)
    one = meter.enter(0.0)
    one.reserve(900, 0.0)
    two = meter.enter(0.0)
    with pytest.raises(RateLimited, match="1000 tokens a minute") as raised:
        two.reserve(200, 0.0)
    assert raised.value.retry_after == pytest.approx(6.0)
    two.leave(0, 0.0)
    assert told(meter, 0.0)["x-ratelimit-remaining-tokens"] == "100"
    one.leave(50, 0.0)
    assert told(meter, 0.0)["x-ratelimit-remaining-tokens"] == "950"


def test_an_answer_that_was_longer_leaves_a_debt_that_is_paid_first():
    meter = Meter(Quota(tokens=600), 0.0)
    ticket = meter.enter(0.0)
    ticket.reserve(100, 0.0)
    ticket.leave(1200, 0.0)
    assert told(meter, 0.0)["x-ratelimit-remaining-tokens"] == "0"
    with pytest.raises(RateLimited) as raised:
        meter.enter(0.0)
    assert raised.value.retry_after == pytest.approx(60.1)
    meter.enter(60.2)


def test_a_request_larger_than_a_minute_s_worth_needs_all_of_it():
    meter = Meter(Quota(tokens=100), 0.0)
    ticket = meter.enter(0.0)
    ticket.reserve(5000, 0.0)
    ticket.leave(5000, 0.0)
    with pytest.raises(RateLimited):
        meter.enter(60.0)
    late = meter.enter(49 * 60.0 + 1)
    with pytest.raises(RateLimited):
        late.reserve(5000, 49 * 60.0 + 1)
    late.reserve(5000, 51 * 60.0)


def test_requests_at_once():
    meter = Meter(Quota(in_flight=2), 0.0)
    one, _ = meter.enter(0.0), meter.enter(0.0)
    with pytest.raises(RateLimited, match="2 requests under way at once"):
        meter.enter(0.0)
    one.leave(0, 0.0)
    meter.enter(0.0)
    assert meter.headers(0.0) == []


def test_a_refused_request_costs_nothing():
    meter = Meter(Quota(requests=2, tokens=10, in_flight=1), 0.0)
    ticket = meter.enter(0.0)
    for _ in range(5):
        with pytest.raises(RateLimited):
            meter.enter(0.0)
    assert told(meter, 0.0)["x-ratelimit-remaining-requests"] == "1"
    ticket.leave(0, 0.0)


def test_a_reload_forgets_nothing():
    meters = Meters()
    first = meters.meter("k", Quota(requests=10), 0.0)
    assert first is not None
    for _ in range(10):
        first.enter(0.0)
    again = meters.meter("k", Quota(requests=20, in_flight=100), 0.0)
    assert again is first and again.in_flight == 10
    for _ in range(10):
        again.enter(0.0)
    with pytest.raises(RateLimited):
        again.enter(0.0)
    assert meters.meter("k", Quota(), 0.0) is None
    assert meters.meter("other", Quota(), 0.0) is None
    assert meters.meter("k", Quota(requests=5), 0.0) is first


def test_a_clock_that_stands_still_or_goes_back_gives_nothing():
    bucket = Bucket(60, 100.0)
    bucket.take(60, 100.0)
    assert bucket.level(90.0) == bucket.level(100.0) == 0
    assert bucket.level(101.0) == pytest.approx(1.0)


def test_a_key_s_own_numbers_go_first():
    key = KeySettings(id="k", name="n", digest=f"blake2b:{'0' * 64}", requests_per_minute=5)
    assert quota_of(key, QuotaSettings(requests_per_minute=9, in_flight=3)) == Quota(5, None, 3)
    assert quota_of(None, QuotaSettings(tokens_per_minute=7)) == Quota(None, 7, None)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0ms"), (0.02, "20ms"), (1.04, "1.1s"), (59.99, "1m0s"), (90, "1m30s")]
)
def test_how_a_time_is_told(seconds: float, text: str):
    bucket = Bucket(60, 0.0)
    bucket.take(seconds, 0.0)
    meter = Meter(Quota(requests=60), 0.0)
    meter._requests = bucket
    assert told(meter, 0.0)["x-ratelimit-reset-requests"] == text
