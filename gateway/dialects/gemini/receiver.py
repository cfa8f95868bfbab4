"""What differs between the servers that speak this dialect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

SchemaForm = Literal["json_schema", "openapi"]
LEVELS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Efforts, by how much they ask for."""


@dataclass(slots=True, frozen=True)
class Receiver:
    """How one server wants its requests. The defaults are the whole dialect.

    `call_ids`: calls and results of a request carry their ids (elsewhere that is an unknown field). `schema_form`: how
    schemas are written. `levels`: the thinking levels that it takes; none = it takes a budget, where `budget` is true,
    or nothing. `validated`: it has the mode that holds calls to their schemas. `thoughts`: it gets the thoughts of
    earlier turns back. `resolution`: it takes a media resolution. `result_media`: the result of a tool may hold media.
    `unasked`: it sends its thoughts whether it is asked for them or not. `placeholder`: it refuses calls whose
    signature was lost, unless they carry one that says so. `extras`: it gets the dialect's other fields.
    """

    call_ids: bool = True
    schema_form: SchemaForm = "json_schema"
    levels: frozenset[str] = field(default_factory=lambda: frozenset(("minimal", "low", "medium", "high", "xhigh")))
    budget: bool = True
    validated: bool = True
    thoughts: bool = True
    resolution: bool = True
    result_media: bool = True
    unasked: bool = False
    placeholder: bool = False
    extras: bool = True


WHOLE: Final = Receiver()
"""The dialect in full: what `parse_request` is the inverse of."""


def nearest_level(effort: str, levels: frozenset[str]) -> str:
    """The level for an effort: the same, or what is next to it, down for little effort and up for much."""
    if effort in levels:
        return effort
    at = LEVELS.index(effort)
    lower = [name for name in LEVELS[:at] if name in levels]
    higher = [name for name in LEVELS[at + 1 :] if name in levels]
    if at >= LEVELS.index("medium"):
        return higher[0] if higher else lower[-1]
    return lower[-1] if lower else higher[0]
