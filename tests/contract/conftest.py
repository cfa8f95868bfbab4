"""The harness runs on the loop that serves in production, once for all tests of the folder."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop

from gateway.demo.server import ADD_EMBEDDED
from tests.contract.grid import Grid, run
from tests.contract.stages import open_stages


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("xllamacpp", reason=f"no llama.cpp: {ADD_EMBEDDED}", exc_type=ImportError)
    if shutil.which("ffmpeg") is None:
        pytest.skip("there is no ffmpeg, without which llama.cpp opens no video")
    return tmp_path_factory.mktemp("contract")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def grid(cache: Path) -> AsyncIterator[Grid]:
    """What came of every case on every kind."""
    async with open_stages(cache) as stages:
        yield await run(stages)
