"""What a server's error means: any server's shape of error -> one class of gateway.errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from gateway import errors
from gateway.backends.wire.scrub import scrub
from gateway.backends.wire.values import as_text

LONGEST_WAIT = 300.0
"""Seconds: no `Retry-After` is believed beyond this."""

_NEVER = re.compile(r"(?!)")
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|h1|center)\b", re.IGNORECASE | re.DOTALL)
_TRACE = re.compile(r"Traceback \(most recent call last\)|\bFile \"[^\"]+\", line \d+|^\s+at \S+\(", re.MULTILINE)
_FIELD = re.compile(r"[A-Za-z0-9_.\[\]-]{1,128}")
_TYPE_STATUS: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"(?i)auth"), 401),
    (re.compile(r"(?i)permission"), 403),
    (re.compile(r"(?i)not_?found"), 404),
    (re.compile(r"(?i)rate_?limit|too_?many|quota"), 429),
    (re.compile(r"(?i)unavailable|overloaded"), 503),
    (re.compile(r"(?i)invalid|bad_?request|context|unprocessable|validation"), 400),
)


@dataclass(slots=True, frozen=True)
class Signs:
    """How one kind of server words what its status does not say. Patterns are searched in `type code: message`.

    `context`: the prompt is longer than the context. `modality`: it does not take that kind of medium at all.
    `medium`: it can't read this one; groups named `image`, `audio`, `video` say of which kind, where its words do.
    `gone`: it does not have the model. `client`: a 5xx that is really the request's fault. `dead`: a 5xx after which
    nothing else will work there.
    """

    context: re.Pattern[str] = _NEVER
    modality: re.Pattern[str] = _NEVER
    medium: re.Pattern[str] = _NEVER
    gone: re.Pattern[str] = _NEVER
    client: re.Pattern[str] = _NEVER
    dead: re.Pattern[str] = _NEVER


@dataclass(slots=True, frozen=True)
class Said:
    """A server's error, read: `status` only where the body itself names one; `html` = the body is a web page."""

    message: str = ""
    type: str = ""
    code: str = ""
    param: str | None = None
    status: int | None = None
    html: bool = False

    @property
    def words(self) -> str:
        return f"{self.type} {self.code}: {self.message}"


def read(body: bytes) -> Said:
    """An error body of any shape: an OpenAI object, a string, a FastAPI `detail`, a list of these, text, a web page."""
    if _HTML.match(body[:2048]):
        return Said(html=True)
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Said(message=body[:4096].decode("utf-8", "replace").strip())
    return read_value(value)


def read_value(value: Any) -> Said:
    """The same of decoded JSON."""
    if isinstance(value, list):
        return read_value(value[0]) if value else Said()
    if not isinstance(value, dict):
        return Said(message=value if isinstance(value, str) else "")
    error = value.get("error")
    if isinstance(error, dict):
        return _object(error, value)
    if isinstance(error, str):
        return Said(message=error, type=as_text(value.get("error_type")))
    if "detail" in value:
        return Said(message=_detail(value["detail"]))
    return _object(value, value)


def _object(error: dict[str, Any], whole: dict[str, Any]) -> Said:
    code = error.get("code", whole.get("code"))
    status = code if isinstance(code, int) and not isinstance(code, bool) and 300 <= code <= 599 else None
    param = error.get("param")
    message = error.get("message")
    if not isinstance(message, str):
        message = _detail(message) if message is not None else as_text(error.get("msg"))
    return Said(
        message=message,
        type=as_text(error.get("type")) or as_text(error.get("status")),
        code=code if isinstance(code, str) else "",
        param=param if isinstance(param, str) and _FIELD.fullmatch(param) else None,
        status=status,
    )


