"""The configuration file, followed while the gateway serves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.settings import ConfigErrors, NeedsRestart, NotBuilt, Settings, load


async def follow(
    config: Path,
    env: Mapping[str, str],
    now: asyncio.Event,
    apply: Callable[[Settings], None],
    reject: Callable[[list[str]], None],
) -> None:
    """Calls `apply` when the file's content changes (looked at every second) or when `now` is set. A configuration with
    an error leaves the old one in force, and `reject` is told what is wrong with it."""
    seen = _content(config)
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(now.wait(), 1.0)
        forced = now.is_set()
        now.clear()
        content = _content(config)
        if content is None or (content == seen and not forced):
            continue
        seen = content
        try:
            apply(load(config, env))
        except (ConfigErrors, NotBuilt, NeedsRestart) as e:
            reject(str(e).splitlines())
        except Exception as e:  # noqa: BLE001  # a bug in one reload must not be the end of all reloads
            reject([f"an internal error ({type(e).__name__})"])


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None  # between two steps of an editor's or a config map's replacement
