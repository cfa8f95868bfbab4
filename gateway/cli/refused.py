"""What a command can't do, said in one way: for a person, and with `--json` for a program."""

from __future__ import annotations

import json
import sys
from typing import Any

from gateway.settings import ConfigErrors, NotBuilt


class Refused(Exception):
    """A command ends here. `text` names the place and what was found, `fix` what to type or change; `code` is the exit
    code: 1 it did not work out, 2 the input is wrong."""

    def __init__(self, text: str, fix: str = "", *, code: int = 2) -> None:
        super().__init__(f"{text}: {fix}" if fix else text)
        self.text, self.fix, self.code = text, fix, code


def refusal_of(error: Refused | ConfigErrors | NotBuilt, command: str, *, as_json: bool) -> int:
    """Prints it, as JSON on standard output or as text on standard error; returns the exit code."""
    if as_json:
        print(json.dumps(_view(error), indent=2))
    elif isinstance(error, ConfigErrors):
        print(error, file=sys.stderr)
    elif isinstance(error, NotBuilt):
        print(f"gateway: {error}", file=sys.stderr)
    else:
        print(f"gateway {command}: {error}", file=sys.stderr)
    return error.code if isinstance(error, Refused) else 2


def _view(error: Refused | ConfigErrors | NotBuilt) -> dict[str, Any]:
    problems: list[dict[str, Any]]
    if isinstance(error, Refused):
        problems = [{"path": None, "line": None, "message": error.text, "fix": error.fix}]
    elif isinstance(error, NotBuilt):
        problems = [{"path": name, "line": None, "message": "this version does not do it"} for name in error.names]
    else:
        problems = [{"path": p.path, "line": p.line, "message": p.message} for p in error.problems]
    return {"ok": False, "problems": problems}
