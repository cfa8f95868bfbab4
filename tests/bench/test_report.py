import pytest

from bench.report import Results, Row, Spread, cpu_table, other_table, render, spread, verdict
from bench.scenarios import BIG_BYTES


def rows(scenario: str, key: str, **targets: list[float]) -> list[Row]:
    return [
        Row(n, scenario, target, {key: value}) for target, values in targets.items() for n, value in enumerate(values)
    ]


def test_a_ratio_is_of_the_same_round() -> None:
    results = Results(rows("whole", "cpu_us", A=[100, 200, 400], gateway=[110, 260, 480]))
    assert results.ratio("whole", "cpu_us", "A") == Spread(1.2, 1.1, 1.3)


def test_a_round_that_one_of_the_two_lacks_has_no_ratio() -> None:
    results = Results(
        [*rows("whole", "cpu_us", A=[100, 200], gateway=[110, 300]), Row(2, "whole", "gateway", error="x")]
    )
    assert results.ratio("whole", "cpu_us", "A") == Spread(1.3, 1.1, 1.5)
    assert results.ratio("whole", "cpu_us", "B") is None


def test_what_is_added_is_above_the_direct_way() -> None:
    results = Results(rows("latency", "p50_ms", direct=[1, 2], gateway=[1.5, 3.5]))
    assert results.added("latency", "gateway", "p50_ms") == Spread(1.0, 0.5, 1.5)


def test_spread_of_nothing() -> None:
    assert spread([]) is None
    assert spread([3, 1, 2]) == Spread(2, 1, 3)


@pytest.mark.parametrize(
    ("value", "limit", "said"),
    [(1.3, 1.3, "met"), (1.31, 1.3, "**missed**"), (None, 1.3, "not measured"), (float("inf"), 250, "**missed**")],
)
def test_verdict(value: float | None, limit: float, said: str) -> None:
    assert verdict(value, limit) == said


@pytest.mark.parametrize(("cost", "said"), [(99, "met"), (101, "**missed**")])
def test_the_cpu_table_judges_the_middle_ratio(cost: float, said: str) -> None:
    table = cpu_table(Results(rows("stream", "cpu_us", A=[100], B=[60], gateway=[cost])))
    assert table.rstrip().endswith(f"| <= 1.0x A | {said} |")


def closing(seen: float, worst: float) -> str:
    values = {"whole_seen": seen, "whole_ms": 2.0, "whole_worst_ms": worst}
    return other_table(Results([Row(0, "close", "gateway", values)]))


def test_a_client_whose_leaving_was_not_seen_is_a_miss_however_fast_the_others_were() -> None:
    assert closing(10, 249).rstrip().endswith("| met |")
    assert closing(10, 251).rstrip().endswith("| **missed** |")
    assert closing(9, 3).rstrip().endswith("| **missed** |")


def test_memory_is_judged_by_the_worst_round() -> None:
    for peaks, said in (([0.5, 1.25], "met"), ([0.5, 1.26], "**missed**")):
        table = other_table(Results(rows("big", "peak_bytes_50", gateway=[p * BIG_BYTES for p in peaks])))
        assert table.rstrip().endswith(f"| {said} |")


def test_large_bodies_are_judged_by_the_bare_relay_beside_them_and_envoy_is_a_column() -> None:
    found = rows("big", "p50_ms_10", A=[40, 60], gateway=[44, 96], envoy=[13, 14])
    table = other_table(Results(found)).splitlines()
    assert table[0].split(" | ")[1:5] == ["direct", "envoy", "A", "B"]
    assert "1.35 [1.10-1.60]x" in table[2] and table[2].endswith("| met |")
    assert "envoy" not in other_table(Results(rows("big", "stall_ms_1", A=[1], gateway=[2])))


def test_what_could_not_be_measured_is_said() -> None:
    text = render(Results([Row(0, "whole", "A", error="Failed: 3 answers were not 200")]), "a machine", ["a note"])
    assert "round 1, whole, A: Failed: 3 answers were not 200" in text
    assert "a note" in text
