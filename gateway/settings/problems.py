"""What can be wrong with a configuration, and how it is told: all at once, each with its place and the choices."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

Where = tuple[str | int, ...]
"""A place in the file: the keys and list indices that lead to it."""

_PLAIN_KEY = re.compile(r"[\w./:@*+-]+")


@dataclass(slots=True, frozen=True)
class ConfigProblem:
    """`path` is the YAML path (`backends.ears.kind`), or the name of an environment variable where `source` is
    `environment`. `line` counts from 1; None where no line can be named."""

    path: str
    message: str
    line: int | None = None
    source: str = "gateway.yaml"

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return ": ".join(p for p in (place, self.path, self.message) if p)


class ConfigErrors(Exception):
    """Everything that is wrong with a configuration, in the order of the file. Its text is one line each."""

    def __init__(self, problems: Iterable[ConfigProblem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: p.line or 0))
        super().__init__("\n".join(map(str, self.problems)))


def path_text(where: Where) -> str:
    """`("models", "gemma", "targets", 0)` -> `models.gemma.targets[0]`."""
    out = ""
    for step in where:
        if isinstance(step, int):
            out += f"[{step}]"
        else:
            name = step if _PLAIN_KEY.fullmatch(step) else json.dumps(step)
            out += f".{name}" if out else name
    return out


def choices(given: str, valid: Iterable[str]) -> str:
    """`(choices: a, b, c; did you mean b?)`: what could stand where `given` stands."""
    names = sorted(valid)
    if not names:
        return "(there is none)"
    nearest = get_close_matches(given.lower(), names, n=1, cutoff=0.6)
    return f"(choices: {', '.join(names)}{f'; did you mean {nearest[0]}?' if nearest else ''})"


def quoted(value: str) -> str:
    """A value as a message shows it: one line, of bounded length."""
    return repr(value if len(value) <= 60 else value[:57] + "...")


class NoCredentials(Exception):
    """A server takes no lasting key, and this machine has nothing to get a token with. The words are for the operator,
    with the line to type."""
