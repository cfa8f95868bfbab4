"""The command line. Exit codes: 0 done, 1 it did not work out, 2 the input or the configuration is wrong, 130 Ctrl+C.

One module per command: `add` describes its arguments, a function of the same name as the command does it. A command
says what can't be done by raising `Refused` before anything has started; `run` prints it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gateway import __version__
from gateway.cli.refused import Refused, refusal_of
from gateway.settings import ConfigErrors, NoCredentials, NotBuilt


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
    parsed = _parser().parse_args(args)
    try:
        code: int = parsed.run(parsed)
    except (Refused, ConfigErrors, NotBuilt) as e:
        return refusal_of(e, parsed.command, as_json=getattr(parsed, "json", False))
    except NoCredentials as e:
        return refusal_of(Refused(str(e)), parsed.command, as_json=getattr(parsed, "json", False))
    except KeyboardInterrupt:
        return 130
    return code


def _worker(args: list[str]) -> int:
    if args[:1] == ["llamacpp"]:
        from gateway.worker.llamacpp import main as llamacpp

        return llamacpp(args[1:])
    if args[:1] == ["keras"]:
        from gateway.worker.keras.serve import main as keras

        return keras(args[1:])
    print(
        "usage: gateway worker llamacpp --model FILE --port PORT [...]\n"
        "       gateway worker keras --preset NAME --port PORT [...]",
        file=sys.stderr,
    )
    return 0 if args[:1] in (["-h"], ["--help"]) else 2


def _parser() -> argparse.ArgumentParser:
    from gateway.cli import asking, check, doctor, init, serve  # the others start without what these need

    p = argparse.ArgumentParser(
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
