"""Tools that the client runs itself, but declares by a type only: the models of this dialect's maker know them by
heart, others are told here what they take.

Sources: https://docs.claude.com/en/docs/agents-and-tools/tool-use/bash-tool, .../text-editor-tool, .../memory-tool
"""

from __future__ import annotations

from typing import Final

from gateway.canonical.requests import Tool
from gateway.dialects.fields import Json

_TEXT: Final[Json] = {"type": "string"}
_LINES: Final[Json] = {
    "type": "array",
    "items": {"type": "integer"},
    "description": "for `view`: first and last line, the last may be -1",
}


def _commands(names: str, fields: Json) -> Json:
    properties = {"command": {"type": "string", "enum": names.split()}, **fields}
    return {"type": "object", "properties": properties, "required": ["command"]}


_EDITS: Final[Json] = {
    "path": {"type": "string", "description": "of the file or directory"},
    "file_text": {"type": "string", "description": "for `create`: the whole content"},
    "old_str": {"type": "string", "description": "for `str_replace`: the text to replace, which must be unique"},
    "new_str": {"type": "string", "description": "for `str_replace`: the text in its place"},
    "insert_line": {"type": "integer", "description": "for `insert`: the line after which to insert, 0 = at the start"},
    "insert_text": {"type": "string", "description": "for `insert`: the text"},
    "view_range": _LINES,
}

_TOOLS: Final[dict[str, tuple[str, Json]]] = {
    "bash_2": (
        "Runs a command in a bash session that lasts from call to call.",
        {
            "type": "object",
            "properties": {
                "command": {"type": "string", "description": "the command to run"},
                "restart": {"type": "boolean", "description": "true starts the session anew"},
            },
        },
    ),
    "text_editor_2": ("Views, creates and edits text files.", _commands("view create str_replace insert", _EDITS)),
    "memory_2": (
        "Keeps notes in files under /memories, which last from conversation to conversation.",
        _commands("view create str_replace insert delete rename", {**_EDITS, "old_path": _TEXT, "new_path": _TEXT}),
    ),
}


def client_tool(kind: str, name: str) -> Tool | None:
    """The tool of that type as any model can be told it; None if it is no such tool."""
    for prefix, (description, parameters) in _TOOLS.items():
        if kind.startswith(prefix):
            return Tool(name, description, parameters)
    return None
