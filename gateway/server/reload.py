"""The configuration file, followed while the gateway serves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gateway.settings import ConfigErrors, NeedsRestart, NotBuilt, Settings, load

States = dict[Path, tuple[int, ...] | None]


async def follow(
    config: Path,
    env: Mapping[str, str],
    now: asyncio.Event,
    apply: Callable[[Settings], None],
    reject: Callable[[list[str]], None],
    beside: Callable[[], Iterable[Path]] = lambda: (),
    served: Settings | None = None,
    read: States | None = None,
) -> None:
    """Calls `apply` when the file's content changes (looked at every second), or a file that it names (`beside`: keys,
    certificates), or when `now` is set. A configuration with an error leaves the old one in force, and `reject` is told
    what is wrong with it. `served`: what is in force; the file may have been changed since that was read, which is some
    seconds ago where servers were slow to answer. `read`: the `states` of the other files shortly before they were."""
    seen = _content(config), states(beside()) if read is None else read
    if served is not None and _says_something_else(config, env, served):
        now.set()
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(now.wait(), 1.0)
        forced = now.is_set()
        now.clear()
        content = _content(config), states(beside())
        if content[0] is None or (content == seen and not forced):
            continue
        seen = content
        try:
            apply(load(config, env))
        except (ConfigErrors, NotBuilt, NeedsRestart) as e:
            reject(str(e).splitlines())
        except Exception as e:  # noqa: BLE001  # a bug in one reload must not be the end of all reloads
            reject([f"an internal error ({type(e).__name__})"])
        else:
            # which files these are may be new; one that was written again since it was read is read again
            seen = content[0], {path: content[1].get(path, state) for path, state in states(beside()).items()}


def _says_something_else(config: Path, env: Mapping[str, str], served: Settings) -> bool:
    try:
        return load(config, env) != served
    except ConfigErrors:
        return True


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None  # between two steps of an editor's or a config map's replacement


def states(files: Iterable[Path]) -> States:
    """What changes when a file is written, replaced, or given another mode; None for one that is not there."""
    out: States = {}
    for path in files:
        try:
            about = path.stat()
        except OSError:
            out[path] = None
            continue
        out[path] = (about.st_mtime_ns, about.st_size, about.st_ino, about.st_mode)
    return out
