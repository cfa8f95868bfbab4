"""`gateway doctor`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from typing import Any

from gateway.cli import nofile
from gateway.cli.configured import config_arguments, config_file, configuration
from gateway.cli.progress import shown
from gateway.report.refused import Refused


def add(sub: Any) -> None:
    p = sub.add_parser(
        "doctor",
        help="what is wrong with a configuration's servers, and what to change",
        epilog="exit codes: 0 nothing to change, 1 something is, 2 the configuration is wrong. Codes: docs/doctor.md",
    )
    config_arguments(p)
    nofile.scan_arguments(p)
    p.add_argument("--json", action="store_true", help="as JSON")
    p.set_defaults(run=doctor)


def doctor(args: argparse.Namespace) -> int:
    from gateway.report.asking import built
    from gateway.report.doctor import contained, examine, exit_code, told

    path = config_file(args)
    nofile.only_without(path, args)
    if path is None:
        settings = asyncio.run(nofile.look(args)).settings
    else:
        settings, _ = configuration(args)
    if not settings.backends:
        raise Refused(
            "no server is known",
            "start one, name a configuration, or look elsewhere with --scan HOST; "
            "`gateway caps` shows those of a gateway that runs",
        )

    async def examined() -> int:
        async with built(settings) as (gateway, _):
            inside = contained(env=os.environ)
            found = await examine(gateway.fleet, gateway.prober, gateway.upstream, in_container=inside)
            if args.json:
                print(json.dumps({"ok": not exit_code(found), "findings": [c.view() for c in found]}, indent=2))
            else:
                print(told(found, gateway.fleet))
            return exit_code(found)

    return asyncio.run(shown("gateway doctor: looking at the servers", examined()))
