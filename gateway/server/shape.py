"""In whose words an error is told: its client's, whatever goes wrong before a dialect is at work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.dialects import anthropic, ollama, openai
from gateway.server.answer import Shape

_BY_PATH: Final[tuple[tuple[str, Shape], ...]] = (
    ("/v1/messages", anthropic.render_error),
    ("/api/", ollama.render_error),
)
"""The head of a path -> the shape of all errors under it."""


def error_shape(path: str, headers: Mapping[bytes, bytes]) -> Shape:
    """Decided by the path, and where clients of several dialects use the same one, by what only one of them sends."""
    for head, shape in _BY_PATH:
        if path.startswith(head):
            return shape
    if b"anthropic-version" in headers and not path.startswith(("/v1/chat/", "/v1/responses")):
        return anthropic.render_error
    return openai.render_error
