"""A task in three calls: read a file, edit it, run a command. Tools do it in a folder; a script says which is next."""

from __future__ import annotations

import itertools
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]

FILE, BEFORE, AFTER = "hello.txt", "Hello world", "Goodbye, \u201cworld\u201d \\ {1}"
"""The new line has what markup, JSON and shells trip over."""
COMMAND = f"cat {FILE} && echo DONE-OK"
FINAL = "All done: the file is edited."
ASK = "Replace the greeting in hello.txt, then show the file."

CALLS: list[tuple[str, Json]] = [
    ("read_file", {"path": FILE}),
    ("edit_file", {"path": FILE, "old": BEFORE, "new": AFTER}),
    ("run_command", {"command": COMMAND}),
]
"""What must be called, in this order, whatever server and API it came through."""


def tools() -> list[Json]:
    """The tools' declarations, as JSON Schema: name, description, parameters."""
    about = {"read_file": "Reads a file", "edit_file": "Replaces a text", "run_command": "Runs a shell command"}
    return [{"name": n, "description": about[n], "parameters": _schema(a)} for n, a in CALLS]


def _schema(arguments: Json) -> Json:
    fields = {name: {"type": "string"} for name in arguments}
    return {"type": "object", "properties": fields, "required": list(arguments), "additionalProperties": False}


@dataclass
class Workshop:
    """A folder with the file. `called` = what was called so far."""

    folder: Path
    called: list[tuple[str, Json]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.file.write_text(f"{BEFORE}\n", encoding="utf-8")

    @property
    def file(self) -> Path:
        return self.folder / FILE

    def call(self, name: str, arguments: str | Json) -> str:
        """Does what was called, really; the result that goes back to the model."""
        given: Json = json.loads(arguments) if isinstance(arguments, str) else arguments
        self.called.append((name, given))
        if name == "read_file":
            return (self.folder / given["path"]).read_text(encoding="utf-8")
        if name == "edit_file":
            path = self.folder / given["path"]
            path.write_text(path.read_text("utf-8").replace(given["old"], given["new"]), encoding="utf-8")
            return "edited"
        assert name == "run_command", name
        done = subprocess.run(["sh", "-c", given["command"]], cwd=self.folder, capture_output=True, check=True)
        return done.stdout.decode()

    def check(self) -> None:
        """Everything was called as it should be, once, and happened."""
        assert self.called == CALLS
        assert self.file.read_text(encoding="utf-8") == f"{AFTER}\n"


def results(body: Json) -> list[Json]:
    """The results of tools in a chat's body, as an upstream gets it."""
    return [m for m in body.get("messages", []) if m["role"] == "tool"]


def next_step(body: Json) -> tuple[str, Json] | str:
    """What a model that knows the task says, by how many results it has seen."""
    seen = len(results(body))
    return CALLS[seen] if seen < len(CALLS) else FINAL


def check_upstream(bodies: list[Json]) -> None:
    """What the server got over the whole task: each request begins with all of the one before, each result goes with
    its call, and arguments came back as they were."""
    assert len(bodies) == len(CALLS) + 1, [len(b["messages"]) for b in bodies]
    for before, after in itertools.pairwise(bodies):
        assert after["messages"][: len(before["messages"])] == before["messages"]
        assert after["tools"] == before["tools"]
    history = bodies[-1]["messages"]
    made = [c for m in history if m["role"] == "assistant" for c in m.get("tool_calls") or []]
    assert [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in made] == CALLS
    assert [r["tool_call_id"] for r in results(bodies[-1])] == [c["id"] for c in made]
    assert len({c["id"] for c in made}) == len(CALLS)
    said = [r["content"] if isinstance(r["content"], str) else r["content"][0]["text"] for r in results(bodies[-1])]
    assert BEFORE in said[0] and said[1] == "edited" and "DONE-OK" in said[2] and AFTER in said[2]
