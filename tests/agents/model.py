"""The scripted model of a coding agent's task: read a file, edit it, run a command, say so.

It calls the tools that the agent declares, by the names that agents give them. Which step is next is read off the
conversation (how many results are in it), so that agents that retry or start anew get what they need.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Called = tuple[str, Json]
Arguments = Callable[[str], Json]
"""A file's path -> what a tool is called with."""

FILE, BEFORE, AFTER = "hello.txt", "Hello world", "Goodbye world"
COMMAND = f"cat {FILE} && echo DONE-OK"
TASK = f"Read {FILE}, replace Hello with Goodbye in it, then run: {COMMAND}"
FINAL = f"All done: {FILE} now says Goodbye world."
ASIDE = "Greeting"
"""What is said to requests without tools: titles, summaries."""

_SHELL: dict[str, Callable[[str], Json]] = {
    "run_shell_command": lambda c: {"command": c, "description": "runs it", "is_background": False},
    "run_commands": lambda c: {"commands": [c]},
    "exec_command": lambda c: {"cmd": c},
    "shell_command": lambda c: {"command": c},
    "bash": lambda c: {"command": c, "description": "runs it"},
    "Bash": lambda c: {"command": c},
}
_READ: dict[str, Arguments] = {
    "read_files": lambda f: {"files": [{"path": f}]},
    "read_file": lambda f: {"file_path": f},
    "read": lambda f: {"filePath": f},
    "Read": lambda f: {"filepath": f},
}
_EDIT: dict[str, Arguments] = {
    "replace": lambda f: {"file_path": f, "instruction": "say goodbye", "old_string": BEFORE, "new_string": AFTER},
    "editor": lambda f: {"path": f, "old_text": BEFORE, "new_text": AFTER},
    "edit": lambda f: {"filePath": f, "oldString": BEFORE, "newString": AFTER},
    "Edit": lambda f: {"file_path": f, "old_string": BEFORE, "new_string": AFTER},
}
_WITHOUT_READ = f"cat {FILE}"
_WITHOUT_EDIT = f"sed -i s/Hello/Goodbye/ {FILE}"
PATCH = f"*** Begin Patch\n*** Update File: {FILE}\n@@\n-{BEFORE}\n+{AFTER}\n*** End Patch\n"


def script(folder: Path) -> Callable[[Json], Called | str]:
    """The model, for a task in `folder`."""
    path = str(folder / FILE)

    def next_step(body: Json) -> Called | str:
        tools = {t["function"]["name"]: t["function"].get("parameters") or {} for t in body.get("tools") or []}
        if not tools:
            return ASIDE
        seen = sum(m["role"] == "tool" for m in body["messages"])
        steps = (lambda: _read(tools, path), lambda: _edit(tools, path), lambda: _run(tools, COMMAND))
        return steps[seen]() if seen < len(steps) else FINAL

    return next_step


def _read(tools: dict[str, Json], path: str) -> Called:
    return _first(_READ, tools, path) or _run(tools, _WITHOUT_READ)


def _edit(tools: dict[str, Json], path: str) -> Called:
    if "apply_patch" in tools:
        [name] = tools["apply_patch"].get("required") or ["input"]
        return "apply_patch", {name: PATCH}
    return _first(_EDIT, tools, path) or _run(tools, _WITHOUT_EDIT)


def _run(tools: dict[str, Json], command: str) -> Called:
    found = _first(_SHELL, tools, command)
    for name in tools if found is None else ():
        if name.endswith("exec"):  # it takes JavaScript, which calls the agent's own tools
            return name, {
                "input": f"const r = await tools.exec_command({{cmd: {json.dumps(command)}}}); text(r.output);"
            }
    assert found is not None, f"no tool here runs commands: {sorted(tools)}"
    return found


def _first(table: dict[str, Arguments], tools: dict[str, Json], word: str) -> Called | None:
    for name, arguments in table.items():
        if name in tools:
            return name, _suited(arguments(word), tools[name])
    return None


def _suited(given: Json, schema: Json) -> Json:
    """The same under the names that this agent's tool of that name has: two agents call a tool `read` or `edit`."""
    known = schema.get("properties") or given
    if all(name in known for name in given):
        return given
    by_meaning = {_meaning(name): value for name, value in given.items()}
    out = {name: by_meaning[_meaning(name)] for name in known if _meaning(name) in by_meaning}
    if "edits" in known:
        inner = known["edits"]["items"]["properties"]
        out["edits"] = [{n: by_meaning[_meaning(n)] for n in inner if _meaning(n) in by_meaning}]
    return out


def _meaning(name: str) -> str:
    low = name.lower()
    for word in ("old", "new", "path", "command", "cmd", "description"):
        if word in low:
            return word
    return low
