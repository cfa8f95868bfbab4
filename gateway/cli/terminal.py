"""The terminal that a command writes to."""

from __future__ import annotations

import os
import shutil
from typing import TextIO


def columns() -> int:
    return shutil.get_terminal_size((120, 24)).columns


def coloured(out: TextIO) -> bool:
    """https://no-color.org"""
    return out.isatty() and not os.environ.get("NO_COLOR")
