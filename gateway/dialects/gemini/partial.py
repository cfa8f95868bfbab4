"""A function's arguments that come piece by piece, each with the path of where it belongs.

`{"jsonPath": "$.items[0].name", "stringValue": "Par", "willContinue": true}`: pieces of one string are joined.
Source: https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling#streaming-fc.
"""

from __future__ import annotations

import re
from typing import Any, Final

from gateway.dialects.fields import Json

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,4})\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")
_VALUES: Final = ("stringValue", "numberValue", "boolValue", "nullValue")


class PartialCall:
    """A call under way. `arguments` is what has come so far."""

    __slots__ = ("arguments", "id", "name", "signature")

    def __init__(self, given: str, name: str) -> None:
        self.id = given
        self.name = name
        self.arguments: Json = {}
        self.signature: str | None = None

    def add(self, pieces: list[Any], whole: object, signature: str | None) -> None:
        """`whole`: arguments that came in one piece."""
        if isinstance(whole, dict):
            self.arguments |= whole
        self.signature = signature or self.signature
        for piece in pieces:
            if not isinstance(piece, dict) or not isinstance(piece.get("jsonPath"), str):
                continue
            key = next((k for k in _VALUES if k in piece), None)
            steps = _steps(piece["jsonPath"])
            if key is not None and steps:
                _put(self.arguments, steps, None if key == "nullValue" else piece[key])


def _steps(path: str) -> list[str | int]:
    return [int(m[2]) if m[2] else m[1] or m[3] or m[4] or "" for m in _STEP.finditer(path.removeprefix("$"))]


def _put(into: Any, steps: list[str | int], value: Any) -> None:
    here = into
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        if isinstance(step, int) and isinstance(here, list):
            here += [None] * (step + 1 - len(here))
        elif not isinstance(here, dict) or isinstance(step, int):
            return  # a path that contradicts an earlier one
        held = here.get(step) if isinstance(here, dict) else here[step]
        if after is None:
            joined = held + value if isinstance(held, str) and isinstance(value, str) else value
            here[step] = joined
            return
        if not isinstance(held, dict | list):
            held = here[step] = [] if isinstance(after, int) else {}
        here = held
