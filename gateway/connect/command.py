"""The command itself: asks the gateway what it has, then prints, writes, or starts the client."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.connect.clients import CLIENTS, Connection
from gateway.connect.files import CannotMerge, write
from gateway.connect.fleet import Fleet, NoSuchModel, read, remarks
from gateway.report.refused import Arguments, Refused, answered

DEFAULT_URL = "http://127.0.0.1:4000"


def main(argv: Sequence[str]) -> int:
    """0 done, 1 there is no such gateway, model or client program, 2 the command line is wrong. With `-- run` the
    client takes this process's place."""
    return answered("connect", argv, lambda: _connect(*_split(list(argv))))


def _connect(own: list[str], given: list[str] | None) -> int:
    options = _parser().parse_args(own)
    if given is not None and given[:1] != ["run"]:
        raise Refused("after -- comes: run, and what the client is to be given")
    if options.json and (options.write or given is not None):
        raise Refused("--json only prints", "leave --write and run out")
    from gateway.report.asking import NoGateway  # not before the command line is read: it takes half a second

    try:
        fleet = asyncio.run(_fleet(options))
    except NoSuchModel as e:
        raise Refused(str(e), code=1) from None
    except NoGateway as e:
        raise Refused(e.text, e.fix, code=2 if e.wrong else 1) from None
    connection = CLIENTS[options.client](fleet)
    if options.write and not _write(connection, options.client):
        return 1
    if options.write or given is not None:
        sys.stderr.writelines(f"gateway connect: {remark}\n" for remark in remarks(fleet))
    if given is not None:
        return _run(connection, given[1:], wrote=options.write)
    if options.json:
        _say(json.dumps(view(CLIENTS[options.client](shown(fleet)), fleet), indent=2))
    elif not options.write:
        sys.stdout.write(told(CLIENTS[options.client](shown(fleet)), fleet, os.environ))
    return 0


def _split(argv: list[str]) -> tuple[list[str], list[str] | None]:
    at = argv.index("--") if "--" in argv else None
    return (argv, None) if at is None else (argv[:at], argv[at + 1 :])


def _parser() -> argparse.ArgumentParser:
    p = Arguments(
        prog="gateway connect",
        description="What a client needs to use a running gateway: the exact environment or file.",
        epilog="`-- run ...` starts the client with it; what follows `run` is the client's own.",
    )
    p.add_argument("client", choices=list(CLIENTS))
    p.add_argument("--url", default=DEFAULT_URL, help="the gateway (%(default)s)")
    p.add_argument("--model", help="the model that the client asks for (default: the first that suits an agent)")
    p.add_argument("--key-env", default="GATEWAY_API_KEY", help="the variable that holds the gateway's key")
    p.add_argument("--json", action="store_true", help="as JSON")
    p.add_argument("--write", action="store_true", help="put it into the client's file; what was there is kept beside")
    return p


async def _fleet(options: argparse.Namespace) -> Fleet:
    """Raises NoSuchModel or NoGateway."""
    from gateway.report.asking import gateway_url, running

    url, key = gateway_url(options.url), os.environ.get(options.key_env, "")
    async with running(url, key) as asking:
        cards = await asking.cards()
    return read(url, cards, name=options.model, key=key, key_env=options.key_env)


def shown(fleet: Fleet) -> Fleet:
    """The fleet as it may be printed: a reference in the place of the key."""
    return replace(fleet, key=f"${fleet.key_env}") if fleet.key_env else fleet


def told(connection: Connection, fleet: Fleet, env: Mapping[str, str]) -> str:
    """What to set, as a person would paste it. `connection` was made of `shown(fleet)`."""
    out = [f"# {fleet.url}   model {fleet.model.name}"]
    exports = {name: value for name, value in connection.env.items() if name not in env}
    out += [f"export {name}={_quoted(value)}" for name, value in exports.items()]
    for file in connection.files:
        out += ["", f"# {file.path}", file.text().rstrip("\n")]
        if file.secret:
            out.append(f"# {fleet.key_env} stands for its value here; --write puts the value in")
    if connection.argv:
        out += ["", f"# start: {shlex.join(connection.argv[:1])}"]
    out += [f"# {note}" for note in (*connection.notes, *remarks(fleet))]
    return "\n".join(out) + "\n"


def view(connection: Connection, fleet: Fleet) -> dict[str, Any]:
    """The same for a program. `connection` was made of `shown(fleet)`."""
    return {
        "gateway": fleet.url,
        "model": fleet.model.name,
        "key_env": fleet.key_env or None,
        "env": dict(connection.env),
        "files": [{"path": file.path, "text": file.text()} for file in connection.files],
        "start": list(connection.argv),
        "notes": [*connection.notes, *remarks(fleet)],
    }


def _quoted(value: str) -> str:
    return f'"{value}"' if value.startswith("$") else shlex.quote(value)


def _write(connection: Connection, client: str) -> bool:
    for file in connection.files:
        try:
            path, backup = write(file, Path.home())
        except CannotMerge as e:
            sys.stderr.write(f"gateway connect: {e}; nothing was changed in it. Put this in by hand:\n{file.text()}")
            return False
        except OSError as e:
            sys.stderr.write(f"gateway connect: can't write {file.path}: {e.strerror or e}\n")
            return False
        _say(f"{client}: {path}" + (f"   (what was there: {backup})" if backup else ""))
    for name in connection.env:
        if name not in os.environ:
            _say(f"{client}: it also wants {name} in its environment")
    return True


def _run(connection: Connection, args: list[str], *, wrote: bool) -> int:
    """Starts the client in this process's place; returns an exit code only if that can't be done."""
    if not connection.argv:
        raise Refused("this client is a service", "nothing to start here: leave `-- run` out")
    if not connection.alone and not wrote:
        raise Refused("this client reads its file only", "add --write")
    program = shutil.which(connection.argv[0])
    if program is None:
        raise Refused(f"{connection.argv[0]} is not installed (not found in PATH)", code=1)
    argv = [str(Path(word).expanduser()) if word.startswith("~/") else word for word in connection.argv]
    sys.stdout.flush()
    os.execve(program, [*argv, *args], {**os.environ, **connection.env, **connection.run_env})
    raise AssertionError("unreachable: execve does not return")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
