"""`python -m bench`: what the gateway costs beside two bare relays, measured in one interleaved run."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from bench import filters, machine
from bench.fleet import Fleet, NotReady, Server, until_ready
from bench.report import ENVOY, GATEWAY, Results, Row, filter_table, render
from bench.scenarios import CPU, FULL, NAMES, OTHER, QUICK, Failed, Size, Values, chat_body, close, warm_up

STEP_SECONDS = 60.0
"""No single measurement takes longer."""


class Run:
    """One run: servers, rows, and how much time is left."""

    def __init__(self, servers: dict[str, Server], size: Size, only: list[str], budget: float, begun: float) -> None:
        self.servers = servers
        self.fake = servers["direct"]
        self.size = size
        self.only = only
        self.end = begun + budget
        self.rows: list[Row] = []

    async def all(self, rounds: int) -> str:
        """All rounds, or as many as the time allows; returns why it stopped early, or nothing."""
        longest = 0.0
        for number in range(rounds):
            begun = time.monotonic()
            if begun + longest > self.end:
                return f"Stopped after {number} of {rounds} rounds: the time is up."
            await self.round(number)
            longest = max(longest, time.monotonic() - begun)
        return ""

    def idle(self) -> None:
        for name, server in self.servers.items():
            if server is self.fake:
                continue
            self.rows.append(Row(0, "idle", name, {"rss": float(machine.rss_bytes(server.pid))}))

    async def round(self, number: int) -> None:
        names = list(self.servers)
        turn = number % len(names)
        for scenario in self.only:
            if scenario not in CPU | OTHER and scenario != "close":
                continue  # measured in this process, at the end
            for name in names[turn:] + names[:turn]:  # nobody is always first
                if name == "direct" and scenario in CPU and (number > 0 or scenario == "paced"):
                    continue  # the instruments' own ceiling is of interest once
                if name == ENVOY and scenario not in ("latency", "big"):
                    continue  # it is no Python: what it costs per request is another question
                row = await self.measure(number, scenario, name)
                self.rows.append(row)
                _say(f"round {number + 1} {scenario} {name}: {row.error or _brief(row.values)}")

    async def measure(self, number: int, scenario: str, name: str) -> Row:
        server = self.servers[name]
        row = Row(number, scenario, name)
        busy, ours, begun = machine.busy_seconds(), self.own_seconds(), time.monotonic()
        try:
            async with asyncio.timeout(STEP_SECONDS):
                if scenario == "close":
                    row.values = await close(server, self.fake)
                else:
                    row.values = await (CPU | OTHER)[scenario](server, self.size)
        except (Failed, OSError, TimeoutError) as e:
            row.error = f"{type(e).__name__}: {e}"
            if server.process.poll() is not None:
                raise NotReady(f"{name} ended during {scenario}:\n{server.last_words()}") from e
        if busy is not None:
            others = (machine.busy_seconds() or 0.0) - busy - (self.own_seconds() - ours)
            row.foreign = max(0.0, others / (time.monotonic() - begun))
        await asyncio.sleep(0.1)
        return row

    def own_seconds(self) -> float:
        return sum(machine.cpu_seconds(s.pid) for s in self.servers.values()) + machine.cpu_seconds(os.getpid())


def _brief(values: Values) -> str:
    return ", ".join(f"{k} {v:.4g}" for k, v in values.items())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def bench(options: argparse.Namespace) -> tuple[Results, list[str]]:
    begun = time.monotonic()
    size, rounds, budget = (QUICK, 2, 75.0) if options.quick else (FULL, 5, 330.0)
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder, Fleet(Path(folder)) as fleet:
        fake = fleet.fake()
        servers = {"direct": fake}
        notes = []
        for name in options.targets:
            try:
                servers[name] = start_target(fleet, name, fake)
            except NotReady as e:
                notes.append(str(e))
        for name, server in list(servers.items()):
            try:
                seconds = await until_ready(server, chat_body("whole"))
                _say(f"{name} (process {server.pid}) answers after {seconds:.1f} s")
            except NotReady as e:
                if name not in (GATEWAY, ENVOY):
                    raise
                notes.append(f"No {name}: {e}")
                del servers[name]
        run = Run(servers, size, options.only, options.budget or budget, begun)
        run.idle()
        for server in servers.values():
            await warm_up(server)
        try:
            notes.append(await run.all(options.rounds or rounds))
        except NotReady as e:
            notes.append(str(e))
        if fleet.cpus is None:
            notes.append("Not pinned: the target shares its CPUs with what measures it.")
        return Results(run.rows), [n for n in notes if n]


def start_target(fleet: Fleet, name: str, fake: Server) -> Server:
    """Raises NotReady."""
    if name == GATEWAY:
        return fleet.gateway(fake)
    return fleet.envoy(fake) if name == ENVOY else fleet.relay(name, fake)


def _names(choices: tuple[str, ...]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in choices:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(choices)}")
        return names

    return parse


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds (under 90 s)")
    parser.add_argument("--rounds", type=int, help="5, or 2 when quick")
    parser.add_argument("--only", type=_names(NAMES), default=list(NAMES), metavar="NAME,...", help=", ".join(NAMES))
    targets = (ENVOY, "A", "B", GATEWAY)
    parser.add_argument("--targets", type=_names(targets), default=list(targets), metavar="NAME,...")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all rounds, raw")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="begin no round that would end later than this")
    return parser.parse_args(argv)


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `with` ends, and with it what was started
    try:
        import uvloop

        results, notes = uvloop.run(bench(options))
    except ImportError:
        results, notes = asyncio.run(bench(options))
    line = machine.describe()
    print(render(results, line, notes))
    if "filters" in options.only:
        print(filter_table(filters.measure(*((3, 10) if options.quick else ()))))
    if options.json:
        raw = {"machine": line, "notes": notes, "rows": [asdict(r) for r in results.rows]}
        options.json.write_text(json.dumps(raw, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
