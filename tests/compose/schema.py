"""Is it a compose file? `python -m tests.compose.schema FILE...` says what is wrong with each; `make check` runs it.

The reader is strict: a key that the Compose Specification does not have, a value of another type, a network or a volume
that is not declared. It wants values, not variables: those are filled in with their defaults first.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from compose_spec import PyCompose

from gateway.compose.up import filled

GATEWAY = "10.0.0.1"
"""Takes the place of `host-gateway`, which the reader does not know."""


def problems(text: str) -> list[str]:
    """What is wrong with a compose file; nothing if it is one."""
    try:
        document = _filled(yaml.safe_load(text))
        PyCompose.from_json(json.dumps(document)).validate()
    except (ValueError, yaml.YAMLError) as e:
        return [str(e)]
    return [*_unknown_services(document["services"])]


def _filled(value: Any) -> Any:
    match value:
        case str():
            return filled(value, {}).replace("host-gateway", GATEWAY)
        case list():
            return [_filled(v) for v in value]
        case dict():
            return {k: _filled(v) for k, v in value.items()}
        case _:
            return value


def _unknown_services(services: dict[str, Any]) -> list[str]:
    """A service waits for others that are there, and start whenever it does."""
    found = []
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            if other not in services:
                found.append(f"services.{name}.depends_on: there is no {other}")
                continue
            profiles = set(services[other].get("profiles", ()))
            if profiles and not profiles >= set(service.get("profiles") or {"(none)"}):
                found.append(f"services.{name}.depends_on: {other} does not start in each of its profiles")
    return found


def main(argv: Sequence[str]) -> int:
    wrong = [f"{name}: {problem}" for name in argv for problem in problems(Path(name).read_text(encoding="utf-8"))]
    sys.stdout.write(
        "".join(f"{line}\n" for line in wrong) or f"{', '.join(argv)}: as the Compose Specification has it\n"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
