"""`gateway serve`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
from typing import Any

from gateway.cli.configured import config_arguments, configuration
from gateway.cli.refused import Refused


def add(sub: Any) -> None:
    p = sub.add_parser("serve", help="serve the fleet of a configuration")
    config_arguments(p)
    p.add_argument("--port", type=int, help="listen at this port instead")
    p.set_defaults(run=serve)


def serve(args: argparse.Namespace) -> int:
    from gateway import app
    from gateway.engine.state import StateUnusable
    from gateway.server.listener import PortTaken

    if args.port is not None:
        os.environ["PORT"] = str(args.port)
    settings, path = configuration(args)
    if not settings.backends:
        raise Refused(
            "no backends are configured", "write gateway.yaml (see config/gateway.yaml), or try `gateway demo`"
        )

    def ready(url: str) -> None:
        # what start-up made stays: the collector need not walk it with every generation
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        print(f"gateway: listening at {url}", file=sys.stderr, flush=True)

    try:
        return _run(app.serve(settings, config=path, ready=ready))
    except PortTaken as e:
        raise Refused(str(e), "set another one with PORT= or `listen:`") from None
    except StateUnusable as e:
        raise Refused(str(e)) from None


def _run(main: Any) -> int:
    try:
        import uvloop
    except ImportError:  # not on every platform; the standard loop does the same, a sixth slower
        return int(asyncio.run(main))
    return int(uvloop.run(main))
