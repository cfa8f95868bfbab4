"""Errors in the shape of google.rpc.Status, both ways.

`{"error": {"code": 429, "message": "...", "status": "RESOURCE_EXHAUSTED", "details": [...]}}`: `code` is the HTTP
status, an integer always, and `error` the first key: SDKs look at the first bytes of an event for it. Servers also send
a list of one such object. Source: https://cloud.google.com/apis/design/errors.
"""

from __future__ import annotations

import re
from typing import Any, Final

from gateway import errors
from gateway.canonical.events import Fault
from gateway.dialects.fields import Json
from gateway.dialects.gemini.fields import DIALECT
from gateway.dialects.openai.errors import MAX_MESSAGE
from gateway.errors import GatewayError

_STATUS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_AS: Final = {408: 504, 413: 400, 415: 400, 422: 400, 431: 400, 502: 503}
"""Statuses that google.rpc has no word for -> the ones that it has."""
_TYPES: Final = "type.googleapis.com/google.rpc."
_WAIT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_CONTEXT = re.compile(r"(?i)input token count[^.]{0,60}exceeds|exceeds the maximum number of tokens|context length")
_CONTEXT_WORDS = re.compile(r"(?i)input token count[^.]{0,60}exceeds the maximum")
_TOO_LONG: Final = "The input token count exceeds the maximum number of tokens allowed"
"""The API's own words, by which agents know that they must shorten the conversation."""

_MEANS: Final[dict[str, type[GatewayError]]] = {
    "INVALID_ARGUMENT": errors.UpstreamRefused,
    "OUT_OF_RANGE": errors.UpstreamRefused,
    "FAILED_PRECONDITION": errors.BadCredentials,
    "UNAUTHENTICATED": errors.BadCredentials,
    "PERMISSION_DENIED": errors.BadCredentials,
    "NOT_FOUND": errors.ModelGone,
    "UNIMPLEMENTED": errors.ModelGone,
    "RESOURCE_EXHAUSTED": errors.UpstreamRateLimited,
    "UNAVAILABLE": errors.UpstreamBusy,
    "DEADLINE_EXCEEDED": errors.UpstreamTimeout,
    "ABORTED": errors.UpstreamError,
    "CANCELLED": errors.UpstreamError,
    "INTERNAL": errors.UpstreamError,
    "UNKNOWN": errors.UpstreamError,
    "DATA_LOSS": errors.UpstreamError,
}
_BY_NUMBER: Final[dict[int, type[GatewayError]]] = {
    400: errors.UpstreamRefused,
    401: errors.BadCredentials,
    403: errors.BadCredentials,
    404: errors.ModelGone,
    413: errors.TooLarge,
    422: errors.UpstreamRefused,
    429: errors.UpstreamRateLimited,
    499: errors.UpstreamError,
    500: errors.UpstreamError,
    502: errors.UpstreamUnavailable,
    503: errors.UpstreamBusy,
    504: errors.UpstreamTimeout,
}


def http_status(error: GatewayError) -> int:
    """The status that goes with an error in this dialect. A server that failed is INTERNAL, one that can't be reached
    UNAVAILABLE: clients try again for both."""
    status = error.status
    if status == 502 and error.failover != "next":
        return 500
    return _AS.get(status, status)


def render_error(error: GatewayError) -> Json:
    """The body of an error. The field at fault is named where it is one of this client's own request: what a server
    calls a field is a word of another dialect."""
    status = http_status(error)
    details: list[Json] = []
    message = error.message
    if isinstance(error, errors.ContextTooLong) and not _CONTEXT_WORDS.search(message):
        message = f"{_TOO_LONG}: {message}"
    upstream = isinstance(error, errors.UpstreamRefused | errors.UpstreamError)
    if error.param is not None and status == 400 and not upstream:
        field = "contents" if error.param == "messages" else error.param  # the prompt as a whole
        violation = {"field": field, "description": message}
        details.append({"@type": f"{_TYPES}BadRequest", "fieldViolations": [violation]})
    if not upstream:
        details.append({"@type": f"{_TYPES}ErrorInfo", "reason": error.code.upper(), "domain": "gateway"})
    if error.retry_after is not None:
        details.append({"@type": f"{_TYPES}RetryInfo", "retryDelay": _delay(error.retry_after)})
    inner: Json = {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN")}
    if details:
        inner["details"] = details
    if error.detail:
        inner["gateway"] = error.detail
    return {"error": inner}


def render_fault(fault: Fault) -> Json:
    """The same body for an error that an answer's events tell."""
    return render_error(error_of(fault))


def _delay(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def error_of(fault: Fault) -> GatewayError:
    """The exception for a fault."""
    return errors.by_code(fault.code)(fault.message, param=fault.param, code=fault.code)


def error_object(body: Any) -> Json | None:
    """The `error` object of a body, also of a list of one; None if it tells none."""
    if isinstance(body, list):
        body = body[0] if body else None
    inner = body.get("error") if isinstance(body, dict) else None
    if isinstance(inner, str) and inner:
        return {"message": inner}
    return inner if isinstance(inner, dict) and inner else None


def read_fault(body: Any) -> Fault | None:
    """The error that `body` tells, or None. The message is the server's own and not scrubbed. Its other fields are in
    `extra["gemini"]`."""
    inner = error_object(body)
    if inner is None:
        return None
    error = read_error(inner)
    others = {k: v for k, v in inner.items() if k != "message" and v is not None}
    return Fault(error.code, error.message, error.status, extra={DIALECT: others} if others else None)


def read_error(inner: Json, http: int = 0) -> GatewayError:
    """What an `error` object means. `http` = the status that it came with, where it stands for a whole reply."""
    message = inner.get("message")
    words = message[:MAX_MESSAGE] if isinstance(message, str) else "the server reported an error"
    code = inner.get("code")
    number = code if isinstance(code, int) and not isinstance(code, bool) else http
    name = inner.get("status")
    if reasons(inner) & {"API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "ACCESS_TOKEN_EXPIRED"}:
        return errors.BadCredentials(words)
    if _CONTEXT.search(words) and (number in (0, 400) or name == "INVALID_ARGUMENT"):
        return errors.ContextTooLong(words, param="contents")
    found = _MEANS.get(name) if isinstance(name, str) else None
    kind = found or _BY_NUMBER.get(number) or (errors.UpstreamRefused if 400 <= number < 500 else errors.UpstreamError)
    wait = retry_delay(inner)
    if kind is errors.UpstreamRateLimited and _per_day(inner):
        return kind(words, retry_after=wait, code="insufficient_quota")
    return kind(words, retry_after=wait)


def reasons(inner: Json) -> set[str]:
    """The reasons that its details name."""
    return {d["reason"] for d in _details(inner) if isinstance(d.get("reason"), str)}


def retry_delay(inner: Json) -> float | None:
    """Seconds of its RetryInfo (`47.434392449s`); None if it has none."""
    for detail in _details(inner):
        found = detail.get("retryDelay")
        if isinstance(found, str) and (match := _WAIT.fullmatch(found)):
            return float(match[1])
    return None


def _per_day(inner: Json) -> bool:
    """A day's quota is used up: waiting a minute does not help."""
    violations = [v for d in _details(inner) for v in d.get("violations") or () if isinstance(v, dict)]
    return any("PerDay" in str(v.get("quotaId", "")) for v in violations)


def _details(inner: Json) -> list[Json]:
    found = inner.get("details")
    return [d for d in found if isinstance(d, dict)] if isinstance(found, list) else []
