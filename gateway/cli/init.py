"""`gateway init`: the file that says what was found."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

from gateway.cli import nofile
from gateway.cli.progress import shown
from gateway.cli.terminal import coloured, columns
from gateway.report.refused import Refused


def add(sub: Any) -> None:
    p = sub.add_parser("init", help="look for model servers and write gateway.yaml")
    p.add_argument("file", nargs="?", type=Path, default=Path("gateway.yaml"), help="to be written (%(default)s)")
    p.add_argument("--force", action="store_true", help="write over a file that is there")
    nofile.scan_arguments(p)
    p.add_argument("--json", action="store_true", help="as JSON")
    p.set_defaults(run=init)


def init(args: argparse.Namespace) -> int:
    path: Path = args.file
    if path.exists() and not args.force:
        raise Refused(f"{path} is there already", f"`gateway init --force {path}` writes over it")
    if not path.parent.is_dir():
        raise Refused(f"there is no folder {path.parent}", f"mkdir -p {path.parent}")
    seen = asyncio.run(shown("gateway init: looking at the servers", _seen(args)))
    if not seen["backends"]:
        fix = "start one, look at another machine with --scan HOST, or set GATEWAY_BACKEND_<NAME>=http://HOST:PORT"
        raise Refused("no model server was found, nothing was written", fix, code=1)
    try:
        path.write_text(seen["yaml"], encoding="utf-8")
    except OSError as e:
        raise Refused(f"can't write {path}: {e.strerror}", "name another file") from None
    if args.json:
        print(json.dumps({"ok": True, "file": str(path), **seen}, indent=2))
        return 0
    from gateway.report.found import told

    print(told(seen, columns(), colour=coloured(sys.stdout)))
    print(f"\nwrote {path}; now:  gateway serve" + ("" if path == Path("gateway.yaml") else f" {path}"))
    return 0


async def _seen(args: argparse.Namespace) -> dict[str, Any]:
    from gateway.report.asking import built
    from gateway.report.found import as_yaml, view

    found = await nofile.look(args)
    async with built(found.settings) as (gateway, _):
        seen = view(gateway.fleet, found.scan)
    return seen | {"yaml": as_yaml(found.settings, found.scan, date.today())}
