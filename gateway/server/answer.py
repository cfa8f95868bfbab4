"""What every answer of the gateway has in common: an error's status, headers and body, and headers that may be sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from operator import attrgetter
from typing import Any

import msgspec

from gateway.dialects.openai.errors import render_error
from gateway.errors import GatewayError, Internal

Header = tuple[bytes, bytes]


@dataclass(slots=True, frozen=True)
class Shape:
    """How one dialect tells an error: its body, and the status that goes with it."""

    body: Callable[[GatewayError], dict[str, Any]]
    status: Callable[[GatewayError], int] = attrgetter("status")


OPENAI = Shape(render_error)

HARDENING: list[Header] = [(b"x-content-type-options", b"nosniff")]
CLOSE: Header = (b"connection", b"close")
RETRY_AFTER = 1.0
"""Seconds, where an error that passes does not know better: agents give up at once without the header."""

_ODD = re.compile(rb"[^ -~]")


def error_answer(error: GatewayError, allow: bytes = b"", shape: Shape = OPENAI) -> tuple[int, list[Header], bytes]:
    """Status, headers (without the content type and length) and JSON body, in the client's own shape. `allow` = the
    methods that the path takes, for a 405."""
    headers: list[Header] = [(b"x-should-retry", b"true" if error.should_retry else b"false")]
    retry_after = error.retry_after
    if retry_after is None and shape.status(error) in (429, 503):
        retry_after = RETRY_AFTER
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, ceil(retry_after))))
        if retry_after != ceil(retry_after):
            headers.append((b"retry-after-ms", b"%d" % ceil(retry_after * 1000)))
    if error.status == 405 and allow:
        headers.append((b"allow", allow))
    return shape.status(error), headers, msgspec.json.encode(shape.body(error))


def internal(request_id: str) -> Internal:
    """What a client is told of a bug."""
    return Internal(f"an internal error; the request id is {request_id}")


def clean(headers: list[Header]) -> list[Header]:
    """The headers with every octet of a value that is not visible ASCII percent-encoded: a model may be called
    anything, and a line break would end the head."""
    if not _ODD.search(b"".join([value for _, value in headers])):
        return headers
    return [(name, _ODD.sub(_encoded, value)) for name, value in headers]


def _encoded(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]
