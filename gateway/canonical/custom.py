"""Custom tools, which take free text, as functions: nearly every server knows functions only.

The text is the one argument of the function. `gateway.filters.custom_tools` turns the calls back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from gateway.canonical.requests import Tool

FIELD: Final = "input"
"""The argument that holds the text."""


def as_function(tool: Tool) -> Tool:
    """The function that a model can be given for a custom tool; other tools as they are. A grammar is told in words:
    a server that does not know the tool holds nobody to it."""
    if tool.kind != "custom":
        return tool
    about = "The whole input of the tool as it is, free text."
    form: dict[str, Any] = tool.format or {}
    if isinstance(form.get("grammar"), dict):  # chat completions nest what the Responses API writes flat
        form = {**form, **form["grammar"]}
    if form.get("type") == "grammar":
        about = f"The whole input of the tool as it is, in this {form.get('syntax')} grammar:\n{form.get('definition')}"
    return replace(tool, kind="function", format=None, parameters=_parameters(about))


def _parameters(about: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {FIELD: {"type": "string", "description": about}},
        "required": [FIELD],
        "additionalProperties": False,
    }
