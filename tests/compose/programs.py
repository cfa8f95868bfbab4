"""Programs that only say what a test wants, first in PATH, and write down how they were called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class Programs:
    """`calls()` = every call so far, one line each: the program's name and its arguments."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._bin, self._log = folder / "bin", folder / "calls.log"
        self._bin.mkdir()
        # the shell's own folder and no other: what this machine has installed must not matter
        monkeypatch.setenv("PATH", f"{self._bin}{os.pathsep}/bin-of-nothing")
        for name in ("COMPOSE_PROFILES", "GATEWAY_PORT", "GRAFANA_PORT"):
            monkeypatch.delenv(name, raising=False)

    def add(self, name: str, script: str = "") -> None:
        """`script` = lines of a shell, with the arguments in "$*"."""
        path = self._bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self._log}"\n{script}\n')
        path.chmod(0o755)

    def calls(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []
