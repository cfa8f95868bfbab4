"""docs/answers.md names every code that a filter can report, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "answers.md").read_text("utf-8")


def documented() -> set[str]:
    table = PAGE.split("| code | what was wrong |")[1].split("\n\n")[0]
    return set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE))


def promised() -> set[str]:
    """The codes in the docstrings of the filters: `Codes in `repairs`: a, b; c.`"""
    found: set[str] = set()
    for file in (ROOT / "gateway" / "filters").rglob("*.py"):
        for said in re.findall(r"Codes in\s+`repairs`:(.*?)(?:\.\n|\.?\"\"\")", file.read_text("utf-8"), re.DOTALL):
            found |= set(re.findall(r"\b([a-z]+_[a-z_]+|parentheses)\b", re.sub(r"\(.*?\)", "", said)))
    return found


def test_every_code_is_told():
    assert promised() and promised() == documented()


def test_every_code_is_made_somewhere():
    source = "".join(f.read_text("utf-8") for f in (ROOT / "gateway" / "filters").rglob("*.py"))
    assert [code for code in documented() if f'"{code}"' not in source] == []
