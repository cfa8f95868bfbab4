"""The three-tool task for the fixtures, which call whatever they must call with the same words: a city, Paris."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]

CALLS = [(name, {"city": "Paris"}) for name in ("read_file_of", "edit_file_of", "run_count_of")]


def declared() -> list[Json]:
    """The tools' declarations, as JSON Schema: name, description, parameters."""
    about = ("Reads a city's file", "Makes a city's file say Bonjour", "Counts the words of a city's file")
    fields = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    schema = {**fields, "additionalProperties": False}
    return [
        {"name": name, "description": words, "parameters": schema}
        for (name, _), words in zip(CALLS, about, strict=True)
    ]


@dataclass
class CityHall:
    """A folder with a file for Paris. `called` = what was called so far."""

    folder: Path
    called: list[tuple[str, Json]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "Paris").write_text("Hello world", encoding="utf-8")

    def call(self, name: str, arguments: str | Json) -> str:
        given: Json = json.loads(arguments) if isinstance(arguments, str) else arguments
        self.called.append((name, given))
        path = self.folder / given["city"]
        if name == "edit_file_of":
            path.write_text(path.read_text("utf-8").replace("Hello", "Bonjour"), encoding="utf-8")
        words = path.read_text(encoding="utf-8")
        return str(len(words.split())) if name == "run_count_of" else words

    def check(self) -> None:
        assert self.called == CALLS
        assert (self.folder / "Paris").read_text(encoding="utf-8") == "Bonjour world"
