"""Where the demo keeps what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def cache_dir(env: Mapping[str, str]) -> Path:
    """`GATEWAY_CACHE`, else `gemma-gateway` in the user's cache folder (XDG). May be deleted at any time; holds the
    generated models, and for each port the logs and sample media of the demo there."""
    if env.get("GATEWAY_CACHE"):
        return Path(env["GATEWAY_CACHE"]).expanduser().absolute()
    base = env.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "gemma-gateway"
