"""In whose words an error is told: its client's, whatever goes wrong before a dialect is at work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.dialects import anthropic, gemini, ollama
from gateway.server.answer import OPENAI, Shape

_ANTHROPIC: Final = Shape(anthropic.render_error)
_GEMINI: Final = Shape(gemini.render_error, gemini.http_status)
_BY_PATH: Final[tuple[tuple[str, Shape], ...]] = (
    ("/v1/messages", _ANTHROPIC),
    ("/api/", Shape(ollama.render_error)),
    ("/v1beta", _GEMINI),
    ("/v1alpha/", _GEMINI),
    ("/upload/", _GEMINI),
)
"""The head of a path -> the shape of all errors under it."""
_OPENAI_PATHS: Final = (
    *("/v1/chat/", "/v1/responses", "/v1/completions", "/v1/embeddings", "/v1/route/", "/v1/audio/", "/v1/images/"),
    *("/v1/rerank", "/v2/rerank", "/rerank", "/infill", "/v1/infill"),
)
_GEMINI_METHOD = re.compile(r"/(?:[^:]*/)?(?:models|tunedModels|endpoints)/.*:[A-Za-z]+")


def error_shape(path: str, headers: Mapping[bytes, bytes]) -> Shape:
    """Decided by the path, and where clients of several dialects use the same one, by what only one of them sends."""
    for head, shape in _BY_PATH:
        if path.startswith(head):
            return shape
    if not path.startswith(_OPENAI_PATHS):
        if b"anthropic-version" in headers:
            return _ANTHROPIC
        if speaks_gemini(headers) or (":" in path and _GEMINI_METHOD.fullmatch(path)):
            return _GEMINI
    return OPENAI


def speaks_gemini(headers: Mapping[bytes, bytes], query: bytes = b"") -> bool:
    """Is it a client of the Gemini API? On the paths that it shares with others only its signs tell."""
    if b"x-goog-api-key" in headers or b"x-goog-api-client" in headers:
        return True
    if headers.get(b"user-agent", b"").startswith(b"google-genai-sdk/"):
        return True
    return query.startswith((b"key=", b"pageSize=", b"pageToken=")) or any(
        sign in query for sign in (b"&key=", b"&pageSize=", b"&pageToken=")
    )
