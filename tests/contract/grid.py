"""Runs every case on every kind through one gateway, and writes down what came of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from tests.contract.cases import CASES, Case, Got, Json, converted, read
from tests.contract.stage import KnownBy, Stage, prompt
from tests.faults import rawclient
from tests.faults.rawclient import RawClient
from tests.faults.running import CHAT, Running, running

Outcome = Literal["pass", "emulated", "refused", "failed", "-"]
LIFE_SIGN = 0.12
PATIENCE = 30.0


@dataclass
class Cell:
    """`why`: of a refusal or a failure. `known`: how it is known what the server does there."""

    outcome: Outcome
    why: str = ""
    known: KnownBy = "documented"


@dataclass
class Grid:
    """kind -> case -> what came of it."""

    cells: dict[str, dict[str, Cell]] = field(default_factory=dict)
    gateway: Running | None = None


def settings(stages: Sequence[Stage]) -> dict[str, Any]:
    backends, models = {}, {}
    for stage in stages:
        name = stage.traits.name
        backends[name] = {"kind": stage.traits.kind, "url": stage.url, **stage.traits.backend}
        models[name] = {"targets": [{"backend": name}]}
    timeouts = {"life_sign": LIFE_SIGN, "queue": 0.1, "liveness": 30.0, "facts": 600.0, "first_byte": 20.0}
    return {
        "listen": "127.0.0.1:0",
        "auth": "none",
        "backends": backends,
        "models": models,
        "privacy": {"audio": "local"},
        "timeouts": timeouts,
        "log": {"level": "error"},
    }


async def run(stages: Sequence[Stage], only: str = "") -> Grid:
    """`stages` listen. `only` = the name of one case."""
    grid = Grid()
    cases = [c for c in CASES if only in ("", c.name)]
    async with running(yaml.safe_dump(settings(stages), sort_keys=False)) as gateway:
        rows = await asyncio.gather(*(_row(gateway, stage, cases) for stage in stages))
    for stage, row in zip(stages, rows, strict=True):
        grid.cells.setdefault(stage.traits.kind, {}).update(row)
    return grid


async def _row(gateway: Running, stage: Stage, cases: Sequence[Case]) -> dict[str, Cell]:
    out = {}
    for number, case in enumerate(cases):
        if stage.traits.cases is not None and case.name not in stage.traits.cases:
            continue
        before = len(stage.complaints())
        cells = [
            await _cell(gateway, stage, case, streamed, f"{number}{'s' if streamed else 'w'}") for streamed in case.ways
        ]
        cell = max(cells, key=lambda c: ("pass", "emulated", "refused", "failed").index(c.outcome))
        if len({c.outcome for c in cells}) > 1 and cell.outcome != "failed":
            cell = Cell("failed", f"whole and streamed differ: {[(c.outcome, c.why) for c in cells]}")
        strange = stage.complaints()[before:]
        out[case.name] = Cell("failed", f"was sent what it does not take: {strange}") if strange else cell
    return out


async def _cell(gateway: Running, stage: Stage, case: Case, streamed: bool, tag: str) -> Cell:
    tag = f"{stage.traits.name}-{tag}"
    body: Json = {"model": stage.traits.name, **case.ask(stage, tag), **stage.traits.extra.get(case.name, {})}
    if streamed:
        body["stream"] = True
    else:
        body.pop("stream_options", None)
    try:
        if case.name == "cancel":
            await _cancelled(gateway, stage, body, tag)
            return Cell("pass", "", stage.known_by(case.name))
        got = await _ask(gateway, body, streamed)
        if got.error and case.name not in ("context overflow", "unknown model"):
            return _refused(got, stage.known_by(case.name))
        case.check(stage, got, tag)
        if case.name == "context overflow" and stage.traits.refuses_long:
            await _overflowed_there(gateway, stage, case, body, streamed, tag)
    except (AssertionError, KeyError, ValueError, TypeError, IndexError) as e:
        return Cell("failed", f"{'streamed' if streamed else 'whole'}: {type(e).__name__}: {e}"[:1500])
    native = (not case.feature or case.feature in stage.traits.native) and not converted(got)
    return Cell("pass" if native else "emulated", "", stage.known_by(case.name))


async def _ask(gateway: Running, body: Json, streamed: bool) -> Got:
    async with asyncio.timeout(PATIENCE):
        return read(await rawclient.post(gateway.url, CHAT, body), streamed=streamed)


async def _overflowed_there(gateway: Running, stage: Stage, case: Case, body: Json, streamed: bool, tag: str) -> None:
    """A prompt that the gateway can't know to be too long: the server says so, or counts."""
    words = prompt("talk", tag) + stage.traits.refuses_long
    got = await _ask(gateway, {**body, "messages": [{"role": "user", "content": words}]}, streamed)
    case.check(stage, got, tag)


async def _cancelled(gateway: Running, stage: Stage, body: Json, tag: str) -> None:
    async with RawClient(gateway.url) as client:
        await client.send(rawclient.json_request(CHAT, body))
        await stage.arrived(tag)
    await stage.left(tag)


def _refused(got: Got, known: KnownBy) -> Cell:
    """A refusal is honest if it says what is wrong before anything was tried, in the client's terms."""
    error = got.error
    if got.status not in (400, 501) or not error.get("message"):
        return Cell("failed", f"{got.status}: {error}")
    lacks = [x for t in (error.get("detail") or {}).get("targets", ()) for x in t["lacks"]]
    reasons = dict.fromkeys(x["reason"] + (f" ({x['hint']})" if x.get("hint") else "") for x in lacks)
    return Cell("refused", "; ".join(reasons) or error["message"], known)


# ---- as text ----


def names() -> list[str]:
    return [c.name for c in CASES]


def plain(grid: Grid) -> str:
    """For a terminal."""
    wide = max(map(len, names()))
    kinds = list(grid.cells)
    lines = [" " * wide + "  " + "  ".join(k.ljust(9) for k in kinds)]
    for name in names():
        row = (grid.cells[k].get(name, Cell("-")).outcome for k in kinds)
        lines.append(name.ljust(wide) + "  " + "  ".join(o.ljust(9) for o in row))
    return "\n".join(lines)


def markdown(grid: Grid) -> str:
    """For docs/backends.md: the grid, and why what is refused is refused."""
    kinds = list(grid.cells)
    notes: dict[str, int] = {}
    numbers = itertools.count(1)
    lines = [["case", *(f"`{k}`" for k in kinds)], ["---"] * (len(kinds) + 1)]
    for name in names():
        row = [name]
        for kind in kinds:
            cell = grid.cells[kind].get(name, Cell("-"))
            if cell.outcome == "refused" and cell.why not in notes:
                notes[cell.why] = next(numbers)
            row.append(f"refused [{notes[cell.why]}]" if cell.outcome == "refused" else cell.outcome)
        lines.append(row)
    known = ["known by"]
    for kind in kinds:
        how = [c.known for c in grid.cells[kind].values()]
        known.append(", ".join(dict.fromkeys(w for w in ("run", "replayed", "documented") if w in how)))
    lines.append(known)
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return table + "\n" + "".join(f"{n}. {why}\n" for why, n in notes.items())
