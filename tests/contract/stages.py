"""All stages, one a kind of server."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from gateway.backends import kinds, load
from tests.contract.kinds import SCRIPTED
from tests.contract.real import Keras, LlamaCpp
from tests.contract.stage import Stage

EXEMPT = {"vertex": "its tokens come from Google, and what it serves is vLLM's dialect: tests/backends/test_vertex.py"}
"""Kinds that the harness does not run, and why."""


def order() -> list[str]:
    """The kinds by readiness, as everywhere."""
    return sorted((k for k in kinds() if k not in EXEMPT), key=lambda k: (load(k).tier, k))


@contextlib.asynccontextmanager
async def open_stages(cache: Path, only: Sequence[str] = ()) -> AsyncIterator[list[Stage]]:
    """The stages of all kinds, or of `only` these, listening."""
    make: dict[str, list[Callable[[], Stage]]] = {"llamacpp": [lambda: LlamaCpp(cache)], "keras": [Keras]}
    for voice in SCRIPTED:
        make.setdefault(voice.traits.kind, []).append(voice)
    chosen = [start for kind in order() if not only or kind in only for start in make[kind]]
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(start()) for start in chosen]
