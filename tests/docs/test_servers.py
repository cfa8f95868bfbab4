"""docs/servers: one page per kind that needs one; each configuration on it is one that the gateway takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.backends import Place, kinds
from gateway.backends.vertex import MANAGED, right_form
from gateway.settings import parse

PAGES = sorted((Path(__file__).parents[2] / "docs" / "servers").glob("*.md"))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


CONFIGURATIONS = [(page.stem, text) for page in PAGES for text in blocks(page, "yaml")]


def test_pages_are_named_after_kinds():
    assert {page.stem for page in PAGES} <= set(kinds())


@pytest.mark.parametrize(("kind", "text"), CONFIGURATIONS)
def test_each_configuration_is_taken(kind: str, text: str):
    settings = parse(text, {"GEMINI_API_KEY": "x"})
    assert {b.kind for b in settings.backends.values()} == {kind}


def test_vertex_names_what_the_code_knows():
    (page,) = (p.read_text("utf-8") for p in PAGES if p.stem == "vertex")
    assert MANAGED in page
    deployed = set(re.findall(r"--model=(\S+)", page))
    assert deployed and all(right_form(name, Place(project="p")) for name in deployed)
