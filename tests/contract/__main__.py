"""`python -m tests.contract`: runs the harness and prints the grid; `--write` puts it into docs/backends.md, `KIND ...`
runs only these, `--case NAME` only that one."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.contract.grid import Grid, plain, run
from tests.contract.page import PAGE, renewed
from tests.contract.stages import open_stages


async def grid_of(cache: Path, kinds: list[str], case: str = "") -> Grid:
    async with open_stages(cache, kinds) as stages:
        return await run(stages, case)


def main(argv: list[str]) -> int:
    case = argv[argv.index("--case") + 1] if "--case" in argv else ""
    kinds = [a for a in argv if not a.startswith("--") and a != case]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as cache:
        grid = asyncio.run(grid_of(Path(cache), kinds, case))
    print(plain(grid), f"\n{time.monotonic() - begun:.1f} s")
    for kind, row in grid.cells.items():
        for name, cell in row.items():
            if cell.why:
                print(f"{kind}: {name}: {cell.outcome}: {cell.why}")
    failed = any(c.outcome == "failed" for row in grid.cells.values() for c in row.values())
    if "--write" in argv and not failed and not kinds and not case:
        PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), grid), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
