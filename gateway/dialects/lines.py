"""JSON that stands on one line for every client: httpx, for one, ends a line at each of these characters."""

from __future__ import annotations

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
_BREAKS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


def encode_line(value: Any) -> bytes:
    """JSON without any character that ends a line anywhere."""
    out = _encode(value)
    if not out.isascii():
        for raw, escaped in _BREAKS:
            out = out.replace(raw, escaped)
    return out
