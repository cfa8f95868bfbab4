"""The key that a compose file's gateway asks for: made once, readable by its owner only, never printed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def make(path: Path) -> bool:
    """Makes the file with a new key (0600); False = there is one, which stays. Raises OSError."""
    try:
        if path.read_text(encoding="utf-8").strip():
            return False
        path.unlink()  # an empty file is what a start leaves that was killed
    except FileNotFoundError:
        pass
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"gw-{secrets.token_urlsafe(32)}\n")
    return True
