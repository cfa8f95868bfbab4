"""Bodies that agents and SDKs sent (long texts elided, most tools left out): the last of each session, which holds its
whole history, and earlier ones of another shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

HERE = Path(__file__).parent


def bodies(path: str) -> list[tuple[str, dict[str, Any]]]:
    """(the session's name, the body) of every recorded request to `path` (or `path` with a query)."""
    out = []
    for file in sorted(HERE.glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            entry = msgspec.json.decode(line)
            if entry["path"].partition("?")[0] == path:
                out.append((file.stem, entry["body"]))
    return out