def _detail(detail: Any) -> str:
    """FastAPI's validation errors without the input that they repeat (it may be a whole medium)."""
    if isinstance(detail, str):
        return detail
    if isinstance(detail, list):
        lines = []
        for item in detail[:5]:
            if isinstance(item, dict):
                where = item.get("loc")
                path = ".".join(str(x) for x in where) if isinstance(where, list) else ""
                lines.append(f"{path}: {as_text(item.get('msg'))}".strip(": "))
        return "; ".join(lines)
    if isinstance(detail, dict):
        return read_value({"error": detail}).message
    return ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of `Retry-After` (header names in lower case), at most LONGEST_WAIT. A date counts from the `Date` of the
    same reply, which is the server's own clock; where it tells none: None. RFC 9110, 10.2.3."""
    value = headers.get("retry-after-ms")
    scale = 1000.0
    if value is None:
        value, scale = headers.get("retry-after"), 1.0
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,6})?", value.strip()):
        return _until(value, headers.get("date", ""))
    return min(float(value) / scale, LONGEST_WAIT)


def _until(then: str, now: str) -> float | None:
    try:
        seconds = (parsedate_to_datetime(then) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(seconds, LONGEST_WAIT) if seconds >= 0 else None


def error_for(status: int, headers: Mapping[str, str], said: Said, signs: Signs) -> errors.GatewayError:
    """The error that a reply with this status and these words means."""
    if 300 <= status < 400:
        return errors.BadResponse("the model server answered with a redirect, which is never followed")
    if status in (401, 403):
        return errors.BadCredentials("the model server does not accept the gateway's key")
    if status == 402 or said.code == "insufficient_quota":
        return errors.UsedUp("the gateway's account at the model server is used up")
    if status in (408, 429, 503):
        return errors.Overloaded("the model server is busy", retry_after=retry_after(headers))
    if said.html:
        if status in (502, 504):
            return errors.UpstreamUnavailable("a proxy could not reach the model server")
        return errors.BadResponse("a web page came back where an answer of the model server was expected")
    message = _shown(said)
    if signs.context.search(said.words) and status not in (502, 504):
        return errors.ContextTooLong(message, param="messages")
    if signs.modality.search(said.words):
        return errors.WrongModality(message)
    if status in (502, 504):
        return errors.UpstreamUnavailable("a proxy could not reach the model server")
    if status in (404, 405, 501) or (status < 500 and signs.gone.search(said.words)):
        return _gone(said, signs, message)
    if 400 <= status < 500 or (status >= 500 and signs.client.search(said.words)):
        return _client(status, said, signs, message)
    if signs.dead.search(said.words):
        return errors.UpstreamUnavailable("the model server's engine has died")
    if status >= 500:
        return errors.UpstreamError(message or "the model server failed")  # its code says whose failure it is
    return errors.BadResponse("the model server's answer can't be read")


def error_in(body: Any, signs: Signs) -> errors.GatewayError | None:
    """The error inside a reply that has status 200, or None if it is an answer."""
    if isinstance(body, list):
        body = body[0] if len(body) == 1 else None
    if not isinstance(body, dict) or body.get("choices") or body.get("data"):
        return None
    if not body.get("error") and body.get("object") != "error":
        return None
    said = read_value(body)
    status = said.status or next((s for p, s in _TYPE_STATUS if p.search(said.type or said.code)), 500)
    return error_for(status, {}, said, signs)


def _gone(said: Said, signs: Signs, message: str) -> errors.GatewayError:
    if said.param == "model" or signs.gone.search(said.words) or "model" in said.code:
        return errors.ModelGone("the model server no longer has the model that it listed")
    return errors.ModelGone("the model server does not offer this operation" + (f": {message}" if message else ""))


def _client(status: int, said: Said, signs: Signs, message: str) -> errors.GatewayError:
    if status == 413:
        return errors.TooLarge(message or "the request is larger than the model server takes")
    unread = signs.medium.search(said.words)
    if unread is not None:
        return errors.MediumRefused(message, modality=unread.lastgroup or "", param=said.param)
    return errors.UpstreamRefused(message or f"the model server refused the request ({status})", param=said.param)


def _shown(said: Said) -> str:
    """The server's words as a client may read them; nothing of a traceback."""
    if _TRACE.search(said.message):
        return ""
    return scrub(said.message)
