"""`gateway serve`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import nofile
from gateway.cli.configured import config_arguments, config_file
from gateway.cli.terminal import coloured, columns
from gateway.report.refused import Refused, port_number
from gateway.settings import Settings, defaults, load, refuse_unbuilt

if TYPE_CHECKING:
    from gateway.engine.fleet import Fleet
    from gateway.engine.scan import Scan


def add(sub: Any) -> None:
    p = sub.add_parser(
        "serve",
        help="serve the fleet of a configuration, or what is found without one",
        epilog="Without a file it serves what answers at the usual ports of this machine, and what "
        "GATEWAY_BACKEND_<NAME>=url and GEMINI_API_KEY name. It prints the file that says the same.",
    )
    config_arguments(p)
    p.add_argument("--port", type=port_number, help="listen at this port instead")
    nofile.scan_arguments(p)
    p.add_argument(
        "--json", action="store_true", help="what was found, and the address, as JSON lines on standard output"
    )
    p.set_defaults(run=serve)


def serve(args: argparse.Namespace) -> int:
    if args.port is not None:
        os.environ["PORT"] = str(args.port)
    path = config_file(args)
    nofile.only_without(path, args)
    # the environment's own part is judged, and the port tried, before anything is looked for
    settings = defaults(os.environ) if path is None else load(path, os.environ)
    refuse_unbuilt(settings)
    free(settings)
    return _run(_served(args, settings, path))


async def _served(args: argparse.Namespace, settings: Settings, path: Path | None) -> int:
    from gateway import app
    from gateway.engine.state import StateUnusable
    from gateway.server.listener import PortTaken

    scan: Scan | None = None
    if path is None:
        found = await nofile.look(args)
        settings, scan = found.settings, found.scan
    if not settings.backends and scan is None:
        where = f"{path} names no backends" if path else "nothing names a backend"
        raise Refused(where, "`gateway init` writes a file of what it finds; `gateway demo` brings servers of its own")
    told = _Told(scan, path, as_json=args.json)
    serving = app.serve(settings, config=path, scan=scan, looked=told.looked, ready=told.ready)
    try:
        return await serving
    except PortTaken as e:
        raise Refused(str(e), "set another one with PORT= or `listen:`") from None
    except StateUnusable as e:
        raise Refused(str(e), "name a folder that can be written, or take `state:` out") from None


def free(settings: Settings) -> None:
    """Raises Refused, with who has it, where an address can't be listened at."""
    from gateway.server.listener import PortTaken, listen
    from gateway.server.ports import holder, next_free

    for address in (*settings.listen, *settings.admin.listen):
        try:
            listen(address.host, address.port).close()
        except PortTaken as e:
            if not e.in_use:
                raise Refused(str(e), "correct `listen:` (or GATEWAY_LISTEN)") from None
            other = next_free("127.0.0.1", address.port)
            fix = f"stop that one, or type  gateway serve --port {other}" if other else "set another one with --port"
            raise Refused(f"port {address.port} is in use by {holder(address.port)}", fix) from None


class _Told:
    """What is printed while it starts, and when another server is found."""

    def __init__(self, scan: Scan | None, path: Path | None, *, as_json: bool) -> None:
        self._scan, self._path, self._json = scan, path, as_json
        self._known: set[str] | None = None

    def looked(self, fleet: Fleet) -> None:
        from gateway.report import found

        if self._known is None:
            seen = found.view(fleet, self._scan)
            if self._json:
                _line({"found": seen})
            elif self._path is None:
                _say(found.told(seen, columns(), colour=coloured(sys.stderr)))
                _say(_next(seen, self._scan))
            elif sys.stderr.isatty():  # a person; elsewhere it is a log, and its lines are JSON
                _say(found.told(seen, columns(), colour=coloured(sys.stderr), where=str(self._path)) + "\n")
        else:
            for name in fleet.servers.keys() - self._known:
                server = fleet.servers[name]
                if self._json:
                    _line({"also_found": {"backend": name, "kind": server.kind, "url": server.settings.url}})
                else:
                    _say(f"gateway: found {name}: {server.kind} at {server.settings.url}")
        self._known = set(fleet.servers)

    def ready(self, url: str) -> None:
        # what start-up made stays: the collector need not walk it with every generation
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        if self._json:
            _line({"listening": url})
        _say(f"gateway: listening at {url}")


def _next(seen: dict[str, Any], scan: Scan | None) -> str:
    """What a person may do now."""
    if not seen["backends"]:
        return (
            "\nNone yet: start a model server, and it is found within seconds. A server elsewhere: --scan HOST, or\n"
            "GATEWAY_BACKEND_<NAME>=http://HOST:PORT. To try without one: gateway demo\n"
        )
    later = " Servers that come up later are found, too." if scan else ""
    return f"\nThe same as a file (`gateway init` writes it).{later}\n\n{seen['yaml']}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _line(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def _run(main: Any) -> int:
    try:
        import uvloop
    except ImportError:  # not on every platform; the standard loop does the same, a sixth slower
        return int(asyncio.run(main))
    return int(uvloop.run(main))
