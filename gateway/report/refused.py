"""What a command can't do, said in one way: for a person, and with `--json` for a program."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from gateway.settings import ConfigErrors, NoCredentials, NotBuilt


class Refused(Exception):
    """A command ends here. `text` names the place and what was found, `fix` what to type or change; `code` is the exit
    code: 1 it did not work out, 2 the input is wrong. `command`: the words of the command, where they are known better
    than by who prints it. `more`: what a program is told beside, as JSON."""

    def __init__(
        self, text: str, fix: str = "", *, code: int = 2, command: str = "", more: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{text}: {fix}" if fix else text)
        self.text, self.fix, self.code, self.command, self.more = text, fix, code, command, more or {}


class Arguments(argparse.ArgumentParser):
    """A parser that raises Refused for what was typed wrong, which argparse would print with all that may be typed.
    Words of options are not guessed from their beginnings: a script would break when there is another option."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **more})

    def error(self, message: str) -> NoReturn:
        raise Refused(message, f"`{self.prog} --help` shows what it takes", command=self.prog)


def port_number(text: str) -> int:
    """For an option; 0 = any that is free."""
    if not (text.isascii() and text.isdecimal() and int(text) < 65_536):
        raise argparse.ArgumentTypeError("must be a port number from 0 to 65535")
    return int(text)


def answered(command: str, argv: Sequence[str], act: Callable[[], int], *, lines: bool = False) -> int:
    """The exit code of `act`, or of what it could not do, which is printed: as JSON where `argv` has --json. `lines`:
    the command prints JSON lines, so this is one as well."""
    try:
        return act()
    except NoCredentials as e:
        return _refusal(Refused(str(e)), command, argv, lines=lines)
    except (Refused, ConfigErrors, NotBuilt) as e:
        return _refusal(e, command, argv, lines=lines)
    except KeyboardInterrupt:
        return 130


def wants_json(argv: Sequence[str]) -> bool:
    """Also of arguments that can't be read otherwise. What stands behind `--` is another program's."""
    own = argv[: argv.index("--")] if "--" in argv else argv
    return "--json" in own


def _refusal(error: Refused | ConfigErrors | NotBuilt, command: str, argv: Sequence[str], *, lines: bool) -> int:
    if wants_json(argv):
        sys.stdout.write(json.dumps(_view(error), indent=None if lines else 2) + "\n")
        sys.stdout.flush()
    elif isinstance(error, ConfigErrors):
        sys.stderr.write(f"{error}\n")
    elif isinstance(error, NotBuilt):
        sys.stderr.write(f"gateway: {error}\n")
    else:
        sys.stderr.write(f"{error.command or f'gateway {command}'.rstrip()}: {error}\n")
    return error.code if isinstance(error, Refused) else 2


def _view(error: Refused | ConfigErrors | NotBuilt) -> dict[str, Any]:
    more: Mapping[str, Any] = {}
    if isinstance(error, Refused):
        problems = [_problem(error.text, fix=error.fix)]
        more = error.more
    elif isinstance(error, NotBuilt):
        problems = [_problem("this version does not do it", path=n, fix="take it out") for n in error.names]
    else:
        problems = [_problem(p.message, source=p.source, path=p.path, line=p.line) for p in error.problems]
    return {"ok": False, "problems": problems, **more}


def _problem(message: str, *, source: str = "", path: str = "", line: int | None = None, fix: str = "") -> Any:
    """`source` = the file, or `environment`; `path` within it. None = there is none, or the message says it."""
    return {"source": source or None, "path": path or None, "line": line, "message": message, "fix": fix or None}
