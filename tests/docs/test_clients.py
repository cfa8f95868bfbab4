"""docs/clients: one page per client; what it shows is what the code says, and can be read by what it is for.

Python and JavaScript are run by `make test-sdks` (tests/sdks/test_pages.py), what `gateway connect` sets by
`make test-agents`.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.connect.clients import CLIENTS
from gateway.connect.command import _parser, _split
from gateway.settings import parse
from tests.docs.blocks import CLIENT_PAGES

FOLDER = CLIENT_PAGES[0].parent
TEXTS = {page.stem: page.read_text("utf-8") for page in CLIENT_PAGES}
SDKS = ("openai", "google-genai", "anthropic", "ollama", "langchain")


def python(text: str) -> Any:
    return compile(text, "page", "exec")


def shell(text: str) -> Any:
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words[:2] == ["gateway", "connect"]:
            own, given = _split(words[2:])
            _parser().parse_args(own)
            assert given is None or given[0] == "run"
        else:
            assert re.fullmatch(r"(export )?\w+=\S+", line), line
    return True


READERS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
    "python": python,
    "sh": shell,
    "js": lambda text: "require(" in text,
}


def blocks(name: str) -> list[tuple[str, str]]:
    """(language, text) of each."""
    return re.findall(r"^```(\w+)\n(.*?)^```", TEXTS[name], re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", [n for n in TEXTS if n != "README"])
def test_what_is_shown_can_be_read(name: str):
    found = blocks(name)
    assert found
    for language, text in found:
        assert READERS[language](text), text


def test_each_client_of_connect_has_its_page():
    shown = {client for text in TEXTS.values() for client in re.findall(r"generated: connect_(\w+)", text)}
    assert shown == {name.replace("-", "_") for name in CLIENTS}
    for name, text in TEXTS.items():
        for client in re.findall(r"generated: connect_(\w+)", text):
            assert f"gateway connect {client.replace('_', '-')} --write" in text, name
            assert not re.findall(rf"gateway connect (?!{client.replace('_', '-')}\b)[\w-]+", text), name


def test_each_sdk_has_its_page_with_something_to_run():
    for name in SDKS:
        assert any(language == "python" for language, _ in blocks(name))


def test_the_index_names_all_of_them():
    linked = set(re.findall(r"\]\(([\w-]+)\.md\)", TEXTS["README"]))
    assert linked == set(TEXTS) - {"README"}
    for text in TEXTS.values():
        for path in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (FOLDER / path).exists(), path


def test_the_configuration_of_a_page_is_taken():
    ((_, text),) = [b for b in blocks("ollama") if b[0] == "yaml"]
    assert [a.port for a in parse(text, {}).listen] == [4000, 11434]
    assert Path(FOLDER.parent / "servers").is_dir()
