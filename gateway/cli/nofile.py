"""Where no file says which servers there are: the environment, and the ports where servers usually listen."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.engine.scan import LOOPBACK, PORTS, Scan, Spot
from gateway.report.refused import Refused
from gateway.settings import Settings, defaults

_HOST = re.compile(r"(?P<host>[A-Za-z0-9_.-]+)(?::(?P<port>\d{1,5}))?")
_HERE = ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::")  # compared with, not listened at


@dataclass(slots=True)
class Found:
    """`scan` None = nothing was to be looked for."""

    settings: Settings
    scan: Scan | None


def scan_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("--no-scan", action="store_true", help="without a file: look at no port, use the environment only")
    p.add_argument(
        "--scan",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help=f"without a file: look at another machine, too (ports {' '.join(map(str, PORTS))}); may be repeated",
    )


def only_without(file: Path | None, args: argparse.Namespace) -> None:
    """Raises Refused where a file says which servers there are and something else was to say it, too."""
    if file is not None and (args.scan or args.no_scan):
        raise Refused(f"{file} says which servers there are", "take --scan and --no-scan out, or the file away")


async def look(args: argparse.Namespace) -> Found:
    """Looks once, for a second at most. Raises ConfigErrors or Refused."""
    settings = defaults(os.environ)
    if args.no_scan:
        if args.scan:
            raise Refused("--scan and --no-scan contradict each other", "leave one out")
        return Found(settings, None)
    scan = Scan(spots(args.scan, settings))
    await scan.look()
    return Found(defaults(os.environ, scan.backends()), scan)


def spots(hosts: list[str], settings: Settings) -> list[Spot]:
    """This machine's ports but the gateway's own and those that the environment names, then those of `hosts`."""
    taken = {a.port for a in (*settings.listen, *settings.admin.listen)}
    for b in settings.backends.values():
        at = urlsplit(b.url or "")
        if at.hostname in _HERE:
            taken.add(at.port or 80)
    found = [Spot(port) for port in PORTS if port not in taken]
    for text in hosts:
        found += _spots_of(text, taken)
    return list(dict.fromkeys(found))


def _spots_of(text: str, taken: set[int]) -> list[Spot]:
    match = _HOST.fullmatch(text)
    if match is None or not 0 < int(match["port"] or 1) < 65536:
        raise Refused(
            f"--scan {text} is no host", "write a name or an address, such as --scan gpu1 or --scan gpu1:8000"
        )
    host = match["host"].lower()
    ports = [int(match["port"])] if match["port"] else PORTS
    if host in _HERE:
        return [Spot(port, LOOPBACK) for port in ports if port not in taken]
    return [Spot(port, (host,)) for port in ports]
