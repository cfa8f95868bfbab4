"""A word on standard error while something takes longer than a person likes to wait in silence."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import TextIO, TypeVar

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds of silence."""
EVERY = 1.0
"""Seconds between two words on a terminal; elsewhere there is only one."""


async def shown(what: str, work: Awaitable[T], out: TextIO | None = None, patience: float = PATIENCE) -> T:
    """The outcome of `work`. After `patience` seconds `what` is said with the seconds, on a terminal in one line that
    counts on and is wiped away at the end."""
    telling = asyncio.create_task(_tell(what, out or sys.stderr, patience))
    try:
        return await work
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _tell(what: str, out: TextIO, patience: float) -> None:
    begun = asyncio.get_running_loop().time()
    await asyncio.sleep(patience)
    if not out.isatty():
        out.write(f"{what} ...\n")
        out.flush()
        return
    try:
        while True:
            out.write(f"\r{what} ... {asyncio.get_running_loop().time() - begun:.0f} s")
            out.flush()
            await asyncio.sleep(EVERY)
    finally:
        out.write("\r\033[K")
        out.flush()
