"""The files that the project ships: all of them load, and the reference leaves nothing out."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from gateway.routing.rules import DEFAULT_RULES
from gateway.settings import Limits, Settings, Timeouts, load, parse
from gateway.settings.shapes import FactsKeys, MatchKeys, RouteKeys, SelectorKeys, ThinkingKeys

CONFIG = Path(__file__).parents[2] / "config"
REFERENCE = CONFIG / "gateway.yaml"
ENV = {"GATEWAY_API_KEY": "made-up", "VLLM_KEY": "made-up", "HOSTED_KEY": "made-up", "CLOUD_KEY": "made-up"} | {
    "OTEL_HEADERS": "api-key=made-up"
}


@pytest.fixture(autouse=True)
def kinds() -> None:
    """The kinds of server that there really are: what is shipped must work with them."""


def uncommented() -> str:
    """The reference with every option switched on: `#` directly before a key or an even indentation is an option,
    anything else is prose."""
    return re.sub(r"^#(?=(?:  )*[a-z-])(?! [a-z])", "", REFERENCE.read_text(), flags=re.MULTILINE)


def placed(file: Path, folder: Path) -> Path:
    """A copy of the example, with an empty keys file beside it."""
    (folder / "keys.yaml").write_text("keys: []\n")
    (folder / "keys.yaml").chmod(0o600)
    return Path(shutil.copy(file, folder / file.name))


@pytest.mark.parametrize("file", sorted((CONFIG / "examples").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_example_loads(file: Path, tmp_path: Path) -> None:
    settings = load(placed(file, tmp_path), ENV)
    assert settings.backends and settings.models


def test_there_are_examples() -> None:
    names = {p.stem for p in (CONFIG / "examples").glob("*.yaml")}
    assert names >= {"one-llamacpp", "mixed-fleet", "laptop-and-gpu", "strict-privacy", "shared-keys"}


def test_what_the_examples_promise(tmp_path: Path) -> None:
    examples = CONFIG / "examples"
    assert load(examples / "strict-privacy.yaml", ENV).backends["hosted"].local is False
    assert load(examples / "strict-privacy.yaml", ENV).media.remote == "off"
    assert load(examples / "laptop-and-gpu.yaml", ENV).backends["gpu"].local is True
    assert load(examples / "mixed-fleet.yaml", ENV).routes == DEFAULT_RULES
    shared = load(placed(examples / "shared-keys.yaml", tmp_path), ENV)
    assert (shared.auth.mode, shared.auth.keys, shared.quotas.in_flight) == ("keys_file", (), 8)
    assert load(examples / "one-llamacpp.yaml", ENV).unknown_model == "gemma-4"


def test_the_reference_as_it_is_is_the_default() -> None:
    assert load(REFERENCE, {}) == Settings()


def test_the_reference_with_everything_switched_on(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls/cert.pem").write_text("x")
    (tmp_path / "tls/key.pem").write_text("x")
    settings = parse(uncommented(), ENV, base=tmp_path)
    assert set(settings.backends) == {"mac", "ears", "blackwell", "cloud", "later"}
    # What is shown as a default is the default.
    assert settings.limits == Limits()
    assert settings.timeouts == Timeouts()
    assert [(r.match, r.require, r.prefer) for r in settings.routes] == [
        (r.match, r.require, r.prefer) for r in DEFAULT_RULES
    ]
    for name in ("listen", "auth", "cors", "privacy", "media", "unknown_model", "repair", "runaway", "log"):
        assert getattr(settings, name) == getattr(Settings(), name), name
    # And everything that can be said is said.
    for name in Settings.key_names():
        assert name in settings.model_fields_set
        if isinstance(value := getattr(settings, name), BaseModel) and name not in ("auth", "media"):
            assert value.model_fields_set - value.derived == set(type(value).key_names()), name


def sections() -> list[type]:
    """Every class that is a mapping of the file."""
    found: list[type] = [FactsKeys, MatchKeys, SelectorKeys, RouteKeys, ThinkingKeys]
    queue: list[object] = [Settings]
    while queue:
        kind = queue.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found.append(kind)
            queue += [field.annotation for field in kind.model_fields.values()]
        queue += get_args(kind)
    return found


@pytest.mark.parametrize("cls", sections(), ids=lambda c: c.__name__)
def test_the_reference_names_every_key(cls: type) -> None:
    words = set(re.findall(r"\w+", REFERENCE.read_text()))
    missing = [key for key in cls.key_names() if key not in words]  # type: ignore[attr-defined]
    assert missing == []
