"""The command line. Exit codes: 0 done, 1 it did not work out, 2 the input or the configuration is wrong, 130 Ctrl+C.

One module per command: `add` describes its arguments, a function of the same name as the command does it. A command
says what can't be done by raising `Refused` before anything has started; `run` prints it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from gateway import __version__
from gateway.report.refused import Arguments, answered

OWN = ("serve", "init", "check", "explain", "caps", "doctor")
"""The commands of this package; each of the others has a command line of its own."""


def run(argv: Sequence[str]) -> int:
    """Runs one command; returns its exit code."""
    args = list(argv)
    if args[:1] == ["demo"]:
        from gateway.demo.run import main as demo

        return demo(args[1:])
    if args[:1] == ["worker"]:
        return _worker(args[1:])
    if args[:1] == ["connect"]:
        from gateway.connect.command import main as connect

        return connect(args[1:])
    if args[:1] == ["keys"]:
        from gateway.keys.command import main as keys

        return keys(args[1:])
    if args[:1] == ["compose"]:
        from gateway.compose.command import main as compose

        return compose(args[1:])
    command = args[0] if args and args[0] in OWN else ""
    return answered(command, args, lambda: _own(args), lines=command == "serve")


def _own(args: list[str]) -> int:
    parsed = _parser().parse_args(args)
    code: int = parsed.run(parsed)
    return code


def _worker(args: list[str]) -> int:
    if args[:1] == ["llamacpp"]:
        from gateway.worker.llamacpp import main as llamacpp

        return llamacpp(args[1:])
    if args[:1] == ["keras"]:
        from gateway.worker.keras.serve import main as keras

        return keras(args[1:])
    return answered("worker", args, lambda: _which_worker(args))


def _which_worker(args: list[str]) -> int:
    p = Arguments(
        prog="gateway worker",
        description="One model server in the foreground.",
        epilog="`gateway worker llamacpp --help` and `gateway worker keras --help` say what each takes.",
    )
    p.add_argument("kind", choices=["llamacpp", "keras"])
    p.parse_args(args)
    raise AssertionError("both kinds have their own command line")


def _parser() -> argparse.ArgumentParser:
    from gateway.cli import asking, check, doctor, init, serve  # the others start without what these need

    p = Arguments(
        prog="gateway",
        description="A routing gateway for multimodal model fleets.",
        epilog="exit codes: 0 done, 1 it did not work out, 2 the input or the configuration is wrong",
    )
    p.add_argument("--version", action="version", version=__version__)
    sub = p.add_subparsers(required=True, metavar="COMMAND", dest="command")
    serve.add(sub)
    init.add(sub)
    check.add(sub)
    asking.add(sub)
    doctor.add(sub)
    sub.add_parser("keys", help="the keys of clients: new, list, revoke (see gateway keys --help)")
    sub.add_parser("connect", help="what a client needs to use a gateway (see gateway connect --help)")
    sub.add_parser("compose", help="a compose file for this machine's hardware (see gateway compose --help)")
    sub.add_parser("demo", help="an embedded fleet of real llama.cpp servers (see gateway demo --help)")
    sub.add_parser("worker", help="one model server in the foreground (see gateway worker --help)")
    return p
