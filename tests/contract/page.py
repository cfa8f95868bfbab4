"""docs/backends.md: the block that the harness writes."""

from __future__ import annotations

import re
from pathlib import Path

from tests.contract.grid import Grid, markdown

PAGE = Path(__file__).parents[2] / "docs" / "backends.md"
_BLOCK = re.compile(r"(<!-- generated: contract -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def renewed(page: str, grid: Grid) -> str:
    """The page with the grid as it is now."""
    return _BLOCK.sub(lambda m: m[1] + markdown(grid) + m[3], page)
