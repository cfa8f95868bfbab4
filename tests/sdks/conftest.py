"""A gateway in front of the embedded fleet, and one in front of recorded bytes, for all tests of a run."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.faults.wire import Wire
from tests.real.conftest import RealFleet, cache, fleet  # noqa: F401  # fixtures
from tests.sdks import city, replay, task
from tests.sdks.obedient import answer
from tests.sdks.serving import Beside, Served, gateway

NEEDS = {
    "test_anthropic.py": "anthropic",
    "test_google_genai.py": "google.genai",
    "test_keys.py": "anthropic",
    "test_langchain.py": "langchain_tests",
    "test_npm.py": "agents",
    "test_ollama.py": "ollama",
    "test_openai.py": "agents",
    "test_openai_loops.py": "agents",
    "test_pages.py": "langchain_tests",
}
"""Each file's own SDK. `make test` has none of them, and leaves these files out."""


def _absent(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is None
    except ModuleNotFoundError:  # of the package that it is in
        return True


collect_ignore = [name for name, module in NEEDS.items() if _absent(module)]


@pytest.fixture(scope="session")
def beside() -> Iterator[Beside]:
    found = Beside()
    yield found
    found.end()


@pytest.fixture(scope="session")
def embedded(fleet: RealFleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:  # noqa: F811
    """A gateway in front of real llama.cpp servers."""
    settings: dict[str, Any] = yaml.safe_load(fleet.plan.config("127.0.0.1:0")) | {"log": {"level": "info"}}
    with gateway(settings, tmp_path_factory.mktemp("embedded")) as served:
        yield served


@pytest.fixture(scope="session")
def text_model(fleet: RealFleet) -> str:  # noqa: F811
    """The real language model's id; a fixture's where it is not installed."""
    return fleet.servers["text"].about.alias if "text" in fleet.servers else "fixture-ears"


class Replayed:
    """A gateway in front of the recorded bytes of all stacks, each under a name of its own."""

    def __init__(self, served: Served, wires: dict[str, Wire]) -> None:
        self.served, self._wires = served, wires

    @property
    def url(self) -> str:
        return self.served.url

    def bodies(self, stack: str) -> list[Any]:
        """What reached a stack's server so far, and forgets it."""
        wire = self._wires[stack]
        found = wire.bodies
        wire.requests.clear()
        return found


def public(stack: str) -> str:
    """A stack's model."""
    return "gemma-4-on-" + stack.replace(" ", "-").replace("_", "-")


@contextlib.contextmanager
def playing(script: replay.Script, beside: Beside, folder: Path, *, words: bool = True) -> Iterator[Replayed]:
    """A gateway in front of all stacks, whose models say what `script` says."""
    wires = {}
    for stack in replay.STACKS:
        wire = beside.upstream(kind=replay.kind(stack), model="gemma-4-e4b-it", n_ctx=32_768)
        wire.answer(replay.Replay(stack, script, words))
        wires[stack] = wire
    names = {stack: f"b{i}" for i, stack in enumerate(wires)}
    settings = {
        "backends": {names[s]: {"kind": w.kind, "url": w.url} for s, w in wires.items()},
        "models": {public(s): {"targets": [{"backend": names[s]}]} for s in wires},
    }
    with gateway(settings, folder) as served:
        yield Replayed(served, wires)


@pytest.fixture(scope="session")
def replayed(beside: Beside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    """Models that know the three-tool task."""
    with playing(task.next_step, beside, tmp_path_factory.mktemp("replayed")) as found:
        yield found


@pytest.fixture(scope="session")
def obedient(beside: Beside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    """Models that do what they are told, without a word before their calls."""
    with playing(answer, beside, tmp_path_factory.mktemp("obedient"), words=False) as found:
        yield found


@pytest.fixture(params=replay.STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


@pytest.fixture
def workshop(tmp_path: Path) -> task.Workshop:
    return task.Workshop(tmp_path)


@pytest.fixture
def city_hall(tmp_path: Path) -> city.CityHall:
    return city.CityHall(tmp_path)
