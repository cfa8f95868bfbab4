import os

import pytest

from bench import machine


def test_cpu_time_of_a_process_with_an_odd_name() -> None:
    stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 7 7 20 0 1 0 1000 1 1"
    assert machine.parse_stat(stat, 100) == 3.0


@pytest.mark.parametrize(
    ("text", "seconds"), [("0:01.50", 1.5), (" 2:03.00\n", 123), ("01:00:00", 3600), ("1-00:00:01", 86401)]
)
def test_time_as_ps_prints_it(text: str, seconds: float) -> None:
    assert machine.parse_ps_time(text) == seconds


def test_this_process() -> None:
    before = machine.cpu_seconds(os.getpid())
    sum(range(2_000_000))
    assert before <= machine.cpu_seconds(os.getpid()) < before + 60
    assert 1e6 < machine.rss_bytes(os.getpid()) <= machine.peak_bytes(os.getpid()) < 1e11
