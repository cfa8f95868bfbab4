"""Errors, both ways: what a client reads, and what a server said inside an answer or a stream.

An error body is `{"error": {"message", "type", "param", "code"}}`, all four keys always. Servers also write
`{"error": "text"}`, `{"object": "error", ...}` and `{"error": "text", "error_type": "..."}`.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.canonical.events import Fault
from gateway.dialects.fields import Json
from gateway.errors import (
    ContextTooLong,
    GatewayError,
    Overloaded,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    by_code,
)

MAX_MESSAGE: Final = 2048
"""Characters of a server's message that are kept."""

_OVERLOADED: Final = ("overloaded", "unavailable", "rate_limit", "service unavailable", "server busy")
_TOO_LONG: Final = (
    "exceed_context_size",
    "context_length_exceeded",
    "maximum context length",
    "available context size",
    "max_kv_size",
)
_CLIENT: Final = ("invalid_request", "badrequest", "bad request", "validation")


def render_error(error: GatewayError) -> Json:
    """The body of an error. What the gateway knows beyond it stands in `error.gateway`."""
    inner: Json = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    if error.detail:
        inner["gateway"] = error.detail
    return {"error": inner}


def render_fault(fault: Fault) -> Json:
    """The same body for an error that an answer's events tell."""
    kind = by_code(fault.code).type
    if kind == "server_error" and fault.status < 500:
        kind = "invalid_request_error"
    return {"error": {"message": fault.message, "type": kind, "param": fault.param, "code": fault.code}}


def read_error(body: Any) -> Fault | None:
    """The error that `body` tells, or None if it tells none.

    `code` and `status` are the gateway's. The message is the server's own, at most MAX_MESSAGE characters long and not
    scrubbed: it may name files and addresses. Its other fields are in `extra["openai"]`.
    """
    if not isinstance(body, dict):
        return None
    inner = body.get("error")
    if inner is None or inner is False:
        if body.get("object") != "error":
            return None
        inner = {k: v for k, v in body.items() if k != "object"}
    elif isinstance(inner, str):
        inner = {"message": inner, "type": body.get("error_type")}
    elif not isinstance(inner, dict):
        inner = {"message": str(inner)}
    message = inner.get("message")
    words = message if isinstance(message, str) else "the server reported an error"
    others = {k: v for k, v in inner.items() if k != "message" and v is not None}
    found = _classify(words, inner.get("code"), inner.get("type"))
    param = inner.get("param")
    return Fault(
        code=found.code,
        message=words[:MAX_MESSAGE],
        status=found.status,
        param=param if isinstance(param, str) else None,
        extra={"openai": others} if others else None,
    )


def _classify(message: str, code: object, kind: object) -> type[GatewayError]:
    """A server's number beats its words. Its complaints about our key or our model name are its failure, not the
    client's."""
    words = f"{kind or ''} {code if isinstance(code, str) else ''} {message[:400]}".lower()
    if any(w in words for w in _TOO_LONG):
        return ContextTooLong
    number = code if isinstance(code, int) and not isinstance(code, bool) else 0
    if isinstance(code, str) and code.isdecimal() and len(code) == 3:
        number = int(code)
    label = f"{kind or ''} {code if isinstance(code, str) else ''}".lower()
    if number in (429, 503) or (not number and any(w in label for w in _OVERLOADED)):
        return Overloaded
    if number in (408, 504):
        return UpstreamTimeout
    if number in (400, 413, 422) or (not number and any(w in label for w in _CLIENT)):
        return UpstreamRefused
    return UpstreamError


def error_of(fault: Fault) -> GatewayError:
    """The exception for a fault: what an engine raises when nothing was sent to the client yet."""
    return by_code(fault.code)(fault.message, param=fault.param)
