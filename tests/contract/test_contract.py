"""The same requests through the gateway to every kind of server: each is served, served with the gateway's help, or
refused with the reason. Nothing else may happen. `-s` shows the grid."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gateway.backends import kinds
from tests.contract.cases import CASES
from tests.contract.grid import Cell, Grid, names, plain, run
from tests.contract.kinds import OpenAI, Vllm
from tests.contract.page import PAGE, renewed
from tests.contract.stages import EXEMPT, order
from tests.contract.voices import Json, Said

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]


async def test_every_kind_and_every_case(grid: Grid):
    print("\n" + plain(grid))
    assert set(grid.cells) | set(EXEMPT) == set(kinds()) and list(grid.cells) == order()
    for kind, row in grid.cells.items():
        assert set(row) == set(names()), kind


@pytest.mark.parametrize("kind", order())
async def test_nothing_else_happens(grid: Grid, kind: str):
    strange = {
        name: cell for name, cell in grid.cells[kind].items() if cell.outcome not in ("pass", "emulated", "refused")
    }
    assert not strange, "\n".join(f"{name}: {cell.outcome}: {cell.why}" for name, cell in strange.items())
    for name, cell in grid.cells[kind].items():
        assert bool(cell.why) is (cell.outcome == "refused"), (name, cell)


async def test_what_every_server_can_do_is_never_refused(grid: Grid):
    for case in ("text", "system", "multi-turn", "thinking: off", "stop", "usage", "unknown model", "cancel"):
        for kind, row in grid.cells.items():
            assert row[case].outcome != "refused", (kind, case)


async def test_the_real_ones_are_real(grid: Grid):
    for kind in ("llamacpp", "keras"):
        how = [cell.known for cell in grid.cells[kind].values()]
        assert how.count("run") >= len(how) - 3
    for kind in ("vllm", "mlx_lm", "mlx_vlm"):
        assert "replayed" in {cell.known for cell in grid.cells[kind].values()}


async def test_the_page_is_what_happened(grid: Grid):
    text = PAGE.read_text(encoding="utf-8")
    assert renewed(text, grid) == text, "run python -m tests.contract --write"


# ---- the harness itself: a server that breaks the contract is seen ----


class Deaf(OpenAI):
    """Answers as if nothing had been said, whatever was."""

    def say(self, body: Json, scenario: str, attempt: int) -> Said:
        return Said("What?")


class Forgetful(OpenAI):
    """Knows one field less than the gateway sends."""

    fields = OpenAI.fields - {"max_tokens", "messages"}


class TwoFaced(OpenAI):
    """Says something else in streams."""

    def say(self, body: Json, scenario: str, attempt: int) -> Said:
        return Said("Streamed!") if body.get("stream") else super().say(body, scenario, attempt)


class Stubborn(Vllm):
    """Never calls anything."""

    def say(self, body: Json, scenario: str, attempt: int) -> Said:
        return dataclasses.replace(super().say(body, scenario, attempt), calls=[], text="No.")


class Late(OpenAI):
    """Goes on when its client has left."""

    async def left(self, tag: str) -> None:
        raise AssertionError("it still works on it")


@pytest.mark.parametrize(
    ("voice", "case", "words"),
    [
        (Deaf, "text", "What?"),
        (Deaf, "tools: auto", "AssertionError"),
        (Deaf, "json_schema", "502"),
        (Deaf, "stop", "AssertionError"),
        (Forgetful, "text", "it does not know `messages`"),
        (TwoFaced, "text", "streamed: AssertionError"),
        (Stubborn, "tools: required", "502"),
        (Late, "cancel", "it still works on it"),
    ],
)
async def test_what_breaks_it_is_seen(voice: type[Any], case: str, words: str):
    async with voice() as stage:
        grid = await run([stage], case)
    [row] = grid.cells.values()
    cell: Cell = row[case]
    assert cell.outcome == "failed" and words in cell.why, cell


async def test_every_case_has_a_name_of_its_own():
    assert len({c.name for c in CASES}) == len(CASES)
