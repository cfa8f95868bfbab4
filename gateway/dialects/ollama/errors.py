"""Errors as clients of this dialect read them, `{"error": "text"}`, and what a server says in one.

Source: https://docs.ollama.com/api/errors
"""

from __future__ import annotations

from gateway.canonical.events import Fault
from gateway.dialects.fields import Json
from gateway.dialects.openai.errors import read_error as read_error  # the same shapes, and the same words in them
from gateway.errors import GatewayError, by_code


def render_error(error: GatewayError) -> Json:
    """The body of an error. The path of the field at fault stands at its head, and beside it with the code."""
    message = error.message
    if error.param and error.param not in message:
        message = f"{error.param}: {message}"
    out: Json = {"error": message, "code": error.code}
    if error.param is not None:
        out["param"] = error.param
    if error.detail:
        out["gateway"] = error.detail
    return out


def render_fault(fault: Fault) -> Json:
    """The same body for an error that an answer's events tell."""
    return render_error(by_code(fault.code)(fault.message, param=fault.param))
