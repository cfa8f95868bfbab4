"""The arithmetic of a run and its table in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median

from bench.scenarios import BIG_MB, BURST_RATE, CLIENTS, LEAVERS, PACE_MS, STREAMS, WATCHED, Values

MEGABYTE = 1e6
BASES = ("A", "B")
GATEWAY = "gateway"


@dataclass(slots=True)
class Row:
    """One measurement. `error` instead of values where it came to nothing. `foreign` = how many cores others used."""

    round: int
    scenario: str
    target: str
    values: Values = field(default_factory=dict)
    error: str = ""
    foreign: float | None = None


@dataclass(slots=True)
class Spread:
    """A median with the least and the most of all rounds."""

    middle: float
    least: float
    most: float

    def show(self, scale: float = 1.0) -> str:
        middle, least, most = (_short(v * scale) for v in (self.middle, self.least, self.most))
        return middle if least == most else f"{middle} [{least}-{most}]"


def spread(values: Iterable[float]) -> Spread | None:
    """None of nothing."""
    known = sorted(values)
    return Spread(median(known), known[0], known[-1]) if known else None


def _short(value: float) -> str:
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


@dataclass(slots=True)
class Results:
    """All rows of a run, by scenario, target and round."""

    rows: list[Row]

    def by_round(self, scenario: str, target: str, key: str) -> dict[int, float]:
        return {
            r.round: r.values[key]
            for r in self.rows
            if r.scenario == scenario and r.target == target and key in r.values
        }

    def value(self, scenario: str, target: str, key: str) -> Spread | None:
        return spread(self.by_round(scenario, target, key).values())

    def ratio(self, scenario: str, key: str, base: str, target: str = GATEWAY) -> Spread | None:
        """Of each round to the same round of the base, never of medians: the machine's speed drifts."""
        over, under = self.by_round(scenario, target, key), self.by_round(scenario, base, key)
        return spread(over[n] / under[n] for n in over.keys() & under.keys() if under[n])

    def added(self, scenario: str, target: str, key: str) -> Spread | None:
        """Above the direct way in the same round."""
        over, under = self.by_round(scenario, target, key), self.by_round(scenario, "direct", key)
        return spread(over[n] - under[n] for n in over.keys() & under.keys())


def verdict(value: float | None, limit: float) -> str:
    """`met` or `missed`; a value at the limit is met, one that is missing is neither."""
    if value is None:
        return "not measured"
    return "met" if value <= limit else "**missed**"


def _middle(value: Spread | None) -> float | None:
    return value.middle if value else None


def _most(value: Spread | None) -> float | None:
    return value.most if value else None


def _show(value: Spread | None, scale: float = 1.0) -> str:
    return value.show(scale) if value else "-"


def _table(head: list[str], lines: list[list[str]]) -> str:
    if not lines:
        return ""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows) + "\n"


CPU_LINES = (
    ("whole", f"per small whole answer, {CLIENTS} clients", 1.3),
    ("stream", f"per stream of one content event, {CLIENTS} clients", 1.0),
    ("paced", f"per event, {STREAMS} streams x {1000 // PACE_MS}/s", 1.3),
    ("bursts", f"per event, {CLIENTS} streams, {BURST_RATE:,} events/s", 2.0),
    ("flood", f"per event, {CLIENTS} streams flat out, the target full", 2.0),
)


def cpu_table(results: Results) -> str:
    """CPU per unit of work, and the ratios to both relays."""
    lines = []
    for scenario, label, limit in CPU_LINES:
        values = [results.value(scenario, t, "cpu_us") for t in (*BASES, GATEWAY)]
        if not any(values):
            continue
        to_a, to_b = (results.ratio(scenario, "cpu_us", base) for base in BASES)
        lines.append(
            [label, *map(_show, values), _show(to_a), _show(to_b), f"<= {limit}x A", verdict(_middle(to_a), limit)]
        )
    return _table(["CPU, us", "A", "B", "gateway", "gateway / A", "gateway / B", "goal", ""], lines)


PHASES = (
    ("stream", "in mid-stream"),
    ("whole", "a whole answer pending"),
    ("first_byte", "before a stream's first byte"),
)
CLOSE_MS = 250.0
ENVOY = "envoy"
BIG_LIMITS = {1: (1.5, 1.5), 10: (1.5, 1.5), 50: (1.0, 1.25)}
"""Megabytes of a body with a medium that nobody converts -> the time at most, in that of A, and the peak, in bodies."""
STALL_MS = 35.0


