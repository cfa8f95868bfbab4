"""What is laid over a person's files: their own settings stay, and what was there is kept."""

from __future__ import annotations

import json
import stat
import string
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.connect.files import CannotMerge, File, Format, merged, overlay, render, write

keys = st.text(string.ascii_lowercase + "-_. ", min_size=1, max_size=6)
plain = st.one_of(st.text(max_size=8), st.booleans(), st.integers(-9, 9))
trees: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(keys, plain, max_size=3),
    lambda inner: st.dictionaries(keys, plain | inner, max_size=3),
    max_leaves=8,
)


def parsed(kind: Format, text: str) -> Any:
    return {"json": json.loads, "yaml": yaml.safe_load, "toml": tomllib.loads}[kind](text)


@given(trees)
@pytest.mark.parametrize("kind", ["json", "yaml", "toml"])
def test_what_is_rendered_is_read_back(kind: Format, tree: dict[str, Any]):
    assert parsed(kind, render(kind, tree)) == tree


@given(trees, trees)
@pytest.mark.parametrize("kind", ["json", "yaml", "toml"])
def test_a_merge_is_the_overlay_or_refused(kind: Format, there: dict[str, Any], new: dict[str, Any]):
    """TOML is edited as text: where that does not come out as it should, nothing is written."""
    before = render(kind, there)
    try:
        after = merged(File("f", kind, new), before, "f")
    except CannotMerge:
        assert kind == "toml"
        return
    assert parsed(kind, after) == (overlay(there, new) if before.strip() else new)
    assert merged(File("f", kind, new), after, "f") == after or not after.strip()


CODEX = """# mine
model = "gpt-5.5" # the best
approval_policy = "never"

[model_providers.other]
base_url = "http://other/v1"  # [not a table]

[model_providers.gateway]
base_url = "http://old/v1"
request_max_retries = 2

[projects."/home/me/a b"]
trust_level = "trusted"
"""


def test_toml_keeps_comments_order_and_what_is_not_ours():
    table = {"name": "gateway", "base_url": "http://new/v1"}
    new = {"model": "gemma-4", "model_provider": "gateway", "model_providers": {"gateway": table}}
    after = merged(File("f", "toml", new), CODEX, "f")
    assert tomllib.loads(after) == overlay(tomllib.loads(CODEX), new)
    assert after.splitlines()[:3] == ['model_provider = "gateway"', "# mine", 'model = "gemma-4"']
    assert 'base_url = "http://other/v1"  # [not a table]' in after and "request_max_retries = 2" in after


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        ("json", '{"a": 1, // mine\n}'),
        ("json", "[1]"),
        ("yaml", "a: [1"),
        ("yaml", "- 1"),
        ("toml", "a = "),
        ("toml", 'model_providers = {gateway = {base_url = "x"}}'),
        ("toml", 'model = """\nlong\n"""'),
    ],
)
def test_what_cannot_be_merged_is_refused_by_name(kind: Format, before: str, tmp_path: Path):
    path = tmp_path / "settings"
    path.write_text(before)
    new = {"model": "m", "model_providers": {"gateway": {"base_url": "y"}}}
    with pytest.raises(CannotMerge, match="settings"):
        write(File(str(path), kind, new), tmp_path)
    assert path.read_text() == before and [p.name for p in tmp_path.iterdir()] == ["settings"]


def test_lists_of_named_things_are_merged_by_name():
    there = {"models": [{"name": "mine", "x": 1}, {"name": "gateway", "old": 1}]}
    assert overlay(there, {"models": [{"name": "gateway", "new": 2}]}) == {
        "models": [{"name": "mine", "x": 1}, {"name": "gateway", "new": 2}]
    }


def test_variables_are_set_where_they_stand():
    before = "# mine\nexport KEY=old\nOTHER=1\nKEY=older\n"
    assert merged(File("f", "env", {"KEY": "new", "URL": "u"}), before, "f") == "# mine\nKEY=new\nOTHER=1\nURL=u\n"


def test_writing_keeps_what_was_there(tmp_path: Path):
    file = File("~/a/b.json", "json", {"x": 1})
    path, backup = write(file, tmp_path)
    assert (path, backup) == (tmp_path / "a/b.json", None)
    assert write(file, tmp_path) == (path, None)  # nothing to do: nothing is done
    path.write_text('{"mine": true}')
    path.chmod(0o640)
    _, first = write(file, tmp_path)
    assert first is not None and first.read_text() == '{"mine": true}'
    assert json.loads(path.read_text()) == {"mine": True, "x": 1}
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(first.stat().st_mode) == 0o640
    _, second = write(File("~/a/b.json", "json", {"x": 2}), tmp_path)
    assert second is not None and second != first and first.read_text() == '{"mine": true}'


def test_a_file_with_a_key_is_its_owners_alone(tmp_path: Path):
    path, _ = write(File("~/f.env", "env", {"KEY": "k"}, secret=True), tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path: Path):
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "f.json").symlink_to(tmp_path / "real.json")
    write(File("~/f.json", "json", {"x": 1}), tmp_path)
    assert (tmp_path / "f.json").is_symlink() and json.loads((tmp_path / "real.json").read_text()) == {"x": 1}
