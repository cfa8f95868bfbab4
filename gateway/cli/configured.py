"""Which configuration a command is about."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from gateway.settings import Settings, defaults, load

SEARCH = ("gateway.yaml", "config/local.yaml")
"""Where a configuration is looked for when none is named."""


def config_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("file", nargs="?", type=Path, help="the configuration (default: ./gateway.yaml if it is there)")
    p.add_argument("--config", "-c", type=Path, help="the same")


def config_file(args: argparse.Namespace) -> Path | None:
    """The file that is named, or found; None if there is none."""
    path: Path | None = args.config or args.file
    if path is None and os.environ.get("GATEWAY_CONFIG"):
        path = Path(os.environ["GATEWAY_CONFIG"])
    return path or next((Path(p) for p in SEARCH if Path(p).is_file()), None)


def configuration(args: argparse.Namespace) -> tuple[Settings, Path | None]:
    """Raises ConfigErrors."""
    path = config_file(args)
    return (defaults(os.environ), None) if path is None else (load(path, os.environ), path)