def other_table(results: Results) -> str:
    """Latency, memory, leaving clients, large bodies."""
    with_envoy = any(r.target == ENVOY and r.values for r in results.rows)
    targets = ("direct", *((ENVOY,) if with_envoy else ()), *BASES, GATEWAY)
    lines: list[list[str]] = []

    def line(label: str, cell: Callable[[str], str], goal: str = "", mark: str = "") -> None:
        cells = [cell(t) for t in targets]
        if any(c != "-" for c in cells):
            lines.append([label, *cells, goal, mark])

    def plain(scenario: str, key: str, scale: float = 1.0) -> Callable[[str], str]:
        return lambda t: _show(results.value(scenario, t, key), scale)

    def added(scenario: str) -> Callable[[str], str]:
        return lambda t: (
            _show(results.value(scenario, t, "p50_ms"))
            if t == "direct"
            else _show(results.added(scenario, t, "p50_ms"))
        )

    line("one client, whole answer, p50 ms: direct, then what is added", added("latency"))
    line("one client, time to first token, p50 ms: direct, then what is added", added("ttft"))
    line("memory when idle, MB", plain("idle", "rss", 1 / MEGABYTE))
    line(f"memory with {STREAMS} streams, MB", plain("paced", "rss_loaded", 1 / MEGABYTE))
    for phase, label in PHASES:
        line(
            f"client leaves {label}: upstream sees it, ms: median, worst",
            lambda t, phase=phase: _closing(results, t, phase),  # type: ignore[misc]
            f"<= {CLOSE_MS:.0f} ms, all",
            _closing_verdict(results, phase),
        )
    for megabytes in BIG_MB:
        to_a = results.ratio("big", f"p50_ms_{megabytes}", "A")
        most_time, most_memory = BIG_LIMITS[megabytes]
        body = f"{megabytes} MB body"
        line(
            f"{body}: time, ms",
            plain("big", f"p50_ms_{megabytes}"),
            f"<= {most_time}x A ({_show(to_a)}x)",
            verdict(_middle(to_a), most_time),
        )
        peak = _most(results.value("big", GATEWAY, f"peak_bytes_{megabytes}"))
        line(
            f"{body}: peak memory above before, MB",
            plain("big", f"peak_bytes_{megabytes}", 1 / MEGABYTE),
            f"<= {most_memory}x body, worst round",
            verdict(None if peak is None else peak / MEGABYTE / megabytes, most_memory),
        )
        stall = results.value("big", GATEWAY, f"stall_ms_{megabytes}")
        line(
            f"{body}: longest stall of {WATCHED} other streams, ms",
            plain("big", f"stall_ms_{megabytes}"),
            f"<= {STALL_MS:.0f} ms",
            verdict(_middle(stall), STALL_MS),
        )
    return _table(["", *targets, "goal", ""], lines)


def _closing(results: Results, target: str, phase: str) -> str:
    seen = results.by_round("close", target, f"{phase}_seen")
    if not seen:
        return "-"
    of = f"{sum(seen.values()):.0f} of {LEAVERS * len(seen)}"
    middle, worst = (results.value("close", target, f"{phase}{k}") for k in ("_ms", "_worst_ms"))
    if middle is None or worst is None:
        return f"{of} within 1 s"
    return f"{_short(middle.middle)}, {_short(worst.most)} ({of})"


def _closing_verdict(results: Results, phase: str) -> str:
    seen = results.by_round("close", GATEWAY, f"{phase}_seen")
    if not seen:
        return verdict(None, CLOSE_MS)
    if min(seen.values()) < LEAVERS:
        return verdict(float("inf"), CLOSE_MS)
    return verdict(_most(results.value("close", GATEWAY, f"{phase}_worst_ms")), CLOSE_MS)


def render(results: Results, machine_line: str, notes: list[str]) -> str:
    """The whole report."""
    rounds = len({r.round for r in results.rows if r.round >= 0})
    foreign = spread(r.foreign for r in results.rows if r.foreign is not None)
    intro = [
        machine_line,
        f"{rounds} rounds, targets interleaved in each; median [least-most] of all; ratios are within a round.",
    ]
    if foreign:
        intro.append(f"Other work on the machine meanwhile: {foreign.show()} cores.")
    errors = [f"round {r.round + 1}, {r.scenario}, {r.target}: {r.error}" for r in results.rows if r.error]
    ceiling = _ceiling(results)
    parts = ["\n".join(intro), cpu_table(results), other_table(results)]
    parts += [ceiling, "\n".join(notes), "\n".join(["Not measured:", *errors]) if errors else ""]
    return "\n\n".join(p.strip() for p in parts if p.strip()) + "\n"


FILTER_LIMITS = {"text without a marker": 1.15, "a thought, text and a call": 2.0}
"""Of the event path without filters, by what the text holds."""


def filter_table(rows: list[tuple[str, float, float, float]]) -> str:
    """`rows`: (what, us per event without filters, with, ratio)."""
    lines = []
    for label, off, on, ratio in rows:
        limit = next(v for k, v in FILTER_LIMITS.items() if label.startswith(k))
        lines.append([label, _short(off), _short(on), f"{ratio:.2f}", f"<= {limit}x", verdict(ratio, limit)])
    return _table(["event path in process, CPU us per event", "plain", "Gemma 4", "ratio", "goal", ""], lines)


def _ceiling(results: Results) -> str:
    units = {"whole": "answers/s", "stream": "streams/s", "flood": "events/s"}
    found = {u: results.value(s, "direct", "per_second") for s, u in units.items()}
    told = [f"{v.middle:,.0f} {u}" for u, v in found.items() if v]
    return "The instruments alone (fake and load generator on one core) do " + ", ".join(told) + "." if told else ""
