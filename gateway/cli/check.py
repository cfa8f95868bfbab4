"""`gateway check`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gateway.cli.configured import config_arguments, configuration
from gateway.settings import refuse_unbuilt


def add(sub: Any) -> None:
    p = sub.add_parser("check", help="read a configuration and say everything that is wrong with it")
    config_arguments(p)
    p.add_argument("--json", action="store_true", help="as JSON")
    p.set_defaults(run=check)


def check(args: argparse.Namespace) -> int:
    settings, path = configuration(args)
    refuse_unbuilt(settings)
    if settings.tls is not None:
        from gateway.server.certificate import check_certificate

        check_certificate(settings.tls)
    if args.json:
        print(json.dumps({"ok": True, "backends": list(settings.backends), "models": list(settings.models)}, indent=2))
    else:
        backends = ", ".join(settings.backends) or "none"
        models = ", ".join(settings.models) or "none (every discovered model is served under its own name)"
        what = path or "no file here, so the defaults and the environment"
        print(f"{what}: ok\n  backends: {backends}\n  models: {models}")
    return 0
