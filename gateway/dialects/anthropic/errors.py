"""Errors as clients of this dialect read them: `{"type": "error", "error": {"type", "message"}}`.

The path of the field at fault stands at the head of the message, where the API itself writes it, and in `param`; the
gateway's code stands in `code`. Source: https://docs.claude.com/en/api/errors
"""

from __future__ import annotations

from typing import Final

from gateway.canonical.events import Fault
from gateway.dialects.fields import Json
from gateway.errors import ContextTooLong, GatewayError, UnsupportedParameter, by_code

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_TOO_LONG: Final = "prompt is too long"
"""The words by which agents know that they must shorten the conversation."""
_NO_THREADS: Final[Json] = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
"""The sign by which the SDK's tool runner (2.x) knows that it must send whole conversations, and does it at once."""


def render_error(error: GatewayError) -> Json:
    """The body of an error. What the gateway knows beyond it stands in `error.gateway`."""
    message = error.message
    if isinstance(error, ContextTooLong) and _TOO_LONG not in message:
        message = f"{_TOO_LONG}: {message}"
    elif error.param and error.param not in message:
        message = f"{error.param}: {message}"
    inner: Json = {"type": error_type(error.status), "message": message, "code": error.code}
    if error.param is not None:
        inner["param"] = error.param
    if isinstance(error, UnsupportedParameter) and error.param == "thread":
        inner["details"] = _NO_THREADS
    if error.detail:
        inner["gateway"] = error.detail
    return {"type": "error", "error": inner}


def render_fault(fault: Fault) -> Json:
    """The same body for an error that an answer's events tell."""
    out = render_error(by_code(fault.code)(fault.message, param=fault.param))
    out["error"]["type"] = error_type(fault.status)
    return out


def error_type(status: int) -> str:
    """The dialect's word for a status."""
    return _TYPES.get(status, "invalid_request_error" if 400 <= status < 500 else "api_error")
