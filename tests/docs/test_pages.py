"""Every page says what the code says; every code that is used is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gateway
from gateway.routing.findings import CODES
from tests.docs.blocks import BLOCKS, PAGES, renewed

PAGES_TEXT = {page.name: page.read_text(encoding="utf-8") for page in PAGES}


@pytest.mark.parametrize("name", PAGES_TEXT)
def test_what_the_code_knows_is_what_the_page_says(name: str) -> None:
    assert renewed(PAGES_TEXT[name]) == PAGES_TEXT[name], "run python -m tests.docs.blocks"


def test_every_block_stands_on_one_page() -> None:
    found = re.findall(r"<!-- generated: (\w+) -->", "".join(PAGES_TEXT.values()))
    assert sorted(found) == sorted(BLOCKS)


def test_every_code_that_is_used_is_explained_and_the_other_way_round() -> None:
    used: set[str] = set()
    for file in Path(gateway.__file__).parent.rglob("*.py"):
        used |= set(re.findall(r'(?:Finding|wrong)\(\s*"([\w-]+)"', file.read_text(encoding="utf-8")))
    named = {"unreachable", "loading", "wrong-model"}  # by state
    assert used | named | {"no-image", "no-audio", "no-video"} == set(CODES)
